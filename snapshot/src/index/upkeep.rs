//! Upkeep of the index's lists and tables.

use std::hash::BuildHasher as _;

use super::Index;
use super::names::Names;
use super::packed::{Body, NodeId, Packed};
use crate::digest::Digest;
use crate::metadata::InodeId;

impl Index {
    pub(super) fn inode(&self, id: NodeId) -> InodeId {
        let packed = self.table.get(id);
        let dev = self.devices.get(packed.dev as usize).copied().unwrap_or(0);
        InodeId { dev, ino: packed.ino }
    }

    pub(super) fn add_child(&mut self, parent: NodeId, name: &[u8]) -> NodeId {
        let hash = self.hasher.hash_one((parent, name));
        let name = self.names.add(name);
        let id = self.table.add(Packed::placeholder(parent, name));
        if let Body::Directory { first_child, child_count } = &mut self.table.get_mut(parent).body {
            *child_count += 1;
            let next = std::mem::replace(first_child, id);
            self.table.get_mut(id).next_sibling = next;
            if next.exists() {
                self.table.get_mut(next).previous_sibling = id;
            }
        }
        let Self { by_name, table, names, hasher, .. } = self;
        by_name.insert_unique(hash, id, |&id| {
            let packed = table.get(id);
            hasher.hash_one((packed.parent, names.get(packed.name)))
        });
        id
    }

    /// Takes an entry out of its directory's list.
    pub(super) fn detach(&mut self, id: NodeId) {
        let Packed { parent, previous_sibling, next_sibling, .. } = *self.table.get(id);
        if next_sibling.exists() {
            self.table.get_mut(next_sibling).previous_sibling = previous_sibling;
        }
        if previous_sibling.exists() {
            self.table.get_mut(previous_sibling).next_sibling = next_sibling;
        }
        if let Body::Directory { first_child, child_count } = &mut self.table.get_mut(parent).body {
            *child_count -= 1;
            if *first_child == id {
                *first_child = next_sibling;
            }
        }
    }

    /// Forgets an entry that is in no list any more, or whose directory goes too.
    pub(super) fn drop_node(&mut self, id: NodeId) {
        self.unlink_inode(id);
        let Packed { parent, name, .. } = *self.table.get(id);
        let hash = self.hasher.hash_one((parent, self.names.get(name)));
        if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        self.names.release(name);
        self.table.release(id);
    }

    /// Forgets everything below an entry.
    pub(super) fn remove_children(&mut self, id: NodeId) {
        let mut pending: Vec<NodeId> = self.child_ids(id).collect();
        while let Some(child) = pending.pop() {
            pending.extend(self.child_ids(child));
            self.drop_node(child);
        }
        if let Body::Directory { first_child, child_count } = &mut self.table.get_mut(id).body {
            (*first_child, *child_count) = (NodeId::NONE, 0);
        }
    }

    pub(super) fn become_placeholder(&mut self, id: NodeId) {
        self.unlink_inode(id);
        let Packed { parent, name, previous_sibling, next_sibling, .. } = *self.table.get(id);
        let placeholder = Packed::placeholder(parent, name);
        *self.table.get_mut(id) = Packed { previous_sibling, next_sibling, ..placeholder };
    }

    /// Puts an entry in the ring of its inode's names.
    pub(super) fn link_inode(&mut self, id: NodeId) {
        let inode = self.inode(id);
        if let Some(first) = self.node_by_inode(inode) {
            let next = self.table.get(first).next_link;
            self.table.get_mut(first).next_link = id;
            self.table.get_mut(next).previous_link = id;
            let packed = self.table.get_mut(id);
            (packed.previous_link, packed.next_link) = (first, next);
            return;
        }
        let packed = self.table.get_mut(id);
        (packed.previous_link, packed.next_link) = (id, id);
        self.add_ring(id);
    }

    /// Has an entry found by its inode, for all names of that.
    pub(super) fn add_ring(&mut self, id: NodeId) {
        let hash = self.hasher.hash_one(self.inode(id));
        let Self { by_inode, table, devices, hasher, .. } = self;
        by_inode.insert_unique(hash, id, |&id| {
            let packed = table.get(id);
            let dev = devices.get(packed.dev as usize).copied().unwrap_or(0);
            hasher.hash_one(InodeId { dev, ino: packed.ino })
        });
    }

    /// Takes an entry out of the ring of its inode's names.
    pub(super) fn unlink_inode(&mut self, id: NodeId) {
        let Packed { previous_link, next_link, .. } = *self.table.get(id);
        if !next_link.exists() {
            return;
        }
        let hash = self.hasher.hash_one(self.inode(id));
        if next_link == id {
            if let Ok(entry) = self.by_inode.find_entry(hash, |&other| other == id) {
                entry.remove();
            }
        } else {
            self.table.get_mut(previous_link).next_link = next_link;
            self.table.get_mut(next_link).previous_link = previous_link;
            // Another name stands for the ring, if this one did.
            if let Some(first) = self.by_inode.find_mut(hash, |&other| other == id) {
                *first = next_link;
            }
        }
        let packed = self.table.get_mut(id);
        (packed.previous_link, packed.next_link) = (NodeId::NONE, NodeId::NONE);
    }

    pub(super) fn device_number(&mut self, dev: u64) -> u32 {
        let known = self.devices.iter().position(|&known| known == dev);
        let number = known.unwrap_or_else(|| {
            self.devices.push(dev);
            self.devices.len() - 1
        });
        u32::try_from(number).expect("a machine has fewer than 2^32 devices")
    }

    pub(super) fn xattr_number(&mut self, digest: Digest) -> u32 {
        let next = self.xattrs.len() + 1;
        let next = u32::try_from(next).expect("2^32 digests do not fit in memory");
        let number = *self.xattr_numbers.entry(digest).or_insert(next);
        if number == next {
            self.xattrs.push(digest);
        }
        number
    }

    pub(super) fn compact_names(&mut self) {
        let mut names = Names::default();
        let mut pending = vec![NodeId::ROOT];
        while let Some(id) = pending.pop() {
            pending.extend(self.child_ids(id));
            let name = names.add(self.name(id));
            self.table.get_mut(id).name = name;
        }
        self.names = names;
    }
}
