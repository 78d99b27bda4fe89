//! The root that is there already: what in it is not the build's, and what becomes of the rest.
//!
//! Owns [`InPlace`]. What is protected, or on another mount, is known by what it is, not by name:
//! it stays so when RUN moves it.

mod aside;
mod eviction;
mod inhabited;
mod residents;
mod tenancy;

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use snapshot::rootfs::{Guard, RootfsOptions};
use snapshot::{InodeId, Rootfs, RootfsPath};

use super::SandboxError;
pub use aside::Aside;
pub use eviction::Eviction;
pub use residents::Residents;
pub use tenancy::Tenancy;

/// A root that stages are built in one after the other, and that somebody else lives in, too.
#[derive(Clone, Debug)]
pub struct InPlace {
    root: Rootfs,
    protected: HashSet<InodeId>,
    /// Where the protected directories are that are in the root.
    covers: Vec<RootfsPath>,
    /// Where stages go that have to leave the root's own directories, if that is in the root.
    aside: Option<Aside>,
    /// Held open for its lock.
    _claim: Option<Arc<OwnedFd>>,
}

impl InPlace {
    /// Opens `path` so that nothing in `protected`, and nothing on another mount, can be written
    /// to.
    ///
    /// # Errors
    /// [`SandboxError::Protect`] when one of the directories cannot be opened.
    pub fn open(path: &Path, protected: &[PathBuf]) -> Result<Self, SandboxError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = |path: &Path| {
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| SandboxError::Protect {
                path: path.to_owned(),
                source: errno.into(),
            })
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SandboxError::Protect { path, source }
        };
        let mut guard =
            Guard::none().stay_on_mount_of(handle(path)?.as_fd()).map_err(failed(path))?;
        let mut inodes = HashSet::new();
        let mut covers = Vec::new();
        let whole = std::fs::canonicalize(path).map_err(failed(path))?;
        for directory in protected {
            let handle = handle(directory)?;
            guard = guard.protect(handle.as_fd()).map_err(failed(directory))?;
            let stat = rustix::fs::fstat(&handle).map_err(|errno| SandboxError::Protect {
                path: directory.clone(),
                source: errno.into(),
            })?;
            inodes.insert(InodeId { dev: stat.st_dev, ino: stat.st_ino });
            let place = std::fs::canonicalize(directory).map_err(failed(directory))?;
            covers.extend(path_inside(&whole, &place));
        }
        let options = RootfsOptions { guard, ..RootfsOptions::default() };
        let root = Rootfs::open_with(path, options)?;
        let own = root.metadata(&RootfsPath::root())?.ok_or(SandboxError::RootGone)?;
        if inodes.contains(&own.inode()) {
            let source = std::io::Error::other("it is the root that is built in");
            return Err(SandboxError::Protect { path: path.to_owned(), source });
        }
        Ok(Self { root, protected: inodes, covers, aside: None, _claim: None })
    }

    /// Keeps every other build out of the root as long as a clone of what is returned lives; where its
    /// file system has no locks, it is as if there were none.
    ///
    /// # Errors
    /// [`SandboxError::Occupied`] when another build is there.
    pub fn claim(self) -> Result<Self, SandboxError> {
        let path = self.root.host_path().to_owned();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed =
            |errno: Errno| SandboxError::Claim { path: path.clone(), source: errno.into() };
        let handle = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed)?;
        match flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _claim: Some(Arc::new(handle)), ..self }),
            Err(Errno::WOULDBLOCK) => Err(SandboxError::Occupied),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no lock can be had here");
                Ok(self)
            }
        }
    }

    /// Returns the directories that are protected, which no snapshot looks at either.
    pub fn protected(&self) -> impl Iterator<Item = InodeId> + '_ {
        self.protected.iter().copied()
    }

    /// Returns the paths at and below which the root shows what is not the stage's: mounts, and what
    /// is protected.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn covers(&self) -> Result<Vec<RootfsPath>, SandboxError> {
        let mut covers = self.root.mount_points()?;
        covers.extend(self.covers.iter().cloned());
        Ok(covers)
    }

    /// Returns where in the root a directory of the machine is; `None` where it is elsewhere, or
    /// nowhere.
    pub fn path_inside(&self, directory: &Path) -> Option<RootfsPath> {
        let whole = std::fs::canonicalize(self.root.host_path()).ok()?;
        path_inside(&whole, &std::fs::canonicalize(directory).ok()?)
    }

    /// Returns the root; writes to what is protected or mounted are refused.
    pub fn root(&self) -> &Rootfs {
        &self.root
    }
}

fn path_inside(whole: &Path, place: &Path) -> Option<RootfsPath> {
    let inside = place.strip_prefix(whole).ok()?;
    // A path that the kernel gave has no NUL.
    RootfsPath::new(inside.as_os_str().as_bytes()).ok()
}

/// Returns the root without a guard, after making sure that it is the one a step is given.
pub(super) fn same_root(rootfs: &Rootfs) -> Result<Rootfs, SandboxError> {
    let whole = Rootfs::open(Path::new("/"))?;
    let inode = |rootfs: &Rootfs| {
        Ok::<_, SandboxError>(rootfs.metadata(&RootfsPath::root())?.map(|found| found.inode()))
    };
    if inode(rootfs)? == inode(&whole)? {
        return Ok(whole);
    }
    Err(SandboxError::NotTheRoot { path: rootfs.host_path().to_owned() })
}

/// Names what is at the top of `/` and would be written to: all but mounts and what is protected.
pub(super) fn overwritten() -> Result<Vec<String>, SandboxError> {
    let root = Rootfs::open(Path::new("/"))?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let names = root.read_dir(&RootfsPath::root())?.into_iter().filter_map(|entry| {
        let path = RootfsPath::root().join_name(&entry.name).to_string();
        let is_mounted = table.lines().any(|line| line.split(' ').nth(4) == Some(&path));
        (!is_mounted && path != "/lost+found").then(|| format!("`{path}`"))
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}
