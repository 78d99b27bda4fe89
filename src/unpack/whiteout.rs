//! Names that take something away.
//!
//! Pure. `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` everything of theirs in its
//! directory (OCI image specification, layer.md).

use snapshot::RootfsPath;
use snapshot::path::is_name;
use thiserror::Error;

use crate::archive::{Entry, EntryKind};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// aufs' own bookkeeping; the opaque mark is the one of these names that images use.
const RESERVED: &[u8] = b".wh..wh.";

/// What an entry of a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something to be placed.
    Entry,
    /// Takes this path of the layers below away.
    Hides(RootfsPath),
    /// Takes everything of the layers below in this directory away.
    Opaque(RootfsPath),
}

/// A whiteout that means nothing, or not the same to everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WhiteoutError {
    /// What it hides is no file name: nothing, `.` or `..`.
    #[error("a whiteout of no file name")]
    Name,
    /// A name that aufs keeps for itself.
    #[error("a reserved whiteout name")]
    Reserved,
    /// A whiteout that is no empty file.
    #[error("a whiteout that is no empty file")]
    Kind,
    /// Something in a directory, or a link to something, with a whiteout's name.
    #[error("a whiteout as the name of a directory")]
    Directory,
}

/// Returns what `entry` of a layer means.
pub(super) fn meaning(entry: &Entry) -> Result<Meaning, WhiteoutError> {
    let Some(name) = entry.path.file_name() else { return Ok(Meaning::Entry) };
    let directory = entry.path.parent().unwrap_or_default();
    if directory.components().any(|component| component.starts_with(PREFIX)) {
        return Err(WhiteoutError::Directory);
    }
    let Some(hidden) = name.strip_prefix(PREFIX) else {
        return match &entry.kind {
            EntryKind::HardLink(target)
                if target.components().any(|component| component.starts_with(PREFIX)) =>
            {
                Err(WhiteoutError::Directory)
            }
            _ => Ok(Meaning::Entry),
        };
    };
    let is_empty_file = match entry.kind {
        EntryKind::Regular => entry.size == 0,
        // Docker on aufs: all whiteouts of a layer were names of one file.
        EntryKind::HardLink(_) => true,
        _ => false,
    };
    if !is_empty_file {
        return Err(WhiteoutError::Kind);
    }
    if name == OPAQUE {
        return Ok(Meaning::Opaque(directory));
    }
    if name.starts_with(RESERVED) {
        return Err(WhiteoutError::Reserved);
    }
    if !is_name(hidden) {
        return Err(WhiteoutError::Name);
    }
    Ok(Meaning::Hides(directory.join_name(hidden)))
}

#[cfg(test)]
mod tests;
