//! Checks a finished image as a reader would: documents, digests, DiffIDs, and their pairing.

use std::io::{self, Read};

use snapshot::{Digest, Digester};

use super::descriptor::{DescriptorError, digest_of, size_of};
use super::{Descriptor, ImageConfig, ImageFormat, LayerCompression, Manifest, MediaTypeError};

/// Where [`validate`] finds blobs: a layout, a store, a registry's answers in a test.
pub trait BlobView {
    /// Opens the blob of a digest.
    ///
    /// # Errors
    /// Whatever keeps the blob from being read; its absence included.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read>>;
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// A blob cannot be read.
    #[error("cannot read the blob `{digest}`")]
    Read {
        /// The blob.
        digest: String,
        /// What the view said.
        #[source]
        source: io::Error,
    },
    /// A blob's bytes are not those its descriptor names.
    #[error(
        "the blob `{expected}` has the digest `{found}` and {found_bytes} of {expected_bytes} bytes"
    )]
    Blob {
        /// Digest in the descriptor.
        expected: String,
        /// Digest of the bytes.
        found: String,
        /// Size in the descriptor.
        expected_bytes: u64,
        /// Size of the bytes.
        found_bytes: u64,
    },
    /// A layer's tar is not the one the config names.
    #[error("the layer `{layer}` has the DiffID `{found}`, the config says `{expected}`")]
    DiffId {
        /// The layer's digest.
        layer: String,
        /// DiffID in the config.
        expected: String,
        /// Digest of the tar.
        found: String,
    },
    /// A document that is not what its media type says.
    #[error("the {what} is not valid: {why}")]
    Document {
        /// `manifest` or `config`.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A descriptor that cannot be used.
    #[error("the manifest has a descriptor that cannot be used")]
    Descriptor(#[from] DescriptorError),
    /// A media type that does not fit.
    #[error("the manifest has a media type that does not fit")]
    MediaType(#[from] MediaTypeError),
}

/// Checks the image of a manifest: schema, media types, every digest and size, every DiffID, and
/// that layers, DiffIDs and non-empty history entries are equal in number.
///
/// # Errors
/// The first thing found wrong, as [`ValidateError`].
pub fn validate(manifest_bytes: &[u8], blobs: &dyn BlobView) -> Result<(), ValidateError> {
    let manifest: Manifest = serde_json::from_slice(manifest_bytes)
        .map_err(|error| document("manifest", error.to_string()))?;
    let media_type = manifest.media_type.as_deref().unwrap_or_default();
    let format = ImageFormat::of_manifest(media_type)?;
    if manifest.schema_version != 2 {
        return Err(document("manifest", format!("schemaVersion is {}", manifest.schema_version)));
    }
    if manifest.config.media_type != format.config_type() {
        let found = &manifest.config.media_type;
        return Err(document("manifest", format!("config has the media type `{found}`")));
    }
    let mut bytes = Vec::new();
    check_blob(blobs, &manifest.config, &mut |chunk| bytes.extend_from_slice(chunk))?;
    let config: ImageConfig =
        serde_json::from_slice(&bytes).map_err(|error| document("config", error.to_string()))?;
    check_config(&config, manifest.layers.len())?;
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        check_blob(blobs, layer, &mut |_| {})?;
        check_diff_id(blobs, layer, diff_id)?;
    }
    Ok(())
}

fn document(what: &'static str, why: String) -> ValidateError {
    ValidateError::Document { what, why }
}

fn check_config(config: &ImageConfig, layer_count: usize) -> Result<(), ValidateError> {
    if config.rootfs.kind != "layers" {
        return Err(document("config", format!("rootfs.type is `{}`", config.rootfs.kind)));
    }
    if config.os.is_empty() || config.architecture.is_empty() {
        return Err(document("config", "os or architecture is missing".to_owned()));
    }
    let diff_ids = config.rootfs.diff_ids.len();
    let described = config.history.iter().filter(|entry| !entry.empty_layer).count();
    if diff_ids != layer_count || described != layer_count {
        return Err(document(
            "config",
            format!("{layer_count} layers, {diff_ids} DiffIDs, {described} history entries"),
        ));
    }
    match config.config.env.iter().find(|entry| !entry.contains('=')) {
        Some(entry) => Err(document("config", format!("Env entry `{entry}` has no `=`"))),
        None => Ok(()),
    }
}

fn check_blob(
    blobs: &dyn BlobView,
    descriptor: &Descriptor,
    on_chunk: &mut dyn FnMut(&[u8]),
) -> Result<(), ValidateError> {
    let expected = digest_of(descriptor)?;
    let expected_bytes = size_of(descriptor)?;
    let read = |source| ValidateError::Read { digest: descriptor.digest.clone(), source };
    let mut reader = blobs.open(&expected).map_err(read)?;
    let (found, found_bytes) = digest_stream(&mut reader, on_chunk).map_err(read)?;
    if found != expected || found_bytes != expected_bytes {
        return Err(ValidateError::Blob {
            expected: expected.to_string(),
            found: found.to_string(),
            expected_bytes,
            found_bytes,
        });
    }
    Ok(())
}

fn check_diff_id(
    blobs: &dyn BlobView,
    layer: &Descriptor,
    expected: &str,
) -> Result<(), ValidateError> {
    let read = |source| ValidateError::Read { digest: layer.digest.clone(), source };
    let reader = blobs.open(&digest_of(layer)?).map_err(read)?;
    let mut tar: Box<dyn Read> = match LayerCompression::of_layer(&layer.media_type)? {
        LayerCompression::None => reader,
        LayerCompression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        LayerCompression::Zstd => Box::new(zstd::Decoder::new(reader).map_err(read)?),
    };
    let (found, _) = digest_stream(&mut tar, &mut |_| {}).map_err(read)?;
    if found.to_string() != expected {
        return Err(ValidateError::DiffId {
            layer: layer.digest.clone(),
            expected: expected.to_owned(),
            found: found.to_string(),
        });
    }
    Ok(())
}

fn digest_stream(
    reader: &mut dyn Read,
    on_chunk: &mut dyn FnMut(&[u8]),
) -> io::Result<(Digest, u64)> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = reader.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            let count = digester.count();
            return Ok((digester.finish(), count));
        };
        digester.update(chunk);
        on_chunk(chunk);
    }
}
