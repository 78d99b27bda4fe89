use std::fs;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::fs::{RenameFlags, renameat_with};
use tempfile::TempDir;

use super::*;
use crate::change::Changeset;
use crate::metadata::InodeId;
use crate::mode::Mode;
use crate::scope::{Reason, Scope};
use crate::snapshotter::{SnapshotOptions, Snapshotter};
use crate::tests::skip;
use crate::track::Tracked;

struct Fixture {
    mounts: Result<OwnMounts, String>,
    directory: TempDir,
    tree: Rootfs,
}

impl Fixture {
    fn new() -> Self {
        // First: a tree that was opened on somebody else's mount cannot be the lower layer of ours.
        let mounts = OwnMounts::enter().map_err(|error| format!("{error:?}"));
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("tree")).expect("a directory");
        let tree = Rootfs::open(&directory.path().join("tree")).expect("it is there");
        Self { mounts, directory, tree }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn index(&self) -> Index {
        let mut snapshotter = Snapshotter::new(self.tree.clone(), Index::new(), full());
        // What is new is not read; what is not, is.
        for _ in 0..2 {
            snapshotter.take(Scope::Everything(Reason::Mode)).expect("a snapshot");
        }
        snapshotter.into_index()
    }

    /// `None`, with the reason printed, where there can be no overlay.
    fn mount(&self) -> Option<(TreeOverlay, Index)> {
        let mut index = self.index();
        let mounted = self.mounts.as_ref().map_err(Clone::clone).and_then(|mounts| {
            let trees = TreeStack::single(self.tree.clone());
            TreeOverlay::mount(mounts, &trees, &mut index, &self.at("scratch"))
                .map_err(|error| format!("{error:?}"))
        });
        match mounted {
            Ok(overlay) => Some((overlay, index)),
            Err(error) => {
                skip("an overlay over a tree", error);
                None
            }
        }
    }
}

fn full() -> SnapshotOptions {
    SnapshotOptions {
        mode: Mode::Full,
        threads: Some(NonZeroUsize::MIN),
        ..SnapshotOptions::default()
    }
}

fn inside(overlay: &TreeOverlay, path: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{path}", overlay.rootfs().as_fd().as_raw_fd()).into()
}

fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("a path")
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}

/// Takes the snapshots of a root twice: where the overlay says, and of everything.
struct Both {
    overlay: TreeOverlay,
    scoped: Snapshotter,
    whole: Snapshotter,
}

impl Both {
    fn new(overlay: TreeOverlay, index: Index) -> Self {
        let root = overlay.rootfs().clone();
        let scoped = Snapshotter::new(root.clone(), index.clone(), full());
        Self { overlay, scoped, whole: Snapshotter::new(root, index, full()) }
    }

    /// Returns what a step changed, which both have to say.
    fn step(&mut self, what: &str, act: impl FnOnce(&TreeOverlay)) -> Changeset {
        let mut paths = self.overlay.written(self.scoped.index()).expect("read");
        act(&self.overlay);
        paths.merge(self.overlay.written(self.scoped.index()).expect("read"));
        let scope = format!("{paths:?}");
        let found = self.scoped.take_tracked(Tracked::by_overlay(paths)).expect("a snapshot");
        let expected = self.whole.take(Scope::Everything(Reason::Mode)).expect("a snapshot");
        assert_eq!(lines(&found.changeset), lines(&expected.changeset), "{what}, in {scope}");
        assert_eq!(found.changeset, expected.changeset, "{what}");
        for change in found.changeset.iter() {
            self.learn(&change.path);
        }
        found.changeset
    }

    /// Notes content, as whoever writes a layer does.
    fn learn(&mut self, path: &RootfsPath) {
        let root = self.overlay.rootfs();
        let content = match root.metadata(path).expect("looked at").map(|found| found.kind) {
            Some(FileKind::Regular) => root.read_file(path, 1 << 20).expect("read"),
            Some(FileKind::Symlink) => root.read_link(path).expect("read"),
            _ => return,
        };
        let digest = crate::Digest::of(&content);
        self.scoped.record_content(path, &digest);
        self.whole.record_content(path, &digest);
    }
}

fn lines(changes: &Changeset) -> Vec<String> {
    changes.iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect()
}

#[test]
fn a_tree_is_never_written_to() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.at("tree/d")).expect("made");
    fs::write(fixture.at("tree/d/f"), "old").expect("written");
    let before = fixture.index();
    let Some((overlay, index)) = fixture.mount() else { return };
    assert!(overlay.written(&index).expect("read").iter().all(|(path, _)| path.is_root()));
    append(&inside(&overlay, "d/f"), "new").expect("written");
    fs::write(inside(&overlay, "g"), "new").expect("written");
    fs::rename(inside(&overlay, "d"), inside(&overlay, "e")).expect("moved");
    fs::remove_file(inside(&overlay, "e/f")).expect("removed");
    drop(overlay);
    assert!(crate::is_as_indexed(&fixture.tree, &before, None).expect("looked at"));
    assert!(!fixture.at("scratch").exists());
}

#[test]
fn the_index_is_that_of_what_is_seen() {
    let fixture = Fixture::new();
    fs::write(fixture.at("tree/a"), "content").expect("written");
    fs::hard_link(fixture.at("tree/a"), fixture.at("tree/b")).expect("linked");
    let before = fixture.index();
    let Some((overlay, index)) = fixture.mount() else { return };
    let root = overlay.rootfs();
    assert!(crate::is_as_indexed(root, &index, None).expect("looked at"));
    let seen = root.metadata(&path("a")).expect("looked at").expect("it is there");
    let was = before.get(&path("a")).expect("known").metadata;
    assert_eq!((seen.ino, seen.ctime, seen.nlink), (was.ino, was.ctime, 2));
    let inode = InodeId { dev: seen.dev, ino: was.ino };
    assert_eq!(index.paths_of(inode), [path("a"), path("b")]);
    // And stays it when it is copied up.
    append(&inside(&overlay, "a"), "more").expect("written");
    let seen = root.metadata(&path("b")).expect("looked at").expect("it is there");
    assert_eq!((seen.inode(), seen.size), (inode, 11));
}

#[test]
fn steps_that_undo_what_others_did_are_seen() {
    let fixture = Fixture::new();
    for name in ["one", "two", "gone", "kept"] {
        fs::create_dir_all(fixture.at("tree").join(name).join("below")).expect("made");
        fs::write(fixture.at("tree").join(name).join("below/file"), name).expect("written");
    }
    fs::hard_link(fixture.at("tree/kept/below/file"), fixture.at("tree/alias")).expect("linked");
    let Some((overlay, index)) = fixture.mount() else { return };
    let swap = |overlay: &TreeOverlay| {
        let (one, two) = (inside(overlay, "one"), inside(overlay, "two"));
        renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).expect("swapped");
    };
    let mut both = Both::new(overlay, index);
    assert!(both.step("nothing", |_| {}).is_empty());
    assert!(
        !both.step("made", |at| fs::write(inside(at, "new"), "x").expect("written")).is_empty()
    );
    let removed = both.step("unmade", |at| fs::remove_file(inside(at, "new")).expect("removed"));
    assert!(removed.iter().any(|change| change.path == path("new")));
    assert!(!both.step("swapped", swap).is_empty());
    let back = both.step("swapped back", swap);
    assert!(back.iter().any(|change| change.path == path("one/below/file")));
    both.step("removed", |at| fs::remove_dir_all(inside(at, "gone")).expect("removed"));
    both.step("made anew", |at| fs::create_dir_all(inside(at, "gone/below")).expect("made"));
    both.step("written by another name, which goes", |at| {
        append(&inside(at, "alias"), "more").expect("written");
        fs::remove_file(inside(at, "alias")).expect("removed");
    });
    both.step("written by a name in a directory that goes", |at| {
        fs::rename(inside(at, "kept"), inside(at, "moved")).expect("moved");
        append(&inside(at, "moved/below/file"), "more").expect("written");
        fs::remove_dir_all(inside(at, "moved")).expect("removed");
    });
}

/// A generator of equal numbers for equal seeds.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

const NAMES: [&str; 12] =
    ["a", "b", "a/a", "a/b", "b/a", "b/b", "c", "a/a/c", "c/a", "b/a/b", "c/b/a", "a/b/c"];

fn do_something(overlay: &TreeOverlay, numbers: &mut Numbers) {
    let mut any = || inside(overlay, NAMES[numbers.below(NAMES.len())]);
    let (one, two) = (any(), any());
    // Most of it is possible, and what is not changes nothing.
    let _ = match numbers.below(12) {
        0 => fs::write(&one, format!("{}", numbers.below(1000))),
        1 | 2 => append(&one, "more"),
        3 => fs::create_dir(&one),
        4 | 5 => fs::rename(&one, &two),
        6 => renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).map_err(Into::into),
        7 => fs::remove_file(&one),
        8 => fs::remove_dir_all(&one),
        9 => fs::hard_link(&one, &two),
        10 => symlink("a/b", &one),
        _ => fs::set_permissions(&one, fs::Permissions::from_mode(0o700)),
    };
}

#[test]
fn whatever_steps_do_is_in_the_scope() {
    for seed in 0..40 {
        let fixture = Fixture::new();
        let tree = |name: &str| fixture.at("tree").join(name);
        for name in ["a/a", "a/b", "b/a", "c/b"] {
            fs::create_dir_all(tree(name)).expect("made");
        }
        for name in ["a/a/c", "b/b", "b/a/b", "c/b/a", "c/a"] {
            fs::write(tree(name), name).expect("written");
        }
        fs::hard_link(tree("c/a"), tree("b/a/linked")).expect("linked");
        fs::hard_link(tree("c/b/a"), tree("a/b/c")).expect("linked");
        let Some((overlay, index)) = fixture.mount() else { return };
        let mut both = Both::new(overlay, index);
        let mut numbers = Numbers(seed);
        for step in 0..12 {
            both.step(&format!("seed {seed}, step {step}"), |overlay| {
                for _ in 0..=numbers.below(6) {
                    do_something(overlay, &mut numbers);
                }
            });
        }
    }
}

#[test]
fn a_tree_of_another_file_system_is_refused() {
    let fixture = Fixture::new();
    let elsewhere = Path::new("/dev/shm");
    let here = fixture.tree.metadata(&RootfsPath::root()).expect("looked at").expect("is there");
    let device = Rootfs::open(elsewhere).and_then(|root| root.metadata(&RootfsPath::root()));
    if device.ok().flatten().is_none_or(|found| found.dev == here.dev) {
        return skip("a tree elsewhere", "there is no other file system");
    }
    let scratch = tempfile::tempdir_in(elsewhere).expect("a temporary directory");
    let scratch = scratch.path().join("scratch");
    let Ok(mounts) = OwnMounts::enter() else {
        return skip("a tree elsewhere", "there can be no mounts of our own");
    };
    let refused = TreeOverlay::mount(
        &mounts,
        &TreeStack::single(fixture.tree.clone()),
        &mut fixture.index(),
        &scratch,
    );
    assert!(matches!(refused, Err(OverlayError::AnotherFileSystem)), "{refused:?}");
    assert!(!scratch.exists());
}
