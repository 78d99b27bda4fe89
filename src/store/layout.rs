//! Reads OCI image layouts (image-spec, `image-layout.md`): bases kept on disk.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use snapshot::Digest;

use super::blob::Blob;
use crate::report::fault::{Class, Fault};

/// The largest document read from a layout, as for registries.
const DOCUMENT_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// An index may name an index; deeper nesting is a mistake or an attack.
const INDEX_DEPTH: usize = 4;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An OCI layout directory.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

/// What can be wrong with a layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of the layout cannot be read.
    #[error("cannot read `{}` of an OCI layout", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A document is not JSON of the right shape.
    #[error("`{}` of an OCI layout is not valid: {why}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No image of that tag.
    #[error("the OCI layout `{}` has no image tagged `{tag}`; it has {known}", path.display())]
    UnknownTag {
        /// The layout.
        path: PathBuf,
        /// The tag asked for.
        tag: String,
        /// The tags there are, as text.
        known: String,
    },
    /// Several images and no tag to choose by.
    #[error("the OCI layout `{}` has {count} images and no tag was given; it has {known}", path.display())]
    Ambiguous {
        /// The layout.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// The tags there are, as text.
        known: String,
    },
    /// A file whose bytes are not those its name promises.
    #[error("`{}` of an OCI layout does not have the digest it is named by", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
    },
    /// No image for the platform.
    #[error("the OCI layout `{}` has no image for the platform `{platform}`", path.display())]
    Platform {
        /// The layout.
        path: PathBuf,
        /// The platform asked for.
        platform: String,
    },
}

/// A manifest found in a layout.
#[derive(Clone, Debug)]
pub struct LayoutManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes, checked against the digest.
    pub bytes: Vec<u8>,
}

impl Layout {
    /// Opens the layout in a directory.
    ///
    /// # Errors
    /// [`LayoutError`] when `oci-layout` is missing or not version 1.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let layout = Self { path: path.to_path_buf() };
        let marker = path.join("oci-layout");
        let value = parse(&marker, &read(&marker)?)?;
        match value.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(version) if version.starts_with("1.") => Ok(layout),
            other => Err(LayoutError::Document {
                path: marker,
                why: format!("imageLayoutVersion is {other:?}, not 1.x"),
            }),
        }
    }

    /// Returns the manifest of the image with a tag, or of the only image when none is given.
    ///
    /// `accepts` chooses among an index's entries: it is given an entry's `platform` value and says
    /// whether it fits; `platform` is its name for the error.
    ///
    /// # Errors
    /// [`LayoutError`] when there is no such image, or several.
    pub fn manifest(
        &self,
        tag: Option<&str>,
        platform: &str,
        accepts: &dyn Fn(&Value) -> bool,
    ) -> Result<LayoutManifest, LayoutError> {
        let path = self.path.join("index.json");
        let index = parse(&path, &read(&path)?)?;
        let entries = manifests(&index);
        let chosen: Vec<&Value> = match tag {
            Some(tag) => entries.iter().filter(|entry| ref_name(entry) == Some(tag)).collect(),
            None => entries.iter().collect(),
        };
        let known = || known_tags(entries);
        let entry = match (chosen.as_slice(), tag) {
            ([entry], _) => *entry,
            ([], Some(tag)) => {
                let (path, tag) = (self.path.clone(), tag.to_owned());
                return Err(LayoutError::UnknownTag { path, tag, known: known() });
            }
            (several, _) => match several.iter().find(|entry| fits(entry, accepts)) {
                Some(entry) if several.iter().all(|one| one.get("platform").is_some()) => *entry,
                _ => {
                    let (path, count) = (self.path.clone(), several.len());
                    return Err(LayoutError::Ambiguous { path, count, known: known() });
                }
            },
        };
        self.descend(entry, platform, accepts)
    }

    /// Returns the blob of a digest; its bytes are checked by whoever reads them.
    ///
    /// # Errors
    /// [`LayoutError::Read`] when it is absent.
    pub fn blob(&self, digest: &Digest) -> Result<Blob, LayoutError> {
        let path = self.path.join("blobs/sha256").join(digest.hex());
        let metadata = fs::metadata(&path)
            .map_err(|source| LayoutError::Read { path: path.clone(), source })?;
        Ok(Blob::at(path, *digest, metadata.len()))
    }

    /// Returns a small document by digest, checked.
    ///
    /// # Errors
    /// [`LayoutError`] when it is absent, over 4 MiB, or has other bytes than its name promises.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
        let path = self.path.join("blobs/sha256").join(digest.hex());
        let bytes = read(&path)?;
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(LayoutError::Digest { path }),
        }
    }

    fn descend(
        &self,
        entry: &Value,
        platform: &str,
        accepts: &dyn Fn(&Value) -> bool,
    ) -> Result<LayoutManifest, LayoutError> {
        let mut entry = entry.clone();
        for _ in 0..INDEX_DEPTH {
            let text = entry.get("digest").and_then(Value::as_str).unwrap_or_default();
            let digest: Digest = text.parse().map_err(|error| LayoutError::Document {
                path: self.path.join("index.json"),
                why: format!("`{text}`: {error}"),
            })?;
            let bytes = self.document(&digest)?;
            let path = self.path.join("blobs/sha256").join(digest.hex());
            let value = parse(&path, &bytes)?;
            if value.get("manifests").is_none() {
                let named = value.get("mediaType").or_else(|| entry.get("mediaType"));
                let media_type = named.and_then(Value::as_str).unwrap_or_default().to_owned();
                return Ok(LayoutManifest { digest, media_type, bytes });
            }
            let fitting = manifests(&value).iter().find(|entry| fits(entry, accepts));
            entry = fitting.cloned().ok_or_else(|| LayoutError::Platform {
                path: self.path.clone(),
                platform: platform.to_owned(),
            })?;
        }
        Err(LayoutError::Document {
            path: self.path.join("index.json"),
            why: format!("indexes are nested more than {INDEX_DEPTH} deep"),
        })
    }
}

fn manifests(index: &Value) -> &[Value] {
    index.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn ref_name(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

fn fits(entry: &Value, accepts: &dyn Fn(&Value) -> bool) -> bool {
    entry.get("platform").is_some_and(accepts)
}

fn known_tags(entries: &[Value]) -> String {
    let tags: Vec<String> =
        entries.iter().filter_map(ref_name).map(|tag| format!("`{tag}`")).collect();
    if tags.is_empty() { "no tags".to_owned() } else { tags.join(", ") }
}

fn read(path: &Path) -> Result<Vec<u8>, LayoutError> {
    let at = |source| LayoutError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(at)?;
    file.take(DOCUMENT_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(at)?;
    if bytes.len() as u64 > DOCUMENT_LIMIT_BYTES {
        let why = format!("it is larger than {DOCUMENT_LIMIT_BYTES} bytes");
        return Err(LayoutError::Document { path: path.to_path_buf(), why });
    }
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Value, LayoutError> {
    serde_json::from_slice(bytes)
        .map_err(|error| LayoutError::Document { path: path.to_path_buf(), why: error.to_string() })
}

impl Fault for LayoutError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } => Class::of_io(source),
            Self::Document { .. }
            | Self::UnknownTag { .. }
            | Self::Ambiguous { .. }
            | Self::Digest { .. }
            | Self::Platform { .. } => Class::User,
        }
    }
}
