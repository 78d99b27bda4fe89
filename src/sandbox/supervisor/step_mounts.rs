//! What the Dockerfile mounts into a step: opened in the old root, mounted in the new one.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::During;
use super::mounts::{self, by_descriptor, make_read_only, mounting, open_path};
use crate::sandbox::step_mount::{MountedFile, MountedTree, TreeAccess};
use crate::sandbox::wire::{Mount, MountKind, SetupAction, SetupFailure};

/// Opens the trees, while the old root is this process' own; `None` for what is no tree.
pub(super) fn open(mounts: &[Mount]) -> Result<Vec<Option<OwnedFd>>, SetupFailure> {
    mounts.iter().map(open_one).collect()
}

fn open_one(mount: &Mount) -> Result<Option<OwnedFd>, SetupFailure> {
    let MountKind::Tree(tree) = &mount.kind else { return Ok(None) };
    let MountedTree { path, dev, ino, .. } = tree;
    let action = || SetupAction::OpenMount(path.clone());
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).during(action)?;
    let found = rustix::fs::fstat(&opened).during(action)?;
    if (found.st_dev, found.st_ino) != (*dev, *ino) {
        return Err(SetupFailure { action: action(), errno: Errno::STALE.raw_os_error() });
    }
    Ok(Some(opened))
}

/// Writes a file into the directory in memory that `/dev` is now, and returns a handle on it.
pub(super) fn write(path: &str, file: &MountedFile) -> Result<OwnedFd, SetupFailure> {
    let handle = mounts::write_file(path, 0o600, &file.content)?;
    let action = || SetupAction::Create(path.to_owned());
    let (uid, gid) = (nix::unistd::Uid::from_raw(file.uid), nix::unistd::Gid::from_raw(file.gid));
    nix::unistd::chown(path, Some(uid), Some(gid)).during(action)?;
    // After the owner, because a change of owner clears the set-id bits.
    rustix::fs::chmod(path, Mode::from_raw_mode(file.mode)).during(action)?;
    Ok(handle)
}

/// Mounts everything, outer ones first; `opened` are the trees and files by position.
pub(super) fn mount_all(mounts: &[Mount], opened: &[Option<OwnedFd>]) -> Result<(), SetupFailure> {
    for (mount, opened) in mounts.iter().zip(opened) {
        let mut path = b"/".to_vec();
        path.extend_from_slice(&mount.target);
        let shown = String::from_utf8_lossy(&path).into_owned();
        if mount.is_nested {
            make_target(&path, &mount.kind).during(|| SetupAction::Create(shown.clone()))?;
        }
        match (&mount.kind, opened) {
            (MountKind::Tree(tree), Some(opened)) => bind_tree(tree, opened, &path, &shown)?,
            (MountKind::File(_), Some(opened)) => bind_file(opened, &path, &shown)?,
            (MountKind::Memory { size_bytes, mode }, _) => {
                memory(*size_bytes, *mode, &path, &shown)?;
            }
            (MountKind::Tree(_) | MountKind::File(_), None) => {
                let errno = Errno::BADF.raw_os_error();
                return Err(SetupFailure { action: mounting("a mount", &shown), errno });
            }
        }
    }
    Ok(())
}

/// Makes what is missing of a target that is inside of what was mounted before.
fn make_target(path: &[u8], kind: &MountKind) -> rustix::io::Result<()> {
    if rustix::fs::stat(path).is_ok() {
        return Ok(());
    }
    let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    for (end, _) in ends {
        let above = path.get(..end).unwrap_or_default();
        match rustix::fs::mkdir(above, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // The file system may refuse before it looks whether it is there.
            Err(errno) => rustix::fs::stat(above).map(drop).map_err(|_| errno)?,
        }
    }
    let is_directory = match kind {
        MountKind::Tree(tree) => tree.is_directory,
        MountKind::Memory { .. } => true,
        MountKind::File(_) => false,
    };
    if is_directory {
        return rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn bind_tree(
    tree: &MountedTree,
    opened: &OwnedFd,
    path: &[u8],
    shown: &str,
) -> Result<(), SetupFailure> {
    let action = || mounting("files", shown);
    // With what is mounted in it: a part alone must not be seen in a user namespace.
    rustix::mount::mount_bind_recursive(by_descriptor(opened), path).during(action)?;
    match tree.access {
        TreeAccess::Writable => Ok(()),
        TreeAccess::ReadOnly => {
            let mounted = open_path(path, shown)?;
            make_read_only(&by_descriptor(&mounted))?;
            mounts::make_tree_read_only(shown)
        }
    }
}

fn bind_file(opened: &OwnedFd, path: &[u8], shown: &str) -> Result<(), SetupFailure> {
    let action = || mounting("a file", shown);
    rustix::mount::mount_bind(by_descriptor(opened), path).during(action)?;
    let mounted = open_path(path, shown)?;
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    rustix::mount::mount_remount(by_descriptor(&mounted), flags, c"").during(action)
}

/// Mounts an empty file system. One that is over a directory of the image has that one's mode.
fn memory(
    size_bytes: Option<u64>,
    mode: Option<u32>,
    path: &[u8],
    shown: &str,
) -> Result<(), SetupFailure> {
    let action = || mounting("tmpfs", shown);
    let found = rustix::fs::stat(path).during(action)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(SetupFailure { action: action(), errno: Errno::NOTDIR.raw_os_error() });
    }
    let mut options = format!("mode={:o}", mode.unwrap_or(0o1777));
    if let Some(size) = size_bytes {
        options.push_str(&format!(",size={size}"));
    }
    // Digits and letters have no NUL among them.
    let options = std::ffi::CString::new(options).unwrap_or_default();
    rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::NOSUID, Some(options.as_c_str()))
        .during(action)
}

/// Raises the loopback of a network that has nothing else.
pub(super) fn raise_loopback() -> Result<(), SetupFailure> {
    let action = || SetupAction::RaiseLoopback;
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
            .during(action)?;
    super::process::raise_interface(socket.as_raw_fd(), b"lo").during(action)
}
