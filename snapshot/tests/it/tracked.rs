//! A tracker between two snapshots.

use snapshot::track::{ChangeTracker, TrackerKind, TrackerLimits, TrackerOptions};
use snapshot::{Reason, SnapshotOptions, Snapshotter};

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

#[test]
fn when_nearly_all_of_a_tree_was_touched_all_of_it_is_looked_at() {
    let mut fixture = Fixture::with(|f| {
        for directory in 0..30 {
            f.mkdir(&format!("d{directory}"));
            (0..100).for_each(|number| f.write(&format!("d{directory}/{number}"), "x"));
        }
    });
    // Where content has to be read, the record is worth having in any case.
    if !fixture.is_trusted() {
        return;
    }
    let kind = TrackerKind::Inotify;
    // More than an eighth of what a machine of 2 GiB has.
    let limits = TrackerLimits { watch_count: Some(4_000), memory_bytes: None };
    let options = TrackerOptions { limits, ..TrackerOptions::default() };
    let tracker = ChangeTracker::start(kind, &fixture.rootfs, options);
    let index = fixture.snapshotters[0].index().clone();
    let mut snapshotter =
        Snapshotter::new(fixture.rootfs.clone(), index, SnapshotOptions::default());
    snapshotter.track_with(tracker.expect("needs no privilege"));
    // Of 3,030 entries: 1,400 are not worth it, 2,800 are.
    for (directories, widened) in [(14, false), (28, true), (1, false)] {
        snapshotter.begin();
        for directory in 0..directories {
            for number in 0..100 {
                fixture.write(&format!("d{directory}/{number}"), &directories.to_string());
            }
        }
        let snapshot = snapshotter.take_step().expect("taken");
        let stats = &snapshot.stats;
        let expected = match widened {
            true => (Some(Reason::LargeScope), Some(TrackerKind::Walk), 31, 3_031),
            false => (None, Some(kind), 0, 1 + directories + directories * 100),
        };
        let listed = (stats.directories_listed, stats.entries_stated);
        let found = (stats.everything_because, stats.found_by, listed.0, listed.1);
        assert_eq!(found, expected, "{directories}");
        let names = named(&snapshot.changeset);
        assert_eq!(names.len() as u64, 1 + directories + directories * 100);
        assert!(snapshotter.tracker().is_some_and(|tracker| tracker.failure().is_none()));
    }
}
