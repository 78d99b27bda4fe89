//! The report: what `--json` writes, and what table and page are made of.
//!
//! The names and shapes here are an interface, documented in `docs/compare-modes.md`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::CompareError;
use super::machine::Machine;
use super::record::{CommandCost, StepRecord};

/// Grows when a field changes its meaning or goes.
pub(super) const FORMAT: u32 = 1;

/// A finished comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of this document.
    pub format: u32,
    /// What it ran on.
    pub machine: Machine,
    /// What was built.
    pub scenario: ScenarioReport,
    /// Measured runs of each mode.
    pub runs: u32,
    /// Whether runs looked for what was missed.
    pub checked: bool,
    /// The modes, in the order asked for.
    pub modes: Vec<ModeReport>,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScenarioReport {
    /// The scenario's name, or `build` for a build of the user's.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
}

/// One mode. Figures are medians of its runs unless said otherwise, times in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModeReport {
    /// The mode's name.
    pub mode: String,
    /// What it does.
    pub explanation: String,
    /// Whether it is kaniko's algorithm, or the floor, on a build of ours.
    pub emulated: bool,
    /// Why there are no figures, where there are none.
    pub error: Option<String>,
    /// From start to end of the process.
    pub wall_s: f64,
    /// The shortest run.
    pub wall_s_min: f64,
    /// The longest run.
    pub wall_s_max: f64,
    /// CPU time of all processes, the commands of RUN included.
    pub cpu_s: f64,
    /// Largest resident memory of the building process; `None` for emulations.
    pub peak_rss_bytes: Option<u64>,
    /// Peak of the run's control group, page cache and kernel included; `None` without one.
    pub peak_group_bytes: Option<u64>,
    /// The same without the page cache, sampled.
    pub peak_group_without_cache_bytes: Option<u64>,
    /// Wall time by phase, of the run with the median wall time.
    pub phases: BTreeMap<String, f64>,
    /// CPU time spent to get ready for steps, to record them and to look for changes.
    pub looking_cpu_s: f64,
    /// Wall time of looking after the commands.
    pub looking_wall_s: f64,
    /// Entries whose metadata was read.
    pub entries_stated: u64,
    /// Files whose content was read.
    pub files_opened: u64,
    /// Bytes of content that were read.
    pub bytes_hashed: u64,
    /// Compressed bytes of the layers that the build made; `None` for emulations.
    pub layer_bytes: Option<u64>,
    /// Paths that changed, by a reading of the whole tree; `None` where that was not done.
    pub changed: Option<u64>,
    /// How many of them are not in the layers as they are on disk.
    pub missed: Option<u64>,
    /// Some of them, with what was missed.
    pub missed_examples: Vec<String>,
    /// `wall_s`, divided by that of `content`.
    pub ratio_to_content: Option<f64>,
    /// `looking_cpu_s`, divided by that of `content`.
    pub looking_ratio_to_content: Option<f64>,
    /// What the commands of RUN took by themselves, in scenarios that tell; every figure the median
    /// of its own.
    pub command: Option<CommandCost>,
    /// `system_s` of that, divided by the same of a mode that records nothing while commands run.
    pub command_system_ratio_to_unrecorded: Option<f64>,
    /// CPU time of that, both kinds, beyond the same of a mode that records nothing: for each
    /// operation, in microseconds.
    pub command_added_us_per_operation: Option<f64>,
    /// The steps with a snapshot, of the run with the median wall time.
    pub steps: Vec<StepRecord>,
    /// What the builds warned of.
    pub notes: Vec<String>,
}

impl ModeReport {
    /// Returns `sound`, `UNSOUND (n)`, or why that is not known.
    pub(super) fn verdict(&self) -> String {
        match (self.error.is_some(), self.missed) {
            (true, _) => "not run".to_owned(),
            (false, None) => "not checked".to_owned(),
            (false, Some(0)) => "sound".to_owned(),
            (false, Some(missed)) => format!("UNSOUND ({missed})"),
        }
    }

    /// Returns the peak to show, the best there is.
    pub(super) fn peak_bytes(&self) -> Option<u64> {
        self.peak_group_bytes.or(self.peak_rss_bytes)
    }
}

impl Comparison {
    /// Returns the report as JSON.
    pub(super) fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("text keys and plain values serialise") + "\n"
    }

    /// Returns the report as a table for people.
    pub fn table(&self) -> String {
        super::table::render(self)
    }

    /// Tells whether every mode of ours found everything.
    ///
    /// # Errors
    /// [`CompareError::Missed`] with those that did not.
    pub fn soundness(&self) -> Result<(), CompareError> {
        let unsound = self.modes.iter().filter(|mode| !mode.emulated && mode.missed > Some(0));
        let modes: Vec<String> =
            unsound.map(|mode| format!("`{}`: {}", mode.mode, mode.verdict())).collect();
        match modes.is_empty() {
            true => Ok(()),
            false => Err(CompareError::Missed { modes: modes.join(", ") }),
        }
    }
}

/// Writes a time as RFC 3339 in whole seconds.
pub(super) fn whole_seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
