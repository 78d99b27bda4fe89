//! Small things by the digest of what they describe, kept from build to build.
//!
//! Whoever puts something here can do without it: what cannot be read or written is as if it were
//! not there, and what was not used for longest goes when there is too much.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use snapshot::Digest;

/// How many are kept: enough for the bases of a large repository, at about a megabyte each.
const KEPT_COUNT: usize = 256;

/// Largest that is read.
const LIMIT_BYTES: u64 = 256 << 20;

/// A directory of small things by digest; several builds may use one at a time.
#[derive(Clone, Debug)]
pub struct KeptStore {
    folder: PathBuf,
}

impl KeptStore {
    /// Names the directory, which is made when something is put into it.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns what is kept of `digest`, and notes that it was used.
    pub fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.path(digest);
        match read(&path) {
            Ok(found) => Some(found),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(path = %path.display(), %error, "what was kept cannot be read");
                }
                None
            }
        }
    }

    /// Keeps `content` for `digest`.
    pub fn put(&self, digest: &Digest, content: &[u8]) {
        if let Err(error) = self.try_put(digest, content) {
            tracing::debug!(folder = %self.folder.display(), %error, "nothing can be kept here");
        }
    }

    fn try_put(&self, digest: &Digest, content: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        // Whole or not there, whoever looks: another build may write the same.
        let draft = self.folder.join(format!(".{}-{}", digest.hex(), std::process::id()));
        let written =
            fs::write(&draft, content).and_then(|()| fs::rename(&draft, self.path(digest)));
        if written.is_err() {
            // The error that led here is the one to tell of.
            _ = fs::remove_file(&draft);
        }
        written?;
        self.drop_oldest()
    }

    fn drop_oldest(&self) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            kept.push((entry.metadata()?.modified()?, entry.path()));
        }
        kept.sort();
        let excess = kept.len().saturating_sub(KEPT_COUNT);
        for (_, path) in kept.iter().take(excess) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let file = fs::File::open(path)?;
    // Where this is not allowed, it counts as not used.
    _ = file.set_modified(SystemTime::now());
    let mut content = Vec::new();
    file.take(LIMIT_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let kept = KeptStore::new(folder.path().join("deep/er"));
        let digest = |number: usize| Digest::of(&number.to_le_bytes());
        assert_eq!(kept.get(&digest(0)), None);
        for number in 0..KEPT_COUNT + 3 {
            kept.put(&digest(number), &number.to_le_bytes());
            let age = std::time::Duration::from_secs((2 * KEPT_COUNT - number) as u64);
            let file = fs::File::open(kept.path(&digest(number))).expect("kept");
            file.set_modified(SystemTime::now() - age).expect("utimes");
        }
        let found: Vec<bool> = (0..5).map(|number| kept.get(&digest(number)).is_some()).collect();
        assert_eq!(found, [false, false, false, true, true]);
        assert_eq!(fs::read_dir(kept.folder).expect("a folder").count(), KEPT_COUNT);
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_fails() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let kept = KeptStore::new(file.path().join("below"));
        kept.put(&Digest::of(b"a"), b"b");
        assert_eq!(kept.get(&Digest::of(b"a")), None);
    }
}
