//! An overlay over trees that nobody writes to, for all steps of a stage.
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

use super::{INDEX, OverlayError, Scratch, TreeStack, UPPER, WORK};
use super::{device_that_hides, is_as_known, upper};
use crate::index::Index;
use crate::metadata::FileKind;
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::scope::PathSet;
use crate::sys;
use crate::track::touched::names_of_linked_files;

/// What the overlay is attached to.
const POINT: &str = "root";

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

/// An overlay over trees; what is written is gone when this is dropped.
///
/// It is attached to a directory: more than one step runs on it, and before Linux 6.15 what a process
/// has attached once cannot be handed to another.
#[derive(Debug)]
pub struct TreeOverlay {
    trees: TreeStack,
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
    /// Mounts an overlay over `trees`, which are as `index` says; the index becomes that of what is
    /// seen in the overlay.
    ///
    /// `scratch` is made for it: it must not exist, be on the same file system as the trees, and
    /// outside of them.
    ///
    /// # Errors
    /// Why there can be none here that behaves like a directory. The index is of no use then.
    pub fn mount(
        _mounts: &OwnMounts,
        trees: &TreeStack,
        index: &mut Index,
        scratch: &Path,
    ) -> Result<Self, OverlayError> {
        if let Some(path) = device_that_hides(index) {
            return Err(OverlayError::HidesDevice { path });
        }
        let scratch = Scratch::make(scratch)?;
        scratch.directory(POINT)?;
        let mount = scratch.mount_over_trees(trees)?;
        let attached = Attached::attach(mount, scratch.path.join(POINT))?;
        let merged = Rootfs::open(&attached.point)?;
        is_as_known(&merged, index)?;
        Ok(Self { trees: trees.clone(), merged, attached, scratch })
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
        let directories = upper::read(&upper, self.trees.view())?;
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

#[cfg(test)]
mod tests;
