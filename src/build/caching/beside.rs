//! What is kept beside an entry's layer.

use std::io;

use snapshot::Digest;

use crate::build::layers::NewLayer;
use crate::store::Blob;
use crate::unpack::{LayerInput, UnpackOptions, read_headers};

/// Reads what a layer's headers say, in the form to keep; `None` where that cannot be, which costs
/// only whoever would have read it.
pub(super) fn stored_headers(of: Option<(NewLayer, Blob)>) -> Option<Vec<u8>> {
    let (NewLayer { layer, contents }, blob) = of?;
    let (digest, size_bytes, diff_id): (Digest, u64, Digest) =
        (blob.digest, blob.size_bytes, layer.diff_id);
    let open = Box::new(move || {
        let file = blob.open().map_err(io::Error::other)?;
        Ok(Box::new(file) as Box<dyn io::Read + Send>)
    });
    let input = LayerInput { digest, size_bytes, diff_id, open };
    let read = read_headers(vec![input], &UnpackOptions::default());
    let index = read.inspect_err(|error| tracing::debug!(%error, "a layer's headers are not kept"));
    let mut index = index.ok()?.pop()?;
    index.learn(&contents);
    index.to_stored().ok()
}
