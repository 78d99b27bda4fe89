//! Which change tracker a build uses: the one that was asked for, or the best that works here.
//!
//! Trackers are tried on the file system that they are for, in a process of their own, before the
//! first stage; what that tells is put into words once. Then each stage is judged by its size and by
//! how often it could make use of a tracker. The decisions are pure; the trials are the sandbox's.

use std::fmt;
use std::path::Path;

use snapshot::track::{
    ChangeTracker, StepOverlay, TrackError, TrackerKind, TrackerLimits, TrackerOptions,
    max_user_watches,
};
use snapshot::{Rootfs, SnapshotStats, Snapshotter};

use super::error::BuildError;
use super::options::{SnapshotChoices, SnapshotMode};
use super::roots::HomeKind;
use super::session::Session;
use super::trial::TrialPlace;
use crate::plan::{PlannedStage, StepKind};
use crate::report::event::{Event, SnapshotWork};
use crate::report::fault::{Class, Fault, one_line};
use crate::sandbox::memory_limit_bytes;

/// The trackers that record something, best first.
pub(super) const RECORDING: [TrackerKind; 3] =
    [TrackerKind::Overlay, TrackerKind::Fanotify, TrackerKind::Inotify];

/// A change tracker that was asked for and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`--tracker={kind}` cannot be used here: {reason}")]
pub struct TrackerRefused {
    /// Which one.
    kind: TrackerKind,
    /// Why not, with all causes.
    reason: String,
}

impl Fault for TrackerRefused {
    fn class(&self) -> Class {
        Class::User
    }

    fn hint(&self) -> Option<String> {
        Some("leave `--tracker` out, and the best that works is taken".to_owned())
    }
}

/// The tracker of a build.
#[derive(Debug)]
pub(super) struct Tracking {
    choice: Choice,
    limits: TrackerLimits,
}

/// A tracker, and whether it may be given up for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) kind: TrackerKind,
    force: Force,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    /// It was asked for by name.
    Asked,
    /// It was the best.
    Free,
}

/// A tracker that was passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PassedOver {
    kind: TrackerKind,
    reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.reason)
    }
}

/// What a stage has for a tracker to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    /// Snapshots that look for what commands have done.
    pub(super) snapshot_count: usize,
    /// Inodes in the root when the first command starts, about.
    pub(super) inode_count: u64,
}

impl Tracking {
    /// Finds the tracker for the stages whose changes become layers, and tells which it is, if they
    /// run commands.
    ///
    /// # Errors
    /// [`TrackerRefused`] when the one that was asked for cannot be used here.
    pub(super) fn choose<'p>(
        session: &Session<'_>,
        mut stages: impl Iterator<Item = &'p PlannedStage>,
    ) -> Result<Self, BuildError> {
        let choices = &session.options.snapshots;
        let limits = limits(choices);
        if !stages.any(runs_commands) {
            // Nothing has to be tracked; whatever is asked for would work.
            let choice = Choice { kind: TrackerKind::Walk, force: Force::Free };
            return Ok(Self { choice, limits });
        }
        let (choice, reason) = decide(choices.mode, |kind| session.try_tracker(kind, limits))?;
        session.events.send(Event::TrackerChosen { tracker: choice.kind.to_string(), reason });
        Ok(Self { choice, limits })
    }

    /// Tells whether a root can be an overlay over a tree: there is no record of it that a tracker of
    /// another kind could keep.
    pub(super) fn allows_trees(&self) -> bool {
        let is_other = matches!(self.choice.kind, TrackerKind::Fanotify | TrackerKind::Inotify);
        self.choice.force == Force::Free || !is_other
    }

    /// Starts the tracker of one stage; `None` where nothing is recorded.
    ///
    /// # Errors
    /// [`TrackerRefused`] when the one that was asked for cannot be used.
    pub(super) fn start(
        &self,
        session: &Session<'_>,
        rootfs: &Rootfs,
        home: HomeKind,
        work: Work,
    ) -> Result<Option<ChangeTracker>, BuildError> {
        let kind = match (home, self.choice.force) {
            // The root is such a record already.
            (HomeKind::Tree, Force::Free) => TrackerKind::Overlay,
            (HomeKind::Tree | HomeKind::Other, _) => self.choice.kind,
        };
        if work.snapshot_count == 0 || !RECORDING.contains(&kind) {
            return Ok(None);
        }
        if kind != self.choice.kind {
            let reason = "the root is an overlay over a tree".to_owned();
            session.events.send(Event::TrackerChosen { tracker: kind.to_string(), reason });
        }
        let choice = Choice { kind, ..self.choice };
        if let Some(reason) = choice.why_not_for(work, self.limits, max_user_watches().ok()) {
            let reason = format!("{kind}: {reason}");
            let tracker = TrackerKind::Walk.to_string();
            session.events.send(Event::TrackerChosen { tracker, reason });
            return Ok(None);
        }
        let options = TrackerOptions { limits: self.limits, ..TrackerOptions::default() };
        match ChangeTracker::start(kind, rootfs, options) {
            Ok(tracker) => Ok(Some(tracker)),
            Err(error) if self.choice.force == Force::Asked => Err(refused(kind, &error)),
            // The walk takes its place; its trial went well, so this is worth a word.
            Err(error) => {
                let reason = format!("{kind}: {}", one_line(&error));
                let tracker = TrackerKind::Walk.to_string();
                session.events.send(Event::TrackerChosen { tracker, reason });
                Ok(None)
            }
        }
    }

    /// Mounts an overlay for a command; `None` where none could be had, which is said.
    ///
    /// # Errors
    /// [`BuildError::Tracker`] when it was asked for.
    pub(super) fn mount_overlay(
        &self,
        session: &Session<'_>,
        snapshotter: &Snapshotter,
    ) -> Result<Option<StepOverlay>, BuildError> {
        let root = snapshotter.rootfs();
        let mut scratch = root.host_path().as_os_str().to_owned();
        scratch.push(".step");
        match StepOverlay::mount(root, snapshotter.index(), Path::new(&scratch)) {
            Ok(overlay) => Ok(Some(overlay)),
            Err(error) => {
                let (kind, error) = (TrackerKind::Overlay, TrackError::from(error));
                if self.choice.force == Force::Asked {
                    return Err(refused(kind, &error));
                }
                let reason = format!("{kind}: {}", one_line(&error));
                let tracker = TrackerKind::Walk.to_string();
                session.events.send(Event::TrackerChosen { tracker, reason });
                Ok(None)
            }
        }
    }

    /// Checks, after a tracker was armed for the first time, that it is the one that was asked for.
    ///
    /// # Errors
    /// [`TrackerRefused`] when it gave up.
    pub(super) fn check(&self, tracker: &ChangeTracker) -> Result<(), BuildError> {
        match (tracker.failure(), self.choice.force) {
            (Some(error), Force::Asked) => Err(refused(tracker.kind(), error)),
            _ => Ok(()),
        }
    }
}

impl Choice {
    /// Says why this tracker is not worth its cost in a stage, if it is not.
    fn why_not_for(
        &self,
        work: Work,
        limits: TrackerLimits,
        max_user_watches: Option<u64>,
    ) -> Option<String> {
        if self.force == Force::Asked || self.kind != TrackerKind::Inotify {
            return None;
        }
        if work.snapshot_count == 1 {
            // Watching every inode takes about as long as looking at each.
            return Some("one snapshot is not worth its watches".to_owned());
        }
        let allowance = limits.allowance(max_user_watches.unwrap_or(0));
        (work.inode_count > allowance.watch_count).then(|| {
            format!(
                "{} inodes would have to be watched and {} may be ({})",
                work.inode_count, allowance.watch_count, allowance.bound
            )
        })
    }
}

/// Returns what trackers may take.
pub(super) fn limits(choices: &SnapshotChoices) -> TrackerLimits {
    TrackerLimits { watch_count: choices.watch_limit, memory_bytes: memory_limit_bytes() }
}

/// Finds the tracker that is asked for, or the best, and says why it is that one. `trial` says why
/// one does not work.
///
/// # Errors
/// [`TrackerRefused`] when the one that was asked for cannot be used here.
pub(super) fn decide<E: From<TrackerRefused>>(
    mode: SnapshotMode,
    mut trial: impl FnMut(TrackerKind) -> Result<Option<String>, E>,
) -> Result<(Choice, String), E> {
    let asked = |kind| (Choice { kind, force: Force::Asked }, "asked for".to_owned());
    match mode {
        SnapshotMode::Auto => {
            let mut passed_over = Vec::new();
            let choice = best(trial, &mut passed_over)?;
            Ok((choice, in_words(&passed_over)))
        }
        SnapshotMode::Tracker(kind) => {
            if RECORDING.contains(&kind)
                && let Some(reason) = trial(kind)?
            {
                return Err(TrackerRefused { kind, reason }.into());
            }
            Ok(asked(kind))
        }
        SnapshotMode::Time => Ok(asked(TrackerKind::Walk)),
    }
}

/// Returns the first tracker that works; the walk needs nothing. `trial` says why one does not.
fn best<E>(
    mut trial: impl FnMut(TrackerKind) -> Result<Option<String>, E>,
    passed_over: &mut Vec<PassedOver>,
) -> Result<Choice, E> {
    for kind in RECORDING {
        match trial(kind)? {
            None => return Ok(Choice { kind, force: Force::Free }),
            Some(reason) => passed_over.push(PassedOver { kind, reason }),
        }
    }
    Ok(Choice { kind: TrackerKind::Walk, force: Force::Free })
}

fn in_words(passed_over: &[PassedOver]) -> String {
    match passed_over {
        [] => "it works here".to_owned(),
        passed_over => {
            let reasons: Vec<String> = passed_over.iter().map(PassedOver::to_string).collect();
            reasons.join("; ")
        }
    }
}

fn refused(kind: TrackerKind, error: &TrackError) -> BuildError {
    TrackerRefused { kind, reason: one_line(error) }.into()
}

/// Says what a snapshot took, but for its outcome and its time.
pub(super) fn snapshot_work(
    snapshotter: &Snapshotter,
    stats: &SnapshotStats,
    is_tracked: bool,
) -> SnapshotWork {
    let fallback = match (snapshotter.tracker(), stats.everything_because) {
        (Some(tracker), Some(reason)) => {
            Some(tracker.failure().map_or_else(|| reason.to_string(), |error| one_line(error)))
        }
        _ => None,
    };
    SnapshotWork {
        tracker: stats.found_by.map(|kind| kind.to_string()),
        is_tracked,
        fallback,
        content_because: stats.fallbacks.iter().map(ToString::to_string).collect(),
        scope_count: stats.scope_path_count,
        known_count: snapshotter.index().len() as u64,
        examined_count: stats.entries_stated,
        listed_count: stats.directories_listed,
        opened_count: stats.files_opened,
        hashed_bytes: stats.bytes_hashed,
        ..SnapshotWork::default()
    }
}

/// Tells whether a stage runs commands.
fn runs_commands(stage: &PlannedStage) -> bool {
    stage.steps.iter().any(|step| matches!(step.kind, StepKind::Run(_)))
}

impl Session<'_> {
    /// Tries a tracker where the stages' roots will be; says why it cannot be used, if it cannot.
    fn try_tracker(
        &self,
        kind: TrackerKind,
        limits: TrackerLimits,
    ) -> Result<Option<String>, BuildError> {
        TrialPlace { sandbox: self.sandbox()?, store: &self.store }.try_tracker(kind, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_works_is_taken_and_nothing_beyond_it_is_tried() {
        let check = |works: &[TrackerKind], kind, reasons: &str| {
            let mut tried = Vec::new();
            let mut passed_over = Vec::new();
            let trial = |kind: TrackerKind| {
                tried.push(kind);
                Ok::<_, ()>((!works.contains(&kind)).then(|| "broken".to_owned()))
            };
            let choice = best(trial, &mut passed_over);
            assert_eq!(choice, Ok(Choice { kind, force: Force::Free }));
            assert_eq!(in_words(&passed_over), reasons);
            let last = RECORDING.iter().position(|one| *one == kind).unwrap_or(2);
            assert_eq!(tried, RECORDING[..=last]);
        };
        let [overlay, fanotify, inotify] = RECORDING;
        check(&RECORDING, overlay, "it works here");
        check(&[fanotify, inotify], fanotify, "overlay: broken");
        check(&[inotify], inotify, "overlay: broken; fanotify: broken");
        let none = "overlay: broken; fanotify: broken; inotify: broken";
        check(&[], TrackerKind::Walk, none);
        assert_eq!(best(|_| Err("lost"), &mut Vec::new()), Err("lost"));
    }

    #[test]
    fn watches_are_for_stages_that_are_worth_them() {
        let once = "one snapshot is not worth its watches";
        let large = "101 inodes would have to be watched and 100 may be (an eighth of \
                     fs.inotify.max_user_watches = 800)";
        let small_memory = "100 inodes would have to be watched and 6 may be (a quarter of the \
                            memory limit of 40960 bytes)";
        let (free, asked) = (Force::Free, Force::Asked);
        let (inotify, fanotify) = (TrackerKind::Inotify, TrackerKind::Fanotify);
        for (kind, force, snapshot_count, inode_count, memory_bytes, expected) in [
            (inotify, free, 2, 100, None, None),
            (inotify, free, 1, 100, None, Some(once)),
            (inotify, free, 2, 101, None, Some(large)),
            (inotify, free, 2, 100, Some(40960), Some(small_memory)),
            (inotify, asked, 1, 101, None, None),
            (fanotify, free, 1, 101, None, None),
        ] {
            let limits = TrackerLimits { watch_count: None, memory_bytes };
            let work = Work { snapshot_count, inode_count };
            let found = Choice { kind, force }.why_not_for(work, limits, Some(800));
            assert_eq!(found.as_deref(), expected, "{kind} {force:?} {work:?}");
        }
        // Where the node's limit cannot be read, nothing may be taken.
        let work = Work { snapshot_count: 2, inode_count: 1 };
        let choice = Choice { kind: inotify, force: free };
        assert!(choice.why_not_for(work, TrackerLimits::default(), None).is_some());
    }
}
