//! What a tracker was told, and the scope that follows from it.
//!
//! Pure: events in, paths out. Events name inodes, never paths, because a path can mean another file
//! by the time its event is read, while an inode is the same one throughout a step. What an inode
//! was called when the step began, the [`Index`] knows; what it is called now is found by the walk,
//! through the names that came or went.

use std::collections::{HashMap, HashSet};

use crate::index::Index;
use crate::metadata::{FileKind, InodeId};
use crate::path::{self, RootfsPath};
use crate::scope::{PathSet, Reason, Scope};

/// More inodes and names than this are not kept: looking at everything is no dearer then. 500,000
/// take some 60 MiB.
const MAX_NOTES: usize = 500_000;

/// What happened to a name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameNote {
    /// Something came or went.
    Entry,
    /// A directory came: all of it is new here, though none of it says so.
    Directory,
}

/// The inodes and names that events named.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    inodes: HashSet<InodeId>,
    names: HashMap<InodeId, HashMap<Box<[u8]>, NameNote>>,
    name_count: usize,
    doubt: Option<Reason>,
}

/// What the translation leaves out, to show that tests find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Omissions {
    /// Of several names of an inode only one is looked at.
    pub(crate) aliases: bool,
    /// A directory that came is looked at by itself.
    pub(crate) subtrees: bool,
}

impl Touched {
    /// Notes that an inode may have changed.
    pub(crate) fn inode(&mut self, inode: InodeId) {
        if self.has_room() {
            self.inodes.insert(inode);
        }
    }

    /// Notes that `name` in `directory` came or went, which changes the directory too.
    pub(crate) fn name(&mut self, directory: InodeId, name: &[u8], note: NameNote) {
        if !path::is_name(name) {
            self.doubt(Reason::UnknownRecord);
            return;
        }
        if !self.has_room() {
            return;
        }
        self.inodes.insert(directory);
        let names = self.names.entry(directory).or_default();
        match names.get_mut(name) {
            Some(known) => *known = note.max(*known),
            None => {
                names.insert(name.into(), note);
                self.name_count += 1;
            }
        }
    }

    /// Notes that something may have happened that no note tells. The first reason stays.
    pub(crate) fn doubt(&mut self, reason: Reason) {
        self.doubt.get_or_insert(reason);
    }

    /// Tells whether notes make a difference any more.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Returns the number of notes.
    pub(crate) fn len(&self) -> usize {
        self.inodes.len() + self.name_count
    }

    /// Returns what has to be looked at. `index` and `root` are as they were when the step began.
    ///
    /// An inode that the index does not know was not in the root then. If it is now, it came with a
    /// name, or in a directory that came with one.
    pub(crate) fn into_scope(self, index: &Index, root: InodeId, omissions: Omissions) -> Scope {
        if let Some(reason) = self.doubt {
            return Scope::Everything(reason);
        }
        let names_of = |inode| -> Vec<RootfsPath> {
            if inode == root {
                return vec![RootfsPath::root()];
            }
            let mut names = index.paths_of(inode);
            if omissions.aliases {
                names.truncate(1);
            }
            names
        };
        let mut paths = PathSet::new();
        for inode in self.inodes {
            paths.extend(names_of(inode));
        }
        for (directory, names) in self.names {
            for parent in names_of(directory) {
                for (name, note) in &names {
                    let path = parent.join_name(name);
                    match note {
                        NameNote::Directory if !omissions.subtrees => paths.insert_subtree(path),
                        _ => paths.insert(path),
                    };
                }
            }
        }
        Scope::Only(paths)
    }

    fn has_room(&mut self) -> bool {
        if self.doubt.is_none() && self.len() >= MAX_NOTES {
            self.doubt(Reason::QueueOverflow);
        }
        if self.doubt.is_some() {
            // Nothing is read of these any more.
            self.inodes = HashSet::new();
            self.names = HashMap::new();
            self.name_count = 0;
        }
        self.doubt.is_none()
    }
}

/// Returns every name of every inode that has several, directories apart: on an overlay, a file of a
/// lower layer with several links tells its watchers nothing once its inode was reclaimed (without
/// `index=on`, its names stop being one file with the first write).
pub(crate) fn names_of_linked_files(index: &Index) -> Vec<RootfsPath> {
    let is_linked = |row: &crate::index::Row| {
        row.metadata.nlink > 1 && row.metadata.kind != FileKind::Directory && !row.shadow
    };
    index.iter().filter(|(_, row)| is_linked(row)).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests;
