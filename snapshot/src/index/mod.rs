//! What a root file system held at the last snapshot.
//!
//! Owns one row per entry: its metadata (inode and ctime included, which no layer holds), the digest
//! of its content where that is known, and the digest of its extended attributes. Knows nothing of
//! the disk. The idea to hold in mind: it is a tree of packed entries that find each other by
//! number, with two hash tables beside it (by directory and name, by inode), so that a walk can look
//! up any entry it meets without sorting, and an entry costs less than 200 bytes, name included.

mod names;
mod packed;
mod siblings;
mod stored;
mod upkeep;

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::digest::Digest;
use crate::metadata::{FileKind, InodeId, Metadata, Timestamp};
use crate::path::RootfsPath;
use names::{NameRef, Names};
pub(crate) use packed::NodeId;
use packed::{Body, Packed, Table};
pub(crate) use siblings::Siblings;

/// One entry of an [`Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What `statx` said.
    pub metadata: Metadata,
    /// The digest of a regular file's bytes or of a symbolic link's target; `None` when it is not
    /// known, and for other kinds.
    pub content: Option<Digest>,
    /// The digest of the extended attributes that belong in an image ([`crate::xattr::digest`]);
    /// `None` when there are none.
    pub xattrs: Option<Digest>,
    /// The entry is in the image and cannot be on disk (a device in a user namespace, what lies
    /// under a mount): that it is missing means nothing.
    pub shadow: bool,
}

/// The entries of a root file system.
///
/// The root itself is always there, as a shadow until it is inserted.
#[derive(Debug, Clone)]
pub struct Index {
    table: Table,
    names: Names,
    by_name: HashTable<NodeId>,
    /// One entry of each ring of names of an inode.
    by_inode: HashTable<NodeId>,
    hasher: RandomState,
    devices: Vec<u64>,
    xattrs: Vec<Digest>,
    xattr_numbers: HashMap<Digest, u32>,
    latest_ctime: Timestamp,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// Returns an index of an empty root.
    pub fn new() -> Self {
        let mut table = Table::default();
        let root = table.add(Packed::placeholder(NodeId::NONE, NameRef::EMPTY));
        debug_assert_eq!(root, NodeId::ROOT);
        Self {
            table,
            names: Names::default(),
            by_name: HashTable::new(),
            by_inode: HashTable::new(),
            hasher: RandomState::default(),
            // Number 0 is what a placeholder has.
            devices: vec![0],
            xattrs: Vec::new(),
            xattr_numbers: HashMap::new(),
            latest_ctime: Timestamp::default(),
        }
    }

    /// Returns the number of entries, the root not counted.
    pub fn len(&self) -> usize {
        self.table.len() - 1
    }

    /// Tells whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `row` at `path`, in place of what was there.
    ///
    /// A directory keeps what is in it; anything else that takes a directory's place takes all of
    /// it. Directories above that are missing (or were something else) become shadows, until they
    /// are inserted themselves.
    ///
    /// # Panics
    /// When a component has more than 255 bytes: no such entry can exist on Linux.
    pub fn insert(&mut self, path: &RootfsPath, row: Row) {
        let mut id = NodeId::ROOT;
        for name in path.components() {
            if !matches!(self.table.get(id).body, Body::Directory { .. }) {
                self.become_placeholder(id);
            }
            id = match self.child(id, name) {
                Some(child) => child,
                None => self.add_child(id, name),
            };
        }
        self.set(id, row);
    }

    /// Takes `path` and everything below it out. Of the root, only what is in it goes.
    ///
    /// Returns whether it was there.
    pub fn remove(&mut self, path: &RootfsPath) -> bool {
        match self.find(path) {
            Some(id) => {
                self.remove_node(id);
                true
            }
            None => false,
        }
    }

    /// Returns the row at `path`.
    pub fn get(&self, path: &RootfsPath) -> Option<Row> {
        self.find(path).map(|id| self.row(id))
    }

    /// Returns the names in the directory `path`, sorted; `None` when it is no directory here.
    pub fn children(&self, path: &RootfsPath) -> Option<Vec<&[u8]>> {
        let id = self.find(path)?;
        matches!(self.table.get(id).body, Body::Directory { .. }).then_some(())?;
        let mut names: Vec<&[u8]> = self.child_ids(id).map(|child| self.name(child)).collect();
        names.sort_unstable();
        Some(names)
    }

    /// Returns all paths that name the inode, sorted. Shadows have none.
    pub fn paths_of(&self, inode: InodeId) -> Vec<RootfsPath> {
        let Some(first) = self.node_by_inode(inode) else {
            return Vec::new();
        };
        let mut paths: Vec<_> = self.links_of(first).map(|id| self.path(id)).collect();
        paths.sort_unstable();
        paths
    }

    /// Returns the other paths that name the same inode as `path`, sorted.
    pub fn aliases(&self, path: &RootfsPath) -> Vec<RootfsPath> {
        let Some(id) = self.find(path) else {
            return Vec::new();
        };
        let others = self.links_of(id).filter(|&link| link != id);
        let mut paths: Vec<_> = others.map(|link| self.path(link)).collect();
        paths.sort_unstable();
        paths
    }

    /// Returns all rows by path, parents first, names sorted; the root when it was inserted.
    pub fn iter(&self) -> impl Iterator<Item = (RootfsPath, Row)> {
        self.subtree(NodeId::ROOT).filter_map(|(id, path)| {
            let is_bare_root = id == NodeId::ROOT && self.table.get(id).shadow;
            (!is_bare_root).then(|| (path, self.row(id)))
        })
    }

    /// Returns the devices of all rows that there ever were.
    pub(crate) fn devices(&self) -> impl Iterator<Item = u64> {
        // Number 0 is what a placeholder has.
        self.devices.iter().skip(1).copied()
    }

    /// Returns the latest ctime that any row ever had.
    pub fn latest_ctime(&self) -> Timestamp {
        self.latest_ctime
    }

    /// Returns the memory that the index holds, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
            + self.names.memory_bytes()
            + self.by_name.allocation_size()
            + self.by_inode.allocation_size()
            + self.xattrs.capacity() * (2 * size_of::<Digest>() + size_of::<u32>())
    }
}

/// By place: what the walker and the diff use.
impl Index {
    /// Returns the place of `path`.
    pub(crate) fn find(&self, path: &RootfsPath) -> Option<NodeId> {
        path.components().try_fold(NodeId::ROOT, |id, name| self.child(id, name))
    }

    /// Returns the entry `name` in a directory.
    pub(crate) fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let hash = self.hasher.hash_one((parent, name));
        self.by_name
            .find(hash, |&id| self.table.get(id).parent == parent && self.name(id) == name)
            .copied()
    }

    /// Returns the entries in a directory, in no order.
    pub(crate) fn child_ids(&self, parent: NodeId) -> impl Iterator<Item = NodeId> {
        let first = match self.table.get(parent).body {
            Body::Directory { first_child, .. } => first_child,
            Body::Content(_) | Body::Unknown => NodeId::NONE,
        };
        let some = |id: NodeId| id.exists().then_some(id);
        std::iter::successors(some(first), move |&id| some(self.table.get(id).next_sibling))
    }

    /// Returns the number of entries in a directory.
    pub(crate) fn child_count(&self, parent: NodeId) -> usize {
        match self.table.get(parent).body {
            Body::Directory { child_count, .. } => child_count as usize,
            Body::Content(_) | Body::Unknown => 0,
        }
    }

    /// Returns one entry that names the inode.
    pub(crate) fn node_by_inode(&self, inode: InodeId) -> Option<NodeId> {
        let hash = self.hasher.hash_one(inode);
        self.by_inode.find(hash, |&id| self.inode(id) == inode).copied()
    }

    /// Returns all entries that name the same inode as `id`, itself included; none of a shadow.
    pub(crate) fn links_of(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let first = if self.table.get(id).next_link.exists() { Some(id) } else { None };
        std::iter::successors(first, move |&link| {
            let next = self.table.get(link).next_link;
            (next != id).then_some(next)
        })
    }

    pub(crate) fn name(&self, id: NodeId) -> &[u8] {
        self.names.get(self.table.get(id).name)
    }

    pub(crate) fn path(&self, id: NodeId) -> RootfsPath {
        let mut names = Vec::new();
        let mut id = id;
        while id != NodeId::ROOT {
            names.push(self.name(id));
            id = self.table.get(id).parent;
        }
        names.reverse();
        RootfsPath::new(names.join(&b'/')).expect("names in the index hold no NUL")
    }

    pub(crate) fn is_shadow(&self, id: NodeId) -> bool {
        self.table.get(id).shadow
    }

    /// Returns the number of places, used or free: the size of a table beside the index.
    pub(crate) fn place_count(&self) -> usize {
        self.table.place_count()
    }

    pub(crate) fn metadata(&self, id: NodeId) -> Metadata {
        let packed = self.table.get(id);
        let (rdev_major, rdev_minor) = if packed.kind.is_device() {
            ((packed.size_or_device >> 32) as u32, packed.size_or_device as u32)
        } else {
            (0, 0)
        };
        Metadata {
            kind: packed.kind,
            mode: packed.mode.into(),
            uid: packed.uid,
            gid: packed.gid,
            size: if packed.kind.is_device() { 0 } else { packed.size_or_device },
            mtime: packed.mtime(),
            ctime: packed.ctime(),
            dev: self.devices.get(packed.dev as usize).copied().unwrap_or(0),
            ino: packed.ino,
            nlink: packed.nlink,
            rdev_major,
            rdev_minor,
        }
    }

    pub(crate) fn row(&self, id: NodeId) -> Row {
        let packed = self.table.get(id);
        let content = match packed.body {
            Body::Content(digest) => Some(digest),
            Body::Directory { .. } | Body::Unknown => None,
        };
        let xattrs = (packed.xattrs as usize).checked_sub(1);
        Row {
            metadata: self.metadata(id),
            content,
            xattrs: xattrs.and_then(|number| self.xattrs.get(number)).copied(),
            shadow: packed.shadow,
        }
    }

    /// Returns the entry `id` and all below it with their paths, pre-order, names sorted.
    pub(crate) fn subtree(&self, id: NodeId) -> impl Iterator<Item = (NodeId, RootfsPath)> {
        let mut pending = vec![(id, self.path(id))];
        std::iter::from_fn(move || {
            let (id, path) = pending.pop()?;
            let first = pending.len();
            pending
                .extend(self.child_ids(id).map(|child| (child, path.join_name(self.name(child)))));
            pending[first..].sort_unstable_by(|a, b| b.1.cmp(&a.1));
            Some((id, path))
        })
    }

    /// Returns the entry `id` and all below it, in no order.
    pub(crate) fn places_below(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let mut pending = vec![id];
        std::iter::from_fn(move || {
            let id = pending.pop()?;
            pending.extend(self.child_ids(id));
            Some(id)
        })
    }

    /// Replaces what is known of an entry. Its place in the tree stays.
    pub(crate) fn set(&mut self, id: NodeId, row: Row) {
        let Row { metadata, content, xattrs, shadow } = row;
        if metadata.kind != FileKind::Directory {
            self.remove_children(id);
        }
        self.unlink_inode(id);
        let dev = self.device_number(metadata.dev);
        let xattrs = xattrs.map_or(0, |digest| self.xattr_number(digest));
        let packed = self.table.get_mut(id);
        packed.body = match (metadata.kind, content, packed.body) {
            (FileKind::Directory, _, body @ Body::Directory { .. }) => body,
            (FileKind::Directory, ..) => {
                Body::Directory { first_child: NodeId::NONE, child_count: 0 }
            }
            (_, Some(digest), _) => Body::Content(digest),
            (_, None, _) => Body::Unknown,
        };
        packed.size_or_device = if metadata.kind.is_device() {
            u64::from(metadata.rdev_major) << 32 | u64::from(metadata.rdev_minor)
        } else {
            metadata.size
        };
        packed.mtime_seconds = metadata.mtime.seconds;
        packed.mtime_nanoseconds = metadata.mtime.nanoseconds;
        packed.ctime_seconds = metadata.ctime.seconds;
        packed.ctime_nanoseconds = metadata.ctime.nanoseconds;
        packed.ino = metadata.ino;
        packed.dev = dev;
        packed.uid = metadata.uid;
        packed.gid = metadata.gid;
        packed.nlink = metadata.nlink;
        packed.xattrs = xattrs;
        packed.mode = (metadata.mode & 0o7777) as u16;
        packed.kind = metadata.kind;
        packed.shadow = shadow;
        if !shadow {
            self.latest_ctime = self.latest_ctime.max(metadata.ctime);
            self.link_inode(id);
        }
    }

    /// Notes the digest of an entry's content.
    pub(crate) fn set_content(&mut self, id: NodeId, digest: Digest) {
        let packed = self.table.get_mut(id);
        if !matches!(packed.body, Body::Directory { .. }) {
            packed.body = Body::Content(digest);
        }
    }

    pub(crate) fn remove_node(&mut self, id: NodeId) {
        self.remove_children(id);
        if id != NodeId::ROOT {
            self.detach(id);
            self.drop_node(id);
        }
        if self.names.is_wasteful() {
            self.compact_names();
        }
    }
}

#[cfg(test)]
mod tests;
