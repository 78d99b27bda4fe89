//! Random steps under every tracker.

use snapshot::track::{TrackerKind, Weakness};

use super::ground::FileSystem;
use super::random::Mix;
use super::steps::{fails, parse, run, shrink};
use super::trial::{Trial, Way};
use crate::skip::skip;

const KINDS: [TrackerKind; 5] = TrackerKind::ALL;

/// Where the root is on an overlay, the kernel mounts no other whose upper directory is there, and
/// an overlay has no handles for fanotify to name files by.
const ON_OVERLAYS: [TrackerKind; 3] =
    [TrackerKind::Inotify, TrackerKind::Walk, TrackerKind::Content];

fn check(file_system: FileSystem, kinds: &[TrackerKind]) {
    for &kind in kinds {
        let way = Way::new(kind);
        for seed in 0..2 {
            let mut trial = match Trial::new(file_system, way) {
                Ok(trial) => trial,
                Err(lacking) => {
                    skip(format_args!("{kind} on {file_system:?}"), lacking);
                    break;
                }
            };
            if let Err(failure) =
                run(&mut trial, seed, &Mix::default(), &mut |counts| counts.steps < 12)
            {
                let failure = shrink(file_system, way, failure);
                panic!("{kind} on {file_system:?}, seed {seed}: {failure}");
            }
            trial.assert_not_given_up();
        }
    }
}

#[test]
fn here() {
    check(FileSystem::Here, &KINDS);
}

#[test]
fn on_tmpfs() {
    check(FileSystem::Tmpfs, &KINDS);
}

#[test]
fn on_ext4() {
    check(FileSystem::Ext4, &KINDS);
}

#[test]
fn on_xfs() {
    check(FileSystem::Xfs, &KINDS);
}

#[test]
fn on_btrfs() {
    check(FileSystem::Btrfs, &KINDS);
}

#[test]
fn on_an_overlay_over_ext4() {
    check(FileSystem::OverlayOnExt4, &ON_OVERLAYS);
}

#[test]
fn on_an_overlay_over_tmpfs() {
    check(FileSystem::OverlayOnTmpfs, &ON_OVERLAYS);
}

#[test]
fn with_timestamps_of_whole_seconds() {
    check(FileSystem::CoarseExt4, &[TrackerKind::Inotify, TrackerKind::Walk]);
}

/// What is left out, and where random steps find it out.
const WEAKNESSES: [(Weakness, TrackerKind, FileSystem); 6] = [
    (Weakness::OneName, TrackerKind::Inotify, FileSystem::Here),
    (Weakness::NoSubtrees, TrackerKind::Inotify, FileSystem::Here),
    (Weakness::DirectoriesOnly, TrackerKind::Inotify, FileSystem::Here),
    (Weakness::NoOpen, TrackerKind::Inotify, FileSystem::Here),
    (Weakness::NoOpen, TrackerKind::Fanotify, FileSystem::Here),
    // Where timestamps are of whole seconds, on any kernel.
    (Weakness::NoWait, TrackerKind::Walk, FileSystem::CoarseExt4),
];

/// Each weakness is found out, or the tests above prove nothing.
#[test]
fn weak_trackers_are_found_out() {
    for (weakness, kind, file_system) in WEAKNESSES {
        let way = Way { kind, weakness };
        let found = (0..40).any(|seed| match Trial::new(file_system, way) {
            Ok(mut trial) => {
                run(&mut trial, seed, &Mix::default(), &mut |counts| counts.steps < 10).is_err()
            }
            Err(lacking) => {
                skip(format_args!("{weakness:?}"), lacking);
                true
            }
        });
        assert!(found, "{weakness:?} was not found out");
    }
}

/// Steps that came out wrong once, as the long run left them, and with which weakness they still do,
/// on which file system.
const REGRESSIONS: [(&str, Weakness, FileSystem); 5] = [
    (include_str!("regressions/aliases.txt"), Weakness::OneName, FileSystem::Here),
    (include_str!("regressions/subtrees.txt"), Weakness::NoSubtrees, FileSystem::Here),
    (include_str!("regressions/files.txt"), Weakness::DirectoriesOnly, FileSystem::Here),
    (include_str!("regressions/opening.txt"), Weakness::NoOpen, FileSystem::Here),
    (include_str!("regressions/numbers.txt"), Weakness::OldNumbers, FileSystem::CoarseExt4),
];

#[test]
fn what_was_missed_once_is_missed_no_more() {
    for (text, weakness, weak_on) in REGRESSIONS {
        let history = parse(text);
        assert!(!history.is_empty(), "{text}");
        for kind in KINDS {
            for file_system in [
                FileSystem::Here,
                FileSystem::Tmpfs,
                FileSystem::CoarseExt4,
                FileSystem::OverlayOnExt4,
            ] {
                if let Some(error) = fails(file_system, Way::new(kind), &history) {
                    panic!("{kind} on {file_system:?}: {error}");
                }
            }
        }
        let way = Way { kind: TrackerKind::Inotify, weakness };
        // What depends on when the kernel closes a file does not fail every time.
        let is_missed = (0..20).any(|_| fails(weak_on, way, &history).is_some());
        assert!(is_missed, "{weakness:?} does not miss: {text}");
    }
}
