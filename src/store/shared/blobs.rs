//! Blobs by digest, as an OCI layout has them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use snapshot::{Digest, Digester};

use super::drafts::Draft;
use super::{BLOBS, SharedStore};
use crate::interrupt::Interrupt;
use crate::store::blob::Blob;

/// Bytes that are copied between two looks at whether to go on.
const PIECE_BYTES: usize = 1 << 20;

impl SharedStore {
    /// Returns a blob that is there with this size, and notes that it was used. Its bytes are
    /// checked by who reads them; they stay readable when the blob is removed meanwhile.
    pub fn blob(&self, digest: &Digest, size_bytes: u64) -> Option<Blob> {
        if self.state().distrusted.contains(digest) {
            return None;
        }
        let path = self.blob_path(digest);
        let file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() {
            return None;
        }
        if metadata.len() != size_bytes {
            self.distrust(digest);
            return None;
        }
        if self.is_writable() {
            // Where this is not allowed, it counts as not used.
            _ = file.set_modified(SystemTime::now());
        }
        Some(Blob::held(path, file, *digest, size_bytes))
    }

    /// Tells whether a blob is there with this size.
    pub fn has_blob(&self, digest: &Digest, size_bytes: u64) -> bool {
        self.blob(digest, size_bytes).is_some()
    }

    /// Returns a small blob, its bytes checked.
    pub fn document(&self, digest: &Digest, limit_bytes: u64) -> Option<Vec<u8>> {
        if self.state().distrusted.contains(digest) {
            return None;
        }
        let mut bytes = Vec::new();
        let file = File::open(self.blob_path(digest)).ok()?;
        if self.is_writable() {
            _ = file.set_modified(SystemTime::now());
        }
        file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes);
        }
        self.distrust(digest);
        None
    }

    /// Notes that a blob seems not to be what it is named: this build does not use it any more. Where
    /// its bytes are others indeed, it is removed for all. An image may say of a good blob what is
    /// not so.
    pub fn distrust(&self, digest: &Digest) {
        let path = self.blob_path(digest);
        let is_good = File::open(&path).and_then(digest_of).is_ok_and(|found| found == *digest);
        tracing::debug!(path = %path.display(), is_good, "it seems not to be what it is named by");
        let is_writable = {
            let mut state = self.state();
            state.distrusted.push(*digest);
            if !is_good {
                state.untold.insert(*digest);
            }
            state.access == super::Access::Write
        };
        if is_writable && !is_good {
            // What cannot be removed is replaced by who has it.
            _ = fs::remove_file(path);
        }
    }

    /// Begins to write a blob, which may be one that was distrusted; `None` where nothing is written.
    pub fn write_blob(&self) -> Option<SharedBlobWriter> {
        self.begin_blob(Some(Digester::new()))
    }

    /// Begins to write a blob whose bytes are checked by who writes them.
    pub fn write_checked_blob(&self) -> Option<SharedBlobWriter> {
        self.begin_blob(None)
    }

    fn begin_blob(&self, digester: Option<Digester>) -> Option<SharedBlobWriter> {
        if !self.is_writable() {
            return None;
        }
        match self.inner.drafts.begin() {
            Ok(draft) => {
                let store = self.clone();
                Some(SharedBlobWriter { store, draft, digester })
            }
            Err(error) => {
                self.note(Err(error));
                None
            }
        }
    }

    /// Keeps bytes by their digest.
    pub fn put_bytes(&self, bytes: &[u8]) {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest, bytes.len() as u64) {
            return;
        }
        if let Some(mut writer) = self.write_blob() {
            match writer.write_all(bytes) {
                Ok(()) => _ = writer.commit(&digest),
                Err(error) => self.note(Err(error)),
            }
        }
    }

    /// Keeps a blob that is here, without a copy where both are on one file system. An `interrupt`
    /// ends it.
    pub fn put_blob(&self, blob: &Blob, interrupt: &Interrupt) {
        if !self.is_writable() || self.has_blob(&blob.digest, blob.size_bytes) {
            return;
        }
        let to = self.blob_path(&blob.digest);
        let linked = self.inner.drafts.link(blob.path(), &to);
        if linked.is_ok() {
            self.trust(&blob.digest);
            return;
        }
        let Some(mut writer) = self.write_blob() else { return };
        let copied = blob.open().map_err(io::Error::other).and_then(|mut from| {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                if interrupt.check().is_err() {
                    return Ok(false);
                }
                match from.read(&mut piece)? {
                    0 => return Ok(true),
                    count => writer.write_all(piece.get(..count).unwrap_or_default())?,
                }
            }
        });
        match copied {
            Ok(true) => _ = writer.commit(&blob.digest),
            Ok(false) => {}
            Err(error) => self.note(Err(error)),
        }
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path(BLOBS).join(digest.hex())
    }

    fn trust(&self, digest: &Digest) {
        self.state().distrusted.retain(|other| other != digest);
    }
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    let mut digester = Digester::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digester.finish()),
            count => digester.update(piece.get(..count).unwrap_or_default()),
        }
    }
}

/// A blob on its way into a shared store; dropped without a commit it leaves nothing.
pub struct SharedBlobWriter {
    store: SharedStore,
    draft: Draft,
    /// `None`: the bytes are checked by who writes them.
    digester: Option<Digester>,
}

impl SharedBlobWriter {
    /// Gives it its name, if its bytes are those of `promised`; tells whether they are, and whether
    /// it could have its name.
    pub fn commit(self, promised: &Digest) -> bool {
        if let Some(found) = self.digester.map(Digester::finish)
            && found != *promised
        {
            tracing::debug!(%found, %promised, "another blob than promised is not kept");
            return false;
        }
        let committed = self.draft.commit(&self.store.blob_path(promised));
        let is_kept = committed.is_ok();
        self.store.note(committed);
        if is_kept {
            self.store.trust(promised);
        }
        is_kept
    }

    /// Gives it its name, as [`SharedBlobWriter::commit`] does, and returns the blob, which stays readable
    /// if somebody removes it at once.
    pub fn commit_held(self, promised: &Digest, size_bytes: u64) -> Option<Blob> {
        let path = self.store.blob_path(promised);
        let file = match self.draft.reopen() {
            Ok(file) => file,
            Err(error) => {
                self.store.note(Err(error));
                return None;
            }
        };
        self.commit(promised).then(|| Blob::held(path, file, *promised, size_bytes))
    }
}

impl Write for SharedBlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.draft.write(bytes)?;
        if let Some(digester) = &mut self.digester {
            digester.update(bytes.get(..written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}
