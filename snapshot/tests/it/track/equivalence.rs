//! Random steps under every tracker.

use snapshot::track::{TrackerKind, Weakness};

use super::ground::FileSystem;
use super::steps::{run, shrink};
use super::trial::{Trial, Way};

const KINDS: [TrackerKind; 4] =
    [TrackerKind::Inotify, TrackerKind::Fanotify, TrackerKind::Walk, TrackerKind::Content];

fn check(file_system: FileSystem) {
    for kind in KINDS {
        let way = Way::new(kind);
        for seed in 0..2 {
            let mut trial = match Trial::new(file_system, way) {
                Ok(trial) => trial,
                Err(lacking) => {
                    eprintln!("skipped: {kind} on {file_system:?}: {lacking}");
                    break;
                }
            };
            if let Err(failure) = run(&mut trial, seed, &mut |counts| counts.steps < 12) {
                let failure = shrink(file_system, way, failure);
                panic!("{kind} on {file_system:?}, seed {seed}: {failure}");
            }
            trial.assert_not_given_up();
        }
    }
}

#[test]
fn here() {
    check(FileSystem::Here);
}

#[test]
fn on_tmpfs() {
    check(FileSystem::Tmpfs);
}

#[test]
fn on_ext4() {
    check(FileSystem::Ext4);
}

#[test]
fn on_xfs() {
    check(FileSystem::Xfs);
}

#[test]
fn on_btrfs() {
    check(FileSystem::Btrfs);
}

#[test]
fn on_an_overlay_over_ext4() {
    check(FileSystem::OverlayOnExt4);
}

#[test]
fn on_an_overlay_over_tmpfs() {
    check(FileSystem::OverlayOnTmpfs);
}

/// Each weakness is found out, or the tests above prove nothing.
#[test]
fn weak_trackers_are_found_out() {
    for weakness in [Weakness::OneName, Weakness::NoSubtrees, Weakness::DirectoriesOnly] {
        let way = Way { kind: TrackerKind::Inotify, weakness };
        let found = (0..20).any(|seed| {
            let mut trial = Trial::new(FileSystem::Here, way).expect("inotify works everywhere");
            run(&mut trial, seed, &mut |counts| counts.steps < 10).is_err()
        });
        assert!(found, "{weakness:?} was not found out");
    }
}
