//! Removal of whole trees: without recursion, with one open directory however deep the tree is, and
//! never across a mount.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::error::{Operation, RootfsError};
use crate::metadata::{FileKind, InodeId};
use crate::mountinfo;

/// A directory on the way down to the one being emptied.
struct Level {
    /// Its name in the level above.
    name: Vec<u8>,
    /// What it has to be when the way leads back up to it.
    inode: InodeId,
    /// Sub-directories still to be emptied and removed.
    subdirectories: Vec<Vec<u8>>,
    /// Something in it stays, so it stays too.
    stays: bool,
}

pub(super) fn remove_all(parent: &Directory, name: &[u8]) -> Result<(), RootfsError> {
    match parent.metadata(name)?.map(|metadata| metadata.kind) {
        None => return Ok(()),
        Some(FileKind::Directory) => {}
        Some(_) => return ignore_missing(parent.remove(name)),
    }
    let mut removal = Removal { home_mount: mount_of(parent)?, kept: None };
    let Some(mut current) = removal.descend(parent, name)? else {
        return removal.outcome();
    };
    let mut levels = vec![removal.empty(&current, name)?];
    while let Some(mut level) = levels.pop() {
        if let Some(subdirectory) = level.subdirectories.pop() {
            match removal.descend(&current, &subdirectory)? {
                Some(below) => {
                    let entered = removal.empty(&below, &subdirectory)?;
                    current = below;
                    levels.push(level);
                    levels.push(entered);
                }
                None => {
                    level.stays |= removal.kept.is_some();
                    levels.push(level);
                }
            }
            continue;
        }
        let Some(above) = levels.last_mut() else {
            if level.stays {
                break;
            }
            removal.remove(parent, name)?;
            break;
        };
        current = ascend(&current, above.inode)?;
        above.stays |= level.stays || !removal.remove(&current, &level.name)?;
    }
    removal.outcome()
}

struct Removal {
    home_mount: u64,
    /// The first thing that had to stay.
    kept: Option<RootfsError>,
}

impl Removal {
    fn outcome(self) -> Result<(), RootfsError> {
        self.kept.map_or(Ok(()), Err)
    }

    /// Opens a directory to empty it; `None` when it is gone or has to stay.
    fn descend(
        &mut self,
        parent: &Directory,
        name: &[u8],
    ) -> Result<Option<Directory>, RootfsError> {
        let directory = match parent.open_dir(name) {
            Ok(directory) => directory,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error),
        };
        if mount_of(&directory)? != self.home_mount {
            let path = directory.path().clone();
            self.kept.get_or_insert(RootfsError::OnMount { path });
            return Ok(None);
        }
        Ok(Some(directory))
    }

    /// Removes what can be removed at once, and returns what is left to do.
    fn empty(&mut self, directory: &Directory, name: &[u8]) -> Result<Level, RootfsError> {
        let stat = directory.metadata(b".")?;
        let inode = stat.map(|metadata| metadata.inode());
        let inode = inode.ok_or_else(|| directory.error(Operation::Stat, b".", Errno::NOENT))?;
        let mut level =
            Level { name: name.to_vec(), inode, subdirectories: Vec::new(), stays: false };
        for entry in directory.entries()? {
            if entry.kind == FileKind::Directory {
                level.subdirectories.push(entry.name);
            } else {
                level.stays |= !self.remove(directory, &entry.name)?;
            }
        }
        Ok(level)
    }

    /// Removes one name. Returns whether it is gone.
    fn remove(&mut self, directory: &Directory, name: &[u8]) -> Result<bool, RootfsError> {
        match ignore_missing(directory.remove(name)) {
            Ok(()) => Ok(true),
            Err(error @ (RootfsError::OnMount { .. } | RootfsError::Protected { .. })) => {
                self.kept.get_or_insert(error);
                Ok(false)
            }
            // The kernel's word for a file with a mount on it.
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                let path = directory.entry_path(name);
                self.kept.get_or_insert(RootfsError::OnMount { path });
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Goes back to the directory above, which has to be the one we came from.
fn ascend(directory: &Directory, expected: InodeId) -> Result<Directory, RootfsError> {
    let above = directory.reopen_parent()?;
    let found = above.metadata(b".")?.map(|metadata| metadata.inode());
    if found == Some(expected) {
        return Ok(above);
    }
    // Someone moved it while we were inside; nothing outside may be touched.
    Err(directory.error(Operation::Remove, b".", Errno::STALE))
}

impl Directory {
    /// Opens `..`. Where that leads is for the caller to check.
    fn reopen_parent(&self) -> Result<Directory, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.as_fd(), c"..", flags, Mode::empty())
            .map_err(|errno| self.error(Operation::OpenDirectory, b".", errno))?;
        let path = self.path().parent().unwrap_or_default();
        self.at_handle(opened, path)
    }
}

fn mount_of(directory: &Directory) -> Result<u64, RootfsError> {
    mountinfo::mount_id(directory.as_fd(), c"").map_err(|source| RootfsError::Io {
        operation: Operation::Remove,
        path: directory.path().clone(),
        source,
    })
}

fn ignore_missing(result: Result<(), RootfsError>) -> Result<(), RootfsError> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        other => other,
    }
}
