//! Tries a change tracker out, in a process that may break on it.

use std::error::Error;

use snapshot::Rootfs;
use snapshot::track::{self, TrackerKind, TrackerLimits, TrackerOptions};

use crate::report::fault::one_line;
use crate::sandbox::wire::{Reply, TrackerTrial};

/// Carries out a trial and says how it went.
pub(super) fn try_out(trial: &TrackerTrial) -> Reply {
    match attempt(trial) {
        Ok(()) => Reply::Works,
        Err(error) => Reply::NoTracker { reason: one_line(&*error) },
    }
}

fn attempt(trial: &TrackerTrial) -> Result<(), Box<dyn Error>> {
    let kind: TrackerKind = trial.tracker.parse()?;
    let directory = Rootfs::open(&trial.directory)?;
    let limits = TrackerLimits { watch_count: trial.watch_count, memory_bytes: None };
    let options = TrackerOptions { limits, ..TrackerOptions::default() };
    Ok(track::try_out(kind, &directory, options)?)
}
