//! A tracker between two snapshots.

use snapshot::track::{ChangeTracker, TrackerKind, TrackerOptions};
use snapshot::{SnapshotOptions, Snapshotter};

use crate::fixture::{Fixture, named};

#[test]
fn a_step_is_looked_at_where_the_tracker_says() {
    let fixture = Fixture::with(|f| {
        for directory in ["a", "b", "b/c"] {
            f.mkdir(directory);
            for number in 0..100 {
                f.write(&format!("{directory}/{number}"), "x");
            }
        }
    });
    let kind = TrackerKind::Inotify;
    let tracker = ChangeTracker::start(kind, &fixture.rootfs, TrackerOptions::default());
    let tracker = tracker.expect("needs no privilege");
    let index = fixture.snapshotters[0].index().clone();
    let mut snapshotter =
        Snapshotter::new(fixture.rootfs.clone(), index, SnapshotOptions::default());
    snapshotter.track_with(tracker);

    snapshotter.begin();
    fixture.write("b/c/7", "changed");
    fixture.mkdir("new/deep");
    fixture.write("new/deep/file", "x");
    // Another inode that looks the same: no change, but the one to watch from now on.
    fixture.keep_mtime("", || fixture.replace_by_copy("a/5"));
    let snapshot = snapshotter.take_step().expect("taken");
    assert_eq!(snapshot.stats.found_by, Some(kind), "{:?}", snapshotter.tracker());
    assert!(snapshot.stats.entries_stated < 20, "{:?}", snapshot.stats);
    let names: Vec<_> = named(&snapshot.changeset).into_keys().collect();
    assert_eq!(names, ["", "a", "b", "b/c", "b/c/7", "new", "new/deep", "new/deep/file"]);

    snapshotter.begin();
    fixture.write("a/5", "changed");
    fixture.write("new/deep/file", "changed");
    let snapshot = snapshotter.take_step().expect("taken");
    assert_eq!(snapshot.stats.found_by, Some(kind));
    assert_eq!(snapshot.stats.directories_listed, 0, "{:?}", snapshot.stats);
    let names: Vec<_> = named(&snapshot.changeset).into_keys().collect();
    assert_eq!(names, ["", "a", "a/5", "new", "new/deep", "new/deep/file"]);
}
