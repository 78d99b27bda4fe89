//! Trees that lie one upon the other, and making the next one.
//!
//! What is unpacked upon a tree is written to an overlay over it; its upper directory, with the marks
//! that the kernel has made there of what is gone or hidden, is then a tree itself: a lower directory
//! of whatever is mounted upon both.
//!
//! The idea to hold in mind: an upper directory says not all of what was seen. That other names of a
//! changed file show the change too is in the overlay's index, which lower directories have none of;
//! so all names are brought up before. And a file that was copied up showed the inode number of what it
//! is a copy of, which it does not as a lower one: everything in the directory is looked at again.

use std::fs;
use std::path::Path;

use super::{INDEX, OverlayError, OwnMounts, Scratch, UPPER, WORK};
use super::{device_that_hides, is_as_known, links, marks, mount, upper};
use crate::index::{Index, Row};
use crate::metadata::InodeId;
use crate::mode::is_same_in_image;
use crate::path::RootfsPath;
use crate::rootfs::{Operation, Rootfs, RootfsError};

/// Directories that are seen as one, which nobody writes to.
#[derive(Clone, Debug)]
pub struct TreeStack {
    /// Topmost first; never empty.
    layers: Vec<Rootfs>,
    /// What is seen.
    view: Rootfs,
}

impl TreeStack {
    /// Takes a single directory.
    pub fn single(tree: Rootfs) -> Self {
        Self { layers: vec![tree.clone()], view: tree }
    }

    /// Lays directories over each other, topmost first, as [`NewTree::finish`] has left them.
    ///
    /// # Errors
    /// Why they cannot be. Without any there is [`OverlayError::NoTree`].
    pub fn of(_mounts: &OwnMounts, layers: Vec<Rootfs>) -> Result<Self, OverlayError> {
        let top = layers.first().ok_or(OverlayError::NoTree)?;
        if layers.len() == 1 {
            return Ok(Self::single(top.clone()));
        }
        let mount = mount::mount_lower(&descriptors(&layers))?;
        let view = Rootfs::from_mount(mount, top.host_path());
        Ok(Self { layers, view })
    }

    /// Returns what is seen, which cannot be written to.
    pub fn view(&self) -> &Rootfs {
        &self.view
    }

    /// Returns how many directories there are.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Returns the directories, topmost first.
    pub(super) fn layers(&self) -> &[Rootfs] {
        &self.layers
    }
}

pub(super) fn descriptors(layers: &[Rootfs]) -> Vec<std::os::fd::BorrowedFd<'_>> {
    layers.iter().map(Rootfs::as_fd).collect()
}

/// An overlay whose upper directory becomes a tree upon others.
#[derive(Debug)]
pub struct NewTree {
    below: TreeStack,
    // Before the directory that it works in.
    merged: Rootfs,
    scratch: Scratch,
}

impl NewTree {
    /// Mounts an overlay over `below`, which is as `index` says; the index becomes that of what is seen
    /// in the overlay.
    ///
    /// `scratch` is made for it: it must not exist, be on the same file system as the trees, and
    /// outside of them.
    ///
    /// # Errors
    /// Why there can be none here that behaves like a directory. The index is of no use then.
    pub fn mount(
        _mounts: &OwnMounts,
        below: &TreeStack,
        index: &mut Index,
        scratch: &Path,
    ) -> Result<Self, OverlayError> {
        if let Some(path) = device_that_hides(index) {
            return Err(OverlayError::HidesDevice { path });
        }
        let scratch = Scratch::make(scratch)?;
        let mount = scratch.mount_over_trees(below)?;
        let merged = Rootfs::from_mount(mount, &scratch.path);
        is_as_known(&merged, index)?;
        Ok(Self { below: below.clone(), merged, scratch })
    }

    /// Returns where to write.
    pub fn rootfs(&self) -> &Rootfs {
        &self.merged
    }

    /// Unmounts the overlay, and makes what was written to it the directory `to`, which may exist if
    /// it is empty; returns it upon the others. `index`, which is of what was seen, becomes that of
    /// what is seen then.
    ///
    /// Nobody may hold on to what [`NewTree::rootfs`] gave.
    ///
    /// # Errors
    /// Why it shows something else as a tree. It is of no use then, as is the index.
    pub fn finish(
        self,
        mounts: &OwnMounts,
        index: &mut Index,
        to: &Path,
    ) -> Result<TreeStack, OverlayError> {
        let Self { below, merged, scratch } = self;
        bring_up_names(&merged, &scratch, index)?;
        drop(merged);
        let layer = scratch.rootfs.subtree(&RootfsPath::root().join_name(UPPER.as_bytes()))?;
        let directories = upper::read(&layer, below.view())?;
        if let Some(moved) = directories.iter().find(|directory| directory.is_moved()) {
            // Whatever is made of trees is not asked to follow these.
            let (what, path) = ("a moved directory", moved.path.clone());
            return Err(OverlayError::UnknownForm { what, path });
        }
        drop(layer);
        // With it go the second names that the kernel's index has of files.
        scratch.remove(WORK)?;
        fs::rename(scratch.path.join(UPPER), to).map_err(|source| RootfsError::Io {
            operation: Operation::Rename,
            path: RootfsPath::root(),
            source,
        })?;
        let layers = [&[Rootfs::open(to)?], below.layers()].concat();
        let stack = TreeStack::of(mounts, layers)?;
        look_again(stack.view(), index, &directories)?;
        Ok(stack)
    }
}

/// Gives each name that shows a copied file the copy itself.
fn bring_up_names(merged: &Rootfs, scratch: &Scratch, index: &Index) -> Result<(), OverlayError> {
    let copies = scratch.open(WORK)?.open_dir(INDEX)?;
    let device = marks::metadata(&merged.open_dir(&RootfsPath::root())?)?.dev;
    for original in links::originals(&scratch.rootfs, &copies)? {
        // An overlay shows the number of what was copied.
        let names = index.paths_of(InodeId { dev: device, ino: original.ino });
        for path in &names {
            let unlike = || OverlayError::Unlike { path: path.clone() };
            let seen = merged.metadata(path)?.ok_or_else(unlike)?;
            if names.len() as u64 != u64::from(seen.nlink) || seen.ino != original.ino {
                return Err(unlike());
            }
            // Whatever is set has the name copied up.
            merged.set_mtime(path, seen.mtime)?;
        }
    }
    Ok(())
}

/// Puts into the index what is seen of everything that is in the topmost directory.
fn look_again(
    view: &Rootfs,
    index: &mut Index,
    directories: &[upper::UpperDirectory],
) -> Result<(), OverlayError> {
    let top = marks::metadata(&view.open_dir(&RootfsPath::root())?)?;
    let unlike = |path| OverlayError::Unlike { path };
    if !index.move_to_device(top.dev) {
        return Err(unlike(RootfsPath::root()));
    }
    for directory in directories {
        let entries = directory.entries.iter().filter(|entry| !entry.is_gone);
        let inside = entries.map(|entry| directory.path.join_name(&entry.name));
        for path in std::iter::once(directory.path.clone()).chain(inside) {
            let row = index.get(&path).filter(|row| !row.shadow);
            let found = view.metadata(&path)?;
            let Some((row, metadata)) = row.zip(found) else { return Err(unlike(path)) };
            if !is_same_in_image(&row.metadata, &metadata) {
                return Err(unlike(path));
            }
            index.insert(&path, Row { metadata, ..row });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
