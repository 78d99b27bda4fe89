//! What may not be written, where the root file system is also somebody's home.
//!
//! When the root is `/` of a running container, the executor's own directories and the Pod's mounts
//! are in it. They are known by (device, inode) and by mount, never by name: names can be moved.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use crate::metadata::InodeId;
use crate::mountinfo;

/// The directories and mounts that a [`crate::Rootfs`] refuses to write to.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    protected: HashSet<InodeId>,
    /// Directories above a protected one: what is in them may change, but they stay.
    pinned: HashSet<InodeId>,
    home_mount: Option<u64>,
}

/// What a write does to the entry it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Makes it, or changes its metadata.
    Change,
    /// Takes its name away.
    Remove,
}

/// Why a write is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Protected,
    OnMount,
}

impl Guard {
    /// Returns a guard that refuses nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Refuses writes in `directory` and below it, and to take away a directory above it.
    ///
    /// # Errors
    /// When the directory or one above it cannot be looked at.
    pub fn protect(mut self, directory: BorrowedFd<'_>) -> io::Result<Self> {
        let mut inode = inode_of(directory)?;
        self.protected.insert(inode);
        let mut current = open_parent(directory)?;
        loop {
            let above = inode_of(current.as_fd())?;
            // `..` of the topmost directory is that directory.
            if above == inode {
                return Ok(self);
            }
            self.pinned.insert(above);
            inode = above;
            current = open_parent(current.as_fd())?;
        }
    }

    /// Refuses writes on any mount but the one that `root` is on.
    ///
    /// # Errors
    /// When the kernel does not tell the mount of `root`.
    pub fn stay_on_mount_of(mut self, root: BorrowedFd<'_>) -> io::Result<Self> {
        self.home_mount = Some(mountinfo::mount_id(root, c"")?);
        Ok(self)
    }

    /// Tells whether anything is refused at all.
    pub(super) fn is_active(&self) -> bool {
        self.home_mount.is_some() || !self.protected.is_empty()
    }

    /// Says why nothing may be written in `directory`, if so; those above it are the caller's to ask.
    pub(super) fn refuses_in(&self, directory: BorrowedFd<'_>) -> io::Result<Option<Refusal>> {
        if !self.protected.is_empty() && self.protected.contains(&inode_of(directory)?) {
            return Ok(Some(Refusal::Protected));
        }
        if let Some(home) = self.home_mount
            && mountinfo::mount_id(directory, c"")? != home
        {
            return Ok(Some(Refusal::OnMount));
        }
        Ok(None)
    }

    /// Says why `name` in `directory` may not be touched so, if so. A missing name is refused
    /// nothing.
    pub(super) fn refuses(
        &self,
        directory: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        effect: Effect,
    ) -> io::Result<Option<Refusal>> {
        let stat = match rustix::fs::statx(
            directory,
            name,
            AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
            StatxFlags::BASIC_STATS,
        ) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let inode = InodeId::from_statx(&stat);
        if self.protected.contains(&inode)
            || (effect == Effect::Remove && self.pinned.contains(&inode))
        {
            return Ok(Some(Refusal::Protected));
        }
        if let Some(home) = self.home_mount
            && mountinfo::mount_id(directory, name)? != home
        {
            return Ok(Some(Refusal::OnMount));
        }
        Ok(None)
    }
}

fn inode_of(directory: BorrowedFd<'_>) -> io::Result<InodeId> {
    let stat = rustix::fs::statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(InodeId::from_statx(&stat))
}

fn open_parent(directory: BorrowedFd<'_>) -> io::Result<rustix::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, c"..", flags, Mode::empty())?)
}
