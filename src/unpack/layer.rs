//! A layer to be unpacked.

use std::io::{self, Read};

use snapshot::Digest;

/// Opens a layer's bytes, as they are in the registry. Called once, on a thread of its own; the
/// reader may wait for bytes that are still on their way.
pub type OpenLayer = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// A layer to be unpacked.
///
/// Its size and the digest of what it decompresses to are checked here. That its compressed bytes
/// have the digest they should is checked by whoever hands them out.
pub struct LayerInput {
    /// The blob, for messages.
    pub digest: Digest,
    /// Size of the blob, compressed as it is.
    pub size_bytes: u64,
    /// Digest of what it decompresses to, from the image's config.
    pub diff_id: Digest,
    /// Its bytes.
    pub open: OpenLayer,
}

/// What a layer is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) digest: Digest,
    pub(super) diff_id: Digest,
}
