//! Tries a change tracker out, in a process that may break on it.

use std::error::Error;

use snapshot::Rootfs;
use snapshot::track::{self, TrackerKind, TrackerLimits, TrackerOptions};

use crate::sandbox::wire::{Reply, TrackerTrial};

/// Carries out a trial and says how it went.
pub(super) fn try_out(trial: &TrackerTrial) -> Reply {
    match attempt(trial) {
        Ok(()) => Reply::Works,
        Err(error) => Reply::NoTracker { reason: with_causes(&*error) },
    }
}

fn attempt(trial: &TrackerTrial) -> Result<(), Box<dyn Error>> {
    let kind: TrackerKind = trial.tracker.parse()?;
    let directory = Rootfs::open(&trial.directory)?;
    let limits = TrackerLimits { watch_count: trial.watch_count, memory_bytes: None };
    let options = TrackerOptions { limits, ..TrackerOptions::default() };
    Ok(track::try_out(kind, &directory, options)?)
}

/// Returns an error's message with those of its causes.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
