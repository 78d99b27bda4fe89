//! Small things by digest of what they are about.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use snapshot::Digest;

use super::SharedStore;

/// Largest that is read, in bytes.
const LIMIT_BYTES: u64 = 1 << 30;

/// Small things of one kind in a shared store; cheap to clone. What is in them, and whether it is
/// whole, is for who reads them to find out.
#[derive(Clone, Debug)]
pub struct Documents {
    store: SharedStore,
    folder: PathBuf,
}

impl Documents {
    pub(super) fn new(store: SharedStore, name: &str) -> Self {
        let folder = store.path(name);
        Self { store, folder }
    }

    /// Returns what is kept of `digest`, and notes that it was used.
    pub fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.folder.join(digest.hex());
        let mut content = Vec::new();
        let read = File::open(&path).and_then(|file| {
            if self.store.is_writable() {
                // Where this is not allowed, it counts as not used.
                _ = file.set_modified(SystemTime::now());
            }
            file.take(LIMIT_BYTES).read_to_end(&mut content)
        });
        match read {
            Ok(_) => Some(content),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(path = %path.display(), %error, "what was kept cannot be read");
                }
                None
            }
        }
    }

    /// Keeps `content` for `digest`, in place of what was there.
    pub fn put(&self, digest: &Digest, content: &[u8]) {
        if self.store.is_writable() {
            self.store.note(self.store.put_document(&self.folder.join(digest.hex()), content));
        }
    }

    /// Tells whether something is kept of `digest`.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.folder.join(digest.hex()).exists()
    }

    /// Returns all that is kept, by digest.
    pub fn all(&self) -> Vec<(Digest, Vec<u8>)> {
        let mut found = Vec::new();
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return found };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            let content = std::fs::read(entry.path()).ok();
            found.extend(digest.zip(content));
        }
        found.sort();
        found
    }
}
