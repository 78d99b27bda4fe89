//! Writes an OCI image layout (image-spec, `image-layout.md`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde_json::json;
use snapshot::Digest;

use super::ExportError;
use crate::image::{EncodedImage, is_foreign_layer};
use crate::store::Blob;

/// Writes an image as the only one of the OCI layout in `path`, which is made when missing.
///
/// Blobs that a former image left there are kept, as kaniko does; `index.json`, which makes a blob
/// an image, is replaced last and at once. `layers` are the blobs of the image's layers in order;
/// `tags` become `org.opencontainers.image.ref.name`.
///
/// # Errors
/// [`ExportError`] naming the file that could not be written.
pub fn write_layout(
    path: &Path,
    image: &EncodedImage,
    layers: &[Blob],
    tags: &[String],
) -> Result<(), ExportError> {
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(ExportError::at(&blobs))?;
    for (descriptor, blob) in image.layers.iter().zip(layers) {
        if is_foreign_layer(&descriptor.media_type) {
            continue;
        }
        write_once(&blobs, &blob.digest, blob.size_bytes, &mut blob.open()?)?;
    }
    let config = Digest::of(&image.config);
    write_once(&blobs, &config, image.config.len() as u64, &mut image.config.as_slice())?;
    write_once(&blobs, &image.digest, image.manifest.len() as u64, &mut image.manifest.as_slice())?;

    let entry = |tag: Option<&String>| {
        let mut entry = json!({
            "mediaType": image.manifest_type,
            "digest": image.digest.to_string(),
            "size": image.manifest.len(),
        });
        if let Some(tag) = tag {
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        }
        entry
    };
    let entries: Vec<_> = match tags {
        [] => vec![entry(None)],
        tags => tags.iter().map(|tag| entry(Some(tag))).collect(),
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let index = serde_json::to_vec_pretty(&index).map_err(ExportError::Encode)?;
    replace(&path.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    replace(&path.join("index.json"), &index)
}

fn write_once(
    blobs: &Path,
    digest: &Digest,
    size_bytes: u64,
    reader: &mut dyn Read,
) -> Result<(), ExportError> {
    let path = blobs.join(digest.hex());
    if fs::metadata(&path).is_ok_and(|there| there.len() == size_bytes) {
        return Ok(());
    }
    let partial = blobs.join(format!("{}.partial", digest.hex()));
    let mut copy = || -> io::Result<()> {
        io::copy(reader, &mut File::create(&partial)?)?;
        fs::rename(&partial, &path)
    };
    copy().map_err(|error| {
        // The copy's own error is the one to report; a partial file that stays is overwritten next
        // time.
        let _ = fs::remove_file(&partial);
        ExportError::at(&path)(error)
    })
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(ExportError::at(path))
}
