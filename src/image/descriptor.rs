//! Typed readings of `oci-client`'s descriptors, whose fields are plain text and signed sizes.

use snapshot::Digest;

use super::Descriptor;

/// A descriptor whose text does not hold what its field promises.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// The digest is not `sha256:` and 64 hex digits.
    #[error("descriptor digest `{text}` cannot be used")]
    Digest {
        /// The text found.
        text: String,
        /// What is wrong with it.
        #[source]
        source: snapshot::DigestError,
    },
    /// The size is negative.
    #[error("descriptor of `{digest}` has the size {size}")]
    Size {
        /// The blob's digest text.
        digest: String,
        /// The size found, in bytes.
        size: i64,
    },
}

/// Returns a descriptor of a blob.
pub fn descriptor(media_type: &str, digest: &Digest, size_bytes: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_string(),
        size: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        ..Descriptor::default()
    }
}

/// Returns a descriptor's digest.
///
/// # Errors
/// [`DescriptorError::Digest`] for any algorithm but sha256 and for malformed text.
pub fn digest_of(descriptor: &Descriptor) -> Result<Digest, DescriptorError> {
    descriptor
        .digest
        .parse()
        .map_err(|source| DescriptorError::Digest { text: descriptor.digest.clone(), source })
}

/// Returns a descriptor's size in bytes.
///
/// # Errors
/// [`DescriptorError::Size`] for a negative one.
pub fn size_of(descriptor: &Descriptor) -> Result<u64, DescriptorError> {
    u64::try_from(descriptor.size).map_err(|_| DescriptorError::Size {
        digest: descriptor.digest.clone(),
        size: descriptor.size,
    })
}
