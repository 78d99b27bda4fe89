//! A directory that a walk has open, and how it gets there.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::io_error;
use crate::ignore::NameRule;
use crate::index::{NodeId, Siblings};
use crate::path::RootfsPath;
use crate::rootfs::{Operation, Rootfs, RootfsError};

/// From this many open directories on, further ones are found by their path again, so that no
/// depth or breadth of a tree meets the limit on descriptors (1024 by default).
const OPEN_LIMIT: usize = 256;

/// A directory whose entries are being looked at.
pub(super) struct OpenDirectory {
    pub(super) fd: OwnedFd,
    pub(super) path: RootfsPath,
    /// Its place in the index, if it was a directory there.
    pub(super) node: Option<NodeId>,
    /// Names in it that are left out.
    pub(super) ignored: Vec<NameRule>,
    /// What the index has in it, while it is listed.
    pub(super) siblings: Option<Siblings>,
    /// Entries of the index that were met, while it is listed.
    pub(super) met: AtomicUsize,
    /// Tasks that still look at names in it, while it is listed.
    pub(super) pending: AtomicUsize,
    open_count: Arc<AtomicUsize>,
}

impl Drop for OpenDirectory {
    fn drop(&mut self) {
        self.open_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A directory that is to be looked at.
pub(super) struct Unopened {
    /// The directory it is in; `None` when too many are open, and for the root.
    parent: Option<Arc<OpenDirectory>>,
    pub(super) path: RootfsPath,
    pub(super) node: Option<NodeId>,
}

impl Unopened {
    pub(super) fn root() -> Self {
        Self { parent: None, path: RootfsPath::root(), node: Some(NodeId::ROOT) }
    }

    pub(super) fn child(
        parent: &Arc<OpenDirectory>,
        path: RootfsPath,
        node: Option<NodeId>,
    ) -> Self {
        let is_crowded = parent.open_count.load(Ordering::Relaxed) >= OPEN_LIMIT;
        Self { parent: (!is_crowded).then(|| Arc::clone(parent)), path, node }
    }

    /// Opens it, for listing or as a mere handle; `None` when it is gone, or no directory any more.
    pub(super) fn open(
        self,
        rootfs: &Rootfs,
        purpose: OFlags,
        open_count: &Arc<AtomicUsize>,
        ignored: Vec<NameRule>,
    ) -> Result<Option<OpenDirectory>, RootfsError> {
        let Self { parent, path, node } = self;
        rootfs.fault(Operation::ReadDirectory, &path)?;
        let flags = purpose | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match (&parent, path.file_name()) {
            (Some(parent), Some(name)) => open(parent.fd.as_fd(), name, flags),
            _ => match rootfs.open_dir(&path) {
                Ok(directory) => open(directory.as_fd(), b".", flags),
                Err(error) if error.is_missing() => Err(Errno::NOENT),
                Err(error) => return Err(error),
            },
        };
        match opened {
            Ok(fd) => {
                open_count.fetch_add(1, Ordering::Relaxed);
                Ok(Some(OpenDirectory {
                    fd,
                    path,
                    node,
                    ignored,
                    siblings: None,
                    met: AtomicUsize::new(0),
                    pending: AtomicUsize::new(1),
                    open_count: Arc::clone(open_count),
                }))
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(io_error(Operation::ReadDirectory, path, errno)),
        }
    }
}

fn open(
    directory: std::os::fd::BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    // A listing moves a directory's access time; only its owner may ask that it does not.
    let quiet = if flags.contains(OFlags::PATH) { flags } else { flags | OFlags::NOATIME };
    match rustix::fs::openat(directory, name, quiet, Mode::empty()) {
        Err(Errno::PERM) if quiet != flags => {
            rustix::fs::openat(directory, name, flags, Mode::empty())
        }
        other => other,
    }
}
