//! A root under a tracker, beside the truth: after each step the layer made by the tracker's scope has
//! to be, byte for byte, the one made by reading everything, and applied it has to give the tree.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use snapshot::layer::{Compression, Contents, LayerOptions, MtimeRule, write_layer};
use snapshot::track::{
    ChangeTracker, StepOverlay, TrackerKind, TrackerLimits, TrackerOptions, Weakness,
};
use snapshot::{
    Changeset, Digest, Index, Mode, Reason, Rootfs, RootfsPath, Scope, Snapshot, SnapshotOptions,
    SnapshotStats, Snapshotter,
};

use super::applied::Image;
use super::ground::{FileSystem, Ground};
use super::random::District;
use super::writer::{Operation, Writer};
use crate::fixture::named;
use crate::oracle::{self, Tree};

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub kind: TrackerKind,
    pub weakness: Weakness,
}

impl Way {
    pub fn new(kind: TrackerKind) -> Self {
        Self { kind, weakness: Weakness::None }
    }
}

/// One root and what watches it.
pub struct Trial {
    way: Way,
    ground: Ground,
    writers: Vec<Writer>,
    tracked: Snapshotter,
    truth: Snapshotter,
    tree: Tree,
    image: Image,
}

/// What a step did and what it cost.
#[derive(Debug)]
pub struct Outcome {
    pub answers: Vec<Vec<String>>,
    pub change_count: usize,
    pub stats: SnapshotStats,
}

/// Fills districts of a root with a few of everything.
fn plant_all(root: &Path, districts: usize) {
    for number in 0..districts {
        let district = root.join(District(number).prefix());
        std::fs::create_dir_all(&district).expect("a directory");
        plant(&district);
    }
}

fn plant(root: &Path) {
    let at = |name: &str| root.join(name);
    for directory in ["d0/e", "d1/e"] {
        std::fs::create_dir_all(at(directory)).expect("directories");
    }
    for name in ["f0", "f1", "d0/f0", "d0/f1", "d0/e/f0", "d0/e/f1", "d1/f0", "d1/f2", "d1/e/f3"] {
        std::fs::write(at(name), format!("this is {name}")).expect("a file");
    }
    for name in ["f2", "d1/e/f0"] {
        std::fs::hard_link(at("d0/f0"), at(name)).expect("a link");
    }
    std::os::unix::fs::symlink("f0", at("d1/f1")).expect("a link");
}

impl Trial {
    /// Returns a trial with a small root. The error says what this machine lacks.
    pub fn new(file_system: FileSystem, way: Way) -> Result<Self, String> {
        Self::wide(file_system, way, 1)
    }

    /// Returns a trial with a root of several districts.
    pub fn wide(file_system: FileSystem, way: Way, districts: usize) -> Result<Self, String> {
        let ground = Ground::new(file_system, &|root| plant_all(root, districts))?;
        let rootfs = Rootfs::open(&ground.root).expect("it is there");
        let limits = TrackerLimits { watch_count: Some(100_000), memory_bytes: None };
        let options = TrackerOptions { limits, weakness: way.weakness };
        let mode = if way.kind == TrackerKind::Content { Mode::Full } else { Mode::Redo };
        let mut tracked = snapshotter(&rootfs, mode);
        let tracker = ChangeTracker::start(way.kind, &rootfs, options)
            .map_err(|error| format!("{}: {error} ({error:?})", way.kind))?;
        if way.kind == TrackerKind::Overlay {
            let overlay = StepOverlay::mount(&rootfs, tracked.index(), &ground.beside("scratch"));
            drop(overlay.map_err(|error| format!("{error} ({error:?})"))?);
        } else {
            tracked.track_with(tracker);
        }
        let truth = snapshotter(&rootfs, Mode::Full);
        let tree = oracle::read(&ground.root);
        let image = Image::of(&tree);
        let mut trial = Self { way, ground, writers: Vec::new(), tracked, truth, tree, image };
        trial.tell_contents();
        Ok(trial)
    }

    /// Tells both of all contents, as an unpacker does.
    fn tell_contents(&mut self) {
        for (name, entry) in self.tree.iter().filter(|(_, entry)| entry.kind == "file") {
            let (path, content) = (path(name), Digest::of(&entry.content));
            self.tracked.record_content(&path, &content);
            self.truth.record_content(&path, &content);
        }
    }

    /// Does a step, each list of operations by a writer of its own; the error says what differed.
    pub fn step(&mut self, operations: &[Vec<Operation>]) -> Result<Outcome, String> {
        if self.way.kind == TrackerKind::Overlay {
            return self.step_on_overlay(operations);
        }
        self.start_writers(operations.len());
        self.tracked.begin();
        let answers = run(&mut self.writers, operations);
        let snapshot = self.tracked.take_step().map_err(|error| format!("{error:?}"))?;
        let (change_count, stats) = self.check(snapshot)?;
        Ok(Outcome { answers, change_count, stats })
    }

    fn start_writers(&mut self, count: usize) {
        while self.writers.len() < count {
            let writer = Writer::start(&self.ground.root, &self.ground.beside("outside"));
            self.writers.push(writer);
        }
    }

    fn step_on_overlay(&mut self, operations: &[Vec<Operation>]) -> Result<Outcome, String> {
        self.start_writers(operations.len());
        let mut writers = std::mem::take(&mut self.writers);
        let mut answers = Vec::new();
        let outcome = self.step_by(|root| {
            let used = writers.iter_mut().take(operations.len());
            used.for_each(|writer| writer.enter(root));
            answers = run(&mut writers, operations);
            // None outlives the step: what it writes then would be lost with the overlay.
            let used = writers.iter_mut().take(operations.len());
            used.for_each(Writer::leave);
        });
        self.writers = writers;
        Ok(Outcome { answers, ..outcome? })
    }

    /// Does a step on an overlay. What it saw when it ended has to be what the root is then.
    pub fn step_by(&mut self, act: impl FnOnce(&Path)) -> Result<Outcome, String> {
        self.tracked.begin();
        let scratch = self.ground.beside("scratch");
        let overlay = StepOverlay::mount(self.tracked.rootfs(), self.tracked.index(), &scratch)
            .map_err(|error| format!("{error:?}"))?;
        let fd = overlay.rootfs().as_fd().as_raw_fd();
        let place = PathBuf::from(format!("/proc/{}/fd/{fd}/", std::process::id()));
        act(&place);
        let seen = oracle::read(&place);
        let scope =
            overlay.finish(self.tracked.index()).map_err(|error| format!("merging: {error:?}"))?;
        same("the merged root", &oracle::read(&self.ground.root), &seen)?;
        if scratch.exists() {
            return Err("the overlay left something behind".to_owned());
        }
        let taken = self.tracked.take(Scope::Only(scope));
        let snapshot = taken.map_err(|error| format!("{error:?}"))?;
        let (change_count, stats) = self.check(snapshot)?;
        Ok(Outcome { answers: Vec::new(), change_count, stats })
    }

    fn check(&mut self, snapshot: Snapshot) -> Result<(usize, SnapshotStats), String> {
        let truth = self.truth.take(Scope::Everything(Reason::Mode));
        let truth = truth.map_err(|error| format!("{error:?}"))?;
        let now = oracle::read(&self.ground.root);
        let expected = oracle::expected(&self.tree, &now);
        self.tree = now;
        same("changes by the tracker", &named(&snapshot.changeset), &expected)?;
        same("changes by reading everything", &named(&truth.changeset), &expected)?;
        let (layer, tar) = self.layer(&snapshot.changeset);
        let (true_layer, _) = self.layer(&truth.changeset);
        if layer != true_layer {
            return Err("the layers' bytes differ".to_owned());
        }
        self.image.apply(&tar);
        same("files of the image", &self.image.tree(), &self.tree)?;
        // A directory above a change is in the layer, but has not changed.
        let changed = expected.values().filter(|what| **what != "ancestor");
        Ok((changed.count(), snapshot.stats))
    }

    /// Writes a layer into memory, and tells the snapshotters what it holds.
    fn layer(&mut self, changes: &Changeset) -> (Digest, Vec<u8>) {
        let contents = Contents::in_rootfs(self.tracked.rootfs().clone());
        let options = LayerOptions {
            compression: Compression::None,
            threads: NonZeroUsize::MIN,
            mtime: MtimeRule::Keep,
        };
        let mut told: Vec<(RootfsPath, Digest)> = Vec::new();
        let mut on_content =
            |path: &RootfsPath, content: &Digest| told.push((path.clone(), *content));
        let (layer, tar) = write_layer(&contents, changes, &options, Vec::new(), &mut on_content)
            .expect("a layer");
        for (path, content) in told {
            self.tracked.record_content(&path, &content);
            self.truth.record_content(&path, &content);
        }
        (layer.diff_id, tar)
    }

    pub fn way(&self) -> Way {
        self.way
    }

    /// The tracker that was forced is the one that works.
    pub fn assert_not_given_up(&self) {
        if self.way.kind == TrackerKind::Overlay {
            // Each step would have failed.
            return;
        }
        let tracker = self.tracked.tracker().expect("one was given");
        assert_eq!(tracker.kind(), self.way.kind);
        assert!(tracker.failure().is_none(), "{:?}", tracker.failure());
    }
}

/// Has each writer do its operations, all at once, and ends what they leave behind.
fn run(writers: &mut [Writer], operations: &[Vec<Operation>]) -> Vec<Vec<String>> {
    let answers = std::thread::scope(|scope| {
        let running: Vec<_> = writers
            .iter_mut()
            .zip(operations)
            .map(|(writer, operations)| scope.spawn(|| writer.run(operations)))
            .collect();
        running.into_iter().map(|writer| writer.join().expect("it runs")).collect()
    });
    writers.iter_mut().for_each(Writer::end_daemons);
    answers
}

pub fn path(name: &str) -> RootfsPath {
    RootfsPath::new(name).expect("valid")
}

fn snapshotter(rootfs: &Rootfs, mode: Mode) -> Snapshotter {
    let options = SnapshotOptions { mode, ..SnapshotOptions::default() };
    let mut snapshotter = Snapshotter::new(rootfs.clone(), Index::new(), options);
    snapshotter.take(Scope::Everything(Reason::Mode)).expect("the first snapshot");
    snapshotter
}

/// Compares two maps and says where they differ, not what is equal.
fn same<V: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &BTreeMap<String, V>,
    expected: &BTreeMap<String, V>,
) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let mut differences = Vec::new();
    for name in found.keys().chain(expected.keys()) {
        let (found, expected) = (found.get(name), expected.get(name));
        let difference = format!("`/{name}` is {found:?}, should be {expected:?}");
        if found != expected && !differences.contains(&difference) {
            differences.push(difference);
        }
    }
    Err(format!("{what}:\n  {}", differences.join("\n  ")))
}
