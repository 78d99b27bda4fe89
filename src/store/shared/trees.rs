//! Unpacked images, which builds lay their own changes over.
//!
//! ```text
//! NAME/lock     held as long as somebody uses the tree
//! NAME/root     the files, which nobody writes to any more
//! NAME/about    what whoever made it knows of them
//! NAME/size     the room that it takes, in bytes
//! NAME/below    which tree it lies upon, if it does
//! ```
//!
//! A tree may hold only what is different from another one, which it lies upon; whoever uses it uses
//! both. It is of no use upon any other tree, one of the same name that was made later included.
//!
//! A tree is filled in the directory of drafts, and used from there by whoever fills it. It gets its
//! name when it is whole and on disk. Whether it still is what it was then is for who uses it to
//! find out: `about` says what there has to be.

mod upon;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use snapshot::Digest;

use super::drafts::unique_name;
use super::items::tree_bytes;
use super::locks::{LockKind, Locked, is_same, open_lock, try_lock};
use super::volumes::move_away;
use super::{DRAFTS, SharedStore, TRASH, TREES};
pub use upon::HeldTree;
use upon::{mark_below, mark_of};

pub(super) const LOCK: &str = "lock";
const ROOT: &str = "root";
const ABOUT: &str = "about";
const SIZE: &str = "size";
const BELOW: &str = "below";

/// Most trees that lie upon each other.
pub const TREE_DEPTH: usize = 8;

/// A tree in use: nobody removes it before this is dropped. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedTree {
    store: SharedStore,
    folder: PathBuf,
    below: Option<Arc<SharedTree>>,
    lock: Arc<File>,
}

impl SharedTree {
    /// Returns the directory of its own files.
    pub fn root(&self) -> PathBuf {
        self.folder.join(ROOT)
    }

    /// Returns the tree that it lies upon, if it does.
    pub fn below(&self) -> Option<&Self> {
        self.below.as_deref()
    }

    /// Returns how many trees there are with those that it lies upon.
    pub fn depth(&self) -> usize {
        std::iter::successors(Some(self), |tree| tree.below()).count()
    }

    /// Returns the room that it takes with all that it lies upon, in bytes.
    fn total_bytes(&self) -> u64 {
        let trees = std::iter::successors(Some(self), |tree| tree.below.as_deref());
        trees.map(|tree| size_of(&tree.folder)).fold(0, u64::saturating_add)
    }

    /// Returns what is known of its files, and of those that are seen upon what it lies upon.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn about(&self) -> io::Result<Vec<u8>> {
        fs::read(self.folder.join(ABOUT))
    }

    /// Removes the tree, unless others use it; it turned out not to be what it was. Whether it is
    /// gone is not told: who looks at it next finds out the same.
    pub fn remove(self) {
        let Self { store, folder, below: _, lock } = self;
        // Our own lock would be in the way.
        drop(lock);
        if store.is_writable() {
            let to = store.path(TRASH).join(unique_name());
            if let Ok(true) = move_away(&folder, &to) {
                // What stays is removed by the next who makes room.
                _ = fs::remove_dir_all(to);
            }
        }
    }
}

/// A directory among the drafts; whoever finds its lock free may remove it.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    lock: File,
}

impl Draft {
    fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            // It is found by its free lock.
            tracing::debug!(path = %self.path.display(), %error, "a draft of a tree stays");
        }
    }
}

/// A directory on the file system of trees, which goes with this.
#[derive(Debug)]
pub struct SharedScratch {
    folder: Draft,
}

impl SharedScratch {
    /// Returns the directory.
    pub fn path(&self) -> PathBuf {
        self.folder.path.join(ROOT)
    }
}

impl Drop for SharedScratch {
    fn drop(&mut self) {
        self.folder.remove();
    }
}

/// A tree that is being filled; cheap to clone. What has no name when the last of these is dropped
/// goes.
#[derive(Clone, Debug)]
pub struct TreeDraft {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: SharedStore,
    name: Digest,
    below: Option<HeldTree>,
    /// Where it is until it has its name, locked until nobody uses the tree any more.
    folder: Draft,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// It is not whole.
    Filling,
    /// It is, and this is what is known of it.
    Whole(Vec<u8>),
    /// It has its name, or will not get it.
    Settled { is_named: bool },
}

impl TreeDraft {
    /// Returns the directory to fill, where it stays until [`TreeDraft::keep`].
    pub fn root(&self) -> PathBuf {
        self.inner.folder.path.join(ROOT)
    }

    /// Says that the tree is whole, and what is known of its files.
    pub fn complete(&self, about: Vec<u8>) {
        *self.inner.state() = State::Whole(about);
    }

    /// Brings the tree to disk and gives it its name, if it is whole and takes no more than
    /// `limit_bytes`; once.
    pub fn keep(&self, limit_bytes: Option<u64>) {
        let inner = &*self.inner;
        let about = {
            let mut state = inner.state();
            match std::mem::replace(&mut *state, State::Settled { is_named: false }) {
                State::Whole(about) => about,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        let outcome = inner.name(&about, limit_bytes);
        if let Ok(true) = outcome {
            *inner.state() = State::Settled { is_named: true };
        }
        inner.store.note(outcome.map(drop));
    }
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing is half-done while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where it is once it has its name.
    fn place(&self) -> PathBuf {
        self.store.path(TREES).join(self.name.hex())
    }

    /// Tells whether the tree has its name now.
    fn name(&self, about: &[u8], limit_bytes: Option<u64>) -> io::Result<bool> {
        let (from, to) = (&self.folder.path, self.place());
        let size_bytes = tree_bytes(from);
        let below_bytes = self.below.as_ref().map_or(0, HeldTree::total_bytes);
        let total_bytes = size_bytes.saturating_add(below_bytes);
        if to.exists() || limit_bytes.is_some_and(|limit| total_bytes > limit) {
            return Ok(false);
        }
        if let Some(below) = &self.below {
            // Without the very tree that it was made upon it is nothing.
            let Some(mark) = below.named().and_then(|folder| mark_of(&folder)) else {
                return Ok(false);
            };
            write_synced(&from.join(BELOW), mark.as_bytes())?;
        }
        write_synced(&from.join(ABOUT), about)?;
        write_synced(&from.join(SIZE), size_bytes.to_string().as_bytes())?;
        // Thousands of files: one call for all of them, and all others' with them.
        rustix::fs::syncfs(File::open(from)?)?;
        match fs::rename(from, &to) {
            Ok(()) => {
                if let Some(below) = &self.below {
                    below.touch();
                }
                Ok(true)
            }
            // Somebody else was as fast.
            Err(_) if to.exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if matches!(*self.state(), State::Settled { is_named: true }) {
            return;
        }
        self.folder.remove();
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

impl SharedStore {
    /// Tells whether there is any tree.
    pub fn has_trees(&self) -> bool {
        fs::read_dir(self.path(TREES)).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Returns the tree of a name, and notes that it was used, with all that it lies upon; `None` where
    /// there is none, or no locks to keep it. One that lies upon nothing any more is removed.
    pub fn tree(&self, name: &Digest) -> Option<SharedTree> {
        self.tree_of_depth(self.path(TREES).join(name.hex()), TREE_DEPTH)
    }

    fn tree_of_depth(&self, folder: PathBuf, depth: usize) -> Option<SharedTree> {
        let depth = depth.checked_sub(1)?;
        let path = folder.join(LOCK);
        let lock = match self.is_writable() {
            true => open_existing(&path).ok()?,
            false => File::open(&path).ok()?,
        };
        if try_lock(&lock, LockKind::Shared) != Locked::Held || !is_same(&lock, &path) {
            return None;
        }
        if self.is_writable() {
            // Where this is not allowed, it counts as not used.
            _ = lock.set_modified(SystemTime::now());
        }
        let mut tree =
            SharedTree { store: self.clone(), folder, below: None, lock: Arc::new(lock) };
        if let Some(mark) = mark_below(&tree.folder) {
            // After it, so that it counts as used later.
            let below = self.folder_of(&mark).and_then(|below| self.tree_of_depth(below, depth));
            match below.filter(|below| mark_of(&below.folder).as_ref() == Some(&mark)) {
                Some(below) => tree.below = Some(Arc::new(below)),
                None => {
                    tracing::debug!(path = %tree.folder.display(), "it lies upon nothing");
                    tree.remove();
                    return None;
                }
            }
        }
        Some(tree)
    }

    /// Begins a tree, which may lie upon another; `None` where nothing is written, or there are no
    /// locks.
    pub fn begin_tree(&self, name: &Digest, below: Option<HeldTree>) -> Option<TreeDraft> {
        let folder = self.begin_folder()?;
        let state = Mutex::new(State::Filling);
        let (store, name) = (self.clone(), *name);
        Some(TreeDraft { inner: Arc::new(Inner { store, name, below, folder, state }) })
    }

    /// Makes an empty directory on the file system of trees, which goes with the value; `None` where
    /// nothing is written, or there are no locks.
    pub fn scratch(&self) -> Option<SharedScratch> {
        let folder = self.begin_folder()?;
        Some(SharedScratch { folder })
    }

    fn begin_folder(&self) -> Option<Draft> {
        if !self.is_writable() {
            return None;
        }
        let path = self.path(DRAFTS).join(unique_name());
        // In it may be programs that run as whom they belong to: for nobody else on the machine.
        let begun = DirBuilder::new().mode(0o700).create(&path).and_then(|()| {
            let lock = open_lock(&path.join(LOCK))?;
            fs::create_dir(path.join(ROOT))?;
            Ok(lock)
        });
        let is_held = |lock: &File| try_lock(lock, LockKind::Shared) == Locked::Held;
        match begun {
            Ok(lock) if is_held(&lock) => Some(Draft { path, lock }),
            unusable => {
                _ = fs::remove_dir_all(&path);
                self.note(unusable.map(drop));
                None
            }
        }
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// Returns the room that a tree takes, as was found out when it was made.
pub(super) fn size_of(folder: &Path) -> u64 {
    let noted = fs::read_to_string(folder.join(SIZE)).ok();
    noted.and_then(|text| text.parse().ok()).unwrap_or_else(|| tree_bytes(folder))
}
