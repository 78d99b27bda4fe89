//! A directory inside a root file system, and what can be done to the names in it.

mod change;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;

use super::error::{Operation, RootfsError};
use super::guard::{Effect, Refusal};
use super::{Rootfs, lookup, xattrs};
use crate::metadata::{FileKind, Metadata};
use crate::path::{self, RootfsPath};
use crate::xattr::Xattrs;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// What it names.
    pub kind: FileKind,
}

/// An open directory of a [`Rootfs`].
///
/// Its operations are those of [`Rootfs`] with one name in place of a path; the name `.` is the
/// directory itself. They cost no lookup, which is what bulk writers want. The directory stays the
/// same one when it is renamed.
pub struct Directory {
    rootfs: Rootfs,
    /// `None` for the root, whose handle the `Rootfs` keeps.
    fd: Option<OwnedFd>,
    path: RootfsPath,
    refusal: Option<Refusal>,
}

impl Directory {
    pub(super) fn root(rootfs: &Rootfs, operation: Operation) -> Result<Self, RootfsError> {
        let path = RootfsPath::root();
        let refusal = lookup::refusal(&rootfs.0.guard, rootfs.as_fd())
            .map_err(super::io_error(operation, &path))?;
        Ok(Self { rootfs: rootfs.clone(), fd: None, path, refusal })
    }

    pub(super) fn found(rootfs: &Rootfs, path: RootfsPath, found: lookup::Found) -> Self {
        let lookup::Found { directory, refusal } = found;
        Self { rootfs: rootfs.clone(), fd: Some(directory), path, refusal }
    }

    /// Returns the handle (opened with `O_PATH`).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().map_or(self.rootfs.as_fd(), |fd| fd.as_fd())
    }

    /// Returns the path the directory was opened by.
    pub fn path(&self) -> &RootfsPath {
        &self.path
    }

    /// Returns the root file system the directory is in.
    pub fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Returns what `name` is, `None` when there is no such name.
    ///
    /// # Errors
    /// As [`Rootfs::metadata`].
    pub fn metadata(&self, name: &[u8]) -> Result<Option<Metadata>, RootfsError> {
        let name = self.enter(Operation::Stat, name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(self.as_fd(), &*name, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => match Metadata::from_statx(&stat) {
                Some(metadata) => Ok(Some(metadata)),
                None => Err(RootfsError::UnknownKind { path: self.entry_path(name.to_bytes()) }),
            },
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.error(Operation::Stat, name.to_bytes(), errno)),
        }
    }

    /// Returns the target of the symbolic link `name`.
    ///
    /// # Errors
    /// As [`Rootfs::read_link`].
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, RootfsError> {
        let checked = self.enter(Operation::ReadLink, name)?;
        rustix::fs::readlinkat(self.as_fd(), &*checked, Vec::new())
            .map(CString::into_bytes)
            .map_err(|errno| self.error(Operation::ReadLink, name, errno))
    }

    /// Returns what is in the directory, sorted by name.
    ///
    /// # Errors
    /// `EACCES` where it may not be listed.
    pub fn entries(&self) -> Result<Vec<DirEntry>, RootfsError> {
        let listing = self.open_listing(b".")?;
        let error = |errno| self.error(Operation::ReadDirectory, b".", errno);
        let mut entries = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut raw = RawDir::new(listing.as_fd(), &mut buffer);
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match FileKind::from_file_type(entry.file_type()) {
                Some(kind) => kind,
                // The file system keeps no types in its directories.
                None => match self.metadata(name)? {
                    Some(metadata) => metadata.kind,
                    None => continue,
                },
            };
            entries.push(DirEntry { name: name.to_vec(), kind });
        }
        entries.sort();
        Ok(entries)
    }

    /// Opens the directory `name` for listing.
    pub(crate) fn open_listing(&self, name: &[u8]) -> Result<OwnedFd, RootfsError> {
        let checked = self.enter(Operation::ReadDirectory, name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open_without_atime(self.as_fd(), &checked, flags)
            .map_err(|errno| self.error(Operation::ReadDirectory, name, errno))
    }

    /// Opens the regular file `name` for reading.
    ///
    /// # Errors
    /// As [`Rootfs::open_file`].
    pub fn open_file(&self, name: &[u8]) -> Result<File, RootfsError> {
        let checked = self.enter(Operation::OpenFile, name)?;
        let not_regular = |kind| RootfsError::NotRegular { path: self.entry_path(name), kind };
        match self.metadata(name)?.map(|metadata| metadata.kind) {
            None => return Err(self.error(Operation::OpenFile, name, Errno::NOENT)),
            Some(FileKind::Regular) => {}
            Some(kind) => return Err(not_regular(kind)),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open_without_atime(self.as_fd(), &checked, flags)
            .map_err(|errno| self.error(Operation::OpenFile, name, errno))?;
        // What was opened need not be what was looked at.
        let stat =
            rustix::fs::fstat(&fd).map_err(|errno| self.error(Operation::OpenFile, name, errno))?;
        match FileKind::from_raw_mode(stat.st_mode) {
            Some(FileKind::Regular) => Ok(File::from(fd)),
            Some(kind) => Err(not_regular(kind)),
            None => Err(RootfsError::UnknownKind { path: self.entry_path(name) }),
        }
    }

    /// Returns the extended attributes of `name` that belong in an image.
    ///
    /// # Errors
    /// As [`Rootfs::xattrs`].
    pub fn xattrs(&self, name: &[u8]) -> Result<Xattrs, RootfsError> {
        let checked = self.enter(Operation::ReadXattrs, name)?;
        xattrs::read(self.as_fd(), &checked)
            .map_err(|errno| self.error(Operation::ReadXattrs, name, errno))
    }

    /// Opens the directory `name`, which is not followed.
    ///
    /// # Errors
    /// As [`Rootfs::open_dir`].
    pub fn open_dir(&self, name: &[u8]) -> Result<Directory, RootfsError> {
        let checked = self.enter(Operation::OpenDirectory, name)?;
        let error = |errno| self.error(Operation::OpenDirectory, name, errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(self.as_fd(), &*checked, flags, Mode::empty()).map_err(error)?;
        let directory = self.at_handle(opened, self.entry_path(name))?;
        // Below something protected everything is.
        let inherited = self.refusal.filter(|&refusal| refusal == Refusal::Protected);
        Ok(Self { refusal: inherited.or(directory.refusal), ..directory })
    }

    /// Wraps a handle opened by other means.
    pub(super) fn at_handle(&self, fd: OwnedFd, path: RootfsPath) -> Result<Self, RootfsError> {
        let refusal = lookup::refusal(&self.rootfs.0.guard, fd.as_fd())
            .map_err(super::io_error(Operation::OpenDirectory, &path))?;
        Ok(Self { rootfs: self.rootfs.clone(), fd: Some(fd), path, refusal })
    }

    pub(super) fn error(&self, operation: Operation, name: &[u8], errno: Errno) -> RootfsError {
        RootfsError::Io { operation, path: self.entry_path(name), source: errno.into() }
    }

    pub(super) fn entry_path(&self, name: &[u8]) -> RootfsPath {
        if name == b"." { self.path.clone() } else { self.path.join_name(name) }
    }

    /// Checks the name (nothing but one component must ever reach the kernel).
    fn enter(&self, operation: Operation, name: &[u8]) -> Result<CString, RootfsError> {
        let invalid =
            || RootfsError::InvalidName { directory: self.path.clone(), name: name.to_vec() };
        if name != b"." && !path::is_name(name) {
            return Err(invalid());
        }
        if self.rootfs.0.faults.is_some() {
            self.rootfs.fault(operation, &self.entry_path(name))?;
        }
        CString::new(name).map_err(|_| invalid())
    }

    pub(super) fn enter_to_write(
        &self,
        operation: Operation,
        name: &[u8],
        effect: Effect,
    ) -> Result<CString, RootfsError> {
        let checked = self.enter(operation, name)?;
        let guard = &self.rootfs.0.guard;
        let refusal =
            match self.refusal {
                None if guard.is_active() => {
                    guard.refuses(self.as_fd(), &checked, effect).map_err(|source| {
                        RootfsError::Io { operation, path: self.entry_path(name), source }
                    })?
                }
                known => known,
            };
        match refusal {
            None => Ok(checked),
            Some(Refusal::Protected) => Err(RootfsError::Protected { path: self.entry_path(name) }),
            Some(Refusal::OnMount) => Err(RootfsError::OnMount { path: self.entry_path(name) }),
        }
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Directory").field(&self.path).finish()
    }
}

/// Opens with `O_NOATIME`, which only the owner and root may, or without.
pub(crate) fn open_without_atime(
    directory: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        other => other,
    }
}
