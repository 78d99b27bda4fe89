//! The `inotify` tracker: one watch on every inode of the root.
//!
//! Needs no privilege. A file's own watch sees what is done to it whatever name was used, a
//! directory's watch the names that come and go in it, and what is in a directory that came during a
//! step is walked at its end; so nothing is added while a step runs, and there are no races. The
//! idea to hold in mind: a watch belongs to an inode for as long as that exists, so that the table
//! from watch to inode never goes stale, however things are renamed.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use inotify::{EventMask, Inotify, WatchMask};
use rustix::fs::{MemfdFlags, Mode};

use super::arming::Arming;
use super::budget::{TrackerLimits, max_user_watches};
use super::error::TrackError;
use super::events::{InotifyEvent, InotifyEvents};
use super::reader::{Drained, EventSource};
use super::touched::{NameNote, Touched};
use crate::index::Index;
use crate::metadata::{InodeId, Metadata};
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::scope::Reason;
use crate::sys::{self, WatchTarget};

/// What is watched of a directory. Not that it is opened: listing it changes nothing.
const DIRECTORY: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVED_FROM)
    .union(WatchMask::MOVED_TO)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::DONT_FOLLOW);

/// What is watched of everything else. That it is opened too: a descriptor in flight, or held by the
/// kernel for asynchronous calls, writes and closes after its process is gone, with no event before
/// the step ends; but it was opened before that.
const OTHER: WatchMask = WatchMask::OPEN
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::DONT_FOLLOW);

/// What is left unwatched, to show that tests find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unwatched {
    /// Everything but directories.
    pub(crate) files: bool,
    /// That a file is opened.
    pub(crate) opening: bool,
    /// What has got the number of an inode that is gone.
    pub(crate) old_numbers: bool,
}

/// The watches of one root.
pub(crate) struct InotifyTracker {
    queue: Arc<Queue>,
    limits: TrackerLimits,
    unwatched: Unwatched,
    armed: Armed,
    /// Devices that the control group lets nobody watch.
    refused: HashSet<InodeId>,
}

/// Whether everything in the index is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    Never,
    /// It was; since then events were lost, and with them perhaps which watches have ended.
    Perhaps,
    /// What came since it was is by [`InotifyTracker::follow`].
    Yes,
}

/// What the thread that reads needs.
pub(crate) struct Queue {
    inotify: Inotify,
    inodes: WatchedInodes,
    /// Watches that ended during the step, because their inode did.
    ended: Mutex<Vec<i32>>,
    sentinel: Sentinel,
}

/// Inodes by watch descriptor. The kernel counts these up, so that a table will do.
#[derive(Debug, Default)]
struct WatchedInodes {
    inodes: Vec<Option<InodeId>>,
    count: u64,
}

impl WatchedInodes {
    fn insert(&mut self, descriptor: i32, inode: InodeId) {
        let Ok(place) = usize::try_from(descriptor) else { return };
        if place >= self.inodes.len() {
            self.inodes.resize(place + 1, None);
        }
        if let Some(known) = self.inodes.get_mut(place)
            && known.replace(inode).is_none()
        {
            self.count += 1;
        }
    }

    fn remove(&mut self, descriptor: i32) -> Option<InodeId> {
        let inode = self.inodes.get_mut(usize::try_from(descriptor).ok()?)?.take()?;
        self.count -= 1;
        Some(inode)
    }

    fn get(&self, descriptor: i32) -> Option<InodeId> {
        self.inodes.get(usize::try_from(descriptor).ok()?).copied().flatten()
    }
}

/// A file in memory whose mode is changed when all earlier events have to be in the queue.
struct Sentinel {
    file: OwnedFd,
    descriptor: i32,
}

impl Sentinel {
    fn new(inotify: &Inotify) -> io::Result<Self> {
        let file = rustix::fs::memfd_create(c"sentinel", MemfdFlags::CLOEXEC)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let descriptor = inotify.watches().add(path, WatchMask::ATTRIB)?;
        Ok(Self { file, descriptor: descriptor.get_watch_descriptor_id() })
    }
}

impl InotifyTracker {
    /// Makes an event queue; nothing is watched yet.
    pub(crate) fn start(limits: TrackerLimits, unwatched: Unwatched) -> Result<Self, TrackError> {
        let inotify = Inotify::init().map_err(TrackError::Queue)?;
        let sentinel = Sentinel::new(&inotify).map_err(TrackError::Queue)?;
        let (inodes, ended) = (WatchedInodes::default(), Mutex::default());
        let queue = Queue { inotify, inodes, ended, sentinel };
        let queue = Arc::new(queue);
        Ok(Self { queue, limits, unwatched, armed: Armed::Never, refused: HashSet::new() })
    }

    /// Returns what a thread reads from.
    pub(crate) fn source(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Watches everything in the index, unless that was done.
    ///
    /// No thread may be reading. After an error the tracker is to be dropped, which takes all watches
    /// away at once.
    pub(crate) fn arm(&mut self, rootfs: &Rootfs, index: &Index) -> Result<(), TrackError> {
        if self.armed == Armed::Yes {
            return Ok(());
        }
        let inode_count = index.len() as u64 + 1;
        let allowance = self.limits.allowance(max_user_watches().map_err(TrackError::Watch)?);
        if inode_count > allowance.watch_count {
            return Err(TrackError::TooManyInodes { inode_count, allowance });
        }
        let root = root_inode(rootfs)?;
        let arming = Arming::of_index(index, root, self.unwatched)?;
        // Taken and given back at once: whoever needs watches next finds as many as we have.
        let reserve = match self.armed {
            Armed::Never => Some(Inotify::init().map_err(TrackError::Queue)?),
            Armed::Perhaps | Armed::Yes => None,
        };
        let reserve = reserve.as_ref().map(AsFd::as_fd);
        self.add(rootfs, &arming, reserve).map_err(|error| match error {
            TrackError::Watch(source) if source.raw_os_error() == Some(libc::ENOSPC) => {
                TrackError::NoReserve
            }
            other => other,
        })?;
        self.armed = Armed::Yes;
        Ok(())
    }

    /// Notes that events were lost: before the next step everything is watched anew, which changes
    /// nothing where it is.
    pub(crate) fn distrust(&mut self) {
        if self.armed == Armed::Yes {
            self.armed = Armed::Perhaps;
        }
    }

    /// Watches entries that a snapshot has found changed, in the order of their paths. What is
    /// watched already stays so.
    pub(crate) fn follow<'e>(
        &mut self,
        rootfs: &Rootfs,
        entries: impl Iterator<Item = (&'e RootfsPath, &'e Metadata)>,
    ) -> Result<(), TrackError> {
        if self.armed != Armed::Yes {
            return Ok(());
        }
        let arming = Arming::of_paths(entries, self.unwatched);
        if arming.inodes.is_empty() {
            return Ok(());
        }
        let allowance = self.limits.allowance(max_user_watches().map_err(TrackError::Watch)?);
        let watched = &self.queue.inodes;
        let mut inode_count = watched.count + arming.inodes.len() as u64;
        if inode_count > allowance.watch_count {
            // Perhaps not, when those that are watched already are not counted twice.
            let known: HashSet<&InodeId> = watched.inodes.iter().flatten().collect();
            let new: HashSet<&InodeId> =
                arming.inodes.iter().filter(|inode| !known.contains(inode)).collect();
            inode_count = watched.count + new.len() as u64;
        }
        if inode_count > allowance.watch_count {
            return Err(TrackError::TooManyInodes { inode_count, allowance });
        }
        self.add(rootfs, &arming, None)
    }

    fn add(
        &mut self,
        rootfs: &Rootfs,
        arming: &Arming,
        reserve: Option<BorrowedFd<'_>>,
    ) -> Result<(), TrackError> {
        let queue = Arc::get_mut(&mut self.queue).expect("no thread reads while watches are added");
        let other = if self.unwatched.opening { OTHER.difference(WatchMask::OPEN) } else { OTHER };
        let target = WatchTarget {
            root: rootfs.as_fd(),
            inotify: queue.inotify.as_fd(),
            reserve,
            directory_mask: DIRECTORY.bits(),
            other_mask: other.bits(),
        };
        let added = sys::add_watches(&target, &arming.script).map_err(TrackError::Watch)?;
        if let Some(error) = added.error {
            return Err(TrackError::Watch(error));
        }
        for (descriptor, inode) in added.descriptors.into_iter().zip(&arming.inodes) {
            match descriptor {
                sys::REFUSED => drop(self.refused.insert(*inode)),
                descriptor => queue.inodes.insert(descriptor, *inode),
            }
        }
        Ok(())
    }

    /// Returns what may have changed unseen.
    pub(crate) fn refused(&self) -> impl Iterator<Item = InodeId> + '_ {
        self.refused.iter().copied()
    }

    /// Throws away what is in the queue: it is of the executor's own doing. Then watches what has got
    /// the number of an inode that is gone.
    ///
    /// A snapshot need not have noticed it: where timestamps are coarse, a directory that was removed
    /// and made again within one of their ticks, and got its number again, looks as it did.
    pub(crate) fn discard(&mut self, rootfs: &Rootfs, index: &Index) -> Result<(), TrackError> {
        let ended = self.ended().map_err(TrackError::Queue)?;
        if self.unwatched.old_numbers {
            return Ok(());
        }
        let named = ended.into_iter().flat_map(|inode| index.paths_of(inode));
        let known = named.filter_map(|path| {
            let row = index.get(&path).filter(|row| !row.shadow)?;
            Some((path, row.metadata))
        });
        let mut known: Vec<(RootfsPath, Metadata)> = known.collect();
        known.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.follow(rootfs, known.iter().map(|(path, metadata)| (path, metadata)))
    }

    /// Empties the queue and returns the inodes whose watches have ended since the last time.
    fn ended(&mut self) -> io::Result<HashSet<InodeId>> {
        let queue = Arc::get_mut(&mut self.queue).expect("no thread reads between steps");
        let descriptors = queue.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut descriptors = std::mem::take(descriptors);
        let mut buffer = super::reader::buffer();
        loop {
            let length = match rustix::io::read(&queue.inotify, &mut buffer) {
                Ok(length) => length,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for event in InotifyEvents::new(buffer.get(..length).unwrap_or_default()).flatten() {
                if event.mask & EventMask::IGNORED.bits() != 0 {
                    descriptors.push(event.descriptor);
                }
            }
        }
        let inodes = descriptors.into_iter().filter_map(|ended| queue.inodes.remove(ended));
        Ok(inodes.collect())
    }
}

impl EventSource for Queue {
    fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    fn take_in(&self, bytes: &[u8], touched: &mut Touched) -> Drained {
        let mut drained = Drained::Open;
        for event in InotifyEvents::new(bytes) {
            match event {
                Ok(event) if event.descriptor == self.sentinel.descriptor => {
                    drained = Drained::ToSentinel;
                }
                Ok(event) => self.note(&event, touched),
                Err(_) => touched.doubt(Reason::UnknownRecord),
            }
        }
        drained
    }

    fn trip_sentinel(&self) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.sentinel.file, Mode::RUSR)?)
    }
}

impl Queue {
    fn note(&self, event: &InotifyEvent<'_>, touched: &mut Touched) {
        let mask = EventMask::from_bits_retain(event.mask);
        if mask.contains(EventMask::Q_OVERFLOW) {
            return touched.doubt(Reason::QueueOverflow);
        }
        if mask.contains(EventMask::UNMOUNT) {
            return touched.doubt(Reason::MountsChanged);
        }
        if mask.contains(EventMask::IGNORED) {
            // The inode is gone, and its number is free to be another's after this step.
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(event.descriptor);
            return;
        }
        let Some(inode) = self.inodes.get(event.descriptor) else {
            return touched.doubt(Reason::UnknownRecord);
        };
        if event.name.is_empty() {
            return touched.inode(inode);
        }
        let came = EventMask::CREATE | EventMask::MOVED_TO;
        let note = if mask.contains(EventMask::ISDIR) && mask.intersects(came) {
            NameNote::Directory
        } else {
            NameNote::Entry
        };
        // A directory also tells of changes to a child's metadata, which the child's own watch has
        // told already.
        let names = came | EventMask::DELETE | EventMask::MOVED_FROM;
        if mask.intersects(names) {
            touched.name(inode, event.name, note);
        }
    }
}

pub(super) fn root_inode(rootfs: &Rootfs) -> Result<InodeId, TrackError> {
    match rootfs.metadata(&RootfsPath::root()) {
        Ok(Some(metadata)) => Ok(metadata.inode()),
        _ => Err(TrackError::Incomplete),
    }
}
