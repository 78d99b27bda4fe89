//! One entry as the index keeps it.

use super::names::NameRef;
use crate::digest::Digest;
use crate::metadata::{FileKind, Timestamp};

/// A place in the index's table of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(super) u32);

impl NodeId {
    /// The root's place.
    pub(crate) const ROOT: Self = Self(0);
    /// No entry.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn exists(self) -> bool {
        self != Self::NONE
    }

    /// Returns the number of the place, for tables beside the index.
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

/// What an entry has apart from its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The names in a directory, as a list through `next_sibling`.
    Directory { first_child: NodeId, child_count: u32 },
    /// Content, or a link's target, that is known.
    Content(Digest),
    /// Anything else.
    Unknown,
}

/// One entry. The lists are links to other places in the table.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) name: NameRef,
    /// For a device node its numbers, major in the upper half: its size is always zero.
    pub(super) size_or_device: u64,
    pub(super) mtime_seconds: i64,
    pub(super) ctime_seconds: i64,
    pub(super) ino: u64,
    pub(super) parent: NodeId,
    pub(super) previous_sibling: NodeId,
    pub(super) next_sibling: NodeId,
    /// The other names of the inode, as a ring; the entry itself when there are none, and nothing
    /// when it has no inode.
    pub(super) previous_link: NodeId,
    pub(super) next_link: NodeId,
    pub(super) mtime_nanoseconds: u32,
    pub(super) ctime_nanoseconds: u32,
    /// Index into the table of devices.
    pub(super) dev: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    /// One more than the index into the table of attribute digests; zero for none.
    pub(super) xattrs: u32,
    pub(super) mode: u16,
    pub(super) kind: FileKind,
    pub(super) shadow: bool,
    pub(super) body: Body,
}

// With its name and its share of the two hash tables an entry stays below 200 bytes; a test builds a
// million of them. A field more is eight bytes more.
const _: () = assert!(size_of::<Packed>() == 128);

impl Packed {
    /// Returns a directory of which nothing is known but that something is in it.
    pub(super) fn placeholder(parent: NodeId, name: NameRef) -> Self {
        Self {
            name,
            size_or_device: 0,
            mtime_seconds: 0,
            ctime_seconds: 0,
            ino: 0,
            parent,
            previous_sibling: NodeId::NONE,
            next_sibling: NodeId::NONE,
            previous_link: NodeId::NONE,
            next_link: NodeId::NONE,
            mtime_nanoseconds: 0,
            ctime_nanoseconds: 0,
            dev: 0,
            uid: 0,
            gid: 0,
            nlink: 1,
            xattrs: 0,
            mode: 0o755,
            kind: FileKind::Directory,
            shadow: true,
            body: Body::Directory { first_child: NodeId::NONE, child_count: 0 },
        }
    }

    pub(super) fn mtime(&self) -> Timestamp {
        Timestamp { seconds: self.mtime_seconds, nanoseconds: self.mtime_nanoseconds }
    }

    pub(super) fn ctime(&self) -> Timestamp {
        Timestamp { seconds: self.ctime_seconds, nanoseconds: self.ctime_nanoseconds }
    }
}

/// The entries, in chunks so that growing copies nothing, and the places that are free.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    chunks: Vec<Vec<Packed>>,
    free: Vec<NodeId>,
}

const CHUNK_ENTRIES: usize = 1024;

impl Table {
    pub(super) fn add(&mut self, entry: Packed) -> NodeId {
        if let Some(id) = self.free.pop() {
            *self.get_mut(id) = entry;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_ENTRIES) {
            self.chunks.push(Vec::with_capacity(CHUNK_ENTRIES));
        }
        let id = u32::try_from(self.place_count()).ok().map(NodeId).filter(|id| id.exists());
        let id = id.expect("2^32 entries do not fit in memory");
        let last = self.chunks.len() - 1;
        self.chunks[last].push(entry);
        id
    }

    /// Gives a place back. What it holds stays readable until it is used again.
    pub(super) fn release(&mut self, id: NodeId) {
        self.free.push(id);
    }

    pub(super) fn get(&self, id: NodeId) -> &Packed {
        &self.chunks[id.number() / CHUNK_ENTRIES][id.number() % CHUNK_ENTRIES]
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Packed {
        &mut self.chunks[id.number() / CHUNK_ENTRIES][id.number() % CHUNK_ENTRIES]
    }

    /// Returns the number of places, used or free.
    pub(super) fn place_count(&self) -> usize {
        match self.chunks.split_last() {
            Some((last, full)) => full.len() * CHUNK_ENTRIES + last.len(),
            None => 0,
        }
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.place_count() - self.free.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Packed>()).sum::<usize>()
            + self.chunks.capacity() * size_of::<Vec<Packed>>()
            + self.free.capacity() * size_of::<NodeId>()
    }
}
