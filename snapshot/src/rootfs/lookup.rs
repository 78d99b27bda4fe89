//! From a path inside the root to a directory handle.
//!
//! Two ways that must agree: `openat2` with `RESOLVE_IN_ROOT`, which costs one call, and a walk
//! over the components, which works on every kernel and under every seccomp filter, for paths of
//! any length, and is the only way to learn what a path resolves *to*. Both have chroot's meaning:
//! absolute targets restart at the root, `..` stops there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::guard::{Guard, Refusal};
use crate::path::RootfsPath;

/// As many symbolic links as the kernel follows in one path.
const LINK_LIMIT: usize = 40;

/// From this length on the kernel takes no path.
const PATH_MAX: usize = 4096;

/// `openat2` answers `EAGAIN` while something in the root is being renamed.
const RACE_RETRIES: usize = 16;

const DIRECTORY_FLAGS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How paths are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    Openat2,
    ComponentWalk,
}

impl Lookup {
    /// Returns the best way that works under `root`, found by trying.
    pub(super) fn detect(root: BorrowedFd<'_>) -> Self {
        match open_in_root(root, b".") {
            Ok(_) => Self::Openat2,
            Err(_) => Self::ComponentWalk,
        }
    }
}

/// A directory that was looked up, and why nothing may be written there, if so.
pub(super) struct Found {
    pub(super) directory: OwnedFd,
    pub(super) refusal: Option<Refusal>,
}

/// Opens the directory `path`, following every symbolic link, inside `root`.
pub(super) fn open_directory(
    root: BorrowedFd<'_>,
    lookup: Lookup,
    guard: &Guard,
    path: &RootfsPath,
) -> Result<Found, Errno> {
    // A guard has to see every directory on the way.
    if lookup == Lookup::Openat2 && !guard.is_active() && path.as_bytes().len() < PATH_MAX {
        for _ in 0..RACE_RETRIES {
            match open_in_root(root, path.as_bytes()) {
                Ok(directory) => return Ok(Found { directory, refusal: None }),
                Err(Errno::AGAIN) => {}
                // EXDEV: a race that the walk sorts out. ENAMETOOLONG: a link's target made the
                // path too long for the kernel. EACCES: fs.protected_symlinks forbids the kernel,
                // not us, to follow a stranger's link in a sticky directory.
                Err(Errno::XDEV | Errno::NAMETOOLONG | Errno::ACCESS) => break,
                Err(errno) => return Err(errno),
            }
        }
    }
    let mut walk = Walk::new(root, guard, path)?;
    while let Some(component) = walk.pending.pop() {
        match walk.step(&component)? {
            Step::Moved => {}
            Step::Missing => return Err(Errno::NOENT),
            Step::NotDirectory => return Err(Errno::NOTDIR),
        }
    }
    walk.into_found()
}

/// Returns what `path` resolves to: without symbolic links as far as it exists, and from the first
/// missing component (or the first that is no directory) on as written.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &RootfsPath) -> Result<RootfsPath, Errno> {
    let guard = Guard::none();
    let mut walk = Walk::new(root, &guard, path)?;
    while let Some(component) = walk.pending.pop() {
        match walk.step(&component)? {
            Step::Moved => {}
            Step::Missing | Step::NotDirectory => {
                walk.at.push(component);
                while let Some(component) = walk.pending.pop() {
                    if component == b".." {
                        walk.at.pop();
                    } else {
                        walk.at.push(component);
                    }
                }
            }
        }
    }
    Ok(join(&walk.at))
}

fn open_in_root(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    rustix::fs::openat2(
        root,
        path,
        // Every link is followed here, the last one too: this opens the directory an entry is in.
        DIRECTORY_FLAGS.difference(OFlags::NOFOLLOW),
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn join(components: &[Vec<u8>]) -> RootfsPath {
    RootfsPath::new(components.join(&b'/')).expect("components from the kernel hold no NUL")
}

enum Step {
    /// The component was a directory, a link or `..`: the walk goes on.
    Moved,
    Missing,
    NotDirectory,
}

/// A walk over components from the root.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    guard: &'a Guard,
    /// Where the walk is, free of links.
    at: Vec<Vec<u8>>,
    /// The directory at `at`; `None` when it has to be opened (again) from the root.
    directory: Option<OwnedFd>,
    refusal: Option<Refusal>,
    /// What is still to be walked, last component first.
    pending: Vec<Vec<u8>>,
    followed: usize,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, guard: &'a Guard, path: &RootfsPath) -> Result<Self, Errno> {
        let pending = path.components().rev().map(<[u8]>::to_vec).collect();
        let refusal = refusal(guard, root)?;
        Ok(Self { root, guard, at: Vec::new(), directory: None, refusal, pending, followed: 0 })
    }

    fn step(&mut self, component: &[u8]) -> Result<Step, Errno> {
        if component == b".." {
            // The directory above is opened from the root again: where `..` of a handle leads can
            // be changed by a rename, the way down cannot leave the root.
            self.at.pop();
            self.directory = None;
            return Ok(Step::Moved);
        }
        self.reopen()?;
        let directory = self.directory.as_ref().map_or(self.root, |fd| fd.as_fd());
        match rustix::fs::openat(directory, component, DIRECTORY_FLAGS, Mode::empty()) {
            Ok(opened) => {
                self.enter(opened)?;
                self.at.push(component.to_vec());
                Ok(Step::Moved)
            }
            Err(Errno::NOENT) => Ok(Step::Missing),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                match rustix::fs::readlinkat(directory, component, Vec::new()) {
                    Ok(target) => self.follow(target.to_bytes()),
                    Err(Errno::INVAL) => Ok(Step::NotDirectory),
                    Err(Errno::NOENT) => Ok(Step::Missing),
                    Err(errno) => Err(errno),
                }
            }
            Err(errno) => Err(errno),
        }
    }

    fn follow(&mut self, target: &[u8]) -> Result<Step, Errno> {
        self.followed += 1;
        if self.followed > LINK_LIMIT {
            return Err(Errno::LOOP);
        }
        if target.first() == Some(&b'/') {
            self.at.clear();
            self.directory = None;
            self.refusal = refusal(self.guard, self.root)?;
        }
        let components = target.split(|&byte| byte == b'/').rev();
        self.pending
            .extend(components.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec));
        Ok(Step::Moved)
    }

    /// Opens the directory at `at` when the walk has jumped there.
    fn reopen(&mut self) -> Result<(), Errno> {
        if self.directory.is_some() {
            return Ok(());
        }
        self.refusal = refusal(self.guard, self.root)?;
        for component in std::mem::take(&mut self.at) {
            let directory = self.directory.as_ref().map_or(self.root, |fd| fd.as_fd());
            let opened = rustix::fs::openat(directory, &component, DIRECTORY_FLAGS, Mode::empty())?;
            self.enter(opened)?;
            self.at.push(component);
        }
        Ok(())
    }

    fn enter(&mut self, directory: OwnedFd) -> Result<(), Errno> {
        // Below something protected everything is.
        if self.refusal != Some(Refusal::Protected) {
            self.refusal = refusal(self.guard, directory.as_fd())?;
        }
        self.directory = Some(directory);
        Ok(())
    }

    fn into_found(mut self) -> Result<Found, Errno> {
        self.reopen()?;
        let directory = match self.directory {
            Some(directory) => directory,
            None => rustix::fs::openat(self.root, c".", DIRECTORY_FLAGS, Mode::empty())?,
        };
        Ok(Found { directory, refusal: self.refusal })
    }
}

pub(super) fn refusal(guard: &Guard, directory: BorrowedFd<'_>) -> Result<Option<Refusal>, Errno> {
    if !guard.is_active() {
        return Ok(None);
    }
    guard.refuses_in(directory).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
