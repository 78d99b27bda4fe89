use std::fs;
use std::path::Path;

use super::*;

/// As on a file system that is trusted, with everything old enough.
fn known(root: &Rootfs, stored: Option<&[u8]>) -> KnownFiles {
    let device = root.metadata(&RootfsPath::root()).unwrap().unwrap().dev;
    let file_system = FileSystem { device, identity: [7; IDENTITY_BYTES] };
    let rows = stored.and_then(|stored| parse(stored, &file_system.identity)).unwrap_or_default();
    KnownFiles {
        file_system: Some(file_system),
        rows,
        seen: Mutex::default(),
        newest: SystemTime::now() + Duration::from_secs(3600),
    }
}

fn metadata(root: &Rootfs, name: &str) -> Metadata {
    root.metadata(&RootfsPath::new(name).unwrap()).unwrap().unwrap()
}

fn plain(content: &[u8]) -> Known {
    Known { digest: Digest::of(content), attributes: Attributes::None }
}

fn learn(known: &KnownFiles, root: &Rootfs, name: &str) {
    let before = metadata(root, name);
    let path = root.host_path().join(name);
    known.learn(&before, &File::open(&path).unwrap(), plain(&fs::read(&path).unwrap()));
}

/// Writes to a file until that shows in its ctime, and puts its mtime back.
fn write_over(path: &Path, content: &str) {
    let before = fs::metadata(path).unwrap();
    let times = |metadata: &fs::Metadata| (metadata.ctime(), metadata.ctime_nsec());
    while times(&fs::metadata(path).unwrap()) == times(&before) {
        fs::write(path, content).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }
}

#[test]
fn what_was_read_is_known_until_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let root = Rootfs::open(folder.path()).unwrap();
    let first = known(&root, None);
    for name in ["a", "b", "c"] {
        assert_eq!(first.get(&metadata(&root, name)), None);
        learn(&first, &root, name);
    }
    let stored = first.to_stored().unwrap();
    write_over(&folder.path().join("b"), "B");
    let second = known(&root, Some(&stored));
    let found = ["a", "b", "c"].map(|name| second.get(&metadata(&root, name)));
    assert_eq!(found, [Some(plain(b"a")), None, Some(plain(b"c"))]);
    learn(&second, &root, "b");
    let stored = second.to_stored().unwrap();
    let third = known(&root, Some(&stored));
    let found = ["a", "b", "c"].map(|name| third.get(&metadata(&root, name)));
    assert_eq!(found, [b"a", b"B", b"c"].map(|content| Some(plain(content))));
    assert_eq!(third.to_stored(), None, "nothing new to keep");
}

#[test]
fn what_changed_just_before_it_was_read_is_not_learnt() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let root = Rootfs::open(folder.path()).unwrap();
    let mut known = known(&root, None);
    let time = fs::metadata(folder.path().join("a")).unwrap().modified().unwrap();
    known.newest = time;
    learn(&known, &root, "a");
    assert_eq!(*known.seen(), []);
    known.newest = time + Duration::from_secs(1);
    learn(&known, &root, "a");
    assert_eq!(known.seen().len(), 1);
    // And as it is used, not for two seconds.
    let fresh = KnownFiles::new(&root, None);
    assert!(fresh.newest < SystemTime::now() - Duration::from_secs(1));
}

#[test]
fn what_changes_while_it_is_read_is_not_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "a").unwrap();
    let root = Rootfs::open(folder.path()).unwrap();
    let known = known(&root, None);
    let before = metadata(&root, "a");
    let file = File::open(&path).unwrap();
    write_over(&path, "b");
    known.learn(&before, &file, plain(b"a"));
    assert_eq!(*known.seen(), []);
}

#[test]
fn what_is_not_whole_or_of_another_file_system_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let root = Rootfs::open(folder.path()).unwrap();
    let first = known(&root, None);
    learn(&first, &root, "a");
    let stored = first.to_stored().unwrap();
    let identity = [7; IDENTITY_BYTES];
    assert_eq!(parse(&stored, &identity).map(|rows| rows.len()), Some(1));
    assert_eq!(parse(&stored, &[8; IDENTITY_BYTES]), None);
    for end in 0..stored.len() {
        assert_eq!(parse(&stored[..end], &identity), None, "cut at {end}");
    }
    for place in 0..stored.len() {
        let mut damaged = stored.clone();
        damaged[place] ^= 1;
        assert_eq!(parse(&damaged, &identity), None, "damaged at {place}");
    }
}

#[test]
fn nothing_is_known_of_other_devices() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let root = Rootfs::open(folder.path()).unwrap();
    let first = known(&root, None);
    learn(&first, &root, "a");
    let second = known(&root, first.to_stored().as_deref());
    let there = metadata(&root, "a");
    assert_eq!(second.get(&there), Some(plain(b"a")));
    assert_eq!(second.get(&Metadata { dev: there.dev + 1, ..there }), None);
    assert_eq!(KnownFiles::nothing().get(&there), None);
}

#[test]
fn a_checkout_that_was_made_anew_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let root = Rootfs::open(folder.path()).unwrap();
    let make = |name: &str| {
        fs::create_dir_all(folder.path().join("d/e")).unwrap();
        fs::write(folder.path().join(name), name).unwrap();
    };
    ["d/new", "d/e/a", "d/e/b"].into_iter().for_each(make);
    let first = known(&root, None);
    assert!(!first.is_of_use(&root));
    ["d/e/a", "d/e/b"].into_iter().for_each(|name| learn(&first, &root, name));
    let second = known(&root, first.to_stored().as_deref());
    assert!(second.is_of_use(&root));
    assert_eq!(*second.seen(), [], "nobody has asked for them");
    write_over(&folder.path().join("d/e/a"), "A");
    assert!(second.is_of_use(&root));
    write_over(&folder.path().join("d/e/b"), "B");
    assert!(!second.is_of_use(&root));
}

#[test]
fn what_a_copy_has_found_is_taken_as_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let root = Rootfs::open(folder.path()).unwrap();
    let there = metadata(&root, "a");
    let first = known(&root, None);
    first.take(&Metadata { dev: there.dev + 1, ..there }, plain(b"z"));
    assert_eq!(*first.seen(), []);
    first.take(&there, plain(b"a"));
    let second = known(&root, first.to_stored().as_deref());
    assert_eq!(second.get(&there), Some(plain(b"a")));
    let mut young = known(&root, None);
    young.newest = SystemTime::UNIX_EPOCH;
    young.take(&there, plain(b"a"));
    assert_eq!(*young.seen(), []);
}
