//! Commands on overlays: where the tracker is `overlay`, each command runs on one over the stage's
//! root, and what it wrote is moved into the root when it has ended well.

use snapshot::track::{StepOverlay, TrackerKind};
use snapshot::{PathSet, SnapshotError, Snapshotter};

use super::error::StepError;
use super::session::Session;
use super::timed;
use super::tracking::Tracking;
use crate::report::event::Phase;

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
    snapshotter: &mut Snapshotter,
) -> Result<Option<StepOverlay>, StepError> {
    if !are_used(snapshotter) {
        return Ok(None);
    }
    let overlay =
        timed(session.events, Phase::Snapshot, || tracking.mount_overlay(session, snapshotter))?;
    if overlay.is_none() {
        drop(snapshotter.take_tracker());
    }
    Ok(overlay)
}

/// Moves what a command wrote into the root, and returns where that was.
pub(super) fn merge(
    session: &Session<'_>,
    overlay: StepOverlay,
    snapshotter: &Snapshotter,
) -> Result<PathSet, StepError> {
    timed(session.events, Phase::Snapshot, || {
        Ok(overlay.finish(snapshotter.index()).map_err(SnapshotError::from)?)
    })
}
