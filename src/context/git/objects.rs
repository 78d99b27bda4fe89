//! The objects of a fetched pack.

use std::path::Path;

use gix_hash::{Kind as HashKind, ObjectId};
use gix_object::{CommitRefIter, Kind, TagRefIter, TreeRefIter};
use gix_pack::Bundle;

use super::error::{GitError, innermost};

/// Tags of tags that are looked through.
const TAGS: usize = 16;

/// A pack and its index.
pub(super) struct Objects(Bundle);

/// One entry of a tree.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) id: ObjectId,
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Directory,
    File,
    Executable,
    Link,
    Submodule,
}

impl Objects {
    /// Opens the pack that belongs to an index.
    pub(super) fn open(index: &Path) -> Result<Self, GitError> {
        Bundle::at(index, HashKind::Sha1).map(Self).map_err(|error| broken(&error))
    }

    /// Tells whether an object is there.
    pub(super) fn has(&self, id: ObjectId) -> bool {
        self.0.index.lookup(id).is_some()
    }

    /// Reads an object of a kind.
    pub(super) fn read(&self, id: ObjectId, kind: Kind) -> Result<Vec<u8>, GitError> {
        let (found, bytes) = self.any(id)?;
        match found == kind {
            true => Ok(bytes),
            false => {
                Err(GitError::Objects { reason: format!("`{id}` is a {found}, not a {kind}") })
            }
        }
    }

    fn any(&self, id: ObjectId) -> Result<(Kind, Vec<u8>), GitError> {
        let mut bytes = Vec::new();
        let mut inflate = gix_zlib::Inflate::default();
        let found = self.0.find(&id, &mut bytes, &mut inflate, &mut gix_pack::cache::Never);
        match found.map_err(|error| broken(&error))? {
            Some((data, _)) => {
                let kind = data.kind;
                Ok((kind, bytes))
            }
            None => Err(GitError::Objects { reason: format!("`{id}` is missing") }),
        }
    }

    /// Returns the commit that an object is, or that a tag stands for.
    pub(super) fn commit(&self, mut id: ObjectId) -> Result<ObjectId, GitError> {
        for _ in 0..TAGS {
            match self.any(id)? {
                (Kind::Commit, _) => return Ok(id),
                (Kind::Tag, bytes) => {
                    let target = TagRefIter::from_bytes(&bytes, HashKind::Sha1).target_id();
                    id = target.map_err(|error| broken(&error))?;
                }
                (kind, _) => {
                    let reason = format!("`{id}` is a {kind}, not a commit");
                    return Err(GitError::Objects { reason });
                }
            }
        }
        Err(GitError::Objects { reason: format!("more than {TAGS} tags stand for one another") })
    }

    /// Returns a commit's tree and when it was made, in seconds since the epoch.
    pub(super) fn tree_and_time(&self, commit: ObjectId) -> Result<(ObjectId, i64), GitError> {
        let bytes = self.read(commit, Kind::Commit)?;
        let mut commit = CommitRefIter::from_bytes(&bytes, HashKind::Sha1);
        let tree = commit.tree_id().map_err(|error| broken(&error))?;
        let committer = CommitRefIter::from_bytes(&bytes, HashKind::Sha1).committer();
        let committer = committer.map_err(|error| broken(&error))?;
        Ok((tree, committer.seconds()))
    }

    /// Returns what a tree has, in its order.
    pub(super) fn tree(&self, id: ObjectId) -> Result<Vec<Entry>, GitError> {
        let bytes = self.read(id, Kind::Tree)?;
        let entries = TreeRefIter::from_bytes(&bytes, HashKind::Sha1);
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| broken(&error))?;
            use gix_object::tree::EntryKind as Is;
            let kind = match entry.mode.kind() {
                Is::Tree => EntryKind::Directory,
                Is::Blob => EntryKind::File,
                Is::BlobExecutable => EntryKind::Executable,
                Is::Link => EntryKind::Link,
                Is::Commit => EntryKind::Submodule,
            };
            found.push(Entry { name: entry.filename.to_vec(), kind, id: entry.oid.to_owned() });
        }
        Ok(found)
    }
}

fn broken(error: &gix_error::Error) -> GitError {
    GitError::Objects { reason: innermost(error) }
}
