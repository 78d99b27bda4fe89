//! Files that are written beside their place and get their name when they are whole and on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::locks::LockKind;
use super::locks::{Locked, try_lock};
use super::trees::LOCK;

/// A draft of which nobody can tell whether its writer lives is left alone for so long.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The directory of drafts.
#[derive(Debug)]
pub(super) struct Drafts {
    folder: PathBuf,
}

impl Drafts {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Begins a file under a name of its own.
    pub(super) fn begin(&self) -> io::Result<Draft> {
        let path = self.folder.join(unique_name());
        let file = File::create_new(&path)?;
        // As long as it is written, nobody takes it for a dead one's. Where locks do not work, its
        // age says so.
        _ = try_lock(&file, LockKind::Exclusive);
        Ok(Draft { file, path, is_named: false })
    }

    /// Gives another name to a file that is whole, synced, for as long as it takes to rename it.
    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let path = self.folder.join(unique_name());
        fs::hard_link(from, &path)?;
        let linked = File::open(&path).and_then(|file| {
            file.sync_all()?;
            fs::rename(&path, to)?;
            sync_folder(to)
        });
        if linked.is_err() {
            // The error that led here is the one to tell of.
            _ = fs::remove_file(&path);
        }
        linked
    }

    /// Removes what dead writers left.
    pub(super) fn remove_dead(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() {
                remove_dead_tree(&path);
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            let is_dead = match try_lock(&file, LockKind::Exclusive) {
                Locked::Held => true,
                Locked::Busy => false,
                Locked::Unsupported => is_abandoned(&file),
            };
            // A draft gets its lock just after it is made, and one that is linked has none.
            if is_dead && age_of(&file) > Duration::from_secs(60) {
                _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }
}

/// Removes a directory that a dead writer left. One without a lock file was just made, or its writer
/// died at once: its age says so.
fn remove_dead_tree(path: &Path) {
    let lock = File::open(path.join(LOCK));
    let locked =
        lock.as_ref().map_or(Locked::Unsupported, |lock| try_lock(lock, LockKind::Exclusive));
    let Ok(folder) = File::open(path) else { return };
    let is_dead = match locked {
        Locked::Held => age_of(&folder) > Duration::from_secs(60),
        Locked::Busy => false,
        Locked::Unsupported => is_abandoned(&folder),
    };
    if is_dead && let Err(error) = fs::remove_dir_all(path) {
        tracing::debug!(path = %path.display(), %error, "what a dead build left stays");
    }
}

fn age_of(file: &File) -> Duration {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.map(|modified| SystemTime::now().duration_since(modified));
    age.ok().and_then(Result::ok).unwrap_or_default()
}

fn is_abandoned(file: &File) -> bool {
    age_of(file) > ABANDONED_AFTER
}

/// Returns a name that nobody else gives, on this machine or another.
pub(super) fn unique_name() -> String {
    let mut random = [0; 16];
    // Without random numbers, the clock and the process do.
    _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{hex}", std::process::id(), now.as_nanos())
}

/// A file without its name; dropped before it has one, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    is_named: bool,
}

impl Draft {
    /// Opens it for reading.
    pub(super) fn reopen(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Brings it to disk, then gives it its name; of two who do, either one's stays.
    pub(super) fn commit(mut self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, to)?;
        self.is_named = true;
        sync_folder(to)
    }
}

/// Brings the name of a file to disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().map(File::open).transpose()? {
        // Some network file systems cannot; the name comes to disk some time.
        Some(folder) => folder.sync_all().or(Ok(())),
        None => Ok(()),
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_named {
            // What is left is found by its free lock.
            _ = fs::remove_file(&self.path);
        }
    }
}
