//! The entries of a layer, in order: what each is called and which are hard links or whiteouts.
//!
//! Pure: decides from the changeset alone, before anything is opened.

use super::error::LayerError;
use super::hardlink::LinkGroups;
use super::stats::{Skipped, Skips};
use super::whiteout;
use crate::change::{Change, Changeset};
use crate::metadata::{FileKind, Metadata};
use crate::path::RootfsPath;

/// One entry to write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Planned<'a> {
    /// The removal of a path.
    Whiteout(&'a Change),
    /// Something that is there.
    Node(Node<'a>),
}

/// An entry that is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) path: &'a RootfsPath,
    pub(super) metadata: &'a Metadata,
    /// The entry before this one that carries the inode's bytes.
    pub(super) link: Option<&'a RootfsPath>,
}

impl Node<'_> {
    /// Returns the bytes that follow the entry's header, as far as its metadata know.
    pub(super) fn content_size(&self) -> u64 {
        match (self.link, self.metadata.kind) {
            (None, FileKind::Regular) => self.metadata.size,
            _ => 0,
        }
    }
}

impl Planned<'_> {
    /// Returns the entry's name in the archive: relative, a directory's with a slash at its end.
    /// The root is `./`, as tar programs call it.
    pub(super) fn archive_name(&self) -> Vec<u8> {
        match self {
            Self::Whiteout(change) => whiteout::spelling(change).into_owned(),
            Self::Node(Node { path, metadata, .. }) => {
                let mut name = path.as_bytes().to_vec();
                if path.is_root() {
                    name.push(b'.');
                }
                if metadata.kind == FileKind::Directory {
                    name.push(b'/');
                }
                name
            }
        }
    }
}

/// Returns the entries of the layer that `changes` make; what has no place in a layer goes to
/// `skips`.
pub(super) fn plan<'a>(
    changes: &'a Changeset,
    skips: &mut Skips,
) -> Result<Vec<Planned<'a>>, LayerError> {
    let mut groups = LinkGroups::default();
    let mut planned = Vec::with_capacity(changes.len());
    for change in whiteout::in_layer_order(changes.iter()) {
        let path = &change.path;
        if path.file_name().is_some_and(whiteout::is_reserved) {
            return Err(LayerError::ReservedName { path: path.clone() });
        }
        match &change.metadata {
            None => planned.push(Planned::Whiteout(change)),
            Some(metadata) if metadata.kind == FileKind::Socket => {
                skips.add(Skipped::Socket(path.clone()));
            }
            Some(metadata) => {
                let link = groups.first_name(path, metadata);
                planned.push(Planned::Node(Node { path, metadata, link }));
            }
        }
    }
    Ok(planned)
}
