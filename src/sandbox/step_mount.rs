//! What a step finds mounted, and only while it runs.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};
use snapshot::{Rootfs, RootfsPath};

/// Something that a step finds at a path while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepMount {
    /// Where; what is missing of the path is made, and taken away after the step.
    pub target: RootfsPath,
    /// What.
    pub content: MountContent,
}

/// What a step finds mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountContent {
    /// A directory or file of this machine.
    Tree(MountedTree),
    /// An empty file system in memory, of this size if one is given.
    Memory(Option<u64>),
    /// A file that nothing of this machine is behind.
    File(MountedFile),
}

/// A directory or file of this machine, by its path and by what must be found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedTree {
    pub(super) path: PathBuf,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) is_directory: bool,
    pub(super) access: TreeAccess,
}

/// Whether a step may write to what is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TreeAccess {
    /// It may not.
    ReadOnly,
    /// It may, and it is the original that it writes to.
    Writable,
}

/// A file in memory; `Debug` does not show what is in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedFile {
    /// What is in it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl fmt::Debug for MountedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedFile").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl MountedTree {
    /// Takes `path` of `root`, its links followed inside of it.
    ///
    /// # Errors
    /// What the kernel says when it cannot be opened: `ENOENT` where nothing is there.
    pub fn of(root: &Rootfs, path: &RootfsPath, access: TreeAccess) -> io::Result<Self> {
        let resolved = root.resolve(path).map_err(io::Error::other)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match resolved.as_bytes() {
            b"" => rustix::fs::openat(root.as_fd(), c".", flags, Mode::empty())?,
            // Resolved a moment ago, in a tree that no command is running in.
            path => rustix::fs::openat(root.as_fd(), path, flags, Mode::empty())?,
        };
        let found = rustix::fs::fstat(&opened)?;
        let link = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
        Ok(Self {
            path: std::fs::read_link(link)?,
            dev: found.st_dev,
            ino: found.st_ino,
            is_directory: FileType::from_raw_mode(found.st_mode) == FileType::Directory,
            access,
        })
    }
}

impl MountContent {
    /// Tells whether it is mounted on a directory.
    pub(super) fn is_directory(&self) -> bool {
        match self {
            Self::Tree(tree) => tree.is_directory,
            Self::Memory(_) => true,
            Self::File(_) => false,
        }
    }
}

/// What a command can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepNetwork {
    /// What this process can.
    Shared,
    /// Nothing but itself.
    None,
}
