//! The attributes that overlayfs keeps its own affairs in, and all others.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::metadata::{Metadata, Timestamp};
use crate::rootfs::{Directory, Operation, RootfsError};

/// What overlayfs' own attributes begin with, in a mount made with privilege.
const PREFIX: &[u8] = b"trusted.overlay.";

/// What overlayfs says of a directory of its upper layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Nothing of lower layers is seen in it.
    pub is_opaque: bool,
    /// Files in it were copied up, and are marked themselves.
    pub is_impure: bool,
    /// Which lower directory is seen in it, if another than the one of its own path.
    pub redirect: Option<Vec<u8>>,
}

impl Marks {
    /// Reads the marks of a directory.
    pub(super) fn of(directory: &Directory) -> Result<Self, RootfsError> {
        let path = path_of(directory, b".");
        let mut marks = Self::default();
        let error = |errno| io_error(directory, Operation::ReadXattrs, b".", errno);
        for name in names(&path).map_err(error)? {
            match name.strip_prefix(PREFIX) {
                Some(b"opaque") => marks.is_opaque = true,
                Some(b"impure") => marks.is_impure = true,
                Some(b"redirect") => marks.redirect = Some(value(&path, &name).map_err(error)?),
                Some(_) | None => {}
            }
        }
        Ok(marks)
    }
}

/// Takes overlayfs' attributes off `name`.
pub(super) fn strip(directory: &Directory, name: &[u8]) -> Result<(), RootfsError> {
    let path = path_of(directory, name);
    let error = |operation, errno| io_error(directory, operation, name, errno);
    let names = names(&path).map_err(|errno| error(Operation::ReadXattrs, errno))?;
    for attribute in names.iter().filter(|attribute| attribute.starts_with(PREFIX)) {
        rustix::fs::lremovexattr(&*path, &**attribute)
            .map_err(|errno| error(Operation::RemoveXattr, errno))?;
    }
    Ok(())
}

/// Makes owner, mode and attributes of `to` those of `from`, and sets its modification time.
pub(super) fn copy(from: &Directory, to: &Directory, mtime: Timestamp) -> Result<(), RootfsError> {
    let (wanted, found) = (metadata(from)?, metadata(to)?);
    let is_other_owner = (wanted.uid, wanted.gid) != (found.uid, found.gid);
    if is_other_owner {
        to.set_owner(b".", wanted.uid, wanted.gid)?;
    }
    copy_attributes(from, to)?;
    // A change of owner may take bits away, and one of an access control list sets them.
    if wanted.mode != metadata(to)?.mode {
        to.set_mode(b".", wanted.mode)?;
    }
    if found.mtime != mtime {
        to.set_mtime(b".", mtime)?;
    }
    Ok(())
}

/// Returns what a directory is.
pub(super) fn metadata(directory: &Directory) -> Result<Metadata, RootfsError> {
    directory
        .metadata(b".")?
        .ok_or_else(|| io_error(directory, Operation::Stat, b".", Errno::NOENT))
}

fn copy_attributes(from: &Directory, to: &Directory) -> Result<(), RootfsError> {
    let (wanted, found) = (attributes(from)?, attributes(to)?);
    let path = path_of(to, b".");
    for attribute in found.keys().filter(|attribute| !wanted.contains_key(*attribute)) {
        rustix::fs::lremovexattr(&*path, &**attribute)
            .map_err(|errno| io_error(to, Operation::RemoveXattr, b".", errno))?;
    }
    for (attribute, value) in &wanted {
        if found.get(attribute) != Some(value) {
            rustix::fs::lsetxattr(&*path, &**attribute, value, XattrFlags::empty())
                .map_err(|errno| io_error(to, Operation::SetXattr, b".", errno))?;
        }
    }
    Ok(())
}

/// Returns all attributes but overlayfs' own: those too that belong in no image.
fn attributes(directory: &Directory) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, RootfsError> {
    let path = path_of(directory, b".");
    let error = |errno| io_error(directory, Operation::ReadXattrs, b".", errno);
    let names = names(&path).map_err(error)?;
    names
        .into_iter()
        .filter(|name| !name.starts_with(PREFIX))
        .map(|name| value(&path, &name).map(|value| (name, value)).map_err(error))
        .collect()
}

/// The attribute calls take no directory and name.
fn path_of(directory: &Directory, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

fn names(path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let list = match with_room(|room| rustix::fs::llistxattr(path, room)) {
        Err(Errno::OPNOTSUPP) => Vec::new(),
        list => list?,
    };
    let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn value(path: &[u8], name: &[u8]) -> Result<Vec<u8>, Errno> {
    with_room(|room| rustix::fs::lgetxattr(path, name, room))
}

/// Calls `read` with a buffer that fits; 64 KiB is the kernel's limit for both lists and values.
fn with_room(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 512];
    match read(&mut small) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut large = vec![0; 1 << 16];
    let length = read(&mut large)?;
    large.truncate(length);
    Ok(large)
}

fn io_error(directory: &Directory, operation: Operation, name: &[u8], errno: Errno) -> RootfsError {
    let path = match name {
        b"." => directory.path().clone(),
        name => directory.path().join_name(name),
    };
    RootfsError::Io { operation, path, source: errno.into() }
}
