//! What directories are to look like when nothing more is put into them.

use std::collections::BTreeMap;

use snapshot::{RootfsPath, Timestamp, Xattrs};

use crate::archive::tar::Entry;

/// What a directory is to look like.
#[derive(Debug, Clone)]
pub(super) struct DirectoryMetadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: Xattrs,
}

impl DirectoryMetadata {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        }
    }

    /// A directory that must be there but that no entry describes.
    pub(super) fn implied(mtime: Timestamp) -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime, xattrs: Xattrs::new() }
    }
}

/// Directories that were placed, by their paths on disk.
#[derive(Debug, Default)]
pub(super) struct PendingDirectories(BTreeMap<RootfsPath, DirectoryMetadata>);

impl PendingDirectories {
    /// Adds a directory; the last word on one counts.
    pub(super) fn insert(&mut self, path: &RootfsPath, metadata: DirectoryMetadata) {
        self.0.insert(path.clone(), metadata);
    }

    /// Forgets `path` and what is below it.
    pub(super) fn remove(&mut self, path: &RootfsPath) {
        let below: Vec<_> = path.within(&self.0).map(|(below, _)| below.clone()).collect();
        for path in below {
            self.0.remove(&path);
        }
    }

    /// Returns the directories, those inside others first: one that its owner may not enter closes
    /// the way to what is in it.
    pub(super) fn into_inside_out(self) -> impl Iterator<Item = (RootfsPath, DirectoryMetadata)> {
        self.0.into_iter().rev()
    }
}
