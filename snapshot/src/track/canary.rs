//! The trial run of a tracker: some changes of every kind, each of which it has to report.
//!
//! Kernels, file systems and the filters of containers differ, and what a version number promises
//! is not always there. So a tracker is believed where it has shown that it sees what happens, and
//! nowhere else. The run goes through the same snapshotter that a build uses.

mod layers;
mod overlay;

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{ChangeTracker, TrackError, Tracked, TrackerKind, TrackerOptions, surroundings};
use crate::error::SnapshotError;
use crate::index::Index;
use crate::mode::Mode as SnapshotMode;
use crate::path::RootfsPath;
use crate::rootfs::{Directory, Rootfs, RootfsError};
use crate::scope::{PathSet, Reason, Scope};
use crate::snapshotter::{SnapshotOptions, Snapshotter};
use crate::sys::SharedPage;

/// A mapping is not stored to below this: a page that finds no room on disk ends the process.
const ROOM_BYTES: u64 = 1024 * 1024;

/// Tries a tracker in an empty directory, on the file system that it is to be used on. What the
/// trial makes there stays.
///
/// To be run in a process of its own: what a filter of system calls does to one that breaks it is
/// the filter's choice.
///
/// # Errors
/// Why the tracker cannot be used there: it cannot be started, or did not report a change.
pub fn try_out(
    kind: TrackerKind,
    directory: &Rootfs,
    options: TrackerOptions,
) -> Result<(), TrackError> {
    if kind == TrackerKind::Overlay {
        return overlay::try_overlay(directory);
    }
    let grounds = Grounds { root: directory.open_dir(&RootfsPath::root())? };
    grounds.lay_out()?;
    try_recorder(kind, directory, &grounds, options)?;
    if surroundings::is_overlay(directory).map_err(TrackError::Trial)? {
        layers::try_on_layers(kind, directory, options)?;
    }
    Ok(())
}

/// Tries a tracker that records what happens in the root itself, on grounds that are laid out.
fn try_recorder(
    kind: TrackerKind,
    root: &Rootfs,
    grounds: &Grounds,
    options: TrackerOptions,
) -> Result<(), TrackError> {
    let snapshot_options = SnapshotOptions {
        // Nothing but the tracker is on trial.
        mode: SnapshotMode::Full,
        threads: Some(NonZeroUsize::MIN),
        ..SnapshotOptions::default()
    };
    let mut snapshotter = Snapshotter::new(root.clone(), Index::new(), snapshot_options);
    snapshotter.take(Scope::Everything(Reason::Mode))?;
    snapshotter.track_with(ChangeTracker::start(kind, root, options)?);
    for operations in [FIRST, SECOND] {
        snapshotter.begin();
        let mut expected = Vec::new();
        for operation in operations {
            if (operation.act)(grounds)? == Outcome::Done {
                expected.push(operation);
            }
        }
        let tracked = snapshotter.end_step();
        let Tracked { scope: Scope::Only(paths), .. } = &tracked else {
            let failure = snapshotter.take_tracker().and_then(ChangeTracker::into_failure);
            return Err(failure.unwrap_or(TrackError::Blind));
        };
        check_reported(&expected, paths)?;
        snapshotter.take_tracked(tracked)?;
    }
    Ok(())
}

/// Checks that the paths of all operations are there.
fn check_reported(operations: &[&Operation], paths: &PathSet) -> Result<(), TrackError> {
    for operation in operations {
        for path in operation.paths {
            let path = RootfsPath::new(path).expect("the names here are paths");
            if !paths.contains(&path) {
                return Err(TrackError::Missed(operation.name));
            }
        }
    }
    Ok(())
}

impl From<RootfsError> for TrackError {
    fn from(error: RootfsError) -> Self {
        Self::Trial(io::Error::other(error))
    }
}

impl From<SnapshotError> for TrackError {
    fn from(error: SnapshotError) -> Self {
        Self::Trial(io::Error::other(error))
    }
}

/// Whether an operation was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The file system has no such thing, so that no step can do it.
    NotHere,
}

/// A change and the paths that have to be reported.
struct Operation {
    name: &'static str,
    paths: &'static [&'static str],
    act: fn(&Grounds) -> Result<Outcome, TrackError>,
}

/// Files that are there from the start.
const FILES: [&str; 9] = [
    "written",
    "aliased",
    "renamed",
    "mode",
    "xattr",
    "removed",
    "truncated",
    "mapped",
    "replaced",
];

const FIRST: &[Operation] = &[
    Operation { name: "create", paths: &["created"], act: |at| at.create("created") },
    Operation { name: "write", paths: &["written"], act: |at| at.append("written") },
    Operation {
        name: "write through another name",
        paths: &["aliased"],
        act: |at| at.write_through_another_name("aliased", "alias"),
    },
    Operation {
        name: "rename",
        paths: &["renamed", "renamed-to"],
        act: |at| at.rename("renamed", "renamed-to"),
    },
    Operation {
        name: "rename of a directory",
        // What was below the old name is looked for with it.
        paths: &["moved", "moved-to/inner"],
        act: |at| at.rename("moved", "moved-to"),
    },
    Operation { name: "chmod", paths: &["mode"], act: |at| at.set_mode("mode") },
    Operation { name: "setxattr", paths: &["xattr"], act: |at| at.set_xattr("xattr") },
    Operation { name: "unlink", paths: &["removed"], act: |at| at.remove("removed") },
    Operation { name: "truncate", paths: &["truncated"], act: |at| at.truncate("truncated") },
    Operation { name: "store to a mapping", paths: &["mapped"], act: |at| at.store("mapped") },
    Operation {
        name: "replace by rename",
        paths: &["replaced"],
        act: |at| at.replace("replaced", "replacement"),
    },
    Operation {
        name: "create in a new directory",
        paths: &["made/inner"],
        act: |at| at.create_in_new("made", "inner"),
    },
    Operation { name: "touch of a link", paths: &["link"], act: |at| at.touch("link") },
];

/// On what the first step has made, moved or put in place.
const SECOND: &[Operation] = &[
    Operation { name: "write to a new file", paths: &["created"], act: |at| at.append("created") },
    Operation {
        name: "write to a moved file",
        paths: &["renamed-to"],
        act: |at| at.append("renamed-to"),
    },
    Operation {
        name: "write in a moved directory",
        paths: &["moved-to/inner"],
        act: |at| at.inside("moved-to")?.append("inner"),
    },
    Operation {
        name: "write in a new directory",
        paths: &["made/inner"],
        act: |at| at.inside("made")?.append("inner"),
    },
    Operation {
        name: "write to a replaced file",
        paths: &["replaced"],
        act: |at| at.append("replaced"),
    },
    Operation {
        name: "create in a moved directory",
        paths: &["moved-to/late"],
        act: |at| at.inside("moved-to")?.create("late"),
    },
];

/// The directory of a trial, or one in it.
struct Grounds {
    root: Directory,
}

impl Grounds {
    fn lay_out(&self) -> Result<(), TrackError> {
        self.lay_out_files()?;
        self.lay_out_others()
    }

    fn lay_out_files(&self) -> Result<(), TrackError> {
        FILES.into_iter().try_for_each(|name| self.fill(name))
    }

    /// Makes what is not in [`FILES`].
    fn lay_out_others(&self) -> Result<(), TrackError> {
        self.root.create_dir(b"moved", 0o755)?;
        self.inside("moved")?.fill("inner")?;
        self.root.symlink(b"nowhere", b"link")?;
        Ok(())
    }

    fn fill(&self, name: &str) -> Result<(), TrackError> {
        let mut file = self.root.create_file(name.as_bytes())?;
        file.write_all(&[b'x'; 4096]).map_err(TrackError::Trial)
    }

    fn inside(&self, name: &str) -> Result<Self, TrackError> {
        Ok(Self { root: self.root.open_dir(name.as_bytes())? })
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, TrackError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.root.as_fd(), name, flags, Mode::empty()).map_err(trial)
    }

    fn create(&self, name: &str) -> Result<Outcome, TrackError> {
        self.fill(name)?;
        Ok(Outcome::Done)
    }

    fn append(&self, name: &str) -> Result<Outcome, TrackError> {
        let file = self.open(name, OFlags::WRONLY | OFlags::APPEND)?;
        rustix::io::write(&file, b"y").map_err(trial)?;
        Ok(Outcome::Done)
    }

    fn write_through_another_name(&self, name: &str, other: &str) -> Result<Outcome, TrackError> {
        let linked = self.root.hard_link(name.as_bytes(), &self.root, other.as_bytes());
        if if_there_is(linked)? == Outcome::NotHere {
            return Ok(Outcome::NotHere);
        }
        self.append(other)?;
        self.remove(other)
    }

    fn rename(&self, name: &str, to: &str) -> Result<Outcome, TrackError> {
        self.root.rename(name.as_bytes(), &self.root, to.as_bytes())?;
        Ok(Outcome::Done)
    }

    fn set_mode(&self, name: &str) -> Result<Outcome, TrackError> {
        self.root.set_mode(name.as_bytes(), 0o640)?;
        Ok(Outcome::Done)
    }

    fn set_xattr(&self, name: &str) -> Result<Outcome, TrackError> {
        if_there_is(self.root.set_xattr(name.as_bytes(), b"user.zuwai", b"1"))
    }

    fn remove(&self, name: &str) -> Result<Outcome, TrackError> {
        self.root.remove(name.as_bytes())?;
        Ok(Outcome::Done)
    }

    fn truncate(&self, name: &str) -> Result<Outcome, TrackError> {
        self.open(name, OFlags::WRONLY | OFlags::TRUNC)?;
        Ok(Outcome::Done)
    }

    fn store(&self, name: &str) -> Result<Outcome, TrackError> {
        let file = self.open(name, OFlags::RDWR)?;
        let space = rustix::fs::fstatvfs(&file).map_err(trial)?;
        if space.f_bavail.saturating_mul(space.f_frsize) < ROOM_BYTES {
            return Ok(Outcome::NotHere);
        }
        // A file system without mappings cannot be written through one.
        let Ok(mut page) = SharedPage::map(file.as_fd()) else { return Ok(Outcome::NotHere) };
        drop(file);
        page.write(b'z');
        Ok(Outcome::Done)
    }

    fn replace(&self, name: &str, by: &str) -> Result<Outcome, TrackError> {
        self.fill(by)?;
        self.rename(by, name)
    }

    fn create_in_new(&self, directory: &str, name: &str) -> Result<Outcome, TrackError> {
        self.root.create_dir(directory.as_bytes(), 0o755)?;
        self.inside(directory)?.create(name)
    }

    fn touch(&self, name: &str) -> Result<Outcome, TrackError> {
        let time = Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(self.root.as_fd(), name, &times, flags).map_err(trial)?;
        Ok(Outcome::Done)
    }
}

fn trial(errno: Errno) -> TrackError {
    TrackError::Trial(errno.into())
}

/// Tells whether a file system has such a thing.
fn if_there_is(result: Result<(), RootfsError>) -> Result<Outcome, TrackError> {
    match result {
        Ok(()) => Ok(Outcome::Done),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::OPNOTSUPP | Errno::PERM | Errno::NOSYS) => Ok(Outcome::NotHere),
            _ => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{TrackerLimits, Weakness};

    fn outcome(kind: TrackerKind, options: TrackerOptions) -> Result<(), String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rootfs = Rootfs::open(directory.path()).expect("it is there");
        try_out(kind, &rootfs, options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_tracker_that_works_passes() {
        assert_eq!(outcome(TrackerKind::Inotify, TrackerOptions::default()), Ok(()));
        match outcome(TrackerKind::Overlay, TrackerOptions::default()) {
            Ok(()) => {}
            // Without privilege, or on an overlay.
            Err(reason) => assert!(reason.starts_with("an overlay cannot be mounted"), "{reason}"),
        }
        match outcome(TrackerKind::Fanotify, TrackerOptions::default()) {
            Ok(()) => {}
            // Without privilege, or on a file system without handles.
            Err(reason) => assert!(reason.starts_with("cannot"), "{reason}"),
        }
    }

    #[test]
    fn a_tracker_that_leaves_something_out_fails() {
        for (weakness, missed) in
            [(Weakness::NoSubtrees, "rename of a directory"), (Weakness::DirectoriesOnly, "write")]
        {
            let options = TrackerOptions { weakness, ..TrackerOptions::default() };
            let expected = format!("a trial run did not report `{missed}`");
            assert_eq!(outcome(TrackerKind::Inotify, options), Err(expected), "{weakness:?}");
        }
    }

    #[test]
    fn a_tracker_that_records_nothing_fails() {
        let limits = TrackerLimits { watch_count: Some(5), memory_bytes: None };
        let options = TrackerOptions { limits, ..TrackerOptions::default() };
        let expected = "13 inodes would have to be watched and 5 may be (the limit given)";
        assert_eq!(outcome(TrackerKind::Inotify, options), Err(expected.to_owned()));
        assert_eq!(
            outcome(TrackerKind::Walk, TrackerOptions::default()),
            Err("it records nothing".to_owned())
        );
    }
}
