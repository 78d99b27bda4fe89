//! Looks at a root file system, or at the part of it that a scope names, and compares what is there
//! with the index.
//!
//! Owns the threads, the order of work and every system call a snapshot makes below the root. Knows
//! nothing of layers, and decides nothing about one entry that [`crate::diff`] does not say. The
//! idea to hold in mind: an entry that is as its row says leaves no trace but a bit; everything else
//! is a [`Sighting`].

mod content;
mod directory;
mod judge;
mod queue;
mod worker;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::diff::{Contents, LinkGroup, Rules, Sighting};
use crate::error::SnapshotError;
use crate::ignore::IgnoreList;
use crate::index::{Index, NodeId};
use crate::metadata::{InodeId, Metadata};
use crate::mountinfo;
use crate::path::RootfsPath;
use crate::rootfs::{Operation, Rootfs, RootfsError};
use crate::scope::{ClosedScope, Extent};
use queue::Queue;
use worker::{Task, Worker};

/// More threads than this only wait for the kernel's locks.
const THREAD_LIMIT: usize = 8;

/// A scope of fewer paths is looked at faster than threads are started.
const SMALL_SCOPE: usize = 256;

/// What a walk needs to know.
pub(crate) struct WalkInput<'a> {
    pub(crate) rootfs: &'a Rootfs,
    pub(crate) index: &'a Index,
    pub(crate) ignore: &'a IgnoreList,
    pub(crate) rules: Rules,
    pub(crate) threads: Option<NonZeroUsize>,
}

/// Which part is looked at.
pub(crate) enum Part<'a> {
    Everything,
    Only(&'a ClosedScope),
}

/// What a walk found. Nothing in it is in any order.
#[derive(Default)]
pub(crate) struct Found {
    /// Entries that are new, different, or have to be noted anew.
    pub(crate) sightings: Vec<Sighting>,
    /// Entries of the index that are gone, topmost only.
    pub(crate) removed: Vec<NodeId>,
    /// Entries of the index that were directories and are something else now.
    pub(crate) replaced: Vec<NodeId>,
    /// Directories that were sighted and then gone.
    pub(crate) vanished: Vec<RootfsPath>,
    /// Names of inodes that have, or had, more than one.
    pub(crate) links: HashMap<InodeId, LinkGroup>,
    /// Sockets.
    pub(crate) sockets: Vec<RootfsPath>,
    pub(crate) counts: Counts,
    /// Which places of the index were looked at.
    seen: Seen,
}

impl Found {
    /// Tells whether the entry was met on disk.
    pub(crate) fn has_seen(&self, id: NodeId) -> bool {
        self.seen.contains(id)
    }

    /// Takes in what a further walk found.
    pub(crate) fn merge(&mut self, other: Found) {
        self.sightings.extend(other.sightings);
        self.removed.extend(other.removed);
        self.replaced.extend(other.replaced);
        self.vanished.extend(other.vanished);
        for (inode, group) in other.links {
            match self.links.entry(inode) {
                Entry::Occupied(mut known) => known.get_mut().names.extend(group.names),
                Entry::Vacant(place) => {
                    place.insert(group);
                }
            }
        }
        self.sockets.extend(other.sockets);
        self.counts.add(&other.counts);
        self.seen.merge(&other.seen);
    }
}

/// How much work a walk was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) directories_listed: u64,
    pub(crate) entries_stated: u64,
    pub(crate) files_opened: u64,
    pub(crate) bytes_hashed: u64,
    pub(crate) mounts_skipped: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.directories_listed += other.directories_listed;
        self.entries_stated += other.entries_stated;
        self.files_opened += other.files_opened;
        self.bytes_hashed += other.bytes_hashed;
        self.mounts_skipped += other.mounts_skipped;
    }
}

/// Walks the part and returns what differs from the index.
///
/// # Errors
/// The first path, in order, that could not be looked at. What vanishes while the walk comes by is
/// gone, which is no error.
pub(crate) fn walk(input: &WalkInput<'_>, part: &Part<'_>) -> Result<Found, SnapshotError> {
    let root = input.rootfs.as_fd();
    let stat =
        stat(root, c"").map_err(|errno| io_error(Operation::Stat, RootfsPath::root(), errno))?;
    let mut ignore = std::borrow::Cow::Borrowed(input.ignore);
    if !stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        // Before Linux 5.8 an entry does not say that a mount begins there.
        let mounts = mountinfo::mount_points_below(root).map_err(SnapshotError::Mounts)?;
        mounts.into_iter().for_each(|path| ignore.to_mut().insert(path));
    }
    let scope = match part {
        Part::Everything => None,
        Part::Only(scope) => Some(scope.entries()),
    };
    let is_small = scope.is_some_and(|scope| {
        scope.len() < SMALL_SCOPE && scope.iter().all(|(_, extent)| *extent == Extent::Entry)
    });
    let thread_count = if is_small { 1 } else { thread_count(input.threads) };
    let walk = Walk {
        input,
        ignore: &ignore,
        scope: scope.unwrap_or(&[]),
        seen: Seen::new(input.index.place_count()),
        links: DashMap::new(),
        contents: DashMap::new(),
        queue: Queue::new(Vec::new(), thread_count),
        thread_count,
        open_directories: Arc::new(AtomicUsize::new(0)),
    };
    walk.run(&stat, scope.is_some())
}

fn thread_count(wanted: Option<NonZeroUsize>) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    wanted.map_or_else(|| available().min(THREAD_LIMIT), NonZeroUsize::get)
}

/// What all threads of a walk share.
struct Walk<'a> {
    input: &'a WalkInput<'a>,
    ignore: &'a IgnoreList,
    scope: &'a [(RootfsPath, Extent)],
    seen: Seen,
    links: DashMap<InodeId, LinkGroup>,
    /// What was read of files with several names, so that each is read once: `None` until it is,
    /// and locked while it is being read.
    contents: DashMap<InodeId, Arc<Mutex<Option<Contents>>>>,
    queue: Queue<Task>,
    thread_count: usize,
    /// Directories that are open for those who wait or work.
    open_directories: Arc<AtomicUsize>,
}

impl Walk<'_> {
    fn run(self, root: &Statx, is_scoped: bool) -> Result<Found, SnapshotError> {
        let mut first = Worker::new(&self);
        first.start(root, is_scoped);
        let mut results = std::thread::scope(|threads| {
            let mut started = Vec::new();
            for _ in 1..self.thread_count {
                let builder = std::thread::Builder::new().name("snapshot-walk".to_owned());
                match builder.spawn_scoped(threads, || Worker::new(&self).run()) {
                    Ok(thread) => started.push(thread),
                    // A Pod's limit on threads costs speed, nothing else.
                    Err(error) => {
                        tracing::debug!(%error, "cannot start a thread for the walk");
                        self.queue.lose_worker();
                    }
                }
            }
            let mut results = vec![first.run()];
            for thread in started {
                results
                    .push(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            results
        });
        let mut found = Found::default();
        let mut first_error: Option<RootfsError> = None;
        for (part, error) in results.drain(..) {
            found.merge(part);
            first_error =
                [first_error, error].into_iter().flatten().min_by(|a, b| a.path().cmp(&b.path()));
        }
        if let Some(error) = first_error {
            return Err(error.into());
        }
        found.links = self.links.into_iter().collect();
        found.seen = self.seen;
        Ok(found)
    }
}

/// One bit for each place of the index.
#[derive(Default)]
struct Seen(Vec<AtomicU64>);

impl Seen {
    fn new(place_count: usize) -> Self {
        let mut words = Vec::new();
        words.resize_with(place_count.div_ceil(64), AtomicU64::default);
        Self(words)
    }

    fn insert(&self, id: NodeId) {
        if let Some(word) = self.0.get(id.number() / 64) {
            word.fetch_or(1 << (id.number() % 64), Ordering::Relaxed);
        }
    }

    fn contains(&self, id: NodeId) -> bool {
        let word = self.0.get(id.number() / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & 1 << (id.number() % 64) != 0
    }

    fn merge(&mut self, other: &Seen) {
        if self.0.len() < other.0.len() {
            self.0.resize_with(other.0.len(), AtomicU64::default);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word.get_mut() |= more.load(Ordering::Relaxed);
        }
    }
}

/// Looks at one name without following it; an empty name is the directory itself.
fn stat(directory: BorrowedFd<'_>, name: &CStr) -> Result<Statx, Errno> {
    let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    if name.is_empty() {
        flags |= AtFlags::EMPTY_PATH;
    }
    rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS)
}

fn metadata(stat: &Statx, path: impl FnOnce() -> RootfsPath) -> Result<Metadata, RootfsError> {
    Metadata::from_statx(stat).ok_or_else(|| RootfsError::UnknownKind { path: path() })
}

fn io_error(operation: Operation, path: RootfsPath, errno: Errno) -> RootfsError {
    RootfsError::Io { operation, path, source: errno.into() }
}
