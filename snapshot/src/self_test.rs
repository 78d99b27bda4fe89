//! Whether a file system tells of every change through ctime and inode numbers.
//!
//! Owns the test, which is made on the root's own file system: its type tells nothing (an overlay
//! over tmpfs is as blind as tmpfs and looks like any overlay). Where it fails, a snapshot reads
//! content instead.

use std::fmt;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clock;
use crate::metadata::{Metadata, Timestamp};
use crate::path::RootfsPath;
use crate::rootfs::{Directory, Operation, Rootfs, RootfsError};
use crate::sys::SharedPage;

/// A change that a file system does not tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blindness {
    /// Writing leaves ctime where it was.
    Write,
    /// Changing the mode does.
    SetMode,
    /// Setting an extended attribute does.
    SetXattr,
    /// Making another name does.
    Link,
    /// Renaming does.
    Rename,
    /// Storing to a shared mapping does, once its page was read (tmpfs).
    Mapping,
    /// Inode numbers do not stay.
    InodeNumbers,
}

impl fmt::Display for Blindness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Write => "writing to a file does not move its ctime",
            Self::SetMode => "changing a mode does not move ctime",
            Self::SetXattr => "setting an extended attribute does not move ctime",
            Self::Link => "making a hard link does not move ctime",
            Self::Rename => "renaming does not move ctime",
            Self::Mapping => "storing to a mapped file does not move its ctime",
            Self::InodeNumbers => "inode numbers do not stay",
        })
    }
}

/// What the test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfTest {
    /// What the file system does not tell of; nothing, if all is well.
    pub(crate) blind_to: Vec<Blindness>,
    /// How far apart two timestamps are at least, beyond the kernel's clock.
    pub(crate) granularity: Duration,
}

/// A mapping is not stored to below this: a page that finds no room on disk ends the process.
const ROOM_BYTES: u64 = 1024 * 1024;

/// What is stamped with whole seconds may be stamped with every second one only.
const COARSE: Duration = Duration::from_secs(2);

/// Returns what the file system of a root does not tell of; nothing, if all is well.
///
/// # Errors
/// When the test, in a directory of its own in the root, cannot be made.
pub fn blind_to(rootfs: &Rootfs) -> Result<Vec<Blindness>, RootfsError> {
    Ok(run(rootfs)?.blind_to)
}

/// Runs the test in a directory of its own in the root, and puts the root's time back.
///
/// # Errors
/// When the directory or something in it cannot be made or looked at.
pub(crate) fn run(rootfs: &Rootfs) -> Result<SelfTest, RootfsError> {
    let root = rootfs.open_dir(&RootfsPath::root())?;
    let before = look_up(&root, b".")?;
    let name = create_scratch(&root)?;
    let outcome = run_in(rootfs, &root.open_dir(&name)?, &name);
    root.remove_all(&name)?;
    root.set_mtime(b".", before.mtime)?;
    outcome
}

fn create_scratch(root: &Directory) -> Result<Vec<u8>, RootfsError> {
    let mut number = 0_u32;
    loop {
        let name = format!(".zuwai-self-test-{number}").into_bytes();
        match root.create_dir(&name, 0o700) {
            Ok(()) => return Ok(name),
            // What a killed build left is not ours to remove: it may be a running one's.
            Err(error) if error.is_existing() && number < 1000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The files, each for one kind of change.
const PROBES: [(&[u8], Blindness); 6] = [
    (b"write", Blindness::Write),
    (b"mode", Blindness::SetMode),
    (b"xattr", Blindness::SetXattr),
    (b"link", Blindness::Link),
    (b"rename", Blindness::Rename),
    (b"mapping", Blindness::Mapping),
];

fn run_in(
    rootfs: &Rootfs,
    scratch: &Directory,
    scratch_name: &[u8],
) -> Result<SelfTest, RootfsError> {
    for (name, _) in PROBES {
        scratch.create_file(name)?.write_all(&[b'x'; 4096]).map_err(|source| RootfsError::Io {
            operation: Operation::CreateFile,
            path: scratch.path().join_name(name),
            source,
        })?;
    }
    let mut page = map(scratch)?;
    let mut before = Vec::new();
    for (name, _) in PROBES {
        before.push(look_up(scratch, name)?);
    }
    let latest = before.iter().map(|metadata| metadata.ctime).max().unwrap_or_default();
    let is_coarse = before.iter().all(|metadata| metadata.ctime.nanoseconds == 0);
    let granularity = if is_coarse { COARSE } else { Duration::ZERO };
    clock::wait_past(clock::later(latest, granularity), granularity + 2 * clock::tick());

    let mut untested = change(scratch)?;
    match &mut page {
        Some(page) => page.write(b'z'),
        None => untested.push(Blindness::Mapping),
    }
    let mut blind_to = Vec::new();
    let again = rootfs.open_dir(&RootfsPath::root())?.open_dir(scratch_name)?;
    for ((name, blindness), before) in PROBES.into_iter().zip(before) {
        let name = if blindness == Blindness::Rename { b"renamed" } else { name };
        let after = look_up(&again, name)?;
        if after.ctime == before.ctime && !untested.contains(&blindness) {
            blind_to.push(blindness);
        }
        if after.inode() != before.inode() && !blind_to.contains(&Blindness::InodeNumbers) {
            blind_to.push(Blindness::InodeNumbers);
        }
    }
    // A mapping that could not be tried is not known to be seen.
    if page.is_none() {
        blind_to.push(Blindness::Mapping);
    }
    Ok(SelfTest { blind_to, granularity })
}

/// Maps a file and reads it, so that its page is there; `None` when that cannot be done safely.
fn map(scratch: &Directory) -> Result<Option<SharedPage>, RootfsError> {
    let error = |errno| scratch_error(scratch, Operation::OpenFile, b"mapping", errno);
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(scratch.as_fd(), c"mapping", flags, Mode::empty()).map_err(error)?;
    let space = rustix::fs::fstatvfs(&file).map_err(error)?;
    if space.f_bavail.saturating_mul(space.f_frsize) < ROOM_BYTES {
        return Ok(None);
    }
    match SharedPage::map(file.as_fd()) {
        Ok(page) => {
            page.read();
            Ok(Some(page))
        }
        // A file system without mappings cannot be written through one.
        Err(error) => {
            tracing::debug!(%error, "cannot map a file for the self-test");
            Ok(None)
        }
    }
}

/// Makes one change to each file. Returns those that the file system does not have.
fn change(scratch: &Directory) -> Result<Vec<Blindness>, RootfsError> {
    let mut untested = Vec::new();
    let error = |errno| scratch_error(scratch, Operation::OpenFile, b"write", errno);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(scratch.as_fd(), c"write", flags, Mode::empty()).map_err(error)?;
    rustix::io::write(&file, b"y").map_err(error)?;
    scratch.set_mode(b"mode", 0o640)?;
    if is_unsupported(scratch.set_xattr(b"xattr", b"user.zuwai", b"1"))? {
        untested.push(Blindness::SetXattr);
    }
    if is_unsupported(scratch.hard_link(b"link", scratch, b"linked"))? {
        untested.push(Blindness::Link);
    }
    scratch.rename(b"rename", scratch, b"renamed")?;
    Ok(untested)
}

/// Tells whether a file system has no such thing.
fn is_unsupported(result: Result<(), RootfsError>) -> Result<bool, RootfsError> {
    match result {
        Ok(()) => Ok(false),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS) => Ok(true),
            _ => Err(error),
        },
    }
}

fn look_up(directory: &Directory, name: &[u8]) -> Result<Metadata, RootfsError> {
    let missing = || scratch_error(directory, Operation::Stat, name, Errno::NOENT);
    directory.metadata(name)?.ok_or_else(missing)
}

fn scratch_error(
    directory: &Directory,
    operation: Operation,
    name: &[u8],
    errno: Errno,
) -> RootfsError {
    let path = match name {
        b"." => directory.path().clone(),
        name => directory.path().join_name(name),
    };
    RootfsError::Io { operation, path, source: errno.into() }
}

/// Returns the start of the span of one timestamp that `moment` is in.
pub(crate) fn floor(moment: Timestamp, granularity: Duration) -> Timestamp {
    match i64::try_from(granularity.as_secs()) {
        Ok(0) | Err(_) => moment,
        Ok(seconds) => Timestamp {
            seconds: moment.seconds - moment.seconds.rem_euclid(seconds),
            nanoseconds: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_goes_back_to_what_a_coarse_stamp_says() {
        let at = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        assert_eq!(floor(at(7, 5), Duration::ZERO), at(7, 5));
        assert_eq!(floor(at(7, 5), COARSE), at(6, 0));
        assert_eq!(floor(at(-7, 5), COARSE), at(-8, 0));
    }

    #[test]
    fn the_test_leaves_the_root_as_it_was() {
        let directory = tempfile::TempDir::new().expect("created");
        let rootfs = Rootfs::open(directory.path()).expect("opens");
        rootfs
            .create_dir(&RootfsPath::root().join_name(b".zuwai-self-test-0"), 0o755)
            .expect("made");
        let mtime = Timestamp { seconds: 1, nanoseconds: 2 };
        rootfs.set_mtime(&RootfsPath::root(), mtime).expect("set");
        let outcome = run(&rootfs).expect("runs");
        assert!(!outcome.blind_to.contains(&Blindness::Write), "{outcome:?}");
        assert!(!outcome.blind_to.contains(&Blindness::InodeNumbers), "{outcome:?}");
        let root = rootfs.metadata(&RootfsPath::root()).expect("looks").expect("is there");
        assert_eq!(root.mtime, mtime);
        assert_eq!(rootfs.read_dir(&RootfsPath::root()).expect("lists").len(), 1);
    }
}
