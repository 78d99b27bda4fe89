//! What kaniko's own warmer leaves: tarballs and manifests, named by the images' digests.
//!
//! `DIRECTORY/sha256:…` is what `docker save` would write, but that its layers are compressed as
//! they are in the registry and named `HEX.tar.gz`; `DIRECTORY/sha256:….json` is the manifest. The
//! tarball gets its name first, so that it may be there alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use snapshot::Digest;

use super::images::KeptImage;
use crate::archive::{EntryKind, Limits, Reader};
use crate::image::{Manifest, digest_of};

/// Largest manifest or config, in bytes; as from registries.
const DOCUMENT_LIMIT_BYTES: u64 = 4 << 20;

const LAYER_SUFFIX: &str = ".tar.gz";

/// A directory that kaniko's warmer has filled.
#[derive(Clone, Debug)]
pub struct KanikoDirectory {
    folder: PathBuf,
}

/// An image's tarball.
#[derive(Clone, Debug)]
pub struct KanikoTarball {
    path: PathBuf,
    /// Where each file's bytes begin, and how many they are.
    files: BTreeMap<String, (u64, u64)>,
}

impl KanikoDirectory {
    /// Takes a directory, which need not be there.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// Tells whether there is a tarball of the image with this digest.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.tarball_path(digest).is_file()
    }

    /// Reads where things are in an image's tarball.
    pub fn tarball(&self, digest: &Digest) -> Option<KanikoTarball> {
        let path = self.tarball_path(digest);
        match files_of(&path) {
            Ok(files) => Some(KanikoTarball { path, files }),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "kaniko's tarball is not used");
                None
            }
        }
    }

    /// Returns the image of a digest from its own documents, which are checked.
    pub fn image(&self, digest: &Digest) -> Option<KeptImage> {
        let mut manifest = Vec::new();
        let file = File::open(self.folder.join(format!("{digest}.json"))).ok()?;
        file.take(DOCUMENT_LIMIT_BYTES).read_to_end(&mut manifest).ok()?;
        if Digest::of(&manifest) != *digest {
            return None;
        }
        let parsed: Manifest = serde_json::from_slice(&manifest).ok()?;
        let config_digest = digest_of(&parsed.config).ok()?;
        let mut config = Vec::new();
        let tarball = self.tarball(digest)?;
        let stored = tarball.open(&config_digest.to_string())?;
        stored.take(DOCUMENT_LIMIT_BYTES).read_to_end(&mut config).ok()?;
        if Digest::of(&config) != config_digest {
            return None;
        }
        KeptImage::of_documents(*digest, &manifest, &config)
    }

    fn tarball_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

impl KanikoTarball {
    /// Opens the bytes of a layer, which are to be checked by who reads them.
    pub fn layer(&self, digest: &Digest) -> Option<Take<File>> {
        self.open(&format!("{}{LAYER_SUFFIX}", digest.hex()))
    }

    fn open(&self, name: &str) -> Option<Take<File>> {
        let (start, length) = *self.files.get(name)?;
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(start)).ok()?;
        Some(file.take(length))
    }
}

fn files_of(path: &Path) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let file = File::open(path)?;
    // No more can be in it than it is large.
    let size = fs::metadata(path)?.len();
    let limits = Limits { entry_bytes: size, ..Limits::default() };
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, file), limits);
    let mut files = BTreeMap::new();
    while let Some(entry) = reader.next_entry().map_err(io::Error::other)? {
        if entry.kind == EntryKind::Regular {
            let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
            files.insert(name, (reader.offset(), entry.size));
        }
    }
    Ok(files)
}
