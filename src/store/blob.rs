//! One blob: its spool file while it is written, its named file afterwards.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use snapshot::{Digest, Digester};

use super::arrival::{Announcer, ArrivingBlob};
use super::workspace::{Store, StoreError};

/// A blob on disk, complete and verified when it was stored.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    path: PathBuf,
    /// Its file, where others may remove it.
    held: Option<Arc<File>>,
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        (&self.digest, self.size_bytes, &self.path)
            == (&other.digest, other.size_bytes, &other.path)
    }
}

impl Eq for Blob {}

impl Blob {
    /// Returns the blob that a file outside the store holds, such as one of an OCI layout.
    pub(super) fn at(path: PathBuf, digest: Digest, size_bytes: u64) -> Self {
        Self { digest, size_bytes, path, held: None }
    }

    /// Returns the blob that an open file holds, which others may remove.
    pub(super) fn held(path: PathBuf, file: File, digest: Digest, size_bytes: u64) -> Self {
        Self { digest, size_bytes, path, held: Some(Arc::new(file)) }
    }

    pub(super) fn find(folder: &Path, digest: &Digest) -> Result<Option<Self>, StoreError> {
        let path = folder.join(digest.hex());
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Self::at(path, *digest, metadata.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::at("read", &path)(error)),
        }
    }

    /// Opens the blob's bytes.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the file.
    pub fn open(&self) -> Result<File, StoreError> {
        // The same file, read from its start, whatever has become of its name.
        if let Some(held) = &self.held
            && let Ok(file) = File::open(format!("/proc/self/fd/{}", held.as_raw_fd()))
        {
            return Ok(file);
        }
        File::open(&self.path).map_err(StoreError::at("open", &self.path))
    }

    /// Returns the file that holds the blob.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A blob that is to be written: it can be waited for already. Dropped, it is given up.
pub struct ExpectedBlob {
    store: Store,
    announcer: Announcer,
}

impl ExpectedBlob {
    pub(super) fn new(store: Store) -> Self {
        Self { store, announcer: Announcer::new() }
    }

    /// Returns the blob for those who read it as it comes.
    pub fn arriving(&self) -> ArrivingBlob {
        self.announcer.blob()
    }

    /// Starts to write it, of so many bytes: where they find no room, the error says how many are
    /// lacking.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the spool file cannot be made.
    pub fn begin(self, size_bytes: u64) -> Result<CheckedBlobWriter, StoreError> {
        let mut spool = self.store.new_spool()?;
        spool.promised_bytes = Some(size_bytes);
        self.announcer.begun(spool.path.clone());
        spool.announcer = Some(self.announcer);
        Ok(CheckedBlobWriter { spool })
    }
}

/// A blob written by somebody who checks its digest themselves, so that it is not computed twice;
/// dropped without a commit it leaves nothing.
pub struct CheckedBlobWriter {
    spool: Spool,
}

impl CheckedBlobWriter {
    /// Names the blob by the digest that the caller has found what was written to have.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot get its name.
    pub fn commit(self, digest: &Digest) -> Result<Blob, StoreError> {
        self.spool.name(digest)
    }
}

impl Write for CheckedBlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spool.file.flush()
    }
}

/// A blob that is being written; dropped without a commit it leaves nothing.
pub struct BlobWriter {
    spool: Spool,
    digester: Digester,
}

impl BlobWriter {
    pub(super) fn new(spool: Spool) -> Self {
        Self { spool, digester: Digester::new() }
    }

    /// Opens what is written for reading, now and as it grows; it stays readable after the commit
    /// and after a drop.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the spool file.
    pub fn reader(&self) -> Result<File, StoreError> {
        let path = &self.spool.path;
        File::open(path).map_err(StoreError::at("open", path))
    }

    /// Names the blob by its digest, after checking it against what was `promised`.
    ///
    /// Nothing is synced: the blob lives no longer than its build's folder, which the next build
    /// removes after a crash.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] for other bytes than promised, [`StoreError::Io`] otherwise.
    pub fn commit(self, promised: Option<(&Digest, u64)>) -> Result<Blob, StoreError> {
        let size_bytes = self.spool.written_bytes;
        let digest = self.digester.finish();
        if let Some((expected, expected_bytes)) = promised
            && (*expected != digest || expected_bytes != size_bytes)
        {
            return Err(StoreError::Mismatch {
                expected: *expected,
                expected_bytes,
                found: digest,
                found_bytes: size_bytes,
            });
        }
        self.spool.name(&digest)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.spool.write(bytes)?;
        if let Some(taken) = bytes.get(..written) {
            self.digester.update(taken);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spool.file.flush()
    }
}

/// A file that becomes a blob; dropped before it has its name, it is removed.
pub(super) struct Spool {
    file: File,
    path: PathBuf,
    blobs: PathBuf,
    written_bytes: u64,
    /// What it will have in the end, where that is known.
    promised_bytes: Option<u64>,
    /// Tells those who read it as it comes.
    announcer: Option<Announcer>,
}

impl Spool {
    pub(super) fn create(path: PathBuf, blobs: PathBuf) -> Result<Self, StoreError> {
        let file = File::create_new(&path).map_err(StoreError::at("create", &path))?;
        Ok(Self { file, path, blobs, written_bytes: 0, promised_bytes: None, announcer: None })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).map_err(|source| self.failed(source))?;
        let count = u64::try_from(written).unwrap_or(u64::MAX);
        self.written_bytes = self.written_bytes.saturating_add(count);
        if let Some(announcer) = &self.announcer {
            announcer.grown(count);
        }
        Ok(written)
    }

    /// Names the file, which who writes a layer does not know, and the room that it lacks.
    fn failed(&self, source: io::Error) -> io::Error {
        let kind = source.kind();
        let is_full = kind == io::ErrorKind::StorageFull;
        let lacking_bytes = is_full.then(|| self.lacking_bytes()).flatten();
        let error = match lacking_bytes {
            None => StoreError::at("write", &self.path)(source),
            Some(lacking_bytes) => {
                StoreError::NoRoom { path: self.path.clone(), lacking_bytes, source }
            }
        };
        io::Error::new(kind, error)
    }

    /// Returns how many bytes more than are free this file takes; `None` where that is not known, or
    /// something else is lacking, such as inodes.
    fn lacking_bytes(&self) -> Option<u64> {
        let left_bytes = self.promised_bytes?.saturating_sub(self.written_bytes);
        let room = rustix::fs::fstatvfs(&self.file).ok()?;
        // Also what is kept back for root, so that never more is said to be lacking than is.
        let free_bytes = room.f_bfree.saturating_mul(room.f_frsize);
        left_bytes.checked_sub(free_bytes).filter(|lacking| *lacking > 0)
    }

    fn name(self, digest: &Digest) -> Result<Blob, StoreError> {
        let path = self.blobs.join(digest.hex());
        fs::rename(&self.path, &path).map_err(StoreError::at("rename", &self.path))?;
        if let Some(announcer) = &self.announcer {
            announcer.stored(path.clone());
        }
        Ok(Blob::at(path, *digest, self.written_bytes))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // A committed spool file has moved away; any other failure shows again when the build's
        // whole folder is removed.
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %self.path.display(), %error, "spool file not removed");
        }
    }
}
