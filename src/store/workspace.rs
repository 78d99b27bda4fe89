//! The work directory: one locked folder a build, with its blobs and stage roots.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use snapshot::Digest;

use super::blob::{Blob, BlobWriter, ExpectedBlob, Spool};
use crate::report::fault::{Class, Fault};

/// What can go wrong in the work directory.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of the work directory cannot be used.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done, such as `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The file system has less room than a blob still takes, whose size is known.
    #[error(
        "cannot write `{}`: at least {lacking_bytes} bytes more have to be free for it",
        path.display()
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What it takes beyond what is free.
        lacking_bytes: u64,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A blob's bytes are not those that were promised.
    #[error(
        "expected a blob `{expected}` of {expected_bytes} bytes, got `{found}` of {found_bytes}"
    )]
    Mismatch {
        /// Promised digest.
        expected: Digest,
        /// Promised size.
        expected_bytes: u64,
        /// Digest of what came.
        found: Digest,
        /// Size of what came.
        found_bytes: u64,
    },
    /// A blob that an earlier phase should have stored is not there.
    #[error("the blob `{digest}` is not in the work directory")]
    Missing {
        /// The blob.
        digest: Digest,
    },
}

impl StoreError {
    /// Returns a mapper that attaches what was done and to which path.
    pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// One build's share of the work directory; removed when the last handle is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    /// Held open for its lock: a build whose lock is free is dead.
    _lock: File,
    spooled: AtomicU64,
    room_count: AtomicU64,
}

const LOCK: &str = "lock";
const BLOBS: &str = "blobs";
const SPOOL: &str = "spool";
const ROOTS: &str = "roots";
const CONTEXT: &str = "context";
const ROOMS: &str = "rooms";

impl Store {
    /// Makes this build's folder below `work`, after removing those of dead builds.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the work directory cannot be made or written.
    pub fn open(work: &Path) -> Result<Self, StoreError> {
        let builds = work.join("builds");
        fs::create_dir_all(&builds).map_err(StoreError::at("create", &builds))?;
        remove_dead_builds(&builds)?;
        let (folder, lock) = claim_folder(&builds)?;
        for name in [BLOBS, SPOOL, ROOTS, ROOMS] {
            let path = folder.join(name);
            fs::create_dir(&path).map_err(StoreError::at("create", &path))?;
        }
        let (spooled, room_count) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner = Inner { folder, _lock: lock, spooled, room_count };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns this build's folder, which RUN must not be able to change.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Starts a blob of yet unknown digest.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the spool file cannot be made.
    pub fn spool(&self) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter::new(self.new_spool()?))
    }

    pub(super) fn new_spool(&self) -> Result<Spool, StoreError> {
        let number = self.inner.spooled.fetch_add(1, Ordering::Relaxed);
        let path = self.inner.folder.join(SPOOL).join(number.to_string());
        Spool::create(path, self.inner.folder.join(BLOBS))
    }

    /// Announces a blob that is to be written, so that others can wait for it.
    pub fn expect_blob(&self) -> ExpectedBlob {
        ExpectedBlob::new(self.clone())
    }

    /// Returns the blob of a digest, if it is here.
    ///
    /// # Errors
    /// [`StoreError::Io`] for anything but its absence.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, StoreError> {
        Blob::find(&self.inner.folder.join(BLOBS), digest)
    }

    /// Returns the blob of a digest that an earlier phase has stored.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when it is not here.
    pub fn stored(&self, digest: &Digest) -> Result<Blob, StoreError> {
        self.blob(digest)?.ok_or(StoreError::Missing { digest: *digest })
    }

    /// Makes an empty directory that a stage uses as its root file system.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it exists or cannot be made.
    pub fn create_root(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.inner.folder.join(ROOTS).join(name);
        fs::create_dir(&path).map_err(StoreError::at("create", &path))?;
        Ok(path)
    }

    /// Makes an empty directory for the files of an archive that is the context.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it exists or cannot be made.
    pub fn create_context(&self) -> Result<PathBuf, StoreError> {
        let path = self.inner.folder.join(CONTEXT);
        fs::create_dir(&path).map_err(StoreError::at("create", &path))?;
        Ok(path)
    }

    /// Makes an empty directory for something that is fetched, to be there until the build ends.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be made.
    pub fn create_room(&self) -> Result<PathBuf, StoreError> {
        let number = self.inner.room_count.fetch_add(1, Ordering::Relaxed);
        let path = self.inner.folder.join(ROOMS).join(number.to_string());
        fs::create_dir(&path).map_err(StoreError::at("create", &path))?;
        Ok(path)
    }

    /// Removes a stage's root, or a room, with all that is in it.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming it.
    pub fn remove_root(&self, root: &Path) -> Result<(), StoreError> {
        fs::remove_dir_all(root).map_err(StoreError::at("remove", root))
    }

    /// Removes the roots of all stages, so that they can be made again.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the folder that they are in.
    pub fn remove_roots(&self) -> Result<(), StoreError> {
        let folder = self.inner.folder.join(ROOTS);
        fs::remove_dir_all(&folder).map_err(StoreError::at("remove", &folder))?;
        fs::create_dir(&folder).map_err(StoreError::at("create", &folder))
    }

    /// Removes everything this build kept, and says so when that fails.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the folder that is still there.
    pub fn remove(self) -> Result<(), StoreError> {
        let folder = &self.inner.folder;
        fs::remove_dir_all(folder).map_err(StoreError::at("remove", folder))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // After `Store::remove` there is nothing left; after an error this is the clean-up, and
        // the error that led here is the one to report.
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(folder = %self.folder.display(), %error, "work folder not removed");
        }
    }
}

fn claim_folder(builds: &Path) -> Result<(PathBuf, File), StoreError> {
    let process = std::process::id();
    let mut attempt = 0_u64;
    loop {
        let folder = builds.join(format!("{process}-{attempt}"));
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                attempt += 1;
                continue;
            }
            Err(error) => return Err(StoreError::at("create", &folder)(error)),
        }
        let path = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::at("create", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if path.exists() => {}
            // Between the two calls somebody took it for a dead build's.
            Ok(()) | Err(Errno::WOULDBLOCK) => {
                attempt += 1;
                continue;
            }
            // A file system without locks: nobody else can lock it either, so that it is nobody's to
            // remove, though this build dies.
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "no lock can be had here");
            }
        }
        return Ok((folder, lock));
    }
}

fn remove_dead_builds(builds: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(builds).map_err(StoreError::at("list", builds))?;
    for entry in entries {
        let folder = entry.map_err(StoreError::at("list", builds))?.path();
        // A folder without a lock file belongs to a build that is just starting, or that died
        // between two system calls; only a lock that can be taken proves that its owner is gone.
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tracing::debug!(folder = %folder.display(), "removing what a dead build left");
            fs::remove_dir_all(&folder).map_err(StoreError::at("remove", &folder))?;
        }
    }
    Ok(())
}

impl Fault for StoreError {
    fn class(&self) -> Class {
        match self {
            Self::Io { source, .. } => match Class::of_io(source) {
                Class::User => Class::Infrastructure,
                other => other,
            },
            Self::NoRoom { .. } => Class::Disk,
            Self::Mismatch { .. } => Class::Infrastructure,
            Self::Missing { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match (self, self.class()) {
            (Self::Io { path, .. } | Self::NoRoom { path, .. }, Class::Disk) => Some(format!(
                "free space on the file system of `{}`, or choose another with `--kaniko-dir`",
                path.display()
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_blob_gets_its_name_only_when_it_is_what_was_promised() {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path()).unwrap();
        let promised = Digest::of(b"hello");

        let mut writer = store.spool().unwrap();
        writer.write_all(b"hullo").unwrap();
        let refused = writer.commit(Some((&promised, 5)));
        assert!(matches!(refused, Err(StoreError::Mismatch { found_bytes: 5, .. })));
        assert!(store.blob(&promised).unwrap().is_none());
        assert!(matches!(store.stored(&promised), Err(StoreError::Missing { .. })));

        let mut writer = store.spool().unwrap();
        writer.write_all(b"hello").unwrap();
        let blob = writer.commit(Some((&promised, 5))).unwrap();
        assert_eq!((blob.digest, blob.size_bytes), (promised, 5));
        let mut text = String::new();
        store.stored(&promised).unwrap().open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        let spool = fs::read_dir(store.folder().join(SPOOL)).unwrap().count();
        assert_eq!(spool, 0, "no spool file is left, not even the refused one");
    }

    #[test]
    fn a_dead_builds_folder_is_removed_and_a_living_ones_is_kept() {
        let work = tempfile::tempdir().unwrap();
        let alive = Store::open(work.path()).unwrap();
        let dead = work.path().join("builds/dead");
        fs::create_dir_all(dead.join("roots/x")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let second = Store::open(work.path()).unwrap();
        assert!(alive.folder().exists() && second.folder().exists());
        assert!(!dead.exists());
        let folder = second.folder().to_path_buf();
        second.remove().unwrap();
        assert!(!folder.exists());
    }
}
