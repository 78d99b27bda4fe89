use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::metadata::FileKind;
use crate::mode::Mode;
use crate::scope::{Reason, Scope};
use crate::snapshotter::{SnapshotOptions, Snapshotter};
use crate::tests::skip;
use crate::track::TreeOverlay;

struct Fixture {
    mounts: OwnMounts,
    directory: TempDir,
    trees: TreeStack,
    index: Index,
    count: usize,
}

impl Fixture {
    /// Makes a tree; `None`, with the reason printed, where there can be no overlay over it.
    fn new(fill: impl FnOnce(&Path)) -> Option<Self> {
        // First: a tree that was opened on somebody else's mount cannot be the lower layer of ours.
        let mounts = match OwnMounts::enter() {
            Ok(mounts) => mounts,
            Err(error) => {
                skip("trees upon each other", format!("{error:?}"));
                return None;
            }
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let tree = directory.path().join("tree");
        fs::create_dir(&tree).expect("a directory");
        fill(&tree);
        let trees = TreeStack::single(Rootfs::open(&tree).expect("it is there"));
        let index = index_of(trees.view());
        let trial = directory.path().join("trial");
        if let Err(error) = NewTree::mount(&mounts, &trees, &mut index.clone(), &trial) {
            skip("trees upon each other", format!("{error:?}"));
            return None;
        }
        Some(Self { mounts, directory, trees, index, count: 0 })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}{}", self.count))
    }

    /// Lays another tree upon those that are there, and checks that what is seen stays the same; tells
    /// why it cannot be done.
    fn add(&mut self, act: impl FnOnce(&Path)) -> Result<(), OverlayError> {
        self.count += 1;
        let below = (self.trees.clone(), self.index.clone());
        let mut index = self.index.clone();
        let new = NewTree::mount(&self.mounts, &self.trees, &mut index, &self.at("scratch"))?;
        act(&inside(new.rootfs()));
        let mut index = index_of(new.rootfs());
        let before = listed(new.rootfs());
        let to = self.at("new");
        fs::create_dir(&to).expect("made");
        self.trees = new.finish(&self.mounts, &mut index, &to)?;
        self.index = index;
        assert_eq!(listed(self.trees.view()), before);
        self.check();
        assert!(!self.at("scratch").exists());
        assert!(crate::is_as_indexed(below.0.view(), &below.1, None).expect("looked at"));
        Ok(())
    }

    /// Checks that the index is that of the trees, and of an overlay over them.
    fn check(&self) {
        assert!(crate::is_as_indexed(self.trees.view(), &self.index, None).expect("looked at"));
        let mut index = self.index.clone();
        let overlay = TreeOverlay::mount(&self.mounts, &self.trees, &mut index, &self.at("stage"))
            .expect("an overlay over all of them");
        assert!(crate::is_as_indexed(overlay.rootfs(), &index, None).expect("looked at"));
        assert_eq!(listed(overlay.rootfs()), listed(self.trees.view()));
    }
}

fn full() -> SnapshotOptions {
    SnapshotOptions {
        mode: Mode::Full,
        threads: Some(NonZeroUsize::MIN),
        ..SnapshotOptions::default()
    }
}

fn index_of(root: &Rootfs) -> Index {
    let mut snapshotter = Snapshotter::new(root.clone(), Index::new(), full());
    for _ in 0..2 {
        snapshotter.take(Scope::Everything(Reason::Mode)).expect("a snapshot");
    }
    snapshotter.into_index()
}

fn inside(root: &Rootfs) -> PathBuf {
    format!("/proc/self/fd/{}", root.as_fd().as_raw_fd()).into()
}

/// Returns what an image would have of a root, one line an entry; names of one file have a number in
/// common.
fn listed(root: &Rootfs) -> Vec<String> {
    let mut lines = Vec::new();
    let mut files: Vec<u64> = Vec::new();
    let mut pending = vec![RootfsPath::root()];
    while let Some(path) = pending.pop() {
        let found = root.metadata(&path).expect("looked at").expect("it is there");
        let content = match found.kind {
            FileKind::Directory => {
                let mut names = root.read_dir(&path).expect("listed");
                names.sort_by(|one, other| one.name.cmp(&other.name));
                pending.extend(names.iter().map(|entry| path.join_name(&entry.name)));
                Vec::new()
            }
            FileKind::Regular => root.read_file(&path, 1 << 20).expect("read"),
            FileKind::Symlink => root.read_link(&path).expect("read"),
            _ => Vec::new(),
        };
        let is_linked = found.kind != FileKind::Directory && found.nlink > 1;
        let number = is_linked.then(|| {
            files.iter().position(|ino| *ino == found.ino).unwrap_or_else(|| {
                files.push(found.ino);
                files.len() - 1
            })
        });
        lines.push(format!(
            "{path} {:?} {:o} {}:{} {:?} {:?} {number:?} {:?}",
            found.kind,
            found.mode,
            found.uid,
            found.gid,
            found.mtime,
            String::from_utf8_lossy(&content),
            root.xattrs(&path).expect("read"),
        ));
    }
    lines
}

fn write(path: PathBuf, content: &str) {
    fs::write(path, content).expect("written");
}

fn linked(at: &Path) {
    fs::create_dir_all(at.join("d/e")).expect("made");
    write(at.join("a"), "old");
    for name in ["b", "d/c", "d/e/f"] {
        fs::hard_link(at.join("a"), at.join(name)).expect("linked");
    }
    write(at.join("other"), "other");
    fs::hard_link(at.join("other"), at.join("d/other")).expect("linked");
    symlink("a", at.join("symlink")).expect("linked");
    fs::hard_link(at.join("symlink"), at.join("d/symlink")).expect("linked");
}

/// Whatever a layer can do to a file with several names below it.
#[test]
fn names_of_changed_files_all_show_the_change() {
    type Act = fn(&Path);
    let acts: [(&str, Act); 7] = [
        ("written", |at| write(at.join("a"), "new")),
        ("another name", |at| fs::hard_link(at.join("b"), at.join("new")).expect("linked")),
        ("one name gone", |at| fs::remove_file(at.join("d/c")).expect("removed")),
        ("all but one gone", |at| {
            for name in ["a", "d/c", "d/e/f"] {
                fs::remove_file(at.join(name)).expect("removed");
            }
        }),
        ("all gone", |at| {
            for name in ["a", "b", "d/c", "d/e/f", "d/other", "other"] {
                fs::remove_file(at.join(name)).expect("removed");
            }
        }),
        ("a directory with one replaced", |at| {
            fs::remove_dir_all(at.join("d")).expect("removed");
            fs::create_dir(at.join("d")).expect("made");
            write(at.join("d/c"), "another");
        }),
        ("a symbolic link", |at| fs::remove_file(at.join("d/symlink")).expect("removed")),
    ];
    for (what, act) in acts {
        let Some(mut trees) = Fixture::new(linked) else { return };
        trees.add(act).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        // And once more upon that.
        trees.add(|at| write(at.join("d/more"), what)).expect("a third tree");
        trees.add(act_again).expect("a fourth tree");
        assert_eq!(trees.trees.depth(), 4);
    }
}

fn act_again(at: &Path) {
    for name in ["b", "d/c", "d/other"] {
        if at.join(name).exists() {
            write(at.join(name), "again");
        }
    }
}

#[test]
fn what_is_gone_or_replaced_stays_so() {
    let Some(mut trees) = Fixture::new(|at| {
        for name in ["gone/deep", "replaced/deep", "file", "link", "kept/deep"] {
            fs::create_dir_all(at.join(name)).expect("made");
            write(at.join(name).join("x"), name);
        }
    }) else {
        return;
    };
    trees
        .add(|at| {
            fs::remove_dir_all(at.join("gone")).expect("removed");
            for name in ["replaced", "file", "link"] {
                fs::remove_dir_all(at.join(name)).expect("removed");
            }
            fs::create_dir_all(at.join("replaced/deep")).expect("made");
            write(at.join("replaced/deep/y"), "new");
            write(at.join("file"), "now a file");
            symlink("kept", at.join("link")).expect("linked");
            fs::remove_file(at.join("kept/deep/x")).expect("removed");
        })
        .expect("a tree");
    let lines = listed(trees.trees.view());
    assert!(!lines.iter().any(|line| line.starts_with("/gone") || line.contains("deep/x")));
    trees
        .add(|at| {
            fs::create_dir(at.join("gone")).expect("made");
            fs::remove_file(at.join("file")).expect("removed");
            fs::create_dir(at.join("file")).expect("made");
            write(at.join("kept/deep/x"), "back");
        })
        .expect("a tree");
}

#[test]
fn a_directory_that_was_moved_makes_no_tree() {
    let Some(mut trees) = Fixture::new(linked) else { return };
    let moved = trees.add(|at| fs::rename(at.join("d"), at.join("moved")).expect("moved"));
    assert!(matches!(moved, Err(OverlayError::UnknownForm { .. })), "{moved:?}");
    assert!(!trees.at("scratch").exists());
}

#[test]
fn what_is_still_an_upper_directory_is_waited_for() {
    let Some(fixture) = Fixture::new(linked) else { return };
    let [lower, scratch] = ["lower", "scratch"].map(|name| fixture.directory.path().join(name));
    let lower = Scratch::make(&lower).expect("made");
    let mut held = Some(lower.mount_over_trees(&fixture.trees).expect("mounted"));
    let layer = lower.rootfs.subtree(&RootfsPath::new(UPPER).expect("a path")).expect("opened");
    let lower = [&[layer], fixture.trees.layers()].concat();

    let mut pauses = 0;
    let refused = Scratch::make(&scratch).expect("made").mount_over(&lower, || pauses += 1);
    assert!(refused.as_ref().is_err_and(OverlayError::is_busy), "{refused:?}");
    assert_eq!(pauses, crate::track::overlay::TRIES - 1);

    let overlay = Scratch::make(&scratch).expect("made");
    let mounted = overlay.mount_over(&lower, || {
        held = None;
        // As long as others take: tests start programs beside this one.
        crate::track::overlay::wait();
    });
    mounted.expect("it is free by now");
    assert!(held.is_none());
}

/// A change that the index does not know of is no tree either.
#[test]
fn an_index_of_something_else_makes_no_tree() {
    let Some(fixture) = Fixture::new(linked) else { return };
    let mut index = fixture.index.clone();
    let scratch = fixture.at("scratch");
    let new = NewTree::mount(&fixture.mounts, &fixture.trees, &mut index, &scratch).expect("one");
    write(inside(new.rootfs()).join("unknown"), "x");
    let made = new.finish(&fixture.mounts, &mut index, &fixture.at("new"));
    assert!(matches!(made, Err(OverlayError::Unlike { .. })), "{made:?}");
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

/// Does what layers do: everything but to move directories.
fn do_something(at: &Path, numbers: &mut Numbers) {
    let mut any = || at.join(NAMES[numbers.below(NAMES.len())]);
    let (one, two) = (any(), any());
    // Most of it is possible, and what is not changes nothing.
    let _ = match numbers.below(12) {
        0 | 1 => fs::write(&one, format!("{}", numbers.below(1000))),
        2 | 3 => fs::create_dir_all(&one),
        4 if !one.is_dir() => fs::rename(&one, &two),
        5 | 6 => fs::remove_file(&one),
        7 => fs::remove_dir_all(&one),
        8 | 9 => fs::hard_link(&one, &two),
        10 => symlink("a/b", &one),
        _ => fs::set_permissions(&one, fs::Permissions::from_mode(0o700)),
    };
}

#[test]
fn whatever_is_written_is_seen_in_a_stack() {
    for seed in 0..60 {
        let mut numbers = Numbers(seed);
        let fill = |at: &Path, numbers: &mut Numbers| {
            (0..30).for_each(|_| do_something(at, numbers));
        };
        let Some(mut trees) = Fixture::new(|at| fill(at, &mut numbers)) else { return };
        for depth in 2..6 {
            let count = numbers.below(9);
            let added = trees.add(|at| (0..count).for_each(|_| do_something(at, &mut numbers)));
            assert!(added.is_ok(), "seed {seed}, depth {depth}: {added:?}");
        }
    }
}
