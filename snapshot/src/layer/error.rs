//! What can go wrong while a layer is written.

use std::io;

use thiserror::Error;

use super::header::HeaderError;
use crate::path::RootfsPath;
use crate::rootfs::RootfsError;

/// Why a layer could not be written.
#[derive(Debug, Error)]
pub enum LayerError {
    /// In a layer such a name would remove files of the layers below.
    #[error(
        "cannot put `{path}` into a layer: a name that starts with `.wh.` stands for a removal there"
    )]
    ReservedName {
        /// The file.
        path: RootfsPath,
    },
    /// The tar format has no way to say something of the entry.
    #[error("cannot put `{path}` into a layer")]
    Header {
        /// The entry.
        path: RootfsPath,
        /// What.
        #[source]
        source: HeaderError,
    },
    /// Reading from the root file system or the context failed.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A file had another size or other times after it was read than before, twice.
    #[error("`{path}` changes while it is read into the layer")]
    Changed {
        /// The file.
        path: RootfsPath,
    },
    /// What the snapshot saw is not there any more.
    #[error("`{path}` was there when the snapshot was taken and is gone")]
    Vanished {
        /// The entry.
        path: RootfsPath,
    },
    /// The change has metadata, and nobody said where its content is.
    #[error("no content is known for `{path}`")]
    NoContent {
        /// The entry.
        path: RootfsPath,
    },
    /// Reading a member of an archive failed.
    #[error("cannot read the content of `{path}` from its archive")]
    Archive {
        /// The entry.
        path: RootfsPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Compressing failed, or the sink did not take the blob.
    #[error("cannot write the compressed layer")]
    Sink {
        /// What the sink said.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// Tells whether the tree changed under the reader, so that reading it again can help.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Vanished { .. })
    }
}
