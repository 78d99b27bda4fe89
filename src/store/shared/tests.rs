use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use snapshot::Digest;
use tempfile::TempDir;

use super::trees::size_of;
use super::*;
use crate::interrupt::Interrupt;
use crate::store::Store;

fn open() -> (TempDir, SharedStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SharedStore::open(folder.path(), Access::Write);
    assert!(store.is_writable());
    (folder, store)
}

fn read(blob: &crate::store::Blob) -> Vec<u8> {
    let mut bytes = Vec::new();
    blob.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn put(store: &SharedStore, bytes: &[u8]) -> Digest {
    store.put_bytes(bytes);
    Digest::of(bytes)
}

fn interrupt() -> Interrupt {
    Interrupt::new(|_| {}).unwrap()
}

/// Says that a file was last used so many seconds ago.
fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_blob_has_its_name_only_when_it_is_what_was_promised() {
    let (_folder, store) = open();
    let promised = Digest::of(b"hello");
    let mut writer = store.write_blob().unwrap();
    writer.write_all(b"hullo").unwrap();
    assert!(!writer.commit(&promised));
    assert!(store.blob(&promised, 5).is_none());
    let mut writer = store.write_blob().unwrap();
    writer.write_all(b"hello").unwrap();
    assert!(writer.commit(&promised));
    assert_eq!(read(&store.blob(&promised, 5).unwrap()), b"hello");
    assert_eq!(names(&store.path(DRAFTS)), [""; 0]);
}

#[test]
fn a_blob_stays_readable_when_somebody_removes_it() {
    let (_folder, store) = open();
    let digest = put(&store, b"hello");
    let blob = store.blob(&digest, 5).unwrap();
    let pruned = store.prune(&Wish { keep_bytes: Some(0), unused_for: None }).unwrap();
    assert_eq!(pruned.kept_bytes, 0);
    assert!(store.blob(&digest, 5).is_none());
    assert_eq!((read(&blob), read(&blob)), (b"hello".to_vec(), b"hello".to_vec()));
}

#[test]
fn what_is_damaged_is_not_used_again_and_can_be_replaced() {
    let (_folder, store) = open();
    let (short, document) = (put(&store, b"short"), put(&store, b"document"));
    fs::write(store.blob_path(&short), b"sho").unwrap();
    fs::write(store.blob_path(&document), b"dokument").unwrap();
    assert!(store.blob(&short, 5).is_none());
    assert_eq!(store.document(&document, 100), None);
    let mut expected = vec![short, document];
    expected.sort();
    assert_eq!((store.take_distrusted(), store.take_distrusted()), (expected, vec![]));
    assert_eq!(names(&store.path(BLOBS)), [""; 0]);
    put(&store, b"short");
    assert_eq!(read(&store.blob(&short, 5).unwrap()), b"short");
}

#[test]
fn who_lies_about_a_good_blob_does_not_have_it_removed() {
    let (folder, store) = open();
    let digest = put(&store, b"good");
    // A manifest with another size, and a config with another DiffID.
    assert!(store.blob(&digest, 5).is_none());
    store.distrust(&digest);
    assert!(store.blob(&digest, 4).is_none(), "this build does without it");
    assert_eq!((store.take_distrusted(), store.take_troubles()), (vec![], vec![]));
    let other = SharedStore::open(folder.path(), Access::Write);
    assert_eq!(read(&other.blob(&digest, 4).unwrap()), b"good");
}

#[test]
fn a_builds_blob_is_kept_whatever_file_system_it_is_on() {
    let (_folder, store) = open();
    let work = tempfile::tempdir().unwrap();
    let build = Store::open(work.path()).unwrap();
    let mut writer = build.spool().unwrap();
    writer.write_all(b"layer").unwrap();
    let blob = writer.commit(None).unwrap();
    store.put_blob(&blob, &interrupt());
    build.remove().unwrap();
    assert_eq!(read(&store.blob(&blob.digest, 5).unwrap()), b"layer");
}

#[test]
fn where_nothing_can_be_written_nothing_fails_and_it_is_said_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = SharedStore::open(file.path(), Access::Write);
    assert!(!store.is_writable());
    let folder = file.path().join(SHARED_FOLDER);
    let said: Vec<String> = store.take_troubles().iter().map(Trouble::to_string).collect();
    let expected = format!(
        "nothing more is kept for later builds: cannot write to `{}`: Not a directory (os error 20)",
        folder.display()
    );
    assert_eq!(said, [expected]);
    assert_eq!(store.take_troubles(), []);
    store.put_bytes(b"x");
    store.headers().put(&Digest::of(b"x"), b"y");
    assert_eq!(store.headers().get(&Digest::of(b"x")), None);
    assert!(store.write_blob().is_none());
    store.keep_within(Some(0));
    drop(store.lock(&Digest::of(b"x")));
    assert_eq!(store.take_troubles(), []);
}

#[test]
fn a_store_that_is_not_there_is_empty_and_is_not_made_to_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = SharedStore::open(folder.path(), Access::Read);
    assert_eq!(store.items().unwrap(), Items::default());
    assert_eq!(store.prune(&Wish::default()).unwrap(), Pruned::default());
    assert!(store.blob(&Digest::of(b"x"), 1).is_none());
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let (_folder, store) = open();
    let blobs: Vec<Digest> = (0_u8..5).map(|number| put(&store, &[number; 5000])).collect();
    for (number, digest) in blobs.iter().enumerate() {
        age(&store.blob_path(digest), 1000 - number as u64);
    }
    // It is used.
    store.blob(&blobs[0], 5000).unwrap();
    let before = store.items().unwrap();
    let one = before.items.iter().map(|item| item.size_bytes).max().unwrap();
    assert_eq!(before.total_bytes, 5 * one);
    let wish = Wish { keep_bytes: Some(3 * one), unused_for: None };
    let pruned = store.prune(&wish).unwrap();
    let removed: Vec<String> = pruned.removed.iter().map(|item| item.name.clone()).collect();
    assert_eq!(removed, [blobs[1].hex(), blobs[2].hex()]);
    assert_eq!((pruned.removed_bytes, pruned.kept_bytes), (2 * one, 3 * one));
    assert_eq!(store.prune(&wish).unwrap().removed, []);
    let old = Wish { keep_bytes: None, unused_for: Some(Duration::from_millis(996_500)) };
    let removed: Vec<Item> = store.prune(&old).unwrap().removed;
    assert_eq!(removed.iter().map(|item| &item.name).collect::<Vec<_>>(), [&blobs[3].hex()]);
}

#[test]
fn what_the_dead_left_half_written_is_removed_and_the_livings_is_not() {
    let (_folder, store) = open();
    let writer = store.write_blob().unwrap();
    let living = names(&store.path(DRAFTS));
    let dead = store.path(DRAFTS).join("dead");
    fs::write(&dead, "half").unwrap();
    age(&dead, 3600);
    age(&store.path(DRAFTS).join(&living[0]), 3600);
    fs::create_dir_all(store.path(TRASH).join("dead/deep")).unwrap();
    store.prune(&Wish::default()).unwrap();
    assert_eq!(names(&store.path(DRAFTS)), living);
    assert_eq!(names(&store.path(TRASH)), [""; 0]);
    drop(writer);
    assert_eq!(names(&store.path(DRAFTS)), [""; 0]);
}

#[test]
fn a_cache_mount_is_made_once_and_used_as_it_is_shared() {
    let (_folder, store) = open();
    let volumes = store.volumes();
    let mut made = 0;
    let mut prepare = |path: &Path| {
        made += 1;
        fs::write(path.join("seed"), "1")
    };
    let interrupt = interrupt();
    let one = volumes.open("id", Sharing::Shared, &interrupt, &mut prepare).unwrap();
    let two = volumes.open("id", Sharing::Shared, &interrupt, &mut prepare).unwrap();
    assert_eq!(one.path(), two.path());
    assert_eq!(fs::read_to_string(two.path().join("seed")).unwrap(), "1");
    let other = volumes.open("id", Sharing::Private, &interrupt, &mut prepare).unwrap();
    assert_ne!(other.path(), one.path());
    // Whoever wants it alone waits, until the build is to end.
    interrupt.raise(nix::sys::signal::Signal::SIGTERM);
    let refused = volumes.open("id", Sharing::Locked, &interrupt, &mut prepare);
    assert!(matches!(refused, Err(VolumeError::Interrupted(_))), "{refused:?}");
    assert_eq!(made, 2);
}

#[test]
fn who_waits_for_a_cache_mount_gets_it() {
    let (_folder, store) = open();
    let (volumes, interrupt) = (store.volumes(), interrupt());
    let held = volumes.open("id", Sharing::Locked, &interrupt, &mut |_| Ok(())).unwrap();
    let path = held.path().to_path_buf();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let volume = volumes.open("id", Sharing::Locked, &interrupt, &mut |_| Ok(())).unwrap();
            fs::read(volume.path().join("written")).unwrap()
        });
        fs::write(path.join("written"), "first").unwrap();
        drop(held);
        assert_eq!(waiting.join().unwrap(), b"first");
    });
}

#[test]
fn a_cache_mount_whose_making_failed_is_made_anew() {
    let (_folder, store) = open();
    let (volumes, interrupt) = (store.volumes(), interrupt());
    let mut fails = |path: &Path| {
        fs::write(path.join("half"), "")?;
        Err(io::Error::other("no"))
    };
    volumes.open("id", Sharing::Shared, &interrupt, &mut fails).unwrap_err();
    let volume = volumes.open("id", Sharing::Shared, &interrupt, &mut |_| Ok(())).unwrap();
    assert_eq!(names(volume.path()), [""; 0]);
    assert_eq!(names(volume.path().parent().unwrap()), ["data", "id", "lock"]);
}

#[test]
fn a_cache_mount_in_use_stays_and_another_goes() {
    let (_folder, store) = open();
    let (volumes, interrupt) = (store.volumes(), interrupt());
    let open = |id| volumes.open(id, Sharing::Shared, &interrupt, &mut |_| Ok(())).unwrap();
    let used = open("used");
    fs::write(open("free").path().join("file"), [1; 5000]).unwrap();
    let wish = Wish { keep_bytes: None, unused_for: Some(Duration::ZERO) };
    let pruned = store.prune(&wish).unwrap();
    let ids = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&pruned.removed), ids(&pruned.busy)),
        (vec!["free".into()], vec!["used".into()])
    );
    assert!(pruned.removed_bytes >= 5000, "{pruned:?}");
    fs::write(used.path().join("still"), "there").unwrap();
    assert_eq!(names(&store.path(VOLUMES)), [Digest::of(b"used").hex()]);
    drop(used);
    assert_eq!(ids(&store.prune(&wish).unwrap().removed), ["used"]);
    assert_eq!(names(&store.path(TRASH)), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_locked_is_as_if_it_were() {
    // As on a file system without locks.
    let path = rustix::fs::OFlags::PATH;
    let file = rustix::fs::open("/", path, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(try_lock(&file, LockKind::Exclusive), Locked::Unsupported);
    drop(PathLock::wait(Path::new("/nonexistent/lock")));
    let (_folder, store) = open();
    assert_eq!(store.take_troubles(), [], "here are locks");
}

#[test]
fn documents_are_whole_and_replaced() {
    let (_folder, store) = open();
    let digest = Digest::of(b"subject");
    store.tags().put(&digest, b"one");
    store.tags().put(&digest, b"two");
    assert_eq!(store.tags().get(&digest), Some(b"two".to_vec()));
    assert_eq!(store.headers().get(&digest), None);
    assert_eq!(store.tags().all(), [(digest, b"two".to_vec())]);
}

fn tree(store: &SharedStore, name: &Digest) -> TreeDraft {
    let draft = store.begin_tree(name, None).unwrap();
    fs::create_dir(draft.root().join("etc")).unwrap();
    fs::write(draft.root().join("etc/file"), "content").unwrap();
    draft
}

#[test]
fn a_tree_has_its_name_when_it_is_whole() {
    let (_folder, store) = open();
    let name = Digest::of(b"layers");
    let draft = tree(&store, &name);
    draft.keep(None);
    assert!(store.tree(&name).is_none() && draft.root().exists(), "nobody said that it is whole");
    assert!(!store.has_trees());
    draft.complete(b"about".to_vec());
    draft.keep(None);
    draft.keep(None);
    let found = store.tree(&name).unwrap();
    assert_eq!(fs::read(found.root().join("etc/file")).unwrap(), b"content");
    assert_eq!(found.about().unwrap(), b"about");
    let folder = fs::metadata(found.root().parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700, "no others reach what is in it");
    assert!(store.has_trees());
    drop(draft);
    assert!(found.root().exists());
    let other = tree(&store, &name);
    other.complete(b"other".to_vec());
    other.keep(None);
    drop(other);
    assert_eq!(store.tree(&name).unwrap().about().unwrap(), b"about", "the first one stays");
    let large = tree(&store, &Digest::of(b"large"));
    large.complete(Vec::new());
    large.keep(Some(1));
    assert!(store.tree(&Digest::of(b"large")).is_none());
    drop(large);
    assert_eq!(names(&store.path(DRAFTS)), [""; 0]);
    assert_eq!(store.take_troubles(), []);
}

#[test]
fn a_tree_in_use_stays() {
    let (_folder, store) = open();
    let name = Digest::of(b"layers");
    let draft = tree(&store, &name);
    draft.complete(Vec::new());
    draft.keep(None);
    let all = Wish { keep_bytes: Some(0), unused_for: None };
    let prune = || {
        let pruned = store.prune(&all).unwrap();
        let names = |items: Vec<Item>| items.into_iter().map(|item| item.name).collect::<Vec<_>>();
        (names(pruned.removed), names(pruned.busy))
    };
    assert_eq!(prune(), (vec![], vec![name.hex()]), "who made it uses it");
    let found = store.tree(&name).unwrap();
    drop(draft);
    assert_eq!(prune(), (vec![], vec![name.hex()]));
    // Nor does anybody remove it under others who doubt it less.
    store.tree(&name).unwrap().remove();
    assert!(found.root().exists());
    let items = store.items().unwrap();
    assert_eq!((items.items[0].kind, &items.items[0].name), (ItemKind::Tree, &name.hex()));
    assert!(items.total_bytes > 0);
    drop(found);
    assert_eq!(prune(), (vec![name.hex()], vec![]));
    assert!(store.tree(&name).is_none());
    assert_eq!((names(&store.path(TREES)), names(&store.path(TRASH))), (vec![], vec![]));
}

#[test]
fn what_a_dead_build_left_of_a_tree_is_removed() {
    let (_folder, store) = open();
    let draft = tree(&store, &Digest::of(b"layers"));
    let alive = names(&store.path(DRAFTS));
    let dead = store.path(DRAFTS).join("dead");
    fs::create_dir_all(dead.join("root/etc")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    let starting = store.path(DRAFTS).join("starting");
    fs::create_dir(&starting).unwrap();
    for folder in [&dead, &starting, &store.path(DRAFTS).join(&alive[0])] {
        age(folder, 3600);
    }
    store.prune(&Wish::default()).unwrap();
    let mut left = alive;
    left.push("starting".to_owned());
    left.sort();
    assert_eq!(names(&store.path(DRAFTS)), left);
    drop(draft);
}

#[test]
fn scratch_room_goes_with_its_value() {
    let (_folder, store) = open();
    let scratch = store.scratch().unwrap();
    fs::create_dir_all(scratch.path().join("a/b")).unwrap();
    store.prune(&Wish { keep_bytes: Some(0), unused_for: None }).unwrap();
    assert!(scratch.path().join("a/b").exists());
    drop(scratch);
    assert_eq!(names(&store.path(DRAFTS)), [""; 0]);
}

/// Returns a tree that is whole, and lies upon another.
fn tree_upon(store: &SharedStore, name: &Digest, below: HeldTree) -> TreeDraft {
    let draft = store.begin_tree(name, Some(below)).unwrap();
    fs::write(draft.root().join("upper"), "upper").unwrap();
    draft.complete(b"both".to_vec());
    draft
}

#[test]
fn a_tree_upon_another_is_nothing_without_it() {
    let (_folder, store) = open();
    let [base, upper, top] = [b"base".as_slice(), b"upper", b"top"].map(Digest::of);
    let draft = tree(&store, &base);
    let above = tree_upon(&store, &upper, HeldTree::Draft(draft.clone()));
    above.keep(None);
    assert!(store.tree(&upper).is_none(), "what it lies upon has no name yet");
    drop(above);
    draft.complete(b"about".to_vec());
    draft.keep(None);
    let above = tree_upon(&store, &upper, HeldTree::Draft(draft.clone()));
    let both = size_of(&store.path(TREES).join(base.hex())) + 4096;
    above.keep(Some(both - 1));
    assert!(store.tree(&upper).is_none(), "both together are too large");
    drop(above);
    let above = tree_upon(&store, &upper, HeldTree::Draft(draft.clone()));
    above.keep(None);
    drop((draft, above));
    let found = store.tree(&upper).unwrap();
    tree_upon(&store, &top, HeldTree::Kept(found.clone())).keep(None);
    let found = (store.tree(&top).unwrap(), found);
    let folders = [top, upper, base].map(|name| store.path(TREES).join(name.hex()));
    let chain = std::iter::successors(Some(&found.0), |tree| tree.below());
    let roots: Vec<PathBuf> = chain.map(SharedTree::root).collect();
    assert_eq!(roots, folders.clone().map(|folder| folder.join("root")));
    assert_eq!(found.0.depth(), 3);
    let by_use = |store: &SharedStore| -> Vec<PathBuf> {
        store.items().unwrap().items.into_iter().map(|item| item.path).collect()
    };
    assert_eq!(by_use(&store), folders, "what others lie upon goes last");
    let all = Wish { keep_bytes: Some(0), unused_for: None };
    assert_eq!(store.prune(&all).unwrap().busy.len(), 3);
    drop(found.0);
    assert_eq!((store.prune(&all).unwrap().removed.len(), store.tree(&top).is_none()), (1, true));
    drop(found.1);
    assert!(store.tree(&upper).is_some());
    // One of the same name is another one.
    store.tree(&base).unwrap().remove();
    let again = tree(&store, &base);
    again.complete(Vec::new());
    again.keep(None);
    assert!(store.tree(&upper).is_none());
    assert_eq!(names(&store.path(TREES)), [base.hex()], "it was removed");
    drop(again);
    let below = HeldTree::Kept(store.tree(&base).unwrap());
    let above = tree_upon(&store, &upper, below.clone());
    above.keep(None);
    tree_upon(&store, &top, HeldTree::Draft(above)).keep(None);
    drop(below);
    fs::remove_dir_all(store.path(TREES).join(base.hex())).unwrap();
    assert_eq!(store.prune(&Wish::default()).unwrap().removed.len(), 2);
    assert_eq!((names(&store.path(TREES)), names(&store.path(DRAFTS))), (vec![], vec![]));
}
