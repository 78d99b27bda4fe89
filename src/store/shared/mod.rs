//! What outlives builds, in one directory that builds and warmers on several machines share.
//!
//! Owns the directory `zuwai` below the one that the user names: blobs by digest, as an OCI layout
//! has them; small documents by digest of what they are about; the directories of commands'
//! cache mounts; and unpacked images. Must not know images or contexts.
//!
//! The idea to hold in mind: it is a favour. Everything in it is made beside its place, synced and
//! renamed, so that who looks sees all of it or nothing, whoever is killed when; a file that has its
//! name is never written again. What cannot be read is as if it were not there. What cannot be
//! written is [`Trouble`], said once, and after that nothing is written any more. Locks spare work
//! and keep things from being removed under their users; nothing that is read relies on one.

mod blobs;
mod documents;
mod drafts;
mod items;
mod list;
mod locks;
mod prune;
mod trees;
mod volumes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use blobs::SharedBlobWriter;
pub use documents::Documents;
pub use items::{Item, ItemKind, Items};
pub use locks::PathLock;
pub use prune::{Pruned, Wish};
pub use trees::{HeldTree, SharedScratch, SharedTree, TREE_DEPTH, TreeDraft};
pub use volumes::{CacheVolume, CacheVolumes, Sharing, VolumeError};

use drafts::Drafts;
use locks::{LockKind, Locked, open_lock, try_lock};

/// The directory below the one that the user names, which may hold other things.
pub const SHARED_FOLDER: &str = "zuwai";

/// What may be done with a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is written to, too, and made where it is missing.
    Write,
}

/// What does not work with a shared store; nothing fails because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing more is written.
    Unwritable {
        /// The store's directory.
        folder: PathBuf,
        /// The system's answer.
        why: String,
    },
    /// Nobody knows who else is at work.
    NoLocks {
        /// The store's directory.
        folder: PathBuf,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { folder, why } => write!(
                formatter,
                "nothing more is kept for later builds: cannot write to `{}`: {why}",
                folder.display()
            ),
            Self::NoLocks { folder } => write!(
                formatter,
                "the file system of `{}` has no locks: builds that use it at a time may download \
                 the same twice, and directories of cache mounts are never removed",
                folder.display()
            ),
        }
    }
}

/// The shared directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    drafts: Drafts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    access: Access,
    troubles: Vec<Trouble>,
    /// Blobs that turned out not to be what they are named.
    distrusted: Vec<snapshot::Digest>,
    /// Those of them that nobody was told of.
    untold: BTreeSet<snapshot::Digest>,
}

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const EMPTY_INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;
const BLOBS: &str = "blobs/sha256";
const HEADERS: &str = "headers";
const CONTEXTS: &str = "contexts";
const TAGS: &str = "tags";
const VOLUMES: &str = "mounts";
const TREES: &str = "trees";
const DRAFTS: &str = "drafts";
const LOCKS: &str = "locks";
const TRASH: &str = "trash";

impl SharedStore {
    /// Takes the store below `directory`.
    ///
    /// With [`Access::Write`] it is made; where that fails, it is read as far as it is there, and
    /// [`SharedStore::take_troubles`] says why nothing is written.
    pub fn open(directory: &Path, access: Access) -> Self {
        let folder = directory.join(SHARED_FOLDER);
        let drafts = Drafts::new(folder.join(DRAFTS));
        let state =
            State { access, troubles: Vec::new(), distrusted: Vec::new(), untold: BTreeSet::new() };
        let store = Self { inner: Arc::new(Inner { folder, drafts, state: Mutex::new(state) }) };
        if access == Access::Write {
            match store.make() {
                // Who mounts it so means it so.
                Err(error) if is_read_only(&error) => {
                    tracing::debug!(%error, "the shared directory is only read");
                    store.state().access = Access::Read;
                }
                made => store.note(made),
            }
        }
        store
    }

    fn make(&self) -> Result<(), io::Error> {
        for name in [BLOBS, HEADERS, CONTEXTS, TAGS, VOLUMES, TREES, DRAFTS, LOCKS, TRASH] {
            fs::create_dir_all(self.path(name))?;
        }
        for (name, content) in [("oci-layout", MARKER), ("index.json", EMPTY_INDEX)] {
            if !self.path(name).exists() {
                self.put_document(&self.path(name), content)?;
            }
        }
        // One that nobody waits for.
        let probe = open_lock(&self.path(LOCKS).join("probe"))?;
        if try_lock(&probe, LockKind::Exclusive) == Locked::Unsupported {
            let folder = self.inner.folder.clone();
            self.state().troubles.push(Trouble::NoLocks { folder });
        }
        Ok(())
    }

    /// Returns the store's own directory.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Tells whether it is written to.
    pub fn is_writable(&self) -> bool {
        self.state().access == Access::Write
    }

    /// Returns, once, what does not work.
    pub fn take_troubles(&self) -> Vec<Trouble> {
        std::mem::take(&mut self.state().troubles)
    }

    /// Returns, once, the blobs that turned out not to be what they are named by.
    pub fn take_distrusted(&self) -> Vec<snapshot::Digest> {
        let mut state = self.state();
        let fresh = std::mem::take(&mut state.untold);
        fresh.into_iter().collect()
    }

    /// Returns the folder of [`SharedStore::volumes`].
    pub fn volumes_folder(&self) -> PathBuf {
        self.path(VOLUMES)
    }

    /// Returns what layers say in their headers, by digest of their blobs.
    pub fn headers(&self) -> Documents {
        Documents::new(self.clone(), HEADERS)
    }

    /// Returns what is known of the files of contexts.
    pub fn contexts(&self) -> Documents {
        Documents::new(self.clone(), CONTEXTS)
    }

    /// Returns which tags named which images.
    pub fn tags(&self) -> Documents {
        Documents::new(self.clone(), TAGS)
    }

    /// Returns the directories of commands' cache mounts.
    pub fn volumes(&self) -> CacheVolumes {
        CacheVolumes::new(self.path(VOLUMES))
    }

    /// Replaces the index of the OCI layout, which is for other tools alone.
    pub fn put_index(&self, index: &[u8]) {
        if self.is_writable() {
            self.note(self.put_document(&self.path("index.json"), index));
        }
    }

    /// Waits until nobody else has the lock `name`, and takes it. Where locks do not work it is as if
    /// it were taken.
    pub fn lock(&self, name: &snapshot::Digest) -> PathLock {
        match self.is_writable() {
            // Few files for all names: who waits for another's is only late.
            true => PathLock::wait(&self.path(LOCKS).join(name.hex().get(..2).unwrap_or_default())),
            false => PathLock::none(),
        }
    }

    fn put_document(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        use std::io::Write;
        let mut draft = self.inner.drafts.begin()?;
        draft.write_all(content)?;
        draft.commit(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.folder.join(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half-done while the lock is held.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends writing after a failure.
    fn note(&self, outcome: io::Result<()>) {
        let Err(error) = outcome else { return };
        let folder = self.inner.folder.display();
        tracing::debug!(%folder, %error, "nothing more is kept there");
        let mut state = self.state();
        if state.access == Access::Write {
            state.access = Access::Read;
            let folder = self.inner.folder.clone();
            state.troubles.push(Trouble::Unwritable { folder, why: error.to_string() });
        }
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}
