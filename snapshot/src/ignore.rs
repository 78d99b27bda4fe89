//! What a snapshot does not look at.
//!
//! Owns the list; what is on it is neither added nor removed, whatever the index says.

use std::collections::{BTreeSet, HashSet};

use crate::metadata::InodeId;
use crate::path::RootfsPath;

/// Paths and directories that a snapshot leaves out, each with everything below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoreList {
    paths: BTreeSet<RootfsPath>,
    inodes: HashSet<InodeId>,
}

impl IgnoreList {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out `path` and everything below it.
    pub fn insert(&mut self, path: RootfsPath) {
        self.paths.insert(path);
    }

    /// Leaves out a directory and everything below it, wherever it is.
    pub fn insert_inode(&mut self, inode: InodeId) {
        self.inodes.insert(inode);
    }

    /// Tells whether `path`, or a directory above it, was left out by its path.
    pub fn contains(&self, path: &RootfsPath) -> bool {
        self.paths.contains(path) || path.ancestors().any(|above| self.paths.contains(&above))
    }

    /// Tells whether the inode was left out.
    pub(crate) fn contains_inode(&self, inode: InodeId) -> bool {
        self.inodes.contains(&inode)
    }

    /// Returns the names in `directory` that are left out by their path.
    pub(crate) fn names_in(&self, directory: &RootfsPath) -> Vec<Vec<u8>> {
        self.paths
            .range(directory..)
            .take_while(|path| path.starts_with(directory))
            .filter(|path| {
                path.split_last().is_some_and(|(parent, _)| parent == directory.as_bytes())
            })
            .filter_map(|path| path.file_name().map(<[u8]>::to_vec))
            .collect()
    }
}

impl FromIterator<RootfsPath> for IgnoreList {
    fn from_iter<I: IntoIterator<Item = RootfsPath>>(paths: I) -> Self {
        Self { paths: paths.into_iter().collect(), inodes: HashSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RootfsPath {
        RootfsPath::new(text).expect("valid")
    }

    #[test]
    fn a_path_is_left_out_with_what_is_below() {
        let list: IgnoreList = ["proc", "var/run", "var/lib/x"].map(path).into_iter().collect();
        for (text, expected) in
            [("proc", true), ("proc/1/fd", true), ("process", false), ("var", false), ("", false)]
        {
            assert_eq!(list.contains(&path(text)), expected, "{text}");
        }
        assert_eq!(list.names_in(&path("var")), [b"run".to_vec()]);
        assert_eq!(list.names_in(&path("")), [b"proc".to_vec()]);
        assert_eq!(list.names_in(&path("usr")), Vec::<Vec<u8>>::new());
        assert!(IgnoreList::from_iter([path("")]).contains(&path("anything")));
    }
}
