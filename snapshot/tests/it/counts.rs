//! What a snapshot costs in each mode, and where it does not go.

use std::path::{Path, PathBuf};
use std::process::Command;

use snapshot::{Mode, Reason, Scope, SnapshotStats};

use crate::fixture::{Fixture, MODES};
use crate::skip::skip;

const EVERYTHING: Scope = Scope::Everything(Reason::NoTracker);

/// 1 root, 3 directories, 30 files of which 10 have a second name, 1 link, 1 FIFO.
fn plant(fixture: &Fixture) {
    for directory in ["a", "b", "a/c"] {
        fixture.mkdir(directory);
        for number in 0..10 {
            fixture.write(&format!("{directory}/{number}"), "sixteen bytes...");
        }
    }
    for number in 0..10 {
        fixture.link(&format!("a/{number}"), &format!("b/also-{number}"));
    }
    fixture.symlink("a", "link");
    fixture.mkfifo("fifo");
}

fn costs(stats: &SnapshotStats) -> (u64, u64, u64, u64) {
    (stats.directories_listed, stats.entries_stated, stats.files_opened, stats.bytes_hashed)
}

#[test]
fn each_mode_costs_what_it_says() {
    let mut fixture = Fixture::with(plant);
    if !fixture.is_trusted() {
        return;
    }
    fixture.step(|_| {});
    for (mode, number) in MODES.into_iter().zip(0..) {
        fixture.begin();
        let stats = fixture.snapshotters[number].take(EVERYTHING).expect("taken").stats;
        // A file with two names is read once, by whichever thread comes first.
        let read = if mode == Mode::Full { (30, 30 * 16) } else { (0, 0) };
        assert_eq!(costs(&stats), (4, 46, read.0, read.1), "{mode}");
        assert_eq!((stats.candidates_dismissed, stats.mounts_skipped), (0, 0), "{mode}");
    }
}

#[test]
fn what_was_only_touched_is_read_once_and_dismissed() {
    let mut fixture = Fixture::with(plant);
    if !fixture.is_trusted() {
        return;
    }
    fixture.step(|_| {});
    fixture.begin();
    // Its ctime moves, and nothing else.
    fixture.chmod("a/3", 0o600);
    fixture.chmod("a/3", 0o644);
    for (mode, number) in MODES.into_iter().zip(0..) {
        let snapshot = fixture.snapshotters[number].take(EVERYTHING).expect("taken");
        assert!(snapshot.changeset.is_empty(), "{mode}");
        let read = if mode == Mode::Full { 30 } else { 1 };
        assert_eq!(costs(&snapshot.stats), (4, 46, read, read * 16), "{mode}");
        // Both of its names.
        assert_eq!(snapshot.stats.candidates_dismissed, 2, "{mode}");
    }
}

/// Many names of few files, for threads to meet at.
#[test]
fn no_file_is_read_twice_whatever_the_threads_do() {
    let mut fixture = Fixture::with(|fixture| {
        for file in 0..8 {
            let content = format!("{file}").repeat(100_000);
            fixture.mkdir(&format!("{file}"));
            fixture.write(&format!("{file}/0"), &content);
        }
        for name in 1..40 {
            fixture.mkdir(&format!("d{name}"));
            for file in 0..8 {
                fixture.link(&format!("{file}/0"), &format!("d{name}/{file}"));
            }
        }
    });
    for _ in 0..5 {
        fixture.begin();
        let stats = fixture.snapshotters[0].take(EVERYTHING).expect("taken").stats;
        assert_eq!((stats.files_opened, stats.bytes_hashed), (8, 800_000));
    }
}

/// Something mounted, until the value goes.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where nothing may be mounted.
    fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let status = Command::new("mount").args(arguments).arg(at).status().expect("runs");
        if !status.success() {
            skip("a mount in the root", "nothing may be mounted here");
        }
        status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "still mounted: {:?}", self.0);
    }
}

#[test]
fn a_mount_is_neither_looked_into_nor_taken_for_a_removal() {
    let mut fixture = Fixture::with(plant);
    let Some(_tmpfs) = Mounted::new(&["-t", "tmpfs", "tmpfs"], &fixture.host("a/c")) else {
        return;
    };
    let file = fixture.host("b/1");
    let bound = Mounted::new(&["--bind", fixture.host("b/2").to_str().expect("UTF-8")], &file);
    let _bound = bound.expect("a mount worked already");
    fixture.begin();
    fixture.write("a/c/on the mount", "x");
    fixture.write("b/3", "changed");
    for (mode, number) in MODES.into_iter().zip(0..) {
        let snapshot = fixture.snapshotters[number].take(EVERYTHING).expect("taken");
        let paths: Vec<String> =
            snapshot.changeset.iter().map(|change| change.path.to_string()).collect();
        assert_eq!(paths, ["/", "/b", "/b/3"], "{mode}");
        assert_eq!(snapshot.stats.mounts_skipped, 2, "{mode}");
    }
}

/// The directory itself, mounted on itself: another mount of the same file system.
#[test]
fn a_bind_mount_of_the_same_file_system_is_a_mount_too() {
    let mut fixture = Fixture::with(plant);
    let at = fixture.host("a/c");
    let Some(_bound) = Mounted::new(&["--bind", at.to_str().expect("UTF-8")], &at) else {
        return;
    };
    fixture.begin();
    fixture.write("a/c/1", "changed where nobody looks");
    for (mode, number) in MODES.into_iter().zip(0..) {
        let snapshot = fixture.snapshotters[number].take(EVERYTHING).expect("taken");
        assert!(snapshot.changeset.is_empty(), "{mode}: {:?}", snapshot.changeset);
        assert_eq!(snapshot.stats.mounts_skipped, 1, "{mode}");
    }
}
