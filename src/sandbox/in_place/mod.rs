//! The root that is there already: what in it is not the build's, and what it would overwrite.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use snapshot::rootfs::{Guard, RootfsOptions};
use snapshot::{Rootfs, RootfsPath};

use super::SandboxError;

/// Opens `/` so that nothing in `protected`, and nothing on another mount, can be written to.
///
/// Both are known by what they are, not by name: what is protected stays so when RUN moves it.
pub(super) fn open(protected: &[PathBuf]) -> Result<Rootfs, SandboxError> {
    let root = Path::new("/");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = |path: &Path| {
        rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| SandboxError::Protect { path: path.to_owned(), source: errno.into() })
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SandboxError::Protect { path, source }
    };
    let mut guard = Guard::none().stay_on_mount_of(handle(root)?.as_fd()).map_err(failed(root))?;
    for path in protected {
        guard = guard.protect(handle(path)?.as_fd()).map_err(failed(path))?;
    }
    Ok(Rootfs::open_with(root, RootfsOptions { guard, ..RootfsOptions::default() })?)
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
    Ok(names.collect())
}
