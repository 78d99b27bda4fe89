//! Records what is written while a step runs, so that only that is looked at afterwards.
//!
//! Owns the change trackers. The product of each is a [`Scope`]: a superset of what changed, or
//! everything with the reason. A tracker never changes what a step sees or what a layer holds; what
//! it does change is what the snapshot costs. The idea to hold in mind: any doubt (an overflow, a
//! limit, an event that does not resolve) widens the scope to everything.
//!
//! | tracker | record | needs |
//! |---|---|---|
//! | `overlay` | the upper directory of an overlay mounted for the step | a mount |
//! | `fanotify` | a mark on the file system | CAP_SYS_ADMIN, handles that lead back to inodes |
//! | `inotify` | a watch on every inode | nothing but watches |
//! | `walk` | none: everything is looked at, and the kernel's timestamps believed | a sound ctime |
//! | `content` | none: everything is read | nothing |

mod arming;
mod budget;
mod canary;
mod error;
mod events;
mod fanotify;
mod inotify;
mod overlay;
mod reader;
mod surroundings;
mod touched;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

pub use budget::{Allowance, Bound, TrackerLimits, max_user_watches};
pub use canary::try_out;
pub use error::TrackError;
pub use overlay::{NewTree, OverlayError, OwnMounts, StepOverlay, TreeOverlay, TreeStack};

use crate::index::Index;
use crate::metadata::{InodeId, Metadata};
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::scope::{PathSet, Reason, Scope};
use events::{FanotifyEvents, InotifyEvents};
use fanotify::{FanotifyTracker, Unmarked};
use inotify::{InotifyTracker, Unwatched};
use reader::Reader;
use surroundings::Surroundings;
use touched::{Omissions, Touched};

/// The ways to record changes, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackerKind {
    /// The upper directory of an overlay that was mounted for the step.
    Overlay,
    /// One mark on the file system of the root.
    Fanotify,
    /// One watch on every inode of the root.
    Inotify,
    /// Nothing is recorded; everything is looked at.
    Walk,
    /// Nothing is recorded; everything is read.
    Content,
}

impl TrackerKind {
    /// All of them, best first.
    pub const ALL: [Self; 5] =
        [Self::Overlay, Self::Fanotify, Self::Inotify, Self::Walk, Self::Content];
}

impl fmt::Display for TrackerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Overlay => "overlay",
            Self::Fanotify => "fanotify",
            Self::Inotify => "inotify",
            Self::Walk => "walk",
            Self::Content => "content",
        })
    }
}

/// A name that no tracker has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no change tracker `{0}`: they are overlay, fanotify, inotify, walk and content")]
pub struct UnknownTracker(pub String);

impl FromStr for TrackerKind {
    type Err = UnknownTracker;

    fn from_str(text: &str) -> Result<Self, UnknownTracker> {
        let known = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        known.ok_or_else(|| UnknownTracker(text.to_owned()))
    }
}

/// What a tracker can be made to leave out, so that a test can show that it would find out. All of
/// it is unsound.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weakness {
    /// Nothing is left out.
    #[default]
    None,
    /// Of several names of an inode one is looked at.
    OneName,
    /// A directory that came is looked at by itself.
    NoSubtrees,
    /// Only directories are watched.
    DirectoriesOnly,
    /// That a file is opened is not watched.
    NoOpen,
    /// What has got the number of an inode that is gone is not watched, unless it looks changed.
    OldNumbers,
    /// Before a step nobody waits for the clock, and timestamps are believed all the same.
    NoWait,
}

/// How a tracker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackerOptions {
    /// What it may take.
    pub limits: TrackerLimits,
    /// For tests of tests.
    #[doc(hidden)]
    pub weakness: Weakness,
}

/// What a tracker recorded of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The tracker whose record the scope is; `None` when there was none, or it was of no use.
    pub by: Option<TrackerKind>,
    /// What has to be looked at.
    pub scope: Scope,
    /// Inodes and names that events named.
    pub note_count: u64,
}

impl Tracked {
    /// Returns what is known of a step that nobody recorded.
    pub(crate) fn nothing(reason: Reason) -> Self {
        Self { by: None, scope: Scope::Everything(reason), note_count: 0 }
    }

    /// Returns what is known of a step whose writer says itself where it wrote.
    pub fn by_writer(paths: PathSet) -> Self {
        Self { by: None, scope: Scope::Only(paths), note_count: 0 }
    }

    /// Returns what the upper directory of an overlay that was mounted for the step says: `paths`
    /// is of [`StepOverlay::finish`].
    pub fn by_overlay(paths: PathSet) -> Self {
        let note_count = paths.len() as u64;
        Self { by: Some(TrackerKind::Overlay), scope: Scope::Only(paths), note_count }
    }
}

/// Records the changes to one root, step by step.
pub struct ChangeTracker {
    kind: TrackerKind,
    weakness: Weakness,
    source: Source,
    step: Option<Step>,
    failure: Option<TrackError>,
}

enum Source {
    Inotify(InotifyTracker),
    Fanotify(FanotifyTracker),
    /// There is none, or it was given up.
    None,
}

/// A step that runs.
struct Step {
    reader: Reader,
    surroundings: Surroundings,
    root: InodeId,
}

impl ChangeTracker {
    /// Starts a tracker of this kind for `rootfs`.
    ///
    /// The overlay tracker has nothing to start: each step has a record of its own
    /// ([`StepOverlay`]).
    ///
    /// # Errors
    /// When it cannot work here.
    pub fn start(
        kind: TrackerKind,
        rootfs: &Rootfs,
        options: TrackerOptions,
    ) -> Result<Self, TrackError> {
        let TrackerOptions { limits, weakness } = options;
        let source = match kind {
            TrackerKind::Inotify => {
                let unwatched = Unwatched {
                    files: weakness == Weakness::DirectoriesOnly,
                    opening: weakness == Weakness::NoOpen,
                    old_numbers: weakness == Weakness::OldNumbers,
                };
                Source::Inotify(InotifyTracker::start(limits, unwatched)?)
            }
            TrackerKind::Fanotify => {
                let unmarked = Unmarked { opening: weakness == Weakness::NoOpen };
                Source::Fanotify(FanotifyTracker::start(rootfs, unmarked)?)
            }
            TrackerKind::Overlay | TrackerKind::Walk | TrackerKind::Content => Source::None,
        };
        Ok(Self { kind, weakness, source, step: None, failure: None })
    }

    /// Returns which kind this is.
    pub fn kind(&self) -> TrackerKind {
        self.kind
    }

    /// Tells whether a snapshot is to look at no other names of what it looks at.
    pub(crate) fn leaves_out_aliases(&self) -> bool {
        self.weakness == Weakness::OneName
    }

    /// Tells whether a snapshot is to believe timestamps that two writes may share.
    pub(crate) fn believes_clock(&self) -> bool {
        self.weakness == Weakness::NoWait
    }

    /// Returns why the tracker was given up, if it was; every scope is everything from then on.
    pub fn failure(&self) -> Option<&TrackError> {
        self.failure.as_ref()
    }

    /// Returns the same, for whoever ends with it.
    pub fn into_failure(self) -> Option<TrackError> {
        self.failure
    }

    /// Starts to record: to be called before a step starts, and when everything that was written so
    /// far is in `index`. The first time takes longest: each inode is watched.
    pub fn begin(&mut self, rootfs: &Rootfs, index: &Index) {
        self.step = None;
        match self.source.begin(rootfs, index) {
            Ok(step) => self.step = step,
            Err(error) => self.give_up(error),
        }
    }

    /// Ends the record and returns what it says. `index` is as it was when the step began, and no
    /// process of the step is alive.
    pub fn take(&mut self, rootfs: &Rootfs, index: &Index) -> Tracked {
        let Some(Step { reader, surroundings, root }) = self.step.take() else {
            let reason = match (&self.failure, self.kind) {
                (Some(error), _) => error.reason(),
                // This is how they are.
                (None, TrackerKind::Walk | TrackerKind::Content) => Reason::Mode,
                (None, _) => Reason::NoTracker,
            };
            return Tracked::nothing(reason);
        };
        let mut touched = match &self.source {
            Source::Inotify(tracker) => reader.finish(&*tracker.source()),
            Source::Fanotify(tracker) => reader.finish(&*tracker.source()),
            Source::None => Touched::default(),
        };
        if let Err(reason) = surroundings.check(rootfs) {
            touched.doubt(reason);
        }
        let note_count = touched.len() as u64;
        let omissions = Omissions {
            aliases: self.weakness == Weakness::OneName,
            subtrees: self.weakness == Weakness::NoSubtrees,
        };
        let mut scope = touched.into_scope(index, root, omissions);
        if let (Scope::Everything(_), Source::Inotify(tracker)) = (&scope, &mut self.source) {
            tracker.distrust();
        }
        if let (Scope::Only(paths), Source::Inotify(tracker)) = (&mut scope, &self.source) {
            tracker.refused().for_each(|inode| paths.extend(index.paths_of(inode)));
            if surroundings.is_overlay {
                paths.extend(touched::names_of_linked_files(index));
            }
        }
        let by = matches!(scope, Scope::Only(_)).then_some(self.kind);
        Tracked { by, scope, note_count }
    }

    /// Records what a snapshot found changed too, from the next step on: to be called after each
    /// snapshot, with entries in the order of their paths. Known entries among them do no harm.
    pub fn follow<'e>(
        &mut self,
        rootfs: &Rootfs,
        entries: impl Iterator<Item = (&'e RootfsPath, &'e Metadata)>,
    ) {
        if let Source::Inotify(tracker) = &mut self.source
            && let Err(error) = tracker.follow(rootfs, entries)
        {
            self.give_up(error);
        }
    }

    fn give_up(&mut self, error: TrackError) {
        tracing::debug!(tracker = %self.kind, %error, "the change tracker is given up");
        // All watches go at once.
        self.source = Source::None;
        self.step = None;
        self.failure = Some(error);
    }
}

impl Source {
    fn begin(&mut self, rootfs: &Rootfs, index: &Index) -> Result<Option<Step>, TrackError> {
        match self {
            Self::Inotify(tracker) => {
                tracker.arm(rootfs, index)?;
                tracker.discard(rootfs, index)?;
                let source = tracker.source();
                Step::start(rootfs, || Reader::start(Arc::clone(&source))).map(Some)
            }
            Self::Fanotify(tracker) => {
                tracker.check(index)?;
                tracker.discard().map_err(TrackError::Queue)?;
                let source = tracker.source();
                Step::start(rootfs, || Reader::start(Arc::clone(&source))).map(Some)
            }
            Self::None => Ok(None),
        }
    }
}

/// Returns how many events an inotify or fanotify queue has given with these bytes, and `None` when
/// they are none: for benches of the parsers.
#[doc(hidden)]
pub fn count_events(kind: TrackerKind, bytes: &[u8]) -> Option<usize> {
    match kind {
        TrackerKind::Inotify => InotifyEvents::new(bytes)
            .try_fold(0, |n, event| event.ok().map(|event| n + usize::from(event.mask != 0))),
        TrackerKind::Fanotify => FanotifyEvents::new(bytes)
            .try_fold(0, |n, event| event.ok().map(|event| n + usize::from(event.mask != 0))),
        TrackerKind::Overlay | TrackerKind::Walk | TrackerKind::Content => None,
    }
}

impl Step {
    fn start(
        rootfs: &Rootfs,
        reader: impl FnOnce() -> std::io::Result<Reader>,
    ) -> Result<Self, TrackError> {
        let surroundings = Surroundings::of(rootfs).map_err(TrackError::Queue)?;
        let root = inotify::root_inode(rootfs)?;
        let reader = reader().map_err(TrackError::Queue)?;
        Ok(Self { reader, surroundings, root })
    }
}

impl fmt::Debug for ChangeTracker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ChangeTracker").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
