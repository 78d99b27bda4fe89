//! Where a snapshot has to look.
//!
//! Owns [`Scope`] and [`PathSet`]. A scope is a superset of what may have changed: too much costs
//! time, too little loses changes. Knows nothing of who made it.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;

use crate::index::{Index, NodeId};
use crate::path::RootfsPath;

/// The part of a root file system that a snapshot looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it, and why nothing narrower would do.
    Everything(Reason),
    /// These paths; nothing else can have changed.
    Only(PathSet),
}

/// Why a snapshot looks at everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The mode that was asked for looks at everything.
    Mode,
    /// No change tracker runs.
    NoTracker,
    /// The kernel's event queue overflowed.
    QueueOverflow,
    /// The kernel reported a file-system error in place of events.
    FileSystemError,
    /// The watch limit was reached.
    WatchLimit,
    /// The kernel had no memory for a watch or a mark.
    OutOfMemory,
    /// Reading the events failed.
    ReadError,
    /// An event of a form nobody knows came.
    UnknownRecord,
    /// An event named an object that could not be found again.
    UnresolvedHandle,
    /// The last event, which proves that all earlier ones were read, did not come.
    SentinelMissing,
    /// File systems were mounted or unmounted below the root during the step.
    MountsChanged,
    /// The thread that reads events ended.
    ReaderGone,
    /// The clock was set during the step.
    ClockStepped,
    /// A process of the step could not be ended.
    Straggler,
    /// Nearly all of what is there may have changed, and to look for each path costs more than to look at
    /// everything.
    LargeScope,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Mode => "the snapshot mode looks at everything",
            Self::NoTracker => "no change tracker runs",
            Self::QueueOverflow => "the event queue overflowed",
            Self::FileSystemError => "the file system reported an error",
            Self::WatchLimit => "the watch limit was reached",
            Self::OutOfMemory => "the kernel had no memory for a watch",
            Self::ReadError => "events could not be read",
            Self::UnknownRecord => "an unknown event came",
            Self::UnresolvedHandle => "an event named an object that cannot be found",
            Self::SentinelMissing => "the last event did not come",
            Self::MountsChanged => "mounts changed during the step",
            Self::ReaderGone => "the event reader ended early",
            Self::ClockStepped => "the clock was set during the step",
            Self::Straggler => "a process of the step could not be ended",
            Self::LargeScope => "nearly all of the tree may have changed",
        })
    }
}

/// How much of a path a [`PathSet`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// The entry itself: its metadata and content. For a directory, the names in it are *not*
    /// meant: one that came or went is in the set by its own path.
    Entry,
    /// The entry and everything below it.
    Subtree,
}

/// A set of paths, each alone or with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathSet(BTreeMap<RootfsPath, Extent>);

impl PathSet {
    /// Returns the empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `path` alone. Returns whether that was news.
    pub fn insert(&mut self, path: RootfsPath) -> bool {
        if self.contains(&path) {
            return false;
        }
        self.0.insert(path, Extent::Entry);
        true
    }

    /// Adds `path` and everything below it, now or later. Returns whether that was news.
    pub fn insert_subtree(&mut self, path: RootfsPath) -> bool {
        if self.contains_subtree(&path) {
            return false;
        }
        // What the subtree covers need not be listed again.
        let covered: Vec<RootfsPath> =
            path.within(&self.0).map(|(below, _)| below.clone()).collect();
        for below in covered {
            self.0.remove(&below);
        }
        self.0.insert(path, Extent::Subtree);
        true
    }

    /// Adds everything that is in `other`.
    pub fn merge(&mut self, other: Self) {
        for (path, extent) in other {
            match extent {
                Extent::Entry => self.insert(path),
                Extent::Subtree => self.insert_subtree(path),
            };
        }
    }

    /// Tells whether `path` is in the set, by itself or through a subtree.
    pub fn contains(&self, path: &RootfsPath) -> bool {
        self.0.contains_key(path) || self.contains_subtree(path)
    }

    /// Tells whether everything below `path` is in the set, as `path` itself.
    pub fn contains_subtree(&self, path: &RootfsPath) -> bool {
        let is_subtree = |path: &RootfsPath| self.0.get(path) == Some(&Extent::Subtree);
        is_subtree(path) || path.ancestors().any(|above| is_subtree(&above))
    }

    /// Returns the paths in order with how much of each is meant; what lies below a subtree is
    /// not listed again.
    pub fn iter(&self) -> impl Iterator<Item = (&RootfsPath, Extent)> {
        self.0.iter().map(|(path, &extent)| (path, extent))
    }

    /// Returns the number of paths listed, a subtree counting as one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A set of paths that is closed: with a path come the directories above it, and with one name of
/// an inode all names that the index knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedScope(Vec<(RootfsPath, Extent)>);

impl ClosedScope {
    /// Returns the paths in order; what lies below a subtree is not listed again.
    pub(crate) fn entries(&self) -> &[(RootfsPath, Extent)] {
        &self.0
    }
}

impl PathSet {
    /// Closes the set over what else may have changed when its paths did.
    pub(crate) fn close(self, index: &Index) -> ClosedScope {
        let mut aliases = Vec::new();
        for (path, extent) in self.iter() {
            let Some(id) = index.find(path) else { continue };
            match extent {
                Extent::Entry => add_aliases(index, id, &mut aliases),
                Extent::Subtree => {
                    index.places_below(id).for_each(|id| add_aliases(index, id, &mut aliases));
                }
            }
        }
        let mut closed = self;
        closed.extend(aliases);
        closed.close_above()
    }

    /// Closes the set over the directories above its paths alone, which misses changes: to show that
    /// tests find out.
    pub(crate) fn close_above(mut self) -> ClosedScope {
        let mut above = PathSet::new();
        for (path, _) in self.iter() {
            // Once a directory is there, so are those above it.
            for directory in path.ancestors() {
                if !above.insert(directory) {
                    break;
                }
            }
        }
        self.extend(above.0.into_keys());
        ClosedScope(self.0.into_iter().collect())
    }
}

fn add_aliases(index: &Index, id: NodeId, aliases: &mut Vec<RootfsPath>) {
    aliases.extend(index.links_of(id).filter(|&link| link != id).map(|link| index.path(link)));
}

/// A smaller set is looked for by its paths, however small the tree is.
const SMALL_SET: usize = 1024;

/// Looking for so many paths costs as much as looking at [`WALKED_FOR_THAT`] in a walk of everything:
/// on ext4, of 50,000 files, 1.4 µs of processor time a path against 1.2 µs (`benches/snapshot.rs`).
const LOOKED_FOR: u64 = 6;
const WALKED_FOR_THAT: u64 = 7;

impl PathSet {
    /// Tells whether looking at everything costs less than looking for these paths: a decision on
    /// cost alone.
    ///
    /// What is new is looked at either way, and so is what is below a subtree.
    pub(crate) fn is_dearer_than_all(&self, index: &Index) -> bool {
        let known_count = index.len() as u64;
        let is_dear = |path_count: usize| {
            (path_count as u64).saturating_mul(WALKED_FOR_THAT)
                > known_count.saturating_mul(LOOKED_FOR)
        };
        // The paths that are known have to be found out, which is not for every small set.
        self.len() >= SMALL_SET && is_dear(self.len()) && {
            let is_known = |(path, extent): &(&RootfsPath, Extent)| {
                *extent == Extent::Entry && index.find(path).is_some()
            };
            is_dear(self.iter().filter(is_known).count())
        }
    }
}

impl FromIterator<RootfsPath> for PathSet {
    fn from_iter<I: IntoIterator<Item = RootfsPath>>(paths: I) -> Self {
        let mut set = Self::new();
        set.extend(paths);
        set
    }
}

impl Extend<RootfsPath> for PathSet {
    fn extend<I: IntoIterator<Item = RootfsPath>>(&mut self, paths: I) {
        for path in paths {
            self.insert(path);
        }
    }
}

impl IntoIterator for PathSet {
    type Item = (RootfsPath, Extent);
    type IntoIter = btree_map::IntoIter<RootfsPath, Extent>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Row;
    use crate::metadata::{FileKind, Metadata, Timestamp};

    fn path(text: &str) -> RootfsPath {
        RootfsPath::new(text).expect("valid")
    }

    fn listed(set: &PathSet) -> Vec<(String, Extent)> {
        set.iter().map(|(path, extent)| (path.to_string(), extent)).collect()
    }

    #[test]
    fn a_subtree_takes_in_what_lies_below() {
        let mut set: PathSet = ["a/b", "a-b", "a/b/c", "d"].map(path).into_iter().collect();
        assert!(!set.insert(path("d")));
        assert!(set.insert_subtree(path("a")));
        assert!(!set.insert(path("a/x")));
        assert!(!set.insert_subtree(path("a/b")));
        let expected = [("/a", Extent::Subtree), ("/a-b", Extent::Entry), ("/d", Extent::Entry)];
        assert_eq!(listed(&set), expected.map(|(path, extent)| (path.to_owned(), extent)));
        for (text, expected) in
            [("a", true), ("a/any/where", true), ("a-b", true), ("a-b/c", false), ("", false)]
        {
            assert_eq!(set.contains(&path(text)), expected, "{text}");
        }
        assert!(set.contains_subtree(&path("a/x")));
        assert!(!set.contains_subtree(&path("d")));
    }

    #[test]
    fn sets_are_merged_with_their_subtrees() {
        let mut set: PathSet = ["a/b", "c"].map(path).into_iter().collect();
        let mut other: PathSet = [path("d")].into_iter().collect();
        other.insert_subtree(path("a"));
        set.merge(other);
        let expected = [("/a", Extent::Subtree), ("/c", Extent::Entry), ("/d", Extent::Entry)];
        assert_eq!(listed(&set), expected.map(|(path, extent)| (path.to_owned(), extent)));
    }

    #[test]
    fn an_entry_becomes_a_subtree() {
        let mut set: PathSet = [path("a")].into_iter().collect();
        assert!(set.insert_subtree(path("a")));
        assert_eq!(listed(&set), [("/a".to_owned(), Extent::Subtree)]);
    }

    #[test]
    fn a_scope_is_closed_over_directories_and_names_of_an_inode() {
        let mut index = Index::new();
        let directory = |ino| row(FileKind::Directory, ino);
        for (text, row) in [
            ("a", directory(1)),
            ("a/one", row(FileKind::Regular, 10)),
            ("b", directory(2)),
            ("b/c", directory(3)),
            ("b/c/two", row(FileKind::Regular, 10)),
            ("d", directory(4)),
            ("d/three", row(FileKind::Regular, 11)),
            ("four", row(FileKind::Regular, 11)),
        ] {
            index.insert(&path(text), row);
        }
        let mut set = PathSet::new();
        set.insert(path("a/one"));
        set.insert(path("new/deep/name"));
        set.insert_subtree(path("d"));
        let closed = set.close(&index);
        let expected = [
            ("", Extent::Entry),
            ("a", Extent::Entry),
            ("a/one", Extent::Entry),
            ("b", Extent::Entry),
            ("b/c", Extent::Entry),
            ("b/c/two", Extent::Entry),
            ("d", Extent::Subtree),
            ("four", Extent::Entry),
            ("new", Extent::Entry),
            ("new/deep", Extent::Entry),
            ("new/deep/name", Extent::Entry),
        ];
        assert_eq!(closed.entries(), expected.map(|(text, extent)| (path(text), extent)));
    }

    #[test]
    fn a_set_of_nearly_all_of_a_large_tree_is_dearer_than_all_of_it() {
        let mut index = Index::new();
        let name = |number: usize| path(&format!("d/f{number}"));
        index.insert(&path("d"), row(FileKind::Directory, 1));
        for number in 0..4_000 {
            index.insert(&name(number), row(FileKind::Regular, 10 + number as u64));
        }
        let set = |count: usize| -> PathSet { (0..count).map(name).collect() };
        assert!(!set(100).is_dearer_than_all(&index));
        assert!(!set(3_429).is_dearer_than_all(&index));
        assert!(set(3_430).is_dearer_than_all(&index));
        // What is not there yet makes the walk longer too.
        let new: PathSet = (0..9_000).map(|number| path(&format!("d/g{number}"))).collect();
        assert!(!new.is_dearer_than_all(&index));
        let mut whole = PathSet::new();
        whole.insert_subtree(RootfsPath::root());
        assert!(!whole.is_dearer_than_all(&index));
        // Of a small tree everything is little.
        let mut small = Index::new();
        (0..900).for_each(|number| {
            small.insert(&name(number), row(FileKind::Regular, 10 + number as u64));
        });
        assert!(!set(900).is_dearer_than_all(&small));
    }

    fn row(kind: FileKind, ino: u64) -> Row {
        let time = Timestamp::EPOCH;
        let metadata = Metadata {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: time,
            ctime: time,
            dev: 1,
            ino,
            nlink: 1,
            rdev_major: 0,
            rdev_minor: 0,
        };
        Row { metadata, content: None, xattrs: None, shadow: false }
    }

    #[test]
    fn the_root_as_subtree_is_everything() {
        let mut set: PathSet = ["a", "b/c"].map(path).into_iter().collect();
        set.insert_subtree(RootfsPath::root());
        assert_eq!(listed(&set), [("/".to_owned(), Extent::Subtree)]);
        assert!(set.contains(&path("x/y")));
        assert_eq!((set.len(), set.is_empty()), (1, false));
    }
}
