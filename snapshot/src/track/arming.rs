//! Which watches the `inotify` tracker places, in which order: a script for the process that does it.

use super::error::TrackError;
use super::inotify::Unwatched;
use crate::index::{Index, NodeId};
use crate::metadata::{FileKind, InodeId, Metadata};
use crate::path::RootfsPath;
use crate::sys::WatchScript;

/// Watches to be added: the script, and the inode of each watch.
pub(super) struct Arming {
    pub(super) script: WatchScript,
    pub(super) inodes: Vec<InodeId>,
}

impl Arming {
    /// Everything in the index.
    pub(super) fn of_index(
        index: &Index,
        root: InodeId,
        unwatched: Unwatched,
    ) -> Result<Self, TrackError> {
        let mut arming =
            Self { script: WatchScript::default(), inodes: Vec::with_capacity(index.len() + 1) };
        arming.script.watch_directory(b".");
        arming.inodes.push(root);
        enum Visit {
            Entry(NodeId),
            Leave,
        }
        let mut pending: Vec<Visit> = index.child_ids(NodeId::ROOT).map(Visit::Entry).collect();
        while let Some(visit) = pending.pop() {
            let id = match visit {
                Visit::Entry(id) => id,
                Visit::Leave => {
                    arming.script.leave();
                    continue;
                }
            };
            if index.row(id).shadow {
                // What cannot be on disk is not watched. Where something below it is on disk after
                // all, there would be a directory without a watch.
                if index.subtree(id).any(|(below, _)| !index.row(below).shadow) {
                    return Err(TrackError::Incomplete);
                }
                continue;
            }
            let metadata = index.metadata(id);
            arming.watch(index.name(id), &metadata, unwatched);
            if metadata.kind == FileKind::Directory && index.child_ids(id).next().is_some() {
                arming.script.enter(index.name(id));
                pending.push(Visit::Leave);
                pending.extend(index.child_ids(id).map(Visit::Entry));
            }
        }
        Ok(arming)
    }

    /// Entries in the order of their paths.
    pub(super) fn of_paths<'e>(
        entries: impl Iterator<Item = (&'e RootfsPath, &'e Metadata)>,
        unwatched: Unwatched,
    ) -> Self {
        let mut arming = Self { script: WatchScript::default(), inodes: Vec::new() };
        let mut at: Vec<&[u8]> = Vec::new();
        for (path, metadata) in entries {
            let mut components: Vec<&[u8]> = path.components().collect();
            let name = components.pop();
            let shared = at.iter().zip(&components).take_while(|(a, b)| a == b).count();
            for _ in shared..at.len() {
                arming.script.leave();
            }
            at.truncate(shared);
            for component in components.into_iter().skip(shared) {
                arming.script.enter(component);
                at.push(component);
            }
            arming.watch(name.unwrap_or(b"."), metadata, unwatched);
        }
        arming
    }

    fn watch(&mut self, name: &[u8], metadata: &Metadata, unwatched: Unwatched) {
        match metadata.kind {
            FileKind::Directory => self.script.watch_directory(name),
            _ if unwatched.files => return,
            FileKind::CharDevice | FileKind::BlockDevice => self.script.watch_device(name),
            FileKind::Regular | FileKind::Symlink | FileKind::Fifo | FileKind::Socket => {
                self.script.watch_other(name);
            }
        }
        self.inodes.push(metadata.inode());
    }
}
