//! A root file system as a directory handle.
//!
//! Owns every touch of an image's files. Nothing here takes a string path of the host: a
//! [`RootfsPath`] is resolved inside the root (symbolic links clamped as in a chroot), and the last
//! component is never followed. The idea to hold in mind: an operation opens the directory its
//! entry is in, as a [`Directory`], and acts on one name there.

mod directory;
mod error;
mod guard;
mod lookup;
mod operations;
mod remove;
mod xattrs;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub(crate) use directory::open_without_atime;
pub use directory::{DirEntry, Directory};
pub use error::{Operation, RootfsError, UnmappedOwner};
pub use guard::Guard;
pub(crate) use xattrs::read_of_kind as read_xattrs;
pub(crate) use xattrs::read_open as open_file_xattrs;

use crate::path::RootfsPath;
use lookup::Lookup;

/// Asked before every operation, in tests, whether it is to fail.
pub type FaultHook = Arc<dyn Fn(Operation, &RootfsPath) -> io::Result<()> + Send + Sync>;

/// Which system calls a [`Rootfs`] uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemCalls {
    /// The newest that work, found by trying.
    #[default]
    Detect,
    /// Only those of an old kernel: every fallback is taken.
    Oldest,
}

/// How a [`Rootfs`] is opened.
#[derive(Clone, Default)]
pub struct RootfsOptions {
    /// Which system calls are used.
    pub system_calls: SystemCalls,
    /// What may not be written.
    pub guard: Guard,
    /// Makes operations fail, in tests.
    pub faults: Option<FaultHook>,
}

/// A directory that [`Rootfs::create_dir_all`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDirectory {
    /// Permission, set-id and sticky bits, whatever the umask.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A root file system. Clones are the same one.
#[derive(Clone)]
pub struct Rootfs(Arc<Inner>);

struct Inner {
    fd: OwnedFd,
    host_path: PathBuf,
    /// It is a mount that is not at `host_path`, nor anywhere else.
    is_detached: bool,
    lookup: Lookup,
    system_calls: SystemCalls,
    guard: Guard,
    faults: Option<FaultHook>,
}

impl Rootfs {
    /// Opens the directory `host_path` as a root.
    ///
    /// # Errors
    /// [`RootfsError::Open`] when it is no directory or cannot be opened.
    pub fn open(host_path: &Path) -> Result<Self, RootfsError> {
        Self::open_with(host_path, RootfsOptions::default())
    }

    /// Opens the directory `host_path` as a root, with options.
    ///
    /// # Errors
    /// As [`Rootfs::open`].
    pub fn open_with(host_path: &Path, options: RootfsOptions) -> Result<Self, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(host_path, flags, Mode::empty()).map_err(|errno| {
            RootfsError::Open { host_path: host_path.to_owned(), source: errno.into() }
        })?;
        Ok(Self::new(fd, host_path.to_owned(), options))
    }

    /// Takes an open directory as a root.
    ///
    /// # Errors
    /// [`RootfsError::Open`] when it is no directory.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, RootfsError> {
        Self::from_fd_with(fd, RootfsOptions::default())
    }

    /// Takes an open directory as a root, with options.
    ///
    /// # Errors
    /// As [`Rootfs::from_fd`].
    pub fn from_fd_with(fd: OwnedFd, options: RootfsOptions) -> Result<Self, RootfsError> {
        let link = xattrs::descriptor_path(fd.as_fd());
        // For messages only, so that a missing /proc is no failure.
        let host_path = std::fs::read_link(&link).unwrap_or_else(|_| link.into());
        // A descriptor of a file is found out here, and one opened for reading becomes a handle.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&fd, c".", flags, Mode::empty()) {
            Ok(fd) => Ok(Self::new(fd, host_path, options)),
            Err(errno) => Err(RootfsError::Open { host_path, source: errno.into() }),
        }
    }

    /// Takes the root of a mount that is attached nowhere as a root; `host_path` is a directory
    /// that it may be attached to.
    pub(crate) fn from_mount(fd: OwnedFd, host_path: &Path) -> Self {
        let mut root = Self::new(fd, host_path.to_owned(), RootfsOptions::default());
        if let Some(inner) = Arc::get_mut(&mut root.0) {
            inner.is_detached = true;
        }
        root
    }

    fn new(fd: OwnedFd, host_path: PathBuf, options: RootfsOptions) -> Self {
        let RootfsOptions { system_calls, guard, faults } = options;
        let lookup = match system_calls {
            SystemCalls::Detect => Lookup::detect(fd.as_fd()),
            SystemCalls::Oldest => Lookup::ComponentWalk,
        };
        let is_detached = false;
        Self(Arc::new(Inner { fd, host_path, is_detached, lookup, system_calls, guard, faults }))
    }

    /// Returns the root directory's handle (opened with `O_PATH`).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    /// Returns where the host has the root: for messages, and for whoever mounts it.
    pub fn host_path(&self) -> &Path {
        &self.0.host_path
    }

    /// Tells whether this is a mount that is attached nowhere: a process that is to see it at
    /// [`Rootfs::host_path`] has to be given the descriptor, and attach it there.
    pub fn is_detached(&self) -> bool {
        self.0.is_detached
    }

    /// Returns the paths on which something is mounted below the root.
    ///
    /// # Errors
    /// When `/proc` does not tell.
    pub fn mount_points(&self) -> Result<Vec<RootfsPath>, RootfsError> {
        if self.0.is_detached {
            // It is in no table, and nothing can be mounted on it.
            return Ok(Vec::new());
        }
        crate::mountinfo::mount_points_below(self.as_fd()).map_err(|source| RootfsError::Io {
            operation: Operation::ListMounts,
            path: RootfsPath::root(),
            source,
        })
    }

    /// Returns the directory `path` as a root of its own, with the same options.
    ///
    /// # Errors
    /// When it cannot be opened as a directory. Its last component is followed.
    pub fn subtree(&self, path: &RootfsPath) -> Result<Rootfs, RootfsError> {
        let resolved = self.resolve(path)?;
        let directory = self.open_dir(&resolved)?;
        let fd = directory.as_fd().try_clone_to_owned().map_err(|source| RootfsError::Io {
            operation: Operation::OpenDirectory,
            path: path.clone(),
            source,
        })?;
        let mut host_path = self.0.host_path.clone();
        host_path.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(
            resolved.as_bytes(),
        ));
        let options = RootfsOptions {
            system_calls: self.0.system_calls,
            guard: self.0.guard.clone(),
            faults: self.0.faults.clone(),
        };
        Ok(Self::new(fd, host_path, options))
    }

    /// Opens the directory that `path` is in, and returns the name it has there; for the root
    /// itself that is `.` in the root.
    fn parent<'p>(
        &self,
        operation: Operation,
        path: &'p RootfsPath,
    ) -> Result<(Directory, &'p [u8]), RootfsError> {
        match path.parent().zip(path.file_name()) {
            None => Ok((Directory::root(self, operation)?, b".")),
            Some((parent, name)) if parent.is_root() => {
                Ok((Directory::root(self, operation)?, name))
            }
            Some((parent, name)) => {
                self.fault(Operation::OpenDirectory, &parent)?;
                let Inner { lookup, guard, .. } = &*self.0;
                let found = lookup::open_directory(self.as_fd(), *lookup, guard, &parent)
                    .map_err(io_error(operation, path))?;
                Ok((Directory::found(self, parent, found), name))
            }
        }
    }

    /// Tells whether [`Rootfs::fault`] does anything, so that nobody makes a path for nothing.
    pub(crate) fn has_faults(&self) -> bool {
        self.0.faults.is_some()
    }

    /// Fails where a test wants a failure.
    pub(crate) fn fault(&self, operation: Operation, path: &RootfsPath) -> Result<(), RootfsError> {
        match &self.0.faults {
            Some(hook) => hook(operation, path).map_err(|source| RootfsError::Io {
                operation,
                path: path.clone(),
                source,
            }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Rootfs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Rootfs").field(&self.0.host_path).finish()
    }
}

/// Attaches operation and path to an error number.
fn io_error(operation: Operation, path: &RootfsPath) -> impl FnOnce(Errno) -> RootfsError + '_ {
    move |errno| RootfsError::Io { operation, path: path.clone(), source: errno.into() }
}

#[cfg(test)]
mod tests;
