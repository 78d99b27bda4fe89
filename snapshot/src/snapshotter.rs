//! Takes the snapshots of one root file system, one after another.
//!
//! Owns the index between them, and what has to happen before a step (a wait for the clock) so that
//! the snapshot after it can trust what the kernel says. Knows nothing of what a step is.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::change::Changeset;
use crate::clock;
use crate::diff::{self, Rules, Sighting, Verdict};
use crate::digest::Digest;
use crate::error::SnapshotError;
use crate::fallback::Fallback;
use crate::ignore::IgnoreList;
use crate::index::{Index, NodeId};
use crate::layer::MtimeRule;
use crate::metadata::Timestamp;
use crate::mode::Mode;
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::scope::{PathSet, Reason, Scope};
use crate::self_test::{self, SelfTest};
use crate::track::{ChangeTracker, Tracked, TrackerKind};
use crate::walk::{self, Found, Part, WalkInput};

/// How snapshots are taken.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    /// How candidates are found.
    pub mode: Mode,
    /// What is left out.
    pub ignore: IgnoreList,
    /// How many threads look; one for each core, at most eight, when not given.
    pub threads: Option<NonZeroUsize>,
    /// What layers say of times: what differs in nothing that they tell apart has not changed.
    pub mtime: MtimeRule,
}

/// What changed since the last snapshot, and what it took to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What a layer has to hold.
    pub changeset: Changeset,
    /// What was done.
    pub stats: SnapshotStats,
}

/// The work of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotStats {
    /// Why everything was looked at, if it was.
    pub everything_because: Option<Reason>,
    /// Paths in the scope, once closed; `None` when everything was.
    pub scope_path_count: Option<u64>,
    /// What said where to look: a tracker's record, or `walk` and `content` where everything was
    /// looked at; `None` where whoever wrote has said it.
    pub found_by: Option<TrackerKind>,
    /// Inodes and names that the tracker's events named.
    pub tracker_note_count: u64,
    /// Directories whose names were read.
    pub directories_listed: u64,
    /// Entries whose metadata was read.
    pub entries_stated: u64,
    /// Files that were opened to read their content.
    pub files_opened: u64,
    /// Bytes of content that were read and digested.
    pub bytes_hashed: u64,
    /// Entries that were candidates and turned out to be as they were.
    pub candidates_dismissed: u64,
    /// Mounts that were met and left out.
    pub mounts_skipped: u64,
    /// Sockets that were met: no layer can hold them. Sorted.
    pub sockets: Vec<RootfsPath>,
    /// Why content was read where the mode would not have.
    pub fallbacks: Vec<Fallback>,
}

/// Takes snapshots of a root file system.
#[derive(Debug)]
pub struct Snapshotter {
    rootfs: Rootfs,
    index: Index,
    options: SnapshotOptions,
    tracker: Option<ChangeTracker>,
    /// `None` until it is run.
    self_test: Option<Result<SelfTest, SelfTestNotRun>>,
    /// Rows with this ctime or a later one prove nothing ([`Rules::racy_from`]).
    racy_from: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct SelfTestNotRun;

impl Snapshotter {
    /// Returns a snapshotter that knows the root as `index` has it.
    pub fn new(rootfs: Rootfs, index: Index, options: SnapshotOptions) -> Self {
        // Nobody has waited for the clock yet.
        let racy_from = Timestamp { seconds: i64::MIN, nanoseconds: 0 };
        Self { rootfs, index, options, tracker: None, self_test: None, racy_from }
    }

    /// Has the steps from now on recorded by `tracker`.
    pub fn track_with(&mut self, tracker: ChangeTracker) {
        self.tracker = Some(tracker);
    }

    /// Returns the tracker and goes on without one.
    pub fn take_tracker(&mut self) -> Option<ChangeTracker> {
        self.tracker.take()
    }

    /// Returns the tracker, if there is one.
    pub fn tracker(&self) -> Option<&ChangeTracker> {
        self.tracker.as_ref()
    }

    /// Returns the tracker, for a test that something happens to.
    #[cfg(test)]
    pub(crate) fn tracker_mut(&mut self) -> Option<&mut ChangeTracker> {
        self.tracker.as_mut()
    }

    /// Gets ready for a step that may write to the root: to be called before it starts.
    ///
    /// Has the tracker record, if there is one. Waits, one or two ticks of the clock at most, until
    /// whatever is written next gets a later ctime than anything in the index; without that the next
    /// snapshot is as right, but reads more.
    pub fn begin(&mut self) {
        // First the self-test, whose own writes are no step's.
        let granularity = self.granularity();
        if let Some(tracker) = &mut self.tracker {
            tracker.begin(&self.rootfs, &self.index);
        }
        if self.tracker.as_ref().is_some_and(ChangeTracker::believes_clock) {
            self.racy_from = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
            return;
        }
        clock::wait_past(self.index.latest_ctime(), 2 * clock::tick());
        self.racy_from = self_test::floor(clock::coarse_now(), granularity);
    }

    /// Ends the record of the step that began with [`Snapshotter::begin`], and returns where it can
    /// have changed something.
    ///
    /// No process of the step may be alive: what it writes now could be lost.
    pub fn end_step(&mut self) -> Tracked {
        match &mut self.tracker {
            Some(tracker) => tracker.take(&self.rootfs, &self.index),
            None => Tracked::nothing(Reason::NoTracker),
        }
    }

    /// Finds out what the step changed since [`Snapshotter::begin`], and takes it into the index:
    /// looks where the tracker says, or at everything.
    ///
    /// # Errors
    /// As [`Snapshotter::take_tracked`].
    pub fn take_step(&mut self) -> Result<Snapshot, SnapshotError> {
        let tracked = self.end_step();
        self.take_tracked(tracked)
    }

    /// Finds out what changed where a tracker says that something can have, and takes it into the
    /// index.
    ///
    /// # Errors
    /// As [`Snapshotter::take`].
    pub fn take_tracked(&mut self, tracked: Tracked) -> Result<Snapshot, SnapshotError> {
        let Tracked { by, scope, note_count } = tracked;
        let scope = match by {
            Some(_) => self.widen(scope),
            // Whoever wrote looks for nothing but what was written.
            None => scope,
        };
        let mut snapshot = self.take(scope)?;
        let stats = &mut snapshot.stats;
        if stats.everything_because.is_none() {
            stats.found_by = by;
        }
        stats.tracker_note_count = note_count;
        Ok(snapshot)
    }

    /// Makes a scope everything where that costs less. Where timestamps do not tell, or are not asked,
    /// it never does: then a walk reads everything, and the record saves that.
    fn widen(&mut self, scope: Scope) -> Scope {
        let Scope::Only(paths) = scope else { return scope };
        let is_weak = self.tracker.as_ref().is_some_and(ChangeTracker::leaves_out_aliases);
        if !is_weak && paths.is_dearer_than_all(&self.index) && self.mode() != Mode::Full {
            return Scope::Everything(Reason::LargeScope);
        }
        Scope::Only(paths)
    }

    /// Returns what is asked of an entry here.
    fn mode(&mut self) -> Mode {
        let is_blind = |fallback: &Fallback| *fallback != Fallback::CoarseTimestamps;
        if self.fallbacks().iter().any(is_blind) { Mode::Full } else { self.options.mode }
    }

    /// Finds out what changed in `scope` since the last snapshot, and takes it into the index.
    ///
    /// No process that writes to the root may be alive: what it writes now could be lost.
    ///
    /// # Errors
    /// A path that could not be looked at. The index is then as before, and the snapshot can be
    /// taken again.
    pub fn take(&mut self, scope: Scope) -> Result<Snapshot, SnapshotError> {
        let (fallbacks, mode) = (self.fallbacks(), self.mode());
        let started = self_test::floor(clock::coarse_now(), self.granularity());
        let input = WalkInput {
            rootfs: &self.rootfs,
            index: &self.index,
            ignore: &self.options.ignore,
            rules: Rules { mode, racy_from: self.racy_from, mtime: self.options.mtime },
            threads: self.options.threads,
        };
        let (mut found, everything_because, scope_path_count) = match scope {
            Scope::Everything(reason) => {
                (walk::walk(&input, &Part::Everything)?, Some(reason), None)
            }
            Scope::Only(paths) => {
                let is_weak = self.tracker.as_ref().is_some_and(ChangeTracker::leaves_out_aliases);
                let (found, path_count) = if is_weak {
                    let scope = paths.close_above();
                    (walk::walk(&input, &Part::Only(&scope))?, scope.entries().len() as u64)
                } else {
                    walk_scope(&input, paths)?
                };
                (found, None, Some(path_count))
            }
        };
        let (sightings, removed) = settle(&self.index, &mut found);
        let noted = sightings.iter().filter(|sighting| sighting.verdict == Verdict::Noted);
        let stats = SnapshotStats {
            everything_because,
            found_by: everything_because.map(|_| match mode {
                Mode::Full => TrackerKind::Content,
                Mode::Redo | Mode::Time => TrackerKind::Walk,
            }),
            scope_path_count,
            candidates_dismissed: noted.count() as u64,
            fallbacks,
            ..stats_of(&found)
        };
        let changeset = diff::changeset(&self.index, &sightings, &removed, &found.links);
        diff::apply(&mut self.index, &sightings, &removed);
        if let Some(tracker) = &mut self.tracker {
            let entries = sightings.iter().map(|sighting| (&sighting.path, &sighting.row.metadata));
            tracker.follow(&self.rootfs, entries);
        }
        // Until the next `begin`, a write may share its ctime with what was just looked at.
        self.racy_from = started;
        tracing::debug!(changes = changeset.len(), ?stats, "snapshot taken");
        Ok(Snapshot { changeset, stats })
    }

    /// Returns what the root held at the last snapshot.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the index, for whoever goes on with the root.
    pub fn into_index(self) -> Index {
        self.index
    }

    /// Returns the index, for whoever writes to the root and knows what.
    pub fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// Returns the root.
    pub fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Notes the digest of a file's content, which whoever wrote the layer has seen: it lets a later
    /// snapshot dismiss a file that only looks changed.
    pub fn record_content(&mut self, path: &RootfsPath, content: &Digest) {
        if let Some(id) = self.index.find(path) {
            self.index.set_content(id, *content);
        }
    }

    /// Says why content is read, if it is: runs the self-test when nobody has.
    fn fallbacks(&mut self) -> Vec<Fallback> {
        if self.options.mode == Mode::Full {
            return Vec::new();
        }
        match self.self_test() {
            Ok(test) => {
                let coarse =
                    (test.granularity > Duration::ZERO).then_some(Fallback::CoarseTimestamps);
                test.blind_to.iter().copied().map(Fallback::Blind).chain(coarse).collect()
            }
            Err(SelfTestNotRun) => vec![Fallback::SelfTestNotRun],
        }
    }

    fn granularity(&mut self) -> Duration {
        // Where everything is read anyway, no timestamp has to be trusted.
        if self.options.mode == Mode::Full {
            return Duration::ZERO;
        }
        match self.self_test() {
            Ok(test) => test.granularity,
            // Nothing is trusted in this case, see `fallbacks`.
            Err(SelfTestNotRun) => Duration::ZERO,
        }
    }

    fn self_test(&mut self) -> Result<&SelfTest, SelfTestNotRun> {
        let Self { self_test, rootfs, index, .. } = self;
        let outcome = self_test.get_or_insert_with(|| {
            let known = index.get(&RootfsPath::root()).filter(|row| !row.shadow);
            let outcome = self_test::run(rootfs).map_err(|error| {
                // The snapshot reads all content instead, and says so in its stats.
                tracing::debug!(%error, "cannot run the self-test");
                SelfTestNotRun
            });
            // The test moved the root's own ctime, which is no step's doing.
            if let (Some(row), Ok(Some(now))) = (known, rootfs.metadata(&RootfsPath::root()))
                && row.metadata.inode() == now.inode()
                && row.metadata.mtime == now.mtime
            {
                let metadata = crate::metadata::Metadata { ctime: now.ctime, ..row.metadata };
                index.insert(&RootfsPath::root(), crate::index::Row { metadata, ..row });
            }
            outcome
        });
        outcome.as_ref().map_err(|error| *error)
    }
}

/// Walks a scope, and then whatever else shares an inode with what was found.
fn walk_scope(input: &WalkInput<'_>, paths: PathSet) -> Result<(Found, u64), SnapshotError> {
    let mut scope = paths.close(input.index);
    let mut found = Found::default();
    let mut path_count = 0;
    let mut asked: HashSet<NodeId> = HashSet::new();
    loop {
        path_count += scope.entries().len() as u64;
        found.merge(walk::walk(input, &Part::Only(&scope))?);
        let mut more = PathSet::new();
        let index = input.index;
        let mut ask = |id: NodeId| {
            if !found.has_seen(id) && asked.insert(id) {
                more.insert(index.path(id));
            }
        };
        // A new name of a known inode: what is known of the others may be out of date too.
        let known = found.links.keys().filter_map(|inode| index.node_by_inode(*inode));
        known.flat_map(|id| index.links_of(id)).for_each(&mut ask);
        // A name that went with its directory: the others have one name less.
        let gone = found.removed.iter().chain(&found.replaced);
        let gone = gone.flat_map(|id| index.places_below(*id));
        gone.flat_map(|id| index.links_of(id).skip(1)).for_each(ask);
        if more.is_empty() {
            return Ok((found, path_count));
        }
        scope = more.close(input.index);
    }
}

/// Puts what was found in order: sightings by path, one each, and the topmost removed paths.
fn settle(index: &Index, found: &mut Found) -> (Vec<Sighting>, Vec<RootfsPath>) {
    let mut sightings = std::mem::take(&mut found.sightings);
    if !found.vanished.is_empty() {
        let vanished: HashSet<&RootfsPath> = found.vanished.iter().collect();
        sightings.retain(|sighting| !vanished.contains(&sighting.path));
    }
    sightings.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    // Walks of further parts meet the directories above again.
    sightings.dedup_by(|later, kept| later.path == kept.path);
    let mut removed: Vec<RootfsPath> = found.removed.iter().map(|&id| index.path(id)).collect();
    removed.sort();
    // What is below a removed path went with it.
    removed.dedup_by(|later, kept| later.starts_with(kept));
    (sightings, removed)
}

/// Returns the part of the stats that is the walk's.
fn stats_of(found: &Found) -> SnapshotStats {
    let mut sockets = found.sockets.clone();
    sockets.sort();
    sockets.dedup();
    SnapshotStats {
        directories_listed: found.counts.directories_listed,
        entries_stated: found.counts.entries_stated,
        files_opened: found.counts.files_opened,
        bytes_hashed: found.counts.bytes_hashed,
        mounts_skipped: found.counts.mounts_skipped,
        sockets,
        ..SnapshotStats::default()
    }
}
