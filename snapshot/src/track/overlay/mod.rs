//! The `overlay` tracker: a step runs on an overlay whose lower layer is the root.
//!
//! The upper layer is the kernel's own record of the step: whatever was written is in it, and
//! whatever went has a mark there. Reading it costs what changed. Afterwards what is in it is moved
//! into the root, so that between steps a root is a plain directory, whatever recorded them: the
//! index knows its inodes, COPY writes to it, and no stack of layers grows. That costs what changed
//! too.
//!
//! Stacking the upper layers instead was rejected: a layer that becomes a lower one loses the index
//! of its hard links, so that other names of a file would show what it was before.
//!
//! The idea to hold in mind: while the step runs, the root itself is not written to. Everything that
//! belongs to the step (its working directory, its mount points) is done through [`StepOverlay::rootfs`].

mod error;
mod links;
mod marks;
mod merge;
mod mount;
mod stack;
mod tree;
mod upper;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::index::{Index, NodeId, Row};
use crate::metadata::FileKind;
use crate::mode::{is_same_in_image, is_same_inode_state};
use crate::mountinfo;
use crate::path::RootfsPath;
use crate::rootfs::{Directory, Operation, Rootfs, RootfsError};
use crate::scope::PathSet;

pub use error::OverlayError;
use merge::Merge;
pub(super) use mount::mount_plain;
pub use stack::{NewTree, TreeStack};
pub use tree::{OwnMounts, TreeOverlay};

/// What is in the directory for a step's changes.
const UPPER: &str = "upper";
const WORK: &str = "work";
const ASIDE: &str = "aside";

/// What the kernel calls its index of hard links, in the directory it works in.
const INDEX: &[u8] = b"index";

/// Entries that are looked at through an overlay over trees, of all and of those with several names.
const SAMPLES: usize = 64;

/// How often a mount is tried whose lower layer is still somebody's upper directory, and the pause
/// between two tries: two seconds in all.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// An overlay over a root, for one step.
///
/// When it is dropped, the root is as it was before the step.
#[derive(Debug)]
pub struct StepOverlay {
    root: Rootfs,
    // Before the directory that it works in.
    merged: Rootfs,
    scratch: Scratch,
}

/// A directory that goes with this value.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    rootfs: Rootfs,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            // It is in the work directory of the build, which goes too.
            tracing::debug!(path = %self.path.display(), %error, "an overlay's directory stays");
        }
    }
}

impl StepOverlay {
    /// Mounts an overlay over `root`, which is as `index` says.
    ///
    /// `scratch` is made for it: it must not exist, and be on the same mount as the root and outside
    /// of it.
    ///
    /// # Errors
    /// Why there can be none here that behaves like a directory. The root is untouched then.
    pub fn mount(root: &Rootfs, index: &Index, scratch: &Path) -> Result<Self, OverlayError> {
        if let Some(path) = device_that_hides(index) {
            return Err(OverlayError::HidesDevice { path });
        }
        let scratch = Scratch::make(scratch)?;
        let mount_id = |of: &Rootfs| mountinfo::mount_id(of.as_fd(), c"");
        let io_error = |source| RootfsError::Io {
            operation: Operation::ListMounts,
            path: RootfsPath::root(),
            source,
        };
        if mount_id(root).map_err(io_error)? != mount_id(&scratch.rootfs).map_err(io_error)? {
            return Err(OverlayError::AnotherMount);
        }
        scratch.directory(ASIDE)?;
        let mount = scratch.mount_over(std::slice::from_ref(root), wait)?;
        let merged = Rootfs::from_mount(mount, root.host_path());
        Ok(Self { root: root.clone(), merged, scratch })
    }

    /// Returns what the step has to run on.
    pub fn rootfs(&self) -> &Rootfs {
        &self.merged
    }

    /// Unmounts the overlay, makes the root what was seen in it, and returns what may have changed;
    /// `index` is as it was when the step began.
    ///
    /// No process of the step may be alive, and nobody may hold on to what [`StepOverlay::rootfs`]
    /// gave.
    ///
    /// # Errors
    /// What could not be moved. The root is of no use then.
    pub fn finish(self, index: &Index) -> Result<PathSet, OverlayError> {
        let Self { root, merged, scratch } = self;
        drop(merged);
        let upper = scratch.rootfs.subtree(&RootfsPath::new(UPPER).unwrap_or_default())?;
        let directories = upper::read(&upper, &root)?;
        let mut scope = upper::scope(&directories, index);
        let (work, aside) = (scratch.open(WORK)?, scratch.open(ASIDE)?);
        let relinked = links::relink(&root, &work.open_dir(INDEX)?, index, &aside)?;
        scope.extend(relinked);
        Merge { root: &root, upper: &upper, aside: &aside }.run(&directories)?;
        tracing::debug!(paths = scope.len(), directories = directories.len(), "overlay merged");
        Ok(scope)
    }
}

impl Scratch {
    fn make(path: &Path) -> Result<Self, OverlayError> {
        let failed = |source: io::Error| {
            OverlayError::Rootfs(RootfsError::Open { host_path: path.to_owned(), source })
        };
        fs::create_dir(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), rootfs: Rootfs::open(path)? })
    }

    /// Mounts an overlay that has its upper layer here over trees, which have to be on the same file
    /// system.
    fn mount_over_trees(&self, trees: &TreeStack) -> Result<OwnedFd, OverlayError> {
        let device = |of: &Rootfs| {
            Ok::<_, RootfsError>(marks::metadata(&of.open_dir(&RootfsPath::root())?)?.dev)
        };
        let here = device(&self.rootfs)?;
        // Only there does a file keep its number when it is copied up, and show that of the tree.
        for tree in trees.layers() {
            if device(tree)? != here {
                return Err(OverlayError::AnotherFileSystem);
            }
        }
        self.mount_over(trees.layers(), wait)
    }

    /// Mounts an overlay that has its upper layer here; `lower` is not empty, topmost first.
    ///
    /// It is tried again after `pause` while a lower directory is the upper one of another overlay. Of
    /// one that was given up a moment ago, a program that is being started elsewhere in this process has
    /// the descriptors until it is executed, and the kernel does not let go before.
    fn mount_over(
        &self,
        lower: &[Rootfs],
        mut pause: impl FnMut(),
    ) -> Result<OwnedFd, OverlayError> {
        let root = lower.first().ok_or(OverlayError::NoTree)?;
        for name in [UPPER, WORK] {
            self.directory(name)?;
        }
        let upper = self.open(UPPER)?;
        // The top of the overlay is the upper directory's.
        let top = root.open_dir(&RootfsPath::root())?;
        marks::copy(&top, &upper, marks::metadata(&top)?.mtime)?;
        let mut tries = 1..TRIES;
        loop {
            let work = self.open(WORK)?;
            match mount::mount(&stack::descriptors(lower), upper.as_fd(), work.as_fd()) {
                Err(error) if error.is_busy() && tries.next().is_some() => {
                    pause();
                    // It has the mark of a mount that was not ended by then.
                    self.remove(WORK)?;
                    self.directory(WORK)?;
                }
                Err(error) => return Err(error),
                // What the kernel cannot do it leaves out without a word.
                Ok(mount) => match work.metadata(INDEX)? {
                    Some(index) if index.kind == FileKind::Directory => return Ok(mount),
                    _ => return Err(OverlayError::NoIndex),
                },
            }
        }
    }

    /// Removes a directory, and all that is in it.
    fn remove(&self, name: &str) -> Result<(), RootfsError> {
        fs::remove_dir_all(self.path.join(name)).map_err(|source| RootfsError::Io {
            operation: Operation::Remove,
            path: RootfsPath::root(),
            source,
        })
    }

    fn top(&self) -> Result<Directory, RootfsError> {
        self.rootfs.open_dir(&RootfsPath::root())
    }

    fn directory(&self, name: &str) -> Result<(), RootfsError> {
        self.top()?.create_dir(name.as_bytes(), 0o700)
    }

    fn open(&self, name: &str) -> Result<Directory, RootfsError> {
        self.top()?.open_dir(name.as_bytes())
    }
}

fn wait() {
    thread::sleep(PAUSE);
}

/// Makes `index`, which is of trees, that of `merged`, an overlay over them.
///
/// # Errors
/// [`OverlayError::Unlike`] when that does not show the trees' inodes as they are.
fn is_as_known(merged: &Rootfs, index: &mut Index) -> Result<(), OverlayError> {
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
    Ok(())
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

/// Returns a device of the root that an overlay takes for the mark of a removed file.
fn device_that_hides(index: &Index) -> Option<RootfsPath> {
    index.places_below(NodeId::ROOT).map(|id| (id, index.metadata(id))).find_map(
        |(id, metadata)| {
            (!index.is_shadow(id) && upper::is_whiteout(&metadata)).then(|| index.path(id))
        },
    )
}

#[cfg(test)]
mod tests;
