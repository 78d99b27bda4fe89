//! What can go wrong with a snapshot.

use std::io;

use thiserror::Error;

use crate::rootfs::RootfsError;

/// A snapshot that could not be taken.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file or directory could not be looked at. The error names it.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The mounts below the root could not be told.
    #[error("cannot read the list of mounts")]
    Mounts(#[source] io::Error),
}
