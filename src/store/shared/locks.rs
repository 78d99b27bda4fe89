//! Advisory locks on files, and file systems that have none.
//!
//! `flock`, which the kernel releases with its holder, however that ends; on NFS it is one lock for
//! all machines. Some network and user-space file systems refuse it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockKind {
    /// With others who hold it so.
    Shared,
    /// Alone.
    Exclusive,
}

/// What became of a try to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// It is held until the file is closed.
    Held,
    /// Somebody else holds it.
    Busy,
    /// This file system has no locks, or this file cannot be locked.
    Unsupported,
}

/// Tries to lock an open file.
pub(super) fn try_lock(file: impl AsFd, kind: LockKind) -> Locked {
    let operation = match kind {
        LockKind::Shared => FlockOperation::NonBlockingLockShared,
        LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(file, operation) {
        Ok(()) => Locked::Held,
        Err(Errno::WOULDBLOCK) => Locked::Busy,
        Err(error) => {
            tracing::debug!(%error, "no lock can be had here");
            Locked::Unsupported
        }
    }
}

/// Opens a file to lock it; it is made where that is possible.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    // On NFS a lock of one's own needs a file that can be written.
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Tells whether an open file is the one that has this name now: whoever removes something moves it
/// away first, with its lock.
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// A lock on a path; released when dropped.
#[derive(Debug)]
pub struct PathLock {
    _file: Option<File>,
}

impl PathLock {
    /// Holds nothing.
    pub(super) fn none() -> Self {
        Self { _file: None }
    }

    /// Waits for the lock.
    pub(super) fn wait(path: &Path) -> Self {
        let locked = open_lock(path).and_then(|file| {
            loop {
                match flock(&file, FlockOperation::LockExclusive) {
                    Ok(()) => return Ok(file),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
        match locked {
            Ok(file) => Self { _file: Some(file) },
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no lock can be had here");
                Self::none()
            }
        }
    }
}
