//! What differs between two states of a root file system.
//!
//! Owns [`Change`] and [`Changeset`], the product of a snapshot and the input of a layer. Knows
//! nothing of how changes are found, and holds no content.

use crate::metadata::Metadata;
use crate::path::RootfsPath;

/// Why a path is in a changeset.
///
/// Ordered by how much it says: where one path is given for two reasons, the greater one stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// An unchanged directory above a change, there so that a layer carries its metadata.
    Ancestor,
    /// An unchanged name of an inode another name of which was made, changed or removed.
    Linked,
    /// The name is gone; what was below it went with it and is not listed.
    Removed,
    /// The name was there, and what it names is different now.
    Modified,
    /// The name was not there.
    Added,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: RootfsPath,
    /// Why it is here.
    pub kind: ChangeKind,
    /// What is there now; `None` exactly for [`ChangeKind::Removed`].
    pub metadata: Option<Metadata>,
}

/// A set of changes: sorted by path (parents first), one per path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changeset(Vec<Change>);

impl Changeset {
    /// Returns the set of `changes`, given in any order.
    ///
    /// Of two changes of one path the one of the greater [`ChangeKind`] stays.
    pub fn new(changes: impl IntoIterator<Item = Change>) -> Self {
        let mut changes: Vec<Change> = changes.into_iter().collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path).then(b.kind.cmp(&a.kind)));
        changes.dedup_by(|later, kept| later.path == kept.path);
        Self(changes)
    }

    /// Returns the changes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.0.iter()
    }

    /// Returns the change of `path`, if there is one.
    pub fn get(&self, path: &RootfsPath) -> Option<&Change> {
        let index = self.0.binary_search_by(|change| change.path.cmp(path)).ok()?;
        self.0.get(index)
    }

    /// Returns the number of changes, ancestors and linked names included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Changeset {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Changeset {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, kind: ChangeKind) -> Change {
        Change { path: RootfsPath::new(path).expect("valid"), kind, metadata: None }
    }

    #[test]
    fn a_changeset_is_sorted_and_keeps_the_stronger_of_two() {
        use ChangeKind::*;
        let set = Changeset::new([
            change("b", Ancestor),
            change("a/b", Added),
            change("b", Modified),
            change("a", Ancestor),
            change("a-b", Removed),
            change("b", Linked),
        ]);
        let expected = [
            change("a", Ancestor),
            change("a/b", Added),
            change("a-b", Removed),
            change("b", Modified),
        ];
        assert_eq!(set.iter().cloned().collect::<Vec<_>>(), expected);
        assert_eq!(set.get(&RootfsPath::new("a-b").expect("valid")), Some(&expected[2]));
        assert_eq!(set.get(&RootfsPath::root()), None);
        assert_eq!((set.len(), set.is_empty()), (4, false));
    }
}
