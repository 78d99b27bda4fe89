//! Removing what was not used for longest.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use super::drafts::unique_name;
use super::items::{Item, ItemKind, item};
use super::locks::{LockKind, Locked, open_lock, try_lock};
use super::trees::TREE_DEPTH;
use super::volumes::move_away;
use super::{LOCKS, SharedStore, TRASH};

/// The lock of who removes things: one at a time does.
const PRUNING: &str = "pruning";

/// The share of its file system that a store without a limit leaves free, as one part of so many.
const FREE_PART: u64 = 10;

/// Most that it leaves free, in bytes: a large disk that is nearly full is not this store's doing.
const FREE_BYTES: u64 = 2 << 30;

/// What is to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Until what is kept takes no more room than this, in bytes.
    pub keep_bytes: Option<u64>,
    /// What was not used for so long, whatever room there is.
    pub unused_for: Option<Duration>,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What is gone, what was not used for longest first.
    pub removed: Vec<Item>,
    /// Room that it took, in bytes.
    pub removed_bytes: u64,
    /// Room that what is left takes, in bytes.
    pub kept_bytes: u64,
    /// What would have gone, and is in use.
    pub busy: Vec<Item>,
}

impl SharedStore {
    /// Removes what was not used for longest, and what dead builds have left half-written.
    ///
    /// A build that reads a blob keeps it, removed or not; a cache mount or a tree that is in use
    /// stays. Where locks do not work, those stay.
    ///
    /// # Errors
    /// When a folder cannot be listed, or something cannot be removed.
    pub fn prune(&self, wish: &Wish) -> io::Result<Pruned> {
        let lock = match open_lock(&self.path(LOCKS).join(PRUNING)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Pruned::default()),
            Err(error) => return Err(error),
        };
        if try_lock(&lock, LockKind::Exclusive) == Locked::Busy {
            // Somebody is at it.
            let kept_bytes = self.items()?.total_bytes;
            return Ok(Pruned { kept_bytes, ..Pruned::default() });
        }
        self.inner.drafts.remove_dead().or_else(missing_is_fine)?;
        self.empty_trash().or_else(missing_is_fine)?;
        let found = self.items()?;
        let mut pruned = Pruned { kept_bytes: found.total_bytes, ..Pruned::default() };
        let now = SystemTime::now();
        for item in found.items {
            let age = now.duration_since(item.used).unwrap_or_default();
            let is_old = wish.unused_for.is_some_and(|limit| age >= limit);
            let is_excess = wish.keep_bytes.is_some_and(|limit| pruned.kept_bytes > limit);
            if !is_old && !is_excess {
                continue;
            }
            if self.remove(&item)? {
                pruned.kept_bytes = pruned.kept_bytes.saturating_sub(item.size_bytes);
                pruned.removed_bytes = pruned.removed_bytes.saturating_add(item.size_bytes);
                pruned.removed.push(item);
            } else {
                pruned.busy.push(item);
            }
        }
        self.remove_trees_upon_nothing(&mut pruned)?;
        self.empty_trash().or_else(missing_is_fine)?;
        Ok(pruned)
    }

    /// Removes trees that lay upon one that is gone, and those upon these.
    fn remove_trees_upon_nothing(&self, pruned: &mut Pruned) -> io::Result<()> {
        for _ in 0..TREE_DEPTH {
            let folders = self.trees_upon_nothing()?;
            if folders.is_empty() {
                break;
            }
            for item in folders.into_iter().filter_map(|path| item(ItemKind::Tree, path)) {
                if self.remove(&item)? {
                    pruned.kept_bytes = pruned.kept_bytes.saturating_sub(item.size_bytes);
                    pruned.removed_bytes = pruned.removed_bytes.saturating_add(item.size_bytes);
                    pruned.removed.push(item);
                }
            }
        }
        Ok(())
    }

    /// Keeps within `limit_bytes`, or, without a limit, leaves a tenth of the file system, but no more
    /// than 2 GiB, free; what fails is only noted.
    pub fn keep_within(&self, limit_bytes: Option<u64>) {
        if !self.is_writable() {
            return;
        }
        let outcome = match limit_bytes {
            Some(_) => self.prune(&Wish { keep_bytes: limit_bytes, unused_for: None }).map(Some),
            None => self.lacking_bytes().and_then(|lacking| match lacking {
                0 => Ok(None),
                lacking => {
                    let keep_bytes = self.items()?.total_bytes.saturating_sub(lacking);
                    self.prune(&Wish { keep_bytes: Some(keep_bytes), unused_for: None }).map(Some)
                }
            }),
        };
        match outcome {
            Ok(Some(pruned)) if !pruned.removed.is_empty() => {
                let (count, bytes) = (pruned.removed.len(), pruned.removed_bytes);
                tracing::debug!(count, bytes, "what was not used for longest is removed");
            }
            Ok(_) => {}
            Err(error) => self.note(Err(error)),
        }
    }

    /// Returns how much more should be free on the file system.
    fn lacking_bytes(&self) -> io::Result<u64> {
        let room = rustix::fs::statvfs(self.folder())?;
        let bytes = |blocks: u64| blocks.saturating_mul(room.f_frsize);
        let free_bytes = FREE_BYTES.min(bytes(room.f_blocks) / FREE_PART);
        Ok(free_bytes.saturating_sub(bytes(room.f_bavail)))
    }

    /// Removes one thing; tells whether it is gone.
    fn remove(&self, item: &Item) -> io::Result<bool> {
        let removed = match item.kind {
            ItemKind::Blob | ItemKind::Tag | ItemKind::Headers | ItemKind::Context => {
                fs::remove_file(&item.path).map(|()| true)
            }
            ItemKind::Mount | ItemKind::Tree => {
                move_away(&item.path, &self.path(TRASH).join(unique_name()))
            }
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            other => other,
        }
    }

    fn empty_trash(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.path(TRASH))? {
            fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    }
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
