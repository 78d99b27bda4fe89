//! Trees that lie upon others, and which ones these are.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{BELOW, ROOT, SharedTree, State, TreeDraft, size_of};
use crate::store::shared::{SharedStore, TREES};

/// A tree that is held, so that others can lie upon it; cheap to clone.
#[derive(Clone, Debug)]
pub enum HeldTree {
    /// One that has its name.
    Kept(SharedTree),
    /// One that may get it.
    Draft(TreeDraft),
}

impl HeldTree {
    /// Returns the directory of a tree that has its name.
    pub(super) fn named(&self) -> Option<PathBuf> {
        match self {
            Self::Kept(tree) => Some(tree.folder.clone()),
            Self::Draft(TreeDraft { inner }) => {
                let is_named = matches!(*inner.state(), State::Settled { is_named: true });
                is_named.then(|| inner.place())
            }
        }
    }

    pub(super) fn total_bytes(&self) -> u64 {
        match self {
            Self::Kept(tree) => tree.total_bytes(),
            Self::Draft(TreeDraft { inner }) => {
                let below = inner.below.as_ref().map_or(0, Self::total_bytes);
                size_of(&inner.place()).saturating_add(below)
            }
        }
    }

    /// Notes that the tree is used, later than what lies upon it: that is to go first.
    pub(super) fn touch(&self) {
        let lock = match self {
            Self::Kept(tree) => &tree.lock,
            Self::Draft(TreeDraft { inner }) => &inner.folder.lock,
        };
        // Where this is not allowed, it counts as not used.
        _ = lock.set_modified(SystemTime::now());
        let below = match self {
            Self::Kept(tree) => tree.below.as_deref().cloned().map(Self::Kept),
            Self::Draft(TreeDraft { inner }) => inner.below.clone(),
        };
        if let Some(below) = below {
            below.touch();
        }
    }
}

impl SharedStore {
    /// Returns where the tree is that a mark names, one that may have taken its place included.
    pub(super) fn folder_of(&self, mark: &str) -> Option<PathBuf> {
        let name = mark.split(' ').next()?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name.then(|| self.path(TREES).join(name))
    }

    /// Returns the trees that lie upon nothing any more.
    pub(in crate::store::shared) fn trees_upon_nothing(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.path(TREES)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let folders = entries.map(|entry| entry.map(|entry| entry.path()));
        let folders: Vec<PathBuf> = folders.collect::<io::Result<_>>()?;
        let is_upon_nothing = |folder: &PathBuf| {
            mark_below(folder).is_some_and(|mark| {
                let below = self.folder_of(&mark);
                below.and_then(|below| mark_of(&below)).as_ref() != Some(&mark)
            })
        };
        Ok(folders.into_iter().filter(is_upon_nothing).collect())
    }
}

/// Returns what tells a tree that has its name from all others, later ones of that name included.
pub(super) fn mark_of(folder: &Path) -> Option<String> {
    let root = fs::symlink_metadata(folder.join(ROOT)).ok()?;
    let name = folder.file_name()?.to_str()?;
    // Numbers are used again.
    Some(format!("{name} {} {}.{}", root.ino(), root.ctime(), root.ctime_nsec()))
}

/// Returns that of the tree that another one lies upon, if it does.
pub(super) fn mark_below(folder: &Path) -> Option<String> {
    match fs::read_to_string(folder.join(BELOW)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // What cannot be read names nothing.
        mark => Some(mark.unwrap_or_default()),
    }
}
