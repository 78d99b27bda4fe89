//! What a snapshot costs: building the index, parsing a tracker's events, walking a tree that did not change (beside one bare
//! pass of the kernel's own calls over it), finding changes, and looking at a scope.
//!
//! The tree is made in the temporary directory: put that on the file system that matters
//! (`TMPDIR`), and not on tmpfs, whose ctime misses stores to mapped files, so that everything would
//! be read.

use std::fs::{File, Permissions};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, StatxFlags};
use snapshot::track::{TrackerKind, count_events};
use snapshot::{
    Digest, FileKind, Index, Metadata, PathSet, Reason, Rootfs, RootfsPath, Row, Scope,
    SnapshotOptions, Snapshotter, Timestamp,
};
use tempfile::TempDir;

const DIRECTORIES: usize = 500;
const FILES_EACH: usize = 100;

/// A tree as package managers leave it: many directories of some small files.
struct Tree {
    root: TempDir,
    files: Vec<PathBuf>,
}

impl Tree {
    fn new() -> Self {
        let root = TempDir::new().expect("a temporary directory");
        let mut files = Vec::new();
        for directory in 0..DIRECTORIES {
            let path = root.path().join(format!("group-{}/package-{directory}", directory / 50));
            std::fs::create_dir_all(&path).expect("made");
            for file in 0..FILES_EACH {
                let path = path.join(format!("module-{file}.js"));
                std::fs::write(&path, "content").expect("written");
                files.push(path);
            }
        }
        Self { root, files }
    }

    fn snapshotter(&self) -> Snapshotter {
        let rootfs = Rootfs::open(self.root.path()).expect("opens");
        let mut snapshotter = Snapshotter::new(rootfs, Index::new(), SnapshotOptions::default());
        snapshotter.take(everything()).expect("taken");
        snapshotter.begin();
        snapshotter
    }

    fn path(&self, file: &Path) -> RootfsPath {
        let relative = file.strip_prefix(self.root.path()).expect("below the root");
        RootfsPath::new(relative.as_os_str().as_encoded_bytes()).expect("a path")
    }
}

fn everything() -> Scope {
    Scope::Everything(Reason::NoTracker)
}

fn build_index(criterion: &mut Criterion) {
    let mut rows = Vec::new();
    for number in 0..100_000_u64 {
        let name = format!("usr/lib/package-{}/file-{number}.so", number / 50);
        let metadata = Metadata {
            kind: FileKind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: number,
            mtime: Timestamp::EPOCH,
            ctime: Timestamp::EPOCH,
            dev: 1,
            ino: number + 1,
            nlink: 1,
            rdev_major: 0,
            rdev_minor: 0,
        };
        let content = Some(Digest::from_bytes([7; 32]));
        let row = Row { metadata, content, xattrs: None, shadow: false };
        rows.push((RootfsPath::new(name).expect("a path"), row));
    }
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(rows.len() as u64)).sample_size(10);
    group.bench_function("build", |bencher| {
        bencher.iter(|| {
            let mut index = Index::new();
            for (path, row) in &rows {
                index.insert(path, *row);
            }
            index
        });
    });
    group.finish();
}

fn walk(criterion: &mut Criterion) {
    let tree = Tree::new();
    let mut snapshotter = tree.snapshotter();
    let entry_count = bare_pass(tree.root.path());
    let mut group = criterion.benchmark_group("walk");
    group.throughput(Throughput::Elements(entry_count)).sample_size(20);
    group.bench_function("bare pass", |bencher| bencher.iter(|| bare_pass(tree.root.path())));
    group.bench_function("unchanged", |bencher| {
        bencher.iter(|| {
            let snapshot = snapshotter.take(everything()).expect("taken");
            assert!(snapshot.changeset.is_empty());
            snapshotter.begin();
        });
    });
    group.finish();
}

fn diff(criterion: &mut Criterion) {
    let tree = Tree::new();
    let mut snapshotter = tree.snapshotter();
    let changed: Vec<&PathBuf> = tree.files.iter().step_by(5).collect();
    let mut mode = 0o600;
    let mut change = || {
        mode ^= 0o040;
        for file in &changed {
            std::fs::set_permissions(file, Permissions::from_mode(mode)).expect("set");
        }
    };
    let mut group = criterion.benchmark_group("diff");
    group.throughput(Throughput::Elements(changed.len() as u64)).sample_size(10);
    group.bench_function("one file in five changed", |bencher| {
        bencher.iter_batched(
            &mut change,
            |()| {
                let snapshot = snapshotter.take(everything()).expect("taken");
                snapshotter.begin();
                black_box(snapshot)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn scope(criterion: &mut Criterion) {
    let tree = Tree::new();
    let mut snapshotter = tree.snapshotter();
    let mut group = criterion.benchmark_group("scope");
    // The last is where looking at everything costs less, see `PathSet::is_dearer_than_all`.
    for path_count in [0, 10, 1000, 5_000, 12_500, 25_000, 50_000] {
        let step = tree.files.len() / path_count.max(1);
        let files = tree.files.iter().step_by(step).take(path_count);
        let scope: PathSet = files.map(|file| tree.path(file)).collect();
        group.bench_function(format!("{path_count} paths"), |bencher| {
            bencher.iter_batched(
                || scope.clone(),
                |scope| {
                    let snapshot = snapshotter.take(Scope::Only(scope)).expect("taken");
                    assert!(snapshot.changeset.is_empty());
                    snapshotter.begin();
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// As many events as a queue holds, each that a file of some name came into a directory.
fn events(criterion: &mut Criterion) {
    const COUNT: usize = 16_384;
    let (mut inotify, mut fanotify) = (Vec::new(), Vec::new());
    for number in 0..COUNT {
        let name = format!("module-{number:06}.js");
        let mut padded = name.clone().into_bytes();
        padded.resize(32, 0);
        // `struct inotify_event`: watch, mask, cookie, length, name.
        let words = [number as u32 % 500 + 1, 0x100, 0, 32];
        inotify.extend(words.into_iter().flat_map(u32::to_ne_bytes));
        inotify.extend(&padded);
        // `struct fanotify_event_metadata`, the directory's handle with the name, and the file's.
        let handle = |ino: u32| {
            let words = [7, 8, 8, 1, ino, 99];
            words.into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>()
        };
        let record = |kind: u8, body: &[u8]| {
            let length = u16::try_from(4 + body.len()).expect("short");
            [&[kind, 0], &length.to_ne_bytes()[..], body].concat()
        };
        let directory = [handle(number as u32 % 500 + 1), padded].concat();
        let records = [record(2, &directory), record(1, &handle(number as u32 + 1000))].concat();
        let length = u32::try_from(24 + records.len()).expect("short");
        fanotify.extend(length.to_ne_bytes());
        fanotify.extend([3, 0]);
        fanotify.extend(24_u16.to_ne_bytes());
        fanotify.extend(0x100_u64.to_ne_bytes());
        fanotify.extend([(-1_i32).to_ne_bytes(), 99_i32.to_ne_bytes()].concat());
        fanotify.extend(records);
    }
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(COUNT as u64));
    for (kind, bytes) in [(TrackerKind::Inotify, inotify), (TrackerKind::Fanotify, fanotify)] {
        assert_eq!(count_events(kind, &bytes), Some(COUNT));
        group.bench_function(kind.to_string(), |bencher| {
            bencher.iter(|| count_events(kind, black_box(&bytes)));
        });
    }
    group.finish();
}

/// Lists every directory and stats every entry, on all cores, and does nothing else: the floor.
/// Returns the number of entries.
fn bare_pass(root: &Path) -> u64 {
    let thread_count = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let root = OwnedFd::from(File::open(root).expect("opens"));
    let queue = Mutex::new((vec![root], 0));
    let available = Condvar::new();
    let next = || {
        let mut queue = queue.lock().expect("not poisoned");
        loop {
            if let Some(directory) = queue.0.pop() {
                return Some(directory);
            }
            queue.1 += 1;
            if queue.1 >= thread_count {
                available.notify_all();
                return None;
            }
            queue = available.wait(queue).expect("not poisoned");
            if queue.1 >= thread_count {
                return None;
            }
            queue.1 -= 1;
        }
    };
    let work = || {
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        let mut entry_count = 0;
        while let Some(directory) = next() {
            let mut found = Vec::new();
            let mut listing = RawDir::new(directory.as_fd(), &mut buffer);
            while let Some(entry) = listing.next() {
                let entry = entry.expect("lists");
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
                let stat = rustix::fs::statx(&directory, name, flags, StatxFlags::BASIC_STATS);
                let mode = u32::from(stat.expect("stats").stx_mode);
                entry_count += 1;
                if FileKind::from_raw_mode(mode) == Some(FileKind::Directory) {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let opened = rustix::fs::openat(&directory, name, flags, Mode::empty());
                    found.push(opened.expect("opens"));
                }
            }
            if !found.is_empty() {
                queue.lock().expect("not poisoned").0.extend(found);
                available.notify_all();
            }
        }
        entry_count
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}

criterion_group!(benches, build_index, events, walk, diff, scope);
criterion_main!(benches);
