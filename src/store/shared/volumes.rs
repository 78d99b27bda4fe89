//! Directories of `RUN --mount=type=cache`, by id.
//!
//! ```text
//! ID/lock    held as long as the directory is in use
//! ID/id      the id as written, for people
//! ID/data    what commands see
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use snapshot::Digest;

use super::drafts::unique_name;
use super::locks::{LockKind, Locked, is_same, open_lock, try_lock};
use crate::interrupt::{Interrupt, Interrupted};
use crate::report::fault::{Class, Fault};
use crate::store::workspace::StoreError;

pub(super) const LOCK: &str = "lock";
const ID: &str = "id";
const DATA: &str = "data";
/// What a directory is called until it is ready.
const FRESH: &str = "fresh-";

/// How long is waited between two looks whether a directory is free.
const PATIENCE: Duration = Duration::from_millis(20);

/// Who may use a directory at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    Shared,
    /// One; who comes then gets another directory.
    Private,
    /// One; who comes then waits.
    Locked,
}

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The build is to end, while it waits.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A file or folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for VolumeError {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Interrupted(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Interrupted(error) => error.is_temporary(),
            Self::Store(error) => error.is_temporary(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
        }
    }
}

/// Directories for commands, by id; cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheVolumes {
    folder: PathBuf,
}

/// A directory in use; nobody removes it before this is dropped.
#[derive(Debug)]
pub struct CacheVolume {
    data: PathBuf,
    _lock: File,
}

impl CacheVolume {
    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.data
    }
}

/// What became of a look at one directory.
enum Tried {
    Have(CacheVolume),
    Busy,
    /// It was removed meanwhile.
    Gone,
}

/// Fills a directory before it is there for others.
type Prepare<'a> = &'a mut dyn FnMut(&Path) -> io::Result<()>;

impl CacheVolumes {
    /// Takes the folder that they are in, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the directory of an id. A new one is made by `prepare`, which fills an empty one and
    /// sets its owner and mode before anybody else can see it.
    ///
    /// Where the file system has no locks, it is as if nobody else used it.
    ///
    /// # Errors
    /// [`VolumeError`] when it cannot be made, or `interrupt` is raised while it is waited for.
    pub fn open(
        &self,
        id: &str,
        sharing: Sharing,
        interrupt: &Interrupt,
        prepare: Prepare<'_>,
    ) -> Result<CacheVolume, VolumeError> {
        let hex = Digest::of(id.as_bytes()).hex();
        let mut number = 0_u64;
        loop {
            interrupt.check()?;
            let name = match number {
                0 => hex.clone(),
                number => format!("{hex}.{number}"),
            };
            let kind = match sharing {
                Sharing::Shared => LockKind::Shared,
                Sharing::Private | Sharing::Locked => LockKind::Exclusive,
            };
            match try_open(&self.folder.join(name), id, kind, &mut *prepare)? {
                Tried::Have(volume) => return Ok(volume),
                Tried::Gone => {}
                Tried::Busy if sharing == Sharing::Private => number += 1,
                Tried::Busy => thread::sleep(PATIENCE),
            }
        }
    }
}

fn try_open(
    folder: &Path,
    id: &str,
    kind: LockKind,
    prepare: Prepare<'_>,
) -> Result<Tried, StoreError> {
    let lock_path = folder.join(LOCK);
    let lock = match fs::create_dir_all(folder).and_then(|()| open_lock(&lock_path)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tried::Gone),
        Err(error) => return Err(StoreError::at("open", &lock_path)(error)),
    };
    let locked = try_lock(&lock, kind);
    if locked == Locked::Busy {
        return Ok(Tried::Busy);
    }
    // Whoever removes it moves it away first, with its lock.
    if !is_same(&lock, &lock_path) {
        return Ok(Tried::Gone);
    }
    let data = folder.join(DATA);
    if !data.exists() {
        // One alone makes it.
        if kind == LockKind::Shared && try_lock(&lock, LockKind::Exclusive) == Locked::Busy {
            return Ok(Tried::Busy);
        }
        if !data.exists() {
            make(folder, id, &data, prepare)?;
        }
        if kind == LockKind::Shared && try_lock(&lock, LockKind::Shared) == Locked::Busy {
            return Ok(Tried::Busy);
        }
    }
    // Says when it was used; where this is not allowed, it counts as not used.
    _ = lock.set_modified(SystemTime::now());
    Ok(Tried::Have(CacheVolume { data, _lock: lock }))
}

fn make(folder: &Path, id: &str, data: &Path, prepare: Prepare<'_>) -> Result<(), StoreError> {
    // What who died at this has left.
    for entry in fs::read_dir(folder).map_err(StoreError::at("list", folder))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(FRESH) {
            _ = fs::remove_dir_all(entry.path());
        }
    }
    let fresh = folder.join(format!("{FRESH}{}", unique_name()));
    fs::create_dir(&fresh).map_err(StoreError::at("create", &fresh))?;
    prepare(&fresh).map_err(StoreError::at("prepare", &fresh))?;
    let id_path = folder.join(ID);
    fs::write(&id_path, id).map_err(StoreError::at("write", &id_path))?;
    match fs::rename(&fresh, data) {
        Ok(()) => Ok(()),
        // Without locks somebody else may have been as fast.
        Err(_) if data.exists() => {
            _ = fs::remove_dir_all(&fresh);
            Ok(())
        }
        Err(error) => Err(StoreError::at("rename", &fresh)(error)),
    }
}

/// Returns the id of a directory, for people.
pub(super) fn id_of(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(ID)).ok()
}

/// Moves a directory away that nobody uses; tells whether nobody does.
pub(super) fn move_away(folder: &Path, to: &Path) -> io::Result<bool> {
    let lock = open_lock(&folder.join(LOCK))?;
    match try_lock(&lock, LockKind::Exclusive) {
        Locked::Busy => Ok(false),
        Locked::Held => fs::rename(folder, to).map(|()| true),
        // Whether somebody uses it cannot be known.
        Locked::Unsupported => Ok(false),
    }
}
