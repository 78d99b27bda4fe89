//! Commands on overlays: where the tracker is `overlay`, each command runs on one over the stage's
//! root, and what it wrote is moved into the root when it has ended well. Where the root is itself an
//! overlay, over a tree, that one is the record.

use snapshot::track::{StepOverlay, TrackerKind};
use snapshot::{PathSet, SnapshotError, Snapshotter};

use super::error::StepError;
use super::roots::Home;
use super::session::Session;
use super::timed;
use super::tracking::Tracking;
use crate::report::event::Phase;

/// What records a command that runs on an overlay.
pub(super) enum Recording {
    /// One over the stage's root, for this command alone.
    Step(StepOverlay),
    /// The root itself is one, over a tree; that is where it differed before.
    Root(PathSet),
}

/// Tells whether commands run on overlays over this root.
pub(super) fn are_used(snapshotter: &Snapshotter) -> bool {
    snapshotter.tracker().is_some_and(|tracker| tracker.kind() == TrackerKind::Overlay)
}

/// Mounts an overlay for a command, if commands run on overlays here.
///
/// Where none can be had any more, the tracker is taken away, so that the next snapshot looks at
/// everything.
pub(super) fn mount(
    session: &Session<'_>,
    tracking: &Tracking,
    home: &Home,
    snapshotter: &mut Snapshotter,
) -> Result<Option<Recording>, StepError> {
    if !are_used(snapshotter) {
        return Ok(None);
    }
    if let Home::Tree(root) = home {
        let written = timed(session.events, Phase::Snapshot, || root.written(snapshotter.index()))?;
        return Ok(Some(Recording::Root(written)));
    }
    let overlay =
        timed(session.events, Phase::Snapshot, || tracking.mount_overlay(session, snapshotter))?;
    if overlay.is_none() {
        drop(snapshotter.take_tracker());
    }
    Ok(overlay.map(Recording::Step))
}

/// Moves what a command wrote into the root, if it is not there, and returns where that was.
pub(super) fn merge(
    session: &Session<'_>,
    recording: Recording,
    home: &Home,
    snapshotter: &Snapshotter,
) -> Result<PathSet, StepError> {
    timed(session.events, Phase::Snapshot, || match (recording, home) {
        (Recording::Step(overlay), _) => {
            Ok(overlay.finish(snapshotter.index()).map_err(SnapshotError::from)?)
        }
        (Recording::Root(mut written), Home::Tree(root)) => {
            written.merge(root.written(snapshotter.index())?);
            Ok(written)
        }
        (Recording::Root(_), Home::Folder(_) | Home::Place(_) | Home::Moved(_)) => {
            unreachable!("only a root over a tree is such a record")
        }
    })
}
