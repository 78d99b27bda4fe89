//! An overlay over a tree that nobody writes to, for all steps of a stage.
//!
//! Nothing is moved into the tree: it is there for others too. So the upper layer holds whatever was
//! written since the stage began, and what a step may have changed is what it holds before the step
//! or after it. A path in neither shows the tree's own file both times, and that one never changes;
//! what is in the upper layer before the step counts because a step may take it out again: remove
//! what an earlier one made, or move back what that one moved.
//!
//! That looks at what earlier steps wrote once more, which costs less than a root of one's own did.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::mount::{mount_change, move_mount, unmount};

use super::{INDEX, OverlayError, Scratch, UPPER, WORK, device_that_hides, marks, upper};
use crate::index::{Index, NodeId, Row};
use crate::metadata::FileKind;
use crate::mode::{is_same_in_image, is_same_inode_state};
use crate::path::RootfsPath;
use crate::rootfs::{Rootfs, RootfsError};
use crate::scope::PathSet;
use crate::sys;
use crate::track::touched::names_of_linked_files;

/// What the overlay is attached to.
const POINT: &str = "root";

/// Entries that are looked at through the overlay, of all and of those with several names.
const SAMPLES: usize = 64;

/// That this thread, and whoever it starts from now on, has mounts of its own: nobody else sees what
/// it mounts, and what is mounted goes with the last of them, however that ends.
#[derive(Debug)]
pub struct OwnMounts(());

impl OwnMounts {
    /// Gives the calling thread mounts of its own; what others mount later is seen all the same.
    ///
    /// # Errors
    /// What the kernel says; it takes CAP_SYS_ADMIN.
    pub fn enter() -> io::Result<Self> {
        sys::unshare_mounts()?;
        let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", downstream)?;
        Ok(Self(()))
    }
}

/// An overlay over a tree; what is written is gone when this is dropped.
///
/// It is attached to a directory: more than one step runs on it, and before Linux 6.15 what a process
/// has attached once cannot be handed to another.
#[derive(Debug)]
pub struct TreeOverlay {
    tree: Rootfs,
    // Before the directory that it works in.
    merged: Rootfs,
    attached: Attached,
    scratch: Scratch,
}

/// A mount that is attached as long as this is there.
#[derive(Debug)]
struct Attached {
    point: PathBuf,
}

impl Attached {
    fn attach(mount: OwnedFd, point: PathBuf) -> Result<Self, OverlayError> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, c"", CWD, &point, flags)
            .map_err(|errno| OverlayError::Mount { what: "to attach it", source: errno.into() })?;
        Ok(Self { point })
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Whoever has a file of it open keeps that.
        if let Err(errno) = unmount(&self.point, UnmountFlags::DETACH) {
            tracing::debug!(path = %self.point.display(), %errno, "an overlay stays attached");
        }
    }
}

impl TreeOverlay {
    /// Mounts an overlay over `tree`, which is as `index` says; the index becomes that of what is
    /// seen in the overlay.
    ///
    /// `scratch` is made for it: it must not exist, be on the same file system as the tree, and
    /// outside of it.
    ///
    /// # Errors
    /// Why there can be none here that behaves like a directory. The index is of no use then.
    pub fn mount(
        _mounts: &OwnMounts,
        tree: &Rootfs,
        index: &mut Index,
        scratch: &Path,
    ) -> Result<Self, OverlayError> {
        if let Some(path) = device_that_hides(index) {
            return Err(OverlayError::HidesDevice { path });
        }
        let scratch = Scratch::make(scratch)?;
        scratch.directory(POINT)?;
        let device = |of: &Rootfs| {
            Ok::<_, RootfsError>(marks::metadata(&of.open_dir(&RootfsPath::root())?)?.dev)
        };
        // Only there does a file keep its number when it is copied up, and show that of the tree.
        if device(tree)? != device(&scratch.rootfs)? {
            return Err(OverlayError::AnotherFileSystem);
        }
        let attached = Attached::attach(scratch.mount_over(tree)?, scratch.path.join(POINT))?;
        let merged = Rootfs::open(&attached.point)?;
        let top = marks::metadata(&merged.open_dir(&RootfsPath::root())?)?;
        let unlike = |path| OverlayError::Unlike { path };
        if !index.move_to_device(top.dev) {
            return Err(unlike(RootfsPath::root()));
        }
        if let Some(row) = index.get(&RootfsPath::root()).filter(|row| !row.shadow) {
            // The top is the upper directory's.
            index.insert(&RootfsPath::root(), Row { metadata: top, ..row });
        }
        for id in samples(index) {
            let (path, known) = (index.path(id), index.metadata(id));
            let is_like = merged.metadata(&path)?.is_some_and(|seen| {
                is_same_inode_state(&known, &seen) && is_same_in_image(&known, &seen)
            });
            if !is_like {
                return Err(unlike(path));
            }
        }
        Ok(Self { tree: tree.clone(), merged, attached, scratch })
    }

    /// Returns the directory that it is attached to.
    pub fn point(&self) -> &Path {
        &self.attached.point
    }

    /// Returns what is seen: the tree, and what was written to it.
    pub fn rootfs(&self) -> &Rootfs {
        &self.merged
    }

    /// Returns where what is seen can differ from the tree; `index` is of the last snapshot.
    ///
    /// What a step may have changed is what this says before and after it.
    ///
    /// # Errors
    /// What of the upper layer cannot be read or understood.
    pub fn written(&self, index: &Index) -> Result<PathSet, OverlayError> {
        let upper = self.scratch.rootfs.subtree(&RootfsPath::root().join_name(UPPER.as_bytes()))?;
        let directories = upper::read(&upper, &self.tree)?;
        let mut scope = upper::scope(&directories, index);
        let copies = self.scratch.open(WORK)?.open_dir(INDEX)?.entries()?;
        if copies.iter().any(|entry| entry.kind != FileKind::Directory) {
            // A file of the tree with several names was changed, removed or moved through one: the
            // others show that.
            scope.extend(names_of_linked_files(index));
        }
        Ok(scope)
    }
}

/// Returns entries to look at: whether the overlay shows inode numbers, times and link counts as
/// they are does not depend on which.
fn samples(index: &Index) -> Vec<NodeId> {
    let on_disk = || {
        index.places_below(NodeId::ROOT).filter(|&id| id != NodeId::ROOT && !index.is_shadow(id))
    };
    let is_linked = |id: &NodeId| {
        let metadata = index.metadata(*id);
        metadata.kind != FileKind::Directory && metadata.nlink > 1
    };
    on_disk().take(SAMPLES).chain(on_disk().filter(is_linked).take(SAMPLES)).collect()
}

#[cfg(test)]
mod tests;
