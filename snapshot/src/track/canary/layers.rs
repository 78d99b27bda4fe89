//! A trial on an overlay of its own, whose lower layer holds the files.
//!
//! What a trial makes in a root that lies on an overlay is in the upper layer, so nothing there says
//! whether a file of the lower one, which the kernel copies up as it is written, is still the one
//! that is watched. The files of an image below the root are nobody's to try that on, so the trial
//! makes layers in memory; it takes the right to mount.

use std::io;
use std::path::Path;
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::super::overlay;
use super::super::{TrackError, TrackerKind, TrackerOptions};
use super::{Grounds, try_recorder};
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::sys;

/// What is made in the directory of a trial.
const STORAGE: &str = "layers";

/// How a trial on an overlay went that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layered {
    /// Every change was reported.
    Tried,
    /// There can be no such overlay here, or the tracker does not start on it: what one in memory
    /// lacks says nothing of another.
    NotHere,
}

/// Tries a tracker on files of a lower layer. `directory` has to have room for one more name.
///
/// # Errors
/// A change that was not reported.
pub(super) fn try_on_layers(
    kind: TrackerKind,
    directory: &Rootfs,
    options: TrackerOptions,
) -> Result<Layered, TrackError> {
    let outcome = thread::scope(|scope| {
        let trial = || -> Result<(), TrackError> {
            let merged = mount(directory)?;
            // A plain overlay cannot rename the directories of its lower layer.
            merged.grounds.lay_out_others()?;
            try_recorder(kind, &merged.root, &merged.grounds, options)
        };
        // A thread, whose mounts go with it, however it ends.
        let thread = thread::Builder::new().spawn_scoped(scope, trial);
        let joined = thread.map_err(TrackError::Trial)?.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    match outcome {
        Ok(()) => Ok(Layered::Tried),
        Err(error @ TrackError::Missed(_)) => Err(error),
        Err(error) => {
            tracing::debug!(%kind, %error, "no trial with a lower layer");
            Ok(Layered::NotHere)
        }
    }
}

/// An overlay with files in its lower layer.
struct Merged {
    root: Rootfs,
    grounds: Grounds,
}

/// Mounts an overlay as container runtimes do, in memory: an overlay cannot have its upper layer on
/// another one. The calling thread has mounts of its own from then on.
fn mount(directory: &Rootfs) -> Result<Merged, TrackError> {
    directory.create_dir(&RootfsPath::root().join_name(STORAGE.as_bytes()), 0o700)?;
    let at = directory.host_path().join(STORAGE);
    mount_memory(&at).map_err(TrackError::Trial)?;
    let storage = Rootfs::open(&at)?;
    let [lower, upper, work] =
        ["lower", "upper", "work"].map(|name| RootfsPath::root().join_name(name.as_bytes()));
    for layer in [&lower, &upper, &work] {
        storage.create_dir(layer, 0o755)?;
    }
    let [lower, upper, work] =
        [storage.open_dir(&lower)?, storage.open_dir(&upper)?, storage.open_dir(&work)?];
    Grounds { root: lower.open_dir(b".")? }.lay_out_files()?;
    let mount = overlay::mount_plain(lower.as_fd(), upper.as_fd(), work.as_fd())?;
    let root = Rootfs::from_mount(mount, &at);
    let grounds = Grounds { root: root.open_dir(&RootfsPath::root())? };
    Ok(Merged { root, grounds })
}

fn mount_memory(at: &Path) -> io::Result<()> {
    sys::unshare_mounts()?;
    // Nobody else is to see what is mounted here.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", at, "tmpfs", flags, c"size=4m,mode=0700")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::skip;
    use crate::track::Weakness;

    /// An overlay without `nfs_export` has no handles for fanotify.
    const KINDS: [TrackerKind; 2] = [TrackerKind::Fanotify, TrackerKind::Inotify];

    fn outcome(kind: TrackerKind, weakness: Weakness) -> Result<Layered, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rootfs = Rootfs::open(directory.path()).expect("it is there");
        let options = TrackerOptions { weakness, ..TrackerOptions::default() };
        let outcome = try_on_layers(kind, &rootfs, options).map_err(|error| error.to_string());
        let left = std::fs::read_dir(directory.path().join(STORAGE)).expect("it was made").count();
        assert_eq!(left, 0, "the mount is nobody's but the trial's");
        // For fanotify that is how it is.
        if outcome == Ok(Layered::NotHere) && kind != TrackerKind::Fanotify {
            skip(kind, "no overlay of its own");
        }
        outcome
    }

    #[test]
    fn what_is_copied_up_is_reported() {
        for kind in KINDS {
            let outcome = outcome(kind, Weakness::None);
            assert!(outcome.is_ok(), "{kind}: {outcome:?}");
        }
    }

    #[test]
    fn a_copy_that_is_not_reported_ends_the_trial() {
        let outcome = outcome(TrackerKind::Inotify, Weakness::DirectoriesOnly);
        let missed = Err("a trial run did not report `write`".to_owned());
        assert!(outcome == missed || outcome == Ok(Layered::NotHere), "{outcome:?}");
    }

    #[test]
    fn the_files_are_of_the_lower_layer_until_they_are_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rootfs = Rootfs::open(directory.path()).expect("it is there");
        thread::scope(|scope| {
            let trial = || {
                let Ok(merged) = mount(&rootfs) else {
                    return skip("copying up", "no overlay of its own");
                };
                let storage = Rootfs::open(&directory.path().join(STORAGE)).expect("it is there");
                let size = |path: &str| {
                    let path = RootfsPath::new(path).expect("a path");
                    storage.metadata(&path).expect("metadata").map(|file| file.size)
                };
                assert_eq!((size("lower/written"), size("upper/written")), (Some(4096), None));
                merged.grounds.append("written").expect("written");
                assert_eq!(
                    (size("lower/written"), size("upper/written")),
                    (Some(4096), Some(4097))
                );
            };
            scope.spawn(trial).join().expect("no check failed");
        });
    }
}
