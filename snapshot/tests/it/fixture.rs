//! A root in a temporary directory with a snapshotter for each mode, and the oracle beside them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use snapshot::{
    ChangeKind, Changeset, Digest, FileKind, Index, Mode, PathSet, Reason, Rootfs, RootfsPath,
    Scope, Snapshot, SnapshotOptions, Snapshotter,
};
use tempfile::TempDir;

use crate::oracle::{self, Name, Tree};
use crate::skip::skip;

pub const MODES: [Mode; 3] = [Mode::Full, Mode::Redo, Mode::Time];

pub struct Fixture {
    directory: TempDir,
    pub rootfs: Rootfs,
    /// One for each mode, and one that is told where to look.
    pub snapshotters: Vec<Snapshotter>,
    pub tree: Tree,
}

pub fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("valid")
}

/// The changes as the oracle names them.
pub fn named(changeset: &Changeset) -> BTreeMap<Name, &'static str> {
    let name = |path: &RootfsPath| String::from_utf8(path.as_bytes().to_vec()).expect("UTF-8");
    let changes = changeset.iter().map(|change| {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Modified => "modified",
            ChangeKind::Removed => "removed",
            ChangeKind::Linked => "linked",
            ChangeKind::Ancestor => "ancestor",
        };
        assert_eq!(change.metadata.is_none(), change.kind == ChangeKind::Removed);
        (name(&change.path), kind)
    });
    changes.collect()
}

impl Fixture {
    /// A root that `fill` fills before the first snapshot.
    pub fn with(fill: impl FnOnce(&Self)) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let rootfs = Rootfs::open(directory.path()).expect("opens");
        let mut fixture = Self { directory, rootfs, snapshotters: Vec::new(), tree: Tree::new() };
        fill(&fixture);
        let scoped = SnapshotOptions::default();
        let options = MODES.map(|mode| SnapshotOptions { mode, ..SnapshotOptions::default() });
        for options in options.into_iter().chain([scoped]) {
            let mut snapshotter = Snapshotter::new(fixture.rootfs.clone(), Index::new(), options);
            let first = snapshotter.take(Scope::Everything(Reason::Mode)).expect("taken");
            fixture.record_contents(&mut snapshotter, &first);
            fixture.snapshotters.push(snapshotter);
        }
        fixture.tree = oracle::read(&fixture.host(""));
        fixture
    }

    pub fn host(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn begin(&mut self) {
        for snapshotter in &mut self.snapshotters {
            snapshotter.begin();
        }
    }

    /// Runs a step and takes its snapshot in every mode, which must agree with the oracle.
    pub fn step(&mut self, step: impl FnOnce(&Self)) -> BTreeMap<Name, &'static str> {
        self.begin();
        step(self);
        self.check()
    }

    /// Takes a snapshot in every mode and by scope, and compares them with the oracle.
    pub fn check(&mut self) -> BTreeMap<Name, &'static str> {
        let now = oracle::read(&self.host(""));
        let expected = oracle::expected(&self.tree, &now);
        let scope = self.smallest_scope(&expected);
        self.tree = now;
        let mut snapshotters = std::mem::take(&mut self.snapshotters);
        let last = snapshotters.len() - 1;
        let mut changesets = Vec::new();
        for (number, snapshotter) in snapshotters.iter_mut().enumerate() {
            let scope = match number {
                _ if number == last => Scope::Only(scope.clone()),
                _ => Scope::Everything(Reason::NoTracker),
            };
            let snapshot = snapshotter.take(scope).expect("taken");
            let way = MODES.get(number).map_or("scoped".to_owned(), Mode::to_string);
            assert_eq!(named(&snapshot.changeset), expected, "{way}");
            self.record_contents(snapshotter, &snapshot);
            changesets.push(snapshot.changeset);
            let again = snapshotter.take(Scope::Everything(Reason::NoTracker)).expect("taken");
            assert_eq!(named(&again.changeset), BTreeMap::new(), "{way} is up to date");
        }
        self.snapshotters = snapshotters;
        assert!(changesets.windows(2).all(|pair| pair[0] == pair[1]), "{changesets:#?}");
        expected
    }

    /// What the best of trackers would have named: what came, went or differs, and every name that
    /// stands for another inode; nothing that only follows from those.
    fn smallest_scope(&self, expected: &BTreeMap<Name, &'static str>) -> PathSet {
        let index = self.snapshotters[0].index();
        let mut scope = PathSet::new();
        for (name, kind) in expected {
            let known = index.get(&path(name)).map(|row| row.metadata.inode());
            let now = self.rootfs.metadata(&path(name)).expect("looks").map(|now| now.inode());
            if matches!(*kind, "added" | "modified" | "removed") || known != now {
                scope.insert(path(name));
            }
        }
        scope
    }

    /// As whoever writes the layer does.
    fn record_contents(&self, snapshotter: &mut Snapshotter, snapshot: &Snapshot) {
        for change in &snapshot.changeset {
            if change.metadata.is_some_and(|metadata| metadata.kind == FileKind::Regular) {
                let content = self.rootfs.read_file(&change.path, u64::MAX).expect("reads");
                snapshotter.record_content(&change.path, &Digest::of(&content));
            }
        }
    }

    /// Whether the file system here tells of changes, so that counts mean something.
    pub fn is_trusted(&mut self) -> bool {
        let stats = self.snapshotters[1].take(Scope::Only(PathSet::new())).expect("taken").stats;
        if !stats.fallbacks.is_empty() {
            let lacking = format!("{:?}", stats.fallbacks);
            skip("the file system of the temporary directory", lacking);
        }
        stats.fallbacks.is_empty()
    }
}

/// Operations, by path as a shell would do them.
impl Fixture {
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.host(name), content).expect("written");
    }

    pub fn mkdir(&self, name: &str) {
        std::fs::create_dir_all(self.host(name)).expect("made");
    }

    pub fn symlink(&self, target: &str, name: &str) {
        symlink(target, self.host(name)).expect("linked");
    }

    pub fn link(&self, from: &str, to: &str) {
        std::fs::hard_link(self.host(from), self.host(to)).expect("linked");
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.host(from), self.host(to)).expect("renamed");
    }

    pub fn exchange(&self, one: &str, other: &str) {
        let (one, other) = (self.host(one), self.host(other));
        rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("renamed");
    }

    pub fn remove(&self, name: &str) {
        let path = self.host(name);
        if path.symlink_metadata().expect("exists").is_dir() {
            std::fs::remove_dir_all(path).expect("removed");
        } else {
            std::fs::remove_file(path).expect("removed");
        }
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.host(name), permissions).expect("set");
    }

    pub fn chown(&self, name: &str, owner: u32) {
        std::os::unix::fs::lchown(self.host(name), Some(owner), None).expect("set");
    }

    pub fn touch(&self, name: &str, seconds: i64) {
        self.set_mtime(name, (seconds, 0));
    }

    pub fn mtime(&self, name: &str) -> (i64, i64) {
        use std::os::unix::fs::MetadataExt as _;
        let stat = self.host(name).symlink_metadata().expect("exists");
        (stat.mtime(), stat.mtime_nsec())
    }

    pub fn set_mtime(&self, name: &str, (tv_sec, tv_nsec): (i64, i64)) {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec },
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(CWD, self.host(name), &times, flags).expect("set");
    }

    /// Does something to a file or directory and puts its mtime back.
    pub fn keep_mtime(&self, name: &str, act: impl FnOnce()) {
        let mtime = self.mtime(name);
        act();
        self.set_mtime(name, mtime);
    }

    /// Replaces a file by another inode that looks the same.
    pub fn replace_by_copy(&self, name: &str) {
        let (content, mtime) = (std::fs::read(self.host(name)).expect("reads"), self.mtime(name));
        let mode = std::fs::metadata(self.host(name)).expect("exists").permissions();
        let copy = self.host("copy-in-progress");
        std::fs::write(&copy, content).expect("written");
        std::fs::set_permissions(&copy, mode).expect("set");
        std::fs::rename(copy, self.host(name)).expect("renamed");
        self.set_mtime(name, mtime);
    }

    pub fn set_xattr(&self, name: &str, value: &[u8]) {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(self.host(name), "user.test", value, flags).expect("set");
    }

    pub fn remove_xattr(&self, name: &str) {
        rustix::fs::removexattr(self.host(name), "user.test").expect("removed");
    }

    pub fn mkfifo(&self, name: &str) {
        self.rootfs.make_node(&path(name), FileKind::Fifo, 0o644, 0, 0).expect("made");
    }

    pub fn open(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.host(name)).expect("opens")
    }
}
