//! One blob: its spool file while it is written, its named file afterwards.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use snapshot::{Digest, Digester};

use super::arrival::{Announcer, ArrivingBlob};
use super::workspace::{Store, StoreError};

/// A blob on disk, complete and verified when it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    path: PathBuf,
}

impl Blob {
    /// Returns the blob that a file outside the store holds, such as one of an OCI layout.
    pub(super) fn at(path: PathBuf, digest: Digest, size_bytes: u64) -> Self {
        Self { digest, size_bytes, path }
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

    /// Starts to write it.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the spool file cannot be made.
    pub fn begin(self) -> Result<BlobWriter, StoreError> {
        let mut writer = self.store.spool()?;
        self.announcer.begun(writer.spool.clone());
        writer.announcer = Some(self.announcer);
        Ok(writer)
    }
}

/// A blob that is being written; dropped without a commit it leaves nothing.
pub struct BlobWriter {
    file: File,
    digester: Digester,
    spool: PathBuf,
    blobs: PathBuf,
    /// Tells those who read it as it comes.
    announcer: Option<Announcer>,
}

impl BlobWriter {
    pub(super) fn create(spool: PathBuf, blobs: PathBuf) -> Result<Self, StoreError> {
        let file = File::create_new(&spool).map_err(StoreError::at("create", &spool))?;
        Ok(Self { file, digester: Digester::new(), spool, blobs, announcer: None })
    }

    /// Opens what is written for reading, now and as it grows; it stays readable after the commit
    /// and after a drop.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the spool file.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(&self.spool).map_err(StoreError::at("open", &self.spool))
    }

    /// Names the blob by its digest, after checking it against what was `promised`.
    ///
    /// Nothing is synced: the blob lives no longer than its build's folder, which the next build
    /// removes after a crash.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] for other bytes than promised, [`StoreError::Io`] otherwise.
    pub fn commit(mut self, promised: Option<(&Digest, u64)>) -> Result<Blob, StoreError> {
        let digester = std::mem::replace(&mut self.digester, Digester::new());
        let size_bytes = digester.count();
        let digest = digester.finish();
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
        let path = self.blobs.join(digest.hex());
        fs::rename(&self.spool, &path).map_err(StoreError::at("rename", &self.spool))?;
        if let Some(announcer) = &self.announcer {
            announcer.stored(path.clone());
        }
        Ok(Blob::at(path, digest, size_bytes))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(taken) = bytes.get(..written) {
            self.digester.update(taken);
        }
        if let Some(announcer) = &self.announcer {
            announcer.grown(u64::try_from(written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // A committed spool file has moved away; any other failure shows again when the build's
        // whole folder is removed.
        if let Err(error) = fs::remove_file(&self.spool)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(path = %self.spool.display(), %error, "spool file not removed");
        }
    }
}
