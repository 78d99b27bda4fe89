//! `zuwai doctor`: what this container allows, what each missing thing costs, and which setting of a
//! Pod would give it.
//!
//! Owns the words, not the decisions: what a build would have here is tried by
//! [`build::outlook`](crate::build::outlook) with the code of a build, and what cannot be tried
//! (limits, profiles, mounts) is read from the kernel. Must not build; reaches no network but the
//! registries that it is asked about, by the code of a build too. The one idea to hold in mind: a
//! finding says what was seen; only a trial says what works.

mod confinement;
mod facts;
mod finding;
mod registries;
mod render;
mod room;
mod running;
mod tracking;

pub use finding::{Finding, Verdict};
pub use registries::{ExaminedRegistry, RegistryExamination, examine_registry};

use facts::Facts;

use crate::build::{BuildError, BuildOptions, ChosenSandbox, ChosenTracker, Outlook, outlook};

/// What was found.
#[derive(Debug)]
pub struct Examination {
    /// In the order they are shown.
    pub findings: Vec<Finding>,
    /// Where a build runs its commands.
    pub sandbox: Option<ChosenSandbox>,
    /// How a build finds what they changed.
    pub tracker: Option<ChosenTracker>,
    /// What would end a build that runs commands.
    pub error: Option<BuildError>,
}

/// Examines this container as a build with these options would find it.
///
/// Called while the process has one thread. Leaves nothing behind but the work directory.
pub fn examine(options: &BuildOptions) -> Examination {
    // Read first: a user namespace that is entered for the trials shows other ones.
    let facts = Facts::read(&options.execution);
    let outlook = outlook(options);
    let findings = judge(&facts, &outlook);
    let Outlook { sandbox, tracker, error, .. } = outlook;
    Examination { findings, sandbox, tracker, error }
}

fn judge(facts: &Facts, outlook: &Outlook) -> Vec<Finding> {
    let mut findings = running::findings(facts, outlook);
    findings.extend(confinement::findings(facts, outlook));
    findings.extend(room::findings(facts, outlook));
    findings.extend(tracking::findings(facts, outlook));
    findings
}

#[cfg(test)]
mod tests;
