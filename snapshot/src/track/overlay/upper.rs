//! What a step left in the upper directory of its overlay.
//!
//! Reads only. The form is overlayfs': a character device 0:0 says that a name is gone, an attribute
//! that a directory shows nothing of the one below it, or what another one holds.

use crate::index::Index;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::scope::PathSet;

use super::error::OverlayError;
use super::marks::{self, Marks};

/// A directory of the upper layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UpperDirectory {
    /// Where it is, in the upper directory as in what the step saw.
    pub path: RootfsPath,
    pub below: Below,
    /// Nothing in it and below it has to do with the root: it can be moved over as it is.
    pub is_whole: bool,
    /// When it was last changed, before anything is moved out of it.
    pub mtime: Timestamp,
    /// Everything in it but directories.
    pub entries: Vec<Entry>,
    /// The place of the directory above it.
    parent: Option<usize>,
}

/// What of the root is seen in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Below {
    /// The root's directory of the same path.
    Same,
    /// The one that was here when the step began.
    Moved(RootfsPath),
    /// Nothing.
    Nothing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: Vec<u8>,
    /// There is no such name any more.
    pub is_gone: bool,
}

/// Returns the directories in `upper`, parents first. `root` is what the overlay lay on.
pub(super) fn read(upper: &Rootfs, root: &Rootfs) -> Result<Vec<UpperDirectory>, OverlayError> {
    let mut directories: Vec<UpperDirectory> = Vec::new();
    let mut pending = vec![(RootfsPath::root(), None, Some(RootfsPath::root()))];
    while let Some((path, parent, below)) = pending.pop() {
        // One at a time is open, whatever the depth and breadth of the tree.
        let directory = upper.open_dir(&path)?;
        let marks = Marks::of(&directory)?;
        let mtime = marks::metadata(&directory)?.mtime;
        let below = lower_directory(root, &path, below, &marks)?;
        let mut entries = Vec::new();
        let mut is_whole = below.is_none() && !marks.is_impure && marks.redirect.is_none();
        for entry in directory.entries()? {
            if entry.kind == FileKind::Directory {
                let lower = below.as_ref().map(|below| below.join_name(&entry.name));
                pending.push((path.join_name(&entry.name), Some(directories.len()), lower));
                continue;
            }
            let is_gone = entry.kind == FileKind::CharDevice
                && directory.metadata(&entry.name)?.is_some_and(|node| is_whiteout(&node));
            is_whole &= !is_gone;
            entries.push(Entry { name: entry.name, is_gone });
        }
        let below = match below {
            None => Below::Nothing,
            Some(below) if below == path => Below::Same,
            Some(below) => Below::Moved(below),
        };
        directories.push(UpperDirectory { path, below, is_whole, mtime, entries, parent });
    }
    // Parents come first, so that this sees each after all that is in it.
    for place in (0..directories.len()).rev() {
        let parent = match directories.get(place) {
            Some(UpperDirectory { is_whole: false, parent: Some(parent), .. }) => *parent,
            Some(_) | None => continue,
        };
        if let Some(parent) = directories.get_mut(parent) {
            parent.is_whole = false;
        }
    }
    Ok(directories)
}

/// Returns which directory of the root is seen in one of the upper layer.
///
/// A redirection is a path from the top of the lower layer, or a name beside the one that would be
/// seen.
fn lower_directory(
    root: &Rootfs,
    path: &RootfsPath,
    below: Option<RootfsPath>,
    marks: &Marks,
) -> Result<Option<RootfsPath>, OverlayError> {
    if marks.is_opaque && marks.redirect.is_none() {
        return Ok(None);
    }
    let unknown = || OverlayError::UnknownForm { what: "a redirection", path: path.clone() };
    let below = match (&marks.redirect, below) {
        (None, below) => below,
        (Some(redirect), _) if redirect.starts_with(b"/") => {
            Some(RootfsPath::new(redirect).map_err(|_| unknown())?)
        }
        (Some(name), Some(below)) if !name.contains(&b'/') => {
            let parent = below.parent().ok_or_else(unknown)?;
            Some(parent.join(name).map_err(|_| unknown())?)
        }
        // Where nothing is seen in the directory above, there is nothing beside it.
        (Some(_), _) => None,
    };
    let Some(below) = below else { return Ok(None) };
    let is_directory =
        root.metadata(&below)?.is_some_and(|found| found.kind == FileKind::Directory);
    Ok(is_directory.then_some(below))
}

/// Tells whether overlayfs takes a node for its mark of a removed file.
pub(super) fn is_whiteout(node: &Metadata) -> bool {
    node.kind == FileKind::CharDevice && (node.rdev_major, node.rdev_minor) == (0, 0)
}

/// Returns what may have changed in a root that was `index` before.
pub(super) fn scope(directories: &[UpperDirectory], index: &Index) -> PathSet {
    let mut paths = PathSet::new();
    for directory in directories {
        let was = index.get(&directory.path).map(|row| row.metadata.kind);
        let is_known = directory.path.is_root() || was == Some(FileKind::Directory);
        if directory.below == Below::Same && is_known {
            paths.insert(directory.path.clone());
            for entry in &directory.entries {
                paths.insert(directory.path.join_name(&entry.name));
            }
        } else {
            paths.insert_subtree(directory.path.clone());
        }
    }
    paths
}

impl UpperDirectory {
    /// Tells whether what is seen of the root in it is elsewhere there.
    pub(super) fn is_moved(&self) -> bool {
        matches!(self.below, Below::Moved(_))
    }

    /// Tells whether it goes with the directory above it.
    pub(super) fn is_part_of_whole(&self, directories: &[UpperDirectory]) -> bool {
        let parent = self.parent.and_then(|parent| directories.get(parent));
        parent.is_some_and(|parent| parent.is_whole)
    }
}
