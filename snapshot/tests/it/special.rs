//! Files that are not files, names that are not text, trees that are too deep.

use std::os::unix::net::UnixListener;

use snapshot::{
    ChangeKind, FileKind, IgnoreList, Index, Reason, Rootfs, RootfsPath, Row, Scope,
    SnapshotOptions, Snapshotter,
};

use crate::fixture::{Fixture, named, path};

const EVERYTHING: Scope = Scope::Everything(Reason::NoTracker);

#[test]
fn fifos_and_devices_are_looked_at_and_never_opened() {
    let mut fixture = Fixture::with(|f| f.mkfifo("old"));
    let changes = fixture.step(|f| {
        f.mkfifo("fifo");
        let device = |name, kind, major, minor| {
            f.rootfs.make_node(&path(name), kind, 0o600, major, minor).expect("made");
        };
        device("null", FileKind::CharDevice, 1, 3);
        device("disk", FileKind::BlockDevice, 259, 70000);
        f.chmod("old", 0o600);
    });
    assert_eq!(
        changes.into_iter().collect::<Vec<_>>(),
        [
            ("", "modified"),
            ("disk", "added"),
            ("fifo", "added"),
            ("null", "added"),
            ("old", "modified")
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
    );
    // Another device under the same name, all else equal.
    let changes = fixture.step(|f| {
        let mtime = f.mtime("null");
        f.keep_mtime("", || {
            f.remove("null");
            let made = f.rootfs.make_node(&path("null"), FileKind::CharDevice, 0o600, 1, 5);
            made.expect("made");
        });
        f.set_mtime("null", mtime);
    });
    assert_eq!(changes.get("null"), Some(&"modified"));
}

#[test]
fn a_socket_is_as_if_it_were_not_there() {
    let mut fixture = Fixture::with(|f| {
        f.write("file", "x");
        f.mkdir("run");
    });
    let changes = fixture.step(|f| {
        f.remove("file");
        drop(UnixListener::bind(f.host("file")).expect("bound"));
        f.keep_mtime("run", || drop(UnixListener::bind(f.host("run/socket")).expect("bound")));
    });
    assert_eq!(changes.get("file"), Some(&"removed"));
    assert_eq!(changes.get("run/socket"), None);
    let stats = fixture.snapshotters[1].take(EVERYTHING).expect("taken").stats;
    assert_eq!(stats.sockets, [path("file"), path("run/socket")]);
}

#[test]
fn names_of_any_bytes_and_any_depth() {
    let directory = tempfile::TempDir::new().expect("made");
    let rootfs = Rootfs::open(directory.path()).expect("opens");
    let mut snapshotter =
        Snapshotter::new(rootfs.clone(), Index::new(), SnapshotOptions::default());
    snapshotter.take(EVERYTHING).expect("taken");
    let odd = RootfsPath::new(b"\xff\xfe\n .wh.\x01").expect("valid");
    drop(rootfs.create_file(&odd).expect("made"));
    // Deeper than the kernel takes paths, and than the limit on open files.
    let mut handle = rootfs.open_dir(&RootfsPath::root()).expect("opens");
    let mut deep = RootfsPath::root();
    for _ in 0..400 {
        handle.create_dir(&[b'd'; 100], 0o755).expect("made");
        handle = handle.open_dir(&[b'd'; 100]).expect("opens");
        deep = deep.join_name(&[b'd'; 100]);
    }
    drop(handle.create_file(b"bottom").expect("made"));
    snapshotter.begin();
    let snapshot = snapshotter.take(EVERYTHING).expect("taken");
    let added: Vec<_> = snapshot
        .changeset
        .iter()
        .filter(|change| change.kind == ChangeKind::Added)
        .map(|change| change.path.clone())
        .collect();
    let mut expected: Vec<_> = deep.ancestors().filter(|path| !path.is_root()).collect();
    expected.extend([odd.clone(), deep.clone(), deep.join_name(b"bottom")]);
    expected.sort();
    assert_eq!(added, expected);
    handle.remove(b"bottom").expect("removed");
    rootfs.remove(&odd).expect("removed");
    let snapshot = snapshotter.take(EVERYTHING).expect("taken");
    let removed: Vec<_> = snapshot
        .changeset
        .iter()
        .filter(|change| change.kind == ChangeKind::Removed)
        .map(|change| change.path.clone())
        .collect();
    assert_eq!(removed, [deep.join_name(b"bottom"), odd]);
    rootfs.remove_all(&RootfsPath::root().join_name(&[b'd'; 100])).expect("removed");
}

#[test]
fn a_large_directory_is_looked_at_by_all_threads_alike() {
    let mut fixture = Fixture::with(|f| {
        for number in 0..10_000 {
            f.write(&format!("file-{number}"), "");
        }
    });
    let changes = fixture.step(|f| {
        f.keep_mtime("", || {
            f.remove("file-17");
            f.remove("file-9999");
            f.write("new", "x");
        });
        f.chmod("file-5000", 0o600);
    });
    assert_eq!(
        changes.into_iter().collect::<Vec<_>>(),
        [
            ("", "ancestor"),
            ("file-17", "removed"),
            ("file-5000", "modified"),
            ("file-9999", "removed"),
            ("new", "added")
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
    );
}

#[test]
fn what_is_ignored_is_neither_added_nor_removed() {
    let fixture = Fixture::with(|f| {
        f.mkdir("kept/ignored");
        f.write("kept/ignored/file", "x");
        f.mkdir("inode");
        f.write("inode/file", "x");
    });
    let mut ignore: IgnoreList = [path("kept/ignored"), path("later")].into_iter().collect();
    let inode = fixture.rootfs.metadata(&path("inode")).expect("looks").expect("is there").inode();
    ignore.insert_inode(inode);
    let index = fixture.snapshotters[0].index().clone();
    let options = SnapshotOptions { ignore, ..SnapshotOptions::default() };
    let mut snapshotter = Snapshotter::new(fixture.rootfs.clone(), index, options);
    snapshotter.begin();
    fixture.keep_mtime("", || {
        fixture.rename("inode", "moved");
        fixture.write("moved/file", "changed");
        fixture.mkdir("later/deep");
    });
    fixture.keep_mtime("kept", || fixture.remove("kept/ignored"));
    let changes = named(&snapshotter.take(EVERYTHING).expect("taken").changeset);
    // What was at the ignored directory's old place is gone from there.
    let expected = [("", "ancestor"), ("inode", "removed")];
    assert_eq!(
        changes.into_iter().collect::<Vec<_>>(),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
}

#[test]
fn a_shadow_is_never_missed_and_gives_way_to_what_comes() {
    let fixture = Fixture::with(|f| f.mkdir("dev"));
    let mut index = fixture.snapshotters[0].index().clone();
    let directory = index.get(&path("dev")).expect("known");
    for name in ["dev/null", "dev/zero"] {
        let mut row = Row { shadow: true, ..directory };
        row.metadata.kind = FileKind::CharDevice;
        index.insert(&path(name), row);
    }
    let mut snapshotter =
        Snapshotter::new(fixture.rootfs.clone(), index, SnapshotOptions::default());
    snapshotter.begin();
    assert!(snapshotter.take(EVERYTHING).expect("taken").changeset.is_empty());
    snapshotter.begin();
    fixture.keep_mtime("dev", || fixture.write("dev/null", "oops"));
    let changes = named(&snapshotter.take(EVERYTHING).expect("taken").changeset);
    assert_eq!(changes.get("dev/null"), Some(&"modified"));
    snapshotter.begin();
    fixture.remove("dev");
    let changes = named(&snapshotter.take(EVERYTHING).expect("taken").changeset);
    assert_eq!(changes.get("dev"), Some(&"removed"));
    assert!(snapshotter.index().get(&path("dev/zero")).is_none());
}
