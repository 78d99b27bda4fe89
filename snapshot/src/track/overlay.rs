//! The `overlay` tracker: the upper directory of an overlay that was mounted for one step.
//!
//! The kernel's own record of a step: whatever was written is in it, and whatever went has a mark
//! there. Reading it costs what changed. Some of what is in it did not change (a file opened for
//! writing, a directory on the way to one), which the walk finds out.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::index::Index;
use crate::metadata::FileKind;
use crate::path::RootfsPath;
use crate::rootfs::{Directory, Operation, Rootfs, RootfsError};
use crate::scope::PathSet;

/// Marks on a directory that hide what lies below it in lower layers, or put other things there;
/// `user.` in mounts made without privilege.
const MARKS: [&str; 4] = [
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
    "user.overlay.opaque",
    "user.overlay.redirect",
];

/// Returns what may have changed in a root that was `index` before a step and whose changes are in
/// the directory `upper`.
///
/// # Errors
/// When the upper directory cannot be read.
pub fn scope_of_upper(upper: &Rootfs, index: &Index) -> Result<PathSet, RootfsError> {
    let mut paths = PathSet::new();
    paths.insert(RootfsPath::root());
    let mut pending = vec![upper.open_dir(&RootfsPath::root())?];
    while let Some(directory) = pending.pop() {
        for entry in directory.entries()? {
            let path = directory.path().join_name(&entry.name);
            if entry.kind != FileKind::Directory {
                // A whiteout too, which is a character device: what it hides is missed by the walk.
                paths.insert(path);
                continue;
            }
            let was = index.get(&path).map(|row| row.metadata.kind);
            if was != Some(FileKind::Directory) || is_marked(&directory, &entry.name)? {
                paths.insert_subtree(path);
            } else {
                paths.insert(path);
                pending.push(directory.open_dir(&entry.name)?);
            }
        }
    }
    Ok(paths)
}

fn is_marked(directory: &Directory, name: &[u8]) -> Result<bool, RootfsError> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    for mark in MARKS {
        match rustix::fs::lgetxattr(OsStr::from_bytes(&path), mark, &mut [0_u8; 0]) {
            Ok(_) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => {
                return Err(RootfsError::Io {
                    operation: Operation::ReadXattrs,
                    path: directory.path().join_name(name),
                    source: errno.into(),
                });
            }
        }
    }
    Ok(false)
}
