//! What can go wrong with a snapshot.

use std::io;

use thiserror::Error;

use crate::rootfs::RootfsError;
use crate::track::OverlayError;

/// A snapshot that could not be taken.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file or directory could not be looked at. The error names it.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// What a step wrote on its overlay cannot be moved into the root.
    #[error("cannot take over what the step wrote")]
    Overlay(#[from] OverlayError),
    /// The mounts below the root could not be told.
    #[error("cannot read the list of mounts")]
    Mounts(#[source] io::Error),
}
