//! One directory's entries, to be looked up by name many times.

use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::{Index, NodeId};

/// The entries of one directory by name, apart from the index's own table.
///
/// A walk looks up every name of a directory, each of which would miss the processor's caches in a
/// table of all entries (a fifth of the whole walk of a million files); the rows and names of one
/// directory lie together.
#[derive(Debug, Default)]
pub(crate) struct Siblings(HashTable<NodeId>);

impl Siblings {
    /// Collects the entries of a directory.
    pub(crate) fn of(index: &Index, directory: NodeId) -> Self {
        let mut table = HashTable::with_capacity(index.child_count(directory));
        let hash = |id: &NodeId| index.hasher.hash_one(index.name(*id));
        for id in index.child_ids(directory) {
            table.insert_unique(hash(&id), id, hash);
        }
        Self(table)
    }

    /// Returns the entry of that name.
    pub(crate) fn get(&self, index: &Index, name: &[u8]) -> Option<NodeId> {
        self.0.find(index.hasher.hash_one(name), |&id| index.name(id) == name).copied()
    }
}
