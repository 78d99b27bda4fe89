//! The `fanotify` tracker: one mark on the root's file system.
//!
//! Needs CAP_SYS_ADMIN and a file system whose handles lead back to inodes. Events name files by
//! handle; nothing has to be armed, and the cost is that of the events alone. The mark sees all of
//! the file system: what is outside the root is in no index and falls away.
//!
//! There is no map from handles to paths to be filled while unpacking. The common file systems have
//! the inode number in the handle, and the index has the names of every inode that was there when the
//! step began; elsewhere the kernel opens the handle, and where it refuses to, the tracker does not
//! start. What came during the step needs no entry either: a directory that was made, or moved, is
//! looked at whole under the name that its parent's event told, and one that was made and removed
//! resolves to nothing, as nothing is left of it. A number that was given anew to such a directory is
//! taken for the old inode's, which names paths too many, never too few.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};

use super::error::TrackError;
use super::events::{FanotifyEvent, FanotifyEvents, Handle};
use super::reader::{self, Drained, EventSource};
use super::touched::{NameNote, Touched};
use crate::index::Index;
use crate::metadata::InodeId;
use crate::rootfs::Rootfs;
use crate::scope::Reason;
use crate::sys;

/// Names that came or went, in directories that are told by handle.
const NAMES: u64 = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;

/// As for inotify, and for the same reasons with `FAN_OPEN`. Renames and deletions of a file itself
/// would only be told twice.
///
/// One queue with names and targets for all of it, because then the kernel makes one event of all
/// that happens to a new file. Measured on 6.18, in CPU time of a process that makes, writes and
/// closes files: 1.3 µs a file; 1.8 with names in one queue and inodes in another, or without
/// targets, where the two kinds stay apart; 0.9 when nothing but `FAN_CREATE` is asked for, which is
/// the floor.
const MASK: u64 = NAMES
    | libc::FAN_OPEN
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_ONDIR
    | libc::FAN_EVENT_ON_CHILD;

const FLAGS: libc::c_uint = libc::FAN_CLASS_NOTIF
    | libc::FAN_CLOEXEC
    | libc::FAN_NONBLOCK
    | libc::FAN_UNLIMITED_QUEUE
    | libc::FAN_REPORT_FID
    | libc::FAN_REPORT_DFID_NAME
    | libc::FAN_REPORT_TARGET_FID;

/// What is left unmarked, to show that tests find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Unmarked {
    /// That a file is opened.
    pub(crate) opening: bool,
}

/// The mark on a root's file system.
pub(crate) struct FanotifyTracker {
    queue: Arc<Queue>,
}

/// What the thread that reads needs.
pub(crate) struct Queue {
    group: OwnedFd,
    root: OwnedFd,
    device: u64,
    file_system: [i32; 2],
    resolver: Resolver,
    sentinel: Sentinel,
}

/// How a handle is led back to an inode number.
enum Resolver {
    /// It is in the handle, and handles of this type and length were seen to have it.
    Read { handle_type: i32, length: usize },
    /// The kernel opens it. What was asked is remembered for the step.
    Open(Mutex<HashMap<Vec<u8>, Option<u64>>>),
}

/// A file without a name, whose mode is changed when all earlier events have to be in the queue.
struct Sentinel {
    file: OwnedFd,
    handle_type: i32,
    bytes: Vec<u8>,
}

impl Sentinel {
    fn new(root: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(root, c".", flags, Mode::RUSR | Mode::WUSR)?;
        let (handle_type, bytes) = sys::name_to_handle(file.as_fd(), c"")?;
        Ok(Self { file, handle_type, bytes })
    }

    fn is(&self, handle: &Handle<'_>) -> bool {
        handle.handle_type == self.handle_type && handle.bytes == self.bytes
    }
}

impl FanotifyTracker {
    /// Marks the file system of the root.
    pub(crate) fn start(rootfs: &Rootfs, unmarked: Unmarked) -> Result<Self, TrackError> {
        let group = sys::fanotify_init(FLAGS).map_err(TrackError::Queue)?;
        // Neither a mark nor a handle is looked for at a descriptor opened with `O_PATH`.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(rootfs.as_fd(), c".", flags, Mode::empty())
            .map_err(|errno| TrackError::Mark(errno.into()))?;
        let mask = if unmarked.opening { MASK & !libc::FAN_OPEN } else { MASK };
        sys::fanotify_mark_file_system(group.as_fd(), root.as_fd(), mask)
            .map_err(TrackError::Mark)?;
        let sentinel = Sentinel::new(root.as_fd()).map_err(TrackError::Mark)?;
        let device = rustix::fs::fstat(&root).map_err(|errno| TrackError::Mark(errno.into()))?;
        let resolver = Resolver::choose(root.as_fd(), &sentinel)?;
        let file_system = first_event(group.as_fd(), &sentinel)?;
        let device = device.st_dev;
        let queue = Queue { group, root, device, file_system, resolver, sentinel };
        Ok(Self { queue: Arc::new(queue) })
    }

    /// Returns what a thread reads from.
    pub(crate) fn source(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Checks that events can be told apart by inode number alone.
    pub(crate) fn check(&self, index: &Index) -> Result<(), TrackError> {
        if index.devices().any(|device| device != self.queue.device) {
            return Err(TrackError::SeveralDevices);
        }
        Ok(())
    }

    /// Throws away what is in the queue: it is of the executor's own doing.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        if let Resolver::Open(known) = &self.queue.resolver {
            known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let mut buffer = reader::buffer();
        loop {
            match rustix::io::read(&self.queue.group, &mut buffer) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Returns the id that the file system has in events, from an event that is sure to come.
fn first_event(group: BorrowedFd<'_>, sentinel: &Sentinel) -> Result<[i32; 2], TrackError> {
    let mark_error = |errno: rustix::io::Errno| TrackError::Mark(errno.into());
    rustix::fs::fchmod(&sentinel.file, Mode::RUSR).map_err(mark_error)?;
    let mut buffer = reader::buffer();
    loop {
        // Nothing there: the event did not come, and no other would.
        let length = match rustix::io::read(group, &mut buffer) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(mark_error(errno)),
        };
        for event in FanotifyEvents::new(buffer.get(..length).unwrap_or_default()).flatten() {
            if let Some(target) = event.target
                && sentinel.is(&target)
            {
                return Ok(target.file_system);
            }
        }
    }
}

impl Resolver {
    fn choose(root: BorrowedFd<'_>, sentinel: &Sentinel) -> Result<Self, TrackError> {
        let (handle_type, bytes) = sys::name_to_handle(root, c"").map_err(TrackError::Mark)?;
        let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino);
        let is_read = inode_in(handle_type, &bytes) == inode(root)
            && inode_in(sentinel.handle_type, &sentinel.bytes) == inode(sentinel.file.as_fd());
        if is_read && inode(root).is_some() {
            return Ok(Self::Read { handle_type, length: bytes.len() });
        }
        match sys::open_by_handle(root, handle_type, &bytes) {
            Ok(opened) if inode(opened.as_fd()) == inode(root) => {
                Ok(Self::Open(Mutex::new(HashMap::new())))
            }
            _ => Err(TrackError::Handles),
        }
    }

    /// Returns the inode number of a handle, `None` when there is no such file any more.
    fn inode(&self, root: BorrowedFd<'_>, handle: &Handle<'_>) -> Result<Option<u64>, Reason> {
        match self {
            Self::Read { handle_type, length }
                if *handle_type == handle.handle_type && *length == handle.bytes.len() =>
            {
                Ok(inode_in(handle.handle_type, handle.bytes))
            }
            Self::Read { .. } => open_inode(root, handle),
            Self::Open(known) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let key = [&handle.handle_type.to_ne_bytes(), handle.bytes].concat();
                if let Some(&inode) = known.get(&key) {
                    return Ok(inode);
                }
                let inode = open_inode(root, handle)?;
                known.insert(key, inode);
                Ok(inode)
            }
        }
    }
}

fn open_inode(root: BorrowedFd<'_>, handle: &Handle<'_>) -> Result<Option<u64>, Reason> {
    match sys::open_by_handle(root, handle.handle_type, handle.bytes) {
        Ok(file) => match rustix::fs::fstat(&file) {
            Ok(stat) => Ok(Some(stat.st_ino)),
            Err(_) => Err(Reason::UnresolvedHandle),
        },
        // It is gone. Its names went before it, and that was told of their directories.
        Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
        Err(_) => Err(Reason::UnresolvedHandle),
    }
}

/// Returns the inode number in a handle, as the common file systems spell it (`linux/exportfs.h`):
/// believed only where it was right for two files of the same file system.
fn inode_in(handle_type: i32, bytes: &[u8]) -> Option<u64> {
    let word = |place: usize| {
        let word = bytes.get(place..place + 4)?;
        Some(u64::from(u32::from_ne_bytes(word.try_into().ok()?)))
    };
    let long = || Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?));
    match (handle_type, bytes.len()) {
        // FILEID_INO32_GEN: ext4, xfs.
        (1, 8) => word(0),
        // tmpfs: generation, then the number's lower and upper half.
        (1, 12) => Some(word(4)? | word(8)? << 32),
        // FILEID_INO64_GEN: xfs.
        (0x81, 12) => long(),
        // FILEID_BTRFS_WITHOUT_PARENT.
        (0x4d, 20) => long(),
        _ => None,
    }
}

impl EventSource for Queue {
    fn fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }

    fn take_in(&self, bytes: &[u8], touched: &mut Touched) -> Drained {
        let mut drained = Drained::Open;
        for event in FanotifyEvents::new(bytes) {
            match event {
                Ok(event) if event.target.is_some_and(|target| self.sentinel.is(&target)) => {
                    drained = Drained::ToSentinel;
                }
                Ok(event) => {
                    if let Err(reason) = self.note(&event, touched) {
                        touched.doubt(reason);
                    }
                }
                Err(_) => touched.doubt(Reason::UnknownRecord),
            }
        }
        drained
    }

    fn trip_sentinel(&self) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.sentinel.file, Mode::RUSR | Mode::WUSR)?)
    }
}

impl Queue {
    fn note(&self, event: &FanotifyEvent<'_>, touched: &mut Touched) -> Result<(), Reason> {
        if event.mask & libc::FAN_Q_OVERFLOW != 0 {
            return Err(Reason::QueueOverflow);
        }
        if event.has_unknown || (event.entry.is_none() && event.target.is_none()) {
            return Err(Reason::UnknownRecord);
        }
        // Nothing is kept any more, so that nothing has to be resolved.
        if touched.is_in_doubt() {
            return Ok(());
        }
        // That a directory was opened. Listing it changes nothing.
        let is_directory = event.mask & libc::FAN_ONDIR != 0;
        if is_directory && event.mask & (NAMES | libc::FAN_ATTRIB | libc::FAN_MODIFY) == 0 {
            return Ok(());
        }
        if let Some(target) = &event.target
            && let Some(inode) = self.inode(target)?
        {
            touched.inode(inode);
        }
        let Some((directory, name)) = &event.entry else { return Ok(()) };
        let is_self = matches!(*name, b"" | b".");
        if !is_self && event.mask & NAMES == 0 {
            // What happened to the file is told by its own handle.
            return Ok(());
        }
        let Some(directory) = self.inode(directory)? else { return Ok(()) };
        if is_self {
            touched.inode(directory);
            return Ok(());
        }
        let came = event.mask & (libc::FAN_CREATE | libc::FAN_MOVED_TO) != 0;
        let note = if came && is_directory { NameNote::Directory } else { NameNote::Entry };
        touched.name(directory, name, note);
        Ok(())
    }

    /// Returns the inode of a handle; `None` when it is gone, or of another part of the file system
    /// (a subvolume that the root has nothing of).
    fn inode(&self, handle: &Handle<'_>) -> Result<Option<InodeId>, Reason> {
        if handle.file_system != self.file_system {
            return Ok(None);
        }
        let ino = self.resolver.inode(self.root.as_fd(), handle)?;
        Ok(ino.map(|ino| InodeId { dev: self.device, ino }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_file_systems_put_them() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let cases: [(i32, Vec<u8>, Option<u64>); 6] = [
            (1, words(&[12, 99]), Some(12)),
            (1, words(&[99, 12, 1]), Some(1 << 32 | 12)),
            (0x81, [&(7_u64 << 33).to_ne_bytes()[..], &[0; 4]].concat(), Some(7 << 33)),
            (0x4d, [&257_u64.to_ne_bytes()[..], &[0; 12]].concat(), Some(257)),
            (0xf8, vec![0; 32], None),
            (1, vec![0; 7], None),
        ];
        for (handle_type, bytes, expected) in cases {
            assert_eq!(inode_in(handle_type, &bytes), expected, "{handle_type}");
        }
    }
}
