//! Writes the archive that `docker load` reads.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde_json::json;

use super::ExportError;
use super::digest_file::repository_name;
use crate::image::{EncodedImage, LayerCompression, Reference, is_foreign_layer};
use crate::store::Blob;

/// The name that kaniko gives an image which has no destination.
const UNSET_TAG: &str = "docker.io/unset-repo/unset-image-name:latest";

/// Writes an image as a docker archive: config, layers as they are, `manifest.json`.
///
/// `layers` are the blobs of the image's layers in order; `destinations` become its tags.
///
/// # Errors
/// [`ExportError`] naming the file; nothing is left under `path` then.
pub fn write_tarball(
    path: &Path,
    image: &EncodedImage,
    layers: &[Blob],
    destinations: &[Reference],
) -> Result<(), ExportError> {
    let partial = path.with_extension("partial");
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(ExportError::at(parent))?;
    }
    let file = File::create(&partial).map_err(ExportError::at(&partial))?;
    let written = write_members(BufWriter::new(file), path, image, layers, destinations)
        .and_then(|()| fs::rename(&partial, path).map_err(ExportError::at(path)));
    if written.is_err() {
        // The failure above is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_members(
    file: BufWriter<File>,
    path: &Path,
    image: &EncodedImage,
    layers: &[Blob],
    destinations: &[Reference],
) -> Result<(), ExportError> {
    let mut tar = tar::Builder::new(file);
    tar.sparse(false);
    let config_name = image.config_descriptor.digest.clone();
    append(&mut tar, &config_name, image.config.len() as u64, &mut image.config.as_slice())
        .map_err(ExportError::at(path))?;
    let mut names: Vec<String> = Vec::with_capacity(layers.len());
    for (descriptor, blob) in image.layers.iter().zip(layers) {
        if is_foreign_layer(&descriptor.media_type) {
            return Err(ExportError::Foreign { digest: descriptor.digest.clone() });
        }
        let suffix = match LayerCompression::of_layer(&descriptor.media_type) {
            Ok(LayerCompression::Gzip) => "tar.gz",
            Ok(LayerCompression::Zstd) => "tar.zst",
            Ok(LayerCompression::None) | Err(_) => "tar",
        };
        let name = format!("{}.{suffix}", blob.digest.hex());
        // Two equal layers are one member, named twice in the manifest.
        if !names.contains(&name) {
            append(&mut tar, &name, blob.size_bytes, &mut blob.open()?)
                .map_err(ExportError::at(path))?;
        }
        names.push(name);
    }
    let tags: Vec<String> = match destinations {
        [] => vec![UNSET_TAG.to_owned()],
        some => some.iter().map(tag_name).collect(),
    };
    let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": names }]);
    let manifest = serde_json::to_vec(&manifest).map_err(ExportError::Encode)?;
    append(&mut tar, "manifest.json", manifest.len() as u64, &mut manifest.as_slice())
        .map_err(ExportError::at(path))?;
    tar.into_inner().and_then(|mut file| file.flush()).map_err(ExportError::at(path))
}

fn tag_name(reference: &Reference) -> String {
    format!("{}:{}", repository_name(reference), reference.tag().unwrap_or("latest"))
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    size_bytes: u64,
    reader: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size_bytes);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    tar.append_data(&mut header, name, reader)
}
