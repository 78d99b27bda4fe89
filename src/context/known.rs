//! What is in the files of a context, as an earlier build has read them, so that they need not be
//! read again.
//!
//! A file is known by its inode, size and times. It is the same as long as these are: whoever writes
//! to it moves its ctime, which nobody can set. That is only so where two changes cannot have one
//! ctime, so that, as in git's index, what was changed less than two seconds before it was read is
//! not believed; and only on file systems whose ctime is known to say everything, which leaves out
//! those of other machines, tmpfs (which says nothing of mapped files) and what may lie over it.
//!
//! ```text
//! magic │ SHA-256 of the rest │ file system │ rows by inode
//! row: inode │ size │ mtime seconds, nanoseconds │ ctime seconds, nanoseconds │ digest │ attributes
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{fstatfs, fstatvfs};
use snapshot::stored::{Fields, seal, unseal};
use snapshot::{Digest, FileKind, Metadata, Rootfs, RootfsPath};

/// Changing what is in the form changes this, and old ones are not read.
const MAGIC: &[u8] = b"zuwai known files 2\n";

const DIGEST_BYTES: usize = 32;
const IDENTITY_BYTES: usize = 16;
const ROW_BYTES: usize = 8 + 8 + 12 + 12 + DIGEST_BYTES + 1;

/// Files that are looked at to tell whether anything is known of a context as it is, and directories.
const SAMPLES: usize = 256;
const DIRECTORIES: usize = 64;

/// How much older than the reading a change has to be. The coarsest timestamps are of 2 s.
const AGE: Duration = Duration::from_secs(2);

/// ext2 to ext4, XFS, btrfs: local, with ctimes of nanoseconds that tell of mapped files too.
const TRUSTED_TYPES: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// What is known of the files of one context; learns while it is asked.
#[derive(Debug)]
pub struct KnownFiles {
    /// `None`: nothing is known here, nor learnt.
    file_system: Option<FileSystem>,
    /// By inode.
    rows: Vec<Row>,
    /// Told by several threads.
    seen: Mutex<Vec<Row>>,
    /// What is newer than this is not learnt.
    newest: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileSystem {
    device: u64,
    /// Tells it from others also after it was mounted anew, under another device number.
    identity: [u8; IDENTITY_BYTES],
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Whether it has extended attributes that belong in an image.
    pub attributes: Attributes,
}

/// Whether a file has extended attributes that belong in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// It has none.
    None,
    /// It has some, which have to be read.
    Some,
}

/// A file as it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    state: State,
    known: Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    inode: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino,
            size: metadata.size,
            mtime: (metadata.mtime.seconds, metadata.mtime.nanoseconds),
            ctime: (metadata.ctime.seconds, metadata.ctime.nanoseconds),
        }
    }

    fn of_file(file: &File) -> Option<(u64, Self)> {
        let metadata = file.metadata().ok()?;
        let nanoseconds = |number: i64| u32::try_from(number).unwrap_or_default();
        let state = Self {
            inode: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), nanoseconds(metadata.mtime_nsec())),
            ctime: (metadata.ctime(), nanoseconds(metadata.ctime_nsec())),
        };
        Some((metadata.dev(), state))
    }

    fn is_older_than(&self, limit: SystemTime) -> bool {
        let is_older = |(seconds, nanoseconds): (i64, u32)| match u64::try_from(seconds) {
            Ok(seconds) => {
                let since = Duration::new(seconds, nanoseconds);
                SystemTime::UNIX_EPOCH.checked_add(since).is_some_and(|time| time < limit)
            }
            Err(_) => true,
        };
        is_older(self.mtime) && is_older(self.ctime)
    }
}

impl KnownFiles {
    /// Knows nothing, and learns nothing.
    pub fn nothing() -> Self {
        let newest = SystemTime::UNIX_EPOCH;
        Self { file_system: None, rows: Vec::new(), seen: Mutex::default(), newest }
    }

    /// Takes what was kept of the files below `root`, as of now. What is not understood, not whole,
    /// or of another file system is as good as nothing.
    pub fn new(root: &Rootfs, stored: Option<&[u8]>) -> Self {
        let file_system = file_system_of(root);
        let rows = file_system.and_then(|one| parse(stored?, &one.identity)).unwrap_or_default();
        let newest = SystemTime::now().checked_sub(AGE).unwrap_or(SystemTime::UNIX_EPOCH);
        Self { file_system, rows, seen: Mutex::default(), newest }
    }

    /// Tells whether anything is known of the files below `root` as they are. A checkout that is made
    /// anew for each build has files of which nothing is.
    pub fn is_of_use(&self, root: &Rootfs) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let mut pending = VecDeque::from([RootfsPath::root()]);
        let mut left = SAMPLES;
        for _ in 0..DIRECTORIES {
            // Whoever reads it for its sake says what is wrong with it.
            let Some(path) = pending.pop_front() else { break };
            let Ok(directory) = root.open_dir(&path) else { continue };
            let (inner, files): (Vec<_>, Vec<_>) = directory
                .entries()
                .unwrap_or_default()
                .into_iter()
                .partition(|entry| entry.kind == FileKind::Directory);
            for file in files.iter().take(left) {
                let found = directory.metadata(&file.name).ok().flatten();
                if found.is_some_and(|metadata| self.row(&metadata).is_some()) {
                    return true;
                }
            }
            left = left.saturating_sub(files.len());
            pending.extend(inner.iter().map(|entry| path.join_name(&entry.name)));
        }
        false
    }

    /// Returns what is in a file, if it is known. Setting an attribute moves ctime too.
    pub fn get(&self, metadata: &Metadata) -> Option<Known> {
        let row = self.row(metadata)?;
        self.seen().push(*row);
        Some(row.known)
    }

    fn row(&self, metadata: &Metadata) -> Option<&Row> {
        if metadata.dev != self.file_system?.device {
            return None;
        }
        let state = State::of(metadata);
        let place = self.rows.binary_search_by_key(&state.inode, |row| row.state.inode).ok()?;
        self.rows.get(place).filter(|row| row.state == state)
    }

    /// Learns what was just read from a file, which `before` describes as it was when
    /// the reading began.
    pub fn learn(&self, before: &Metadata, file: &File, known: Known) {
        if State::of_file(file) == Some((before.dev, State::of(before))) {
            self.take(before, known);
        }
    }

    /// Takes what somebody else has found in a file that looked like this before and after it was read.
    pub fn take(&self, metadata: &Metadata, known: Known) {
        let is_here = self.file_system.is_some_and(|here| here.device == metadata.dev);
        let state = State::of(metadata);
        if is_here && state.is_older_than(self.newest) {
            self.seen().push(Row { state, known });
        }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Row>> {
        // Nothing is half-done while the lock is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what to keep of all files that were asked for; `None` where it is what is kept.
    pub fn to_stored(&self) -> Option<Vec<u8>> {
        let file_system = self.file_system?;
        let mut rows = self.seen().clone();
        rows.sort_by_key(|row| row.state);
        rows.dedup_by_key(|row| row.state.inode);
        if rows == self.rows {
            return None;
        }
        let mut rest = Vec::with_capacity(IDENTITY_BYTES + rows.len() * ROW_BYTES);
        rest.extend_from_slice(&file_system.identity);
        for Row { state, known: Known { digest, attributes } } in &rows {
            rest.extend_from_slice(&state.inode.to_le_bytes());
            rest.extend_from_slice(&state.size.to_le_bytes());
            for (seconds, nanoseconds) in [state.mtime, state.ctime] {
                rest.extend_from_slice(&seconds.to_le_bytes());
                rest.extend_from_slice(&nanoseconds.to_le_bytes());
            }
            rest.extend_from_slice(digest.as_bytes());
            rest.push(match attributes {
                Attributes::None => 0,
                Attributes::Some => 1,
            });
        }
        Some(seal(MAGIC, &rest))
    }
}

/// Returns the file system of a directory, if its ctimes can be believed.
fn file_system_of(root: &Rootfs) -> Option<FileSystem> {
    let top = root.metadata(&RootfsPath::root()).ok()??;
    let file = File::open(root.host_path()).ok()?;
    // The path may lead elsewhere by now.
    let (device, state) = State::of_file(&file)?;
    if (device, state.inode) != (top.dev, top.ino) {
        return None;
    }
    let room = fstatfs(file.as_fd()).ok()?;
    let kind = u64::try_from(room.f_type).ok()?;
    if !TRUSTED_TYPES.contains(&kind) {
        tracing::debug!(kind, "files of this file system are read each time");
        return None;
    }
    // ext4's is made of its UUID, and stays whatever device it is on.
    let number = fstatvfs(file.as_fd()).ok()?.f_fsid;
    let mut identity = [0; IDENTITY_BYTES];
    let (kind_part, number_part) = identity.split_at_mut(8);
    kind_part.copy_from_slice(&kind.to_le_bytes());
    number_part.copy_from_slice(&number.to_le_bytes());
    Some(FileSystem { device, identity })
}

fn parse(stored: &[u8], identity: &[u8; IDENTITY_BYTES]) -> Option<Vec<Row>> {
    let (found, rows) = unseal(MAGIC, stored)?.split_at_checked(IDENTITY_BYTES)?;
    if found != identity || !rows.len().is_multiple_of(ROW_BYTES) {
        return None;
    }
    rows.chunks_exact(ROW_BYTES).map(row).collect()
}

fn row(bytes: &[u8]) -> Option<Row> {
    let mut from = Fields::new(bytes);
    let (inode, size) = (from.number()?, from.number()?);
    let mut time = || from.time().map(|time| (time.seconds, time.nanoseconds));
    let state = State { inode, size, mtime: time()?, ctime: time()? };
    let digest = from.digest()?;
    let attributes = match from.byte()? {
        0 => Attributes::None,
        1 => Attributes::Some,
        _ => return None,
    };
    Some(Row { state, known: Known { digest, attributes } })
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
