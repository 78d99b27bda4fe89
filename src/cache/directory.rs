//! Entries in a directory, which several builders on several machines may share.
//!
//! It is an OCI layout but for its index: that would be one file that all of them write. An entry is
//! a file of its own instead, named by its key, in `entries`. Every file is written beside its place
//! and renamed into it when it is whole and on disk, so that a reader sees all of it or nothing,
//! whoever is killed when; of two who write the same, either one stays.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use snapshot::Digest;

use super::entry::{Document, LIMIT_BYTES};
use super::key::Key;
use super::place::{CacheError, SMALL_BLOB_BYTES};
use crate::image::{Descriptor, Layer, digest_of, size_of};
use crate::store::Blob;

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

#[derive(Clone)]
pub(super) struct Directory {
    path: PathBuf,
    drafts: Arc<AtomicU64>,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), drafts: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn entry(&self, key: &Key) -> PathBuf {
        self.path.join("entries").join(key.hex())
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.path.join("blobs/sha256").join(hex)
    }

    /// Returns the document of a key.
    pub(super) fn look(&self, key: &Key) -> Result<Option<Vec<u8>>, CacheError> {
        read(&self.entry(key), LIMIT_BYTES)
    }

    /// Tells whether a layer is there with its size.
    pub(super) fn has(&self, layer: &Layer) -> bool {
        let descriptor = &layer.descriptor;
        let (digest, size) = (digest_of(descriptor).ok(), size_of(descriptor).ok());
        let found = digest.map(|digest| fs::metadata(self.blob(&digest.hex())));
        let found = found.and_then(Result::ok).map(|metadata| metadata.len());
        found.is_some() && found == size
    }

    /// Returns a small blob, unchecked; `None` where it is not there.
    pub(super) fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        read(&self.blob(&digest.hex()), SMALL_BLOB_BYTES)
    }

    /// Stores a document under its key, after the blobs that it names.
    pub(super) fn store(
        &self,
        key: &Key,
        document: &Document,
        layer: Option<(&Descriptor, &Blob)>,
    ) -> Result<(), CacheError> {
        for folder in [self.path.join("blobs/sha256"), self.path.join("entries")] {
            fs::create_dir_all(&folder).map_err(at("create", &folder))?;
        }
        for (name, content) in [("oci-layout", MARKER), ("index.json", INDEX)] {
            self.put(&self.path.join(name), Size::Any, &mut |mut file| file.write_all(content))?;
        }
        if let Some((_, blob)) = layer {
            let path = self.blob(&blob.digest.hex());
            self.put(&path, Size::Exactly(blob.size_bytes), &mut |mut file| {
                let mut from = blob.open().map_err(io::Error::other)?;
                io::copy(&mut from, &mut file).map(drop)
            })?;
        }
        for (_, content) in &document.blobs {
            let size = Size::Exactly(content.len() as u64);
            let path = self.blob(&Digest::of(content).hex());
            self.put(&path, size, &mut |mut file| file.write_all(content))?;
        }
        self.put(&self.entry(key), Size::New, &mut |mut file| file.write_all(&document.manifest))
    }

    /// Writes a file, unless it is there with its size.
    fn put(
        &self,
        path: &Path,
        size: Size,
        write: &mut dyn FnMut(&File) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        let there = fs::metadata(path).map(|metadata| metadata.len()).ok();
        let is_done = match size {
            Size::Any => there.is_some(),
            Size::Exactly(size) => there == Some(size),
            Size::New => false,
        };
        if is_done {
            return Ok(());
        }
        let draft = self.draft(path);
        let written = File::create_new(&draft).and_then(|file| {
            write(&file)?;
            file.sync_all()?;
            fs::rename(&draft, path)
        });
        if written.is_err() {
            // The error that led here is the one to tell of.
            _ = fs::remove_file(&draft);
        }
        written.map_err(at("write", path))
    }

    /// Returns a name that nobody else writes to, on this machine or another.
    fn draft(&self, path: &Path) -> PathBuf {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let now = jiff::Timestamp::now().as_nanosecond();
        let name = format!(".draft-{}-{now}-{number}", std::process::id());
        path.with_file_name(name)
    }
}

/// Returns what is in a file; `None` where there is none.
fn read(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, CacheError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit_bytes).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at("read", path)(error)),
    }
}

/// What a file has to be to be left alone.
#[derive(Clone, Copy)]
enum Size {
    Any,
    Exactly(u64),
    /// It is written in any case.
    New,
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_path_buf();
    move |source| CacheError::Io { action, path, source }
}
