//! Compares the ways to find changes, on one build: what each costs, and what each misses.
//!
//! Owns the `compare-modes` sub-command below its flags: scenarios, measured child processes, the
//! check of what was missed, the emulated algorithms of kaniko (which no build uses), and the
//! report. Must not know how a build finds changes: it runs builds as a user would, and looks at
//! their events, their layers and the tree on disk.
//!
//! The idea to hold in mind: costs and truth are never taken in the same process. A measured run
//! only counts; a run of its own compares, after each step, the layer with a reading of the whole
//! tree that shares no code with the build's walker.

mod aggregate;
mod bare_walk;
mod base;
mod chart;
mod error;
mod job;
mod kaniko;
mod layer;
mod machine;
mod memory;
mod mode;
mod observer;
mod page;
mod record;
mod report;
mod runner;
mod scenario;
mod step;
mod table;
mod tree;

use std::num::NonZeroU32;
use std::path::PathBuf;

pub use error::CompareError;
pub use job::measure;
pub use mode::{Mode, ModeError, modes};
pub use report::Comparison;
pub use scenario::{Scenario, UnknownScenario};
pub use step::perform;

/// The hidden sub-command that a measured build is: a job file, then words of `zuwai build`.
pub const MEASURE: &str = "__measure";

/// The hidden sub-command that a scenario's RUN is: what to do with the tree in `/`.
pub const STEP: &str = "__step";

/// What is compared, and what becomes of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompareOptions {
    /// What is built.
    pub subject: Subject,
    /// With which modes, in the order of the report; never empty, none twice.
    pub modes: Vec<Mode>,
    /// Measured runs of each mode.
    pub runs: NonZeroU32,
    /// Whether a further run of each mode looks for what was missed.
    pub check: Check,
    /// Gets the report as JSON.
    pub json: Option<PathBuf>,
    /// Gets the report as a page.
    pub html: Option<PathBuf>,
    /// Flags of `zuwai build` for each build, as `--name=value`.
    pub build_flags: Vec<String>,
    /// Gets a directory for the time of the comparison.
    pub work_directory: PathBuf,
    /// This program, started again for each run.
    pub program: PathBuf,
}

/// What is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What the build flags name; the text is how the report calls it.
    Build(String),
    /// A tree and steps of our own.
    Scenario {
        /// Which.
        scenario: Scenario,
        /// An OCI layout to use in place of the scenario's own base.
        base: Option<PathBuf>,
    },
}

/// Whether what was missed is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// In a run of its own for each mode.
    Soundness,
    /// Not at all.
    None,
}

/// Runs a comparison and writes its files.
///
/// # Errors
/// [`CompareError`]: something cannot be made or written, or no mode could build. A mode that
/// cannot work here is no error but a row that says why.
pub fn compare(options: &CompareOptions) -> Result<Comparison, CompareError> {
    let comparison = runner::run(options)?;
    if let Some(path) = &options.json {
        let text = comparison.to_json();
        std::fs::write(path, text).map_err(CompareError::at("write", path))?;
    }
    if let Some(path) = &options.html {
        let text = page::render(&comparison)?;
        std::fs::write(path, text).map_err(CompareError::at("write", path))?;
    }
    Ok(comparison)
}

#[cfg(test)]
mod tests;
