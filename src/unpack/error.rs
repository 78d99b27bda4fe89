//! Why an image could not be unpacked.

use std::io;

use snapshot::{Digest, RootfsError, RootfsPath};
use thiserror::Error;

use super::whiteout::WhiteoutError;
use crate::archive::{PlaceError, TarError};

/// An image that could not be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// One of its layers is at fault, or the disk while it was unpacked.
    #[error("cannot unpack layer `{digest}`")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// What is wrong.
        #[source]
        source: Box<LayerError>,
    },
    /// More layers than the limit.
    #[error("the image has {count} layers, more than {limit}")]
    LayerCount {
        /// How many it has.
        count: usize,
        /// [`super::LAYER_COUNT`].
        limit: usize,
    },
    /// The metadata of directories could not be set when everything was unpacked.
    #[error("cannot finish the unpacked image")]
    Finish(#[source] PlaceError),
}

/// A layer that could not be unpacked.
#[derive(Debug, Error)]
pub enum LayerError {
    /// Its archive, or an entry of it, is at fault, or the disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// What it decompresses to is not what the image's config names.
    #[error("its content has the digest `{found}`, the image's config says `{expected}`")]
    DiffId {
        /// What the config says.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A whiteout that means nothing.
    #[error("cannot unpack entry `{path}`")]
    Whiteout {
        /// The entry's path.
        path: RootfsPath,
        /// What is wrong with it.
        #[source]
        source: WhiteoutError,
    },
    /// The thread that reads it is gone without a word.
    #[error("the layer's reader stopped")]
    ReaderStopped,
}

impl From<TarError> for LayerError {
    fn from(error: TarError) -> Self {
        Self::Place(error.into())
    }
}

impl From<RootfsError> for LayerError {
    fn from(error: RootfsError) -> Self {
        Self::Place(error.into())
    }
}

/// A blob of another size than it should have. Arrives inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum SizeError {
    #[error("the layer has more than the {expected} bytes it should have")]
    More { expected: u64 },
    #[error("the layer has {found} bytes instead of {expected}")]
    Fewer { found: u64, expected: u64 },
}

impl From<SizeError> for io::Error {
    fn from(error: SizeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
