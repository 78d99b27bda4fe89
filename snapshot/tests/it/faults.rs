//! What happens when the file system does not do what it is asked.

use std::sync::Arc;

use rustix::io::Errno;
use snapshot::rootfs::{FaultHook, RootfsOptions};
use snapshot::{
    Fallback, Index, Mode, Operation, Reason, Rootfs, Scope, SnapshotError, SnapshotOptions,
    Snapshotter,
};

use crate::fixture::{Fixture, path};

const EVERYTHING: Scope = Scope::Everything(Reason::NoTracker);

fn rootfs_with_fault(fixture: &Fixture, operation: Operation, name: &'static str) -> Rootfs {
    let faults: FaultHook = Arc::new(move |asked, asked_path| {
        if asked == operation && *asked_path == path(name) {
            return Err(Errno::IO.into());
        }
        Ok(())
    });
    let options = RootfsOptions { faults: Some(faults), ..RootfsOptions::default() };
    Rootfs::open_with(&fixture.host(""), options).expect("opens")
}

#[test]
fn what_cannot_be_looked_at_is_an_error_that_names_it() {
    let fixture = Fixture::with(|f| {
        f.mkdir("a/b");
        f.write("a/b/file", "content");
        f.mkdir("z");
    });
    let index = fixture.snapshotters[0].index().clone();
    for (operation, name, expected) in [
        (Operation::ReadDirectory, "a/b", "cannot read directory `/a/b`"),
        (Operation::Stat, "a/b/file", "cannot look up `/a/b/file`"),
        (Operation::ReadFile, "a/b/file", "cannot read `/a/b/file`"),
    ] {
        let rootfs = rootfs_with_fault(&fixture, operation, name);
        let options = SnapshotOptions { mode: Mode::Full, ..SnapshotOptions::default() };
        let mut snapshotter = Snapshotter::new(rootfs, index.clone(), options);
        let error = snapshotter.take(EVERYTHING).expect_err("a fault");
        assert_eq!(error.to_string(), expected);
        let before: Vec<_> = index.iter().collect();
        assert_eq!(snapshotter.index().iter().collect::<Vec<_>>(), before, "nothing is lost");
    }
}

#[test]
fn of_several_errors_the_first_path_is_named() {
    let fixture = Fixture::with(|f| {
        for number in 0..200 {
            f.mkdir(&format!("d{number:03}/sub"));
        }
    });
    let faults: FaultHook = Arc::new(|operation, path| {
        let is_sub = path.file_name() == Some(b"sub");
        if operation == Operation::ReadDirectory && is_sub { Err(Errno::IO.into()) } else { Ok(()) }
    });
    let options = RootfsOptions { faults: Some(faults), ..RootfsOptions::default() };
    let rootfs = Rootfs::open_with(&fixture.host(""), options).expect("opens");
    for threads in [1, 2, 8] {
        let options = SnapshotOptions {
            mode: Mode::Full,
            threads: std::num::NonZeroUsize::new(threads),
            ..SnapshotOptions::default()
        };
        let mut snapshotter = Snapshotter::new(rootfs.clone(), Index::new(), options);
        match snapshotter.take(EVERYTHING) {
            Err(SnapshotError::Rootfs(error)) => {
                assert_eq!(error.path(), Some(&path("d000/sub")), "{threads} threads");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn without_a_self_test_content_is_read() {
    let mut fixture = Fixture::with(|f| f.write("file", "content"));
    let rootfs = rootfs_with_fault(&fixture, Operation::CreateDirectory, ".zuwai-self-test-0");
    let index = fixture.snapshotters[1].index().clone();
    let mut snapshotter = Snapshotter::new(rootfs, index, SnapshotOptions::default());
    snapshotter.begin();
    let snapshot = snapshotter.take(EVERYTHING).expect("taken");
    assert!(snapshot.changeset.is_empty());
    assert_eq!(snapshot.stats.fallbacks, [Fallback::SelfTestNotRun]);
    assert_eq!(snapshot.stats.files_opened, 1);
    if fixture.is_trusted() {
        fixture.begin();
        let stats = fixture.snapshotters[1].take(EVERYTHING).expect("taken").stats;
        assert_eq!((stats.files_opened, stats.entries_stated), (0, 2));
    }
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_gone() {
    let fixture = Fixture::with(|f| {
        f.write("file", "content");
        f.write("stays", "content");
    });
    let victim = fixture.host("file");
    let faults: FaultHook = Arc::new(move |operation, asked| {
        if operation == Operation::ReadFile && *asked == path("file") {
            std::fs::remove_file(&victim).expect("removed");
        }
        Ok(())
    });
    let options = RootfsOptions { faults: Some(faults), ..RootfsOptions::default() };
    let rootfs = Rootfs::open_with(&fixture.host(""), options).expect("opens");
    let index = fixture.snapshotters[0].index().clone();
    let options = SnapshotOptions { mode: Mode::Full, ..SnapshotOptions::default() };
    let mut snapshotter = Snapshotter::new(rootfs, index, options);
    let changes = crate::fixture::named(&snapshotter.take(EVERYTHING).expect("taken").changeset);
    assert_eq!(changes.get("file"), Some(&"removed"));
    assert_eq!(changes.get("stays"), None);
}
