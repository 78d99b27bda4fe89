//! What one run says of itself: written by the measured process, read by the one that compares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One run of one mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Why the build failed, if it did.
    pub error: Option<String>,
    /// CPU time of the building process, in seconds.
    pub own_cpu_s: f64,
    /// Largest resident memory of the building process, in bytes.
    pub peak_rss_bytes: u64,
    /// Wall time by phase of the build, in seconds.
    pub phases: BTreeMap<String, f64>,
    /// The steps that took a snapshot, in order.
    pub steps: Vec<StepRecord>,
    /// What an emulation has to take off the build's own figures.
    pub replaced: Replaced,
    /// What the build warned of, and what the scenario could not do.
    pub notes: Vec<String>,
}

/// What the build did to find changes in a run whose figures are those of an emulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    /// Wall time of the build's own snapshots, in seconds.
    pub wall_s: f64,
    /// CPU time of the same.
    pub cpu_s: f64,
}

/// One step with a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The instruction.
    pub text: String,
    /// Wall time of the whole step, in seconds.
    pub wall_s: f64,
    /// CPU time of the building process for everything in the step but writing the layer: getting
    /// ready, recording, looking.
    pub looking_cpu_s: f64,
    /// Wall time of looking for changes after the command, in seconds.
    pub looking_wall_s: f64,
    /// Entries whose metadata was read.
    pub entries_stated: u64,
    /// Files whose content was read.
    pub files_opened: u64,
    /// Bytes of content that were read.
    pub bytes_hashed: u64,
    /// Paths in the layer, as far as the mode says.
    pub changed: u64,
    /// Compressed size of the layer; 0 without one.
    pub layer_bytes: u64,
    /// What the command took by itself, where it says so.
    pub command: Option<CommandCost>,
    /// What said where to look, as the build reports it; empty where it does not.
    pub found_by: String,
    /// Digest of the layer.
    pub layer_digest: Option<String>,
    /// Filled by the run that checks.
    pub truth: Option<StepTruth>,
}

/// What the command of a RUN took by itself, while its changes were recorded. CPU time that the
/// recording takes in the kernel is the command's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandCost {
    /// Files that it made, wrote, opened or removed.
    pub operation_count: u64,
    /// Wall time, in seconds.
    pub wall_s: f64,
    /// CPU time in its own code, in seconds.
    pub user_s: f64,
    /// CPU time in the kernel, in seconds.
    pub system_s: f64,
}

/// What a reading of the whole tree says of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepTruth {
    /// Paths that changed, came or went.
    pub changed: u64,
    /// How many of them are not in the layer as they are on disk.
    pub missed: u64,
    /// Some of them, with what was missed.
    pub examples: Vec<String>,
}
