//! The built-in scenarios: a tree, and what the steps of a build do to it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A tree and the steps of a build on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Two RUNs that change nothing, on 5,000 files.
    NoOp5k,
    /// The same on 50,000 files.
    NoOp50k,
    /// The same on 300,000 files.
    NoOp300k,
    /// The same on 1,000,000 files.
    NoOp1m,
    /// Twenty RUNs that write one file each, on a large base.
    SmallRuns,
    /// One RUN that writes 45,000 new files.
    ManyFiles,
    /// Two RUNs that write as `npm install` does.
    Npm,
    /// One RUN that removes most of 50,000 files.
    DeleteHeavy,
    /// One RUN that makes 100,000 files in directories that are there.
    Create100k,
    /// Two RUNs that open 50,000 files each.
    Open100k,
    /// Changes that metadata hides.
    Adversarial,
}

/// Text that names no scenario.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no scenario `{0}`; those are {known}", known = known())]
pub struct UnknownScenario(pub String);

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoOp5k,
        Self::NoOp50k,
        Self::NoOp300k,
        Self::NoOp1m,
        Self::SmallRuns,
        Self::ManyFiles,
        Self::Npm,
        Self::DeleteHeavy,
        Self::Create100k,
        Self::Open100k,
        Self::Adversarial,
    ];

    /// Returns what the scenario is, in a sentence.
    pub fn description(self) -> &'static str {
        match self {
            Self::NoOp5k => "two RUNs that change nothing",
            Self::NoOp50k => "two RUNs that change nothing",
            Self::NoOp300k => "two RUNs that change nothing",
            Self::NoOp1m => "two RUNs that change nothing",
            Self::SmallRuns => "twenty RUNs that write one file each",
            Self::ManyFiles => "one RUN that writes 45,000 new files",
            Self::Npm => {
                "one RUN that writes 9,000 files in 600 packages as npm does (temporary name, \
                 mode, owner, rename, mtime), and one that replaces every third package"
            }
            Self::DeleteHeavy => "one RUN that removes 35,000 files",
            Self::Create100k => "one RUN that makes 100,000 files in 1,000 directories of the base",
            Self::Open100k => "two RUNs that open and read each file once, 100,000 times in all",
            Self::Adversarial => {
                "one RUN with changes that metadata hides: equal size and restored mtime, a store \
                 through memory, a write through another link, a capability, names that swap"
            }
        }
    }

    /// Returns the number of files in the scenario's own base.
    pub(super) fn file_count(self) -> u64 {
        match self {
            Self::NoOp5k => 5_000,
            Self::NoOp50k | Self::DeleteHeavy | Self::Open100k => 50_000,
            Self::NoOp300k => 300_000,
            Self::NoOp1m => 1_000_000,
            Self::SmallRuns => 65_000,
            Self::ManyFiles | Self::Npm | Self::Create100k => 20_000,
            Self::Adversarial => 200,
        }
    }

    /// Returns what the RUNs are called with ([`super::perform`]).
    pub(super) fn steps(self) -> Vec<String> {
        match self {
            Self::NoOp5k | Self::NoOp50k | Self::NoOp300k | Self::NoOp1m => {
                vec!["no-op:1".into(), "no-op:2".into()]
            }
            Self::SmallRuns => (1..=20).map(|number| format!("small:{number}")).collect(),
            Self::ManyFiles => vec!["many-files".into()],
            Self::Npm => vec!["npm-install".into(), "npm-update".into()],
            Self::DeleteHeavy => vec!["delete".into()],
            Self::Create100k => vec!["create".into()],
            Self::Open100k => vec!["open:1".into(), "open:2".into()],
            Self::Adversarial => vec!["adversarial".into()],
        }
    }

    /// Returns whether a base of the user's can take the place of the scenario's own.
    pub fn takes_base(self) -> bool {
        self == Self::SmallRuns
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoOp5k => "no-op-5k",
            Self::NoOp50k => "no-op-50k",
            Self::NoOp300k => "no-op-300k",
            Self::NoOp1m => "no-op-1m",
            Self::SmallRuns => "small-runs",
            Self::ManyFiles => "many-files",
            Self::Npm => "npm",
            Self::DeleteHeavy => "delete-heavy",
            Self::Create100k => "create-100k",
            Self::Open100k => "open-100k",
            Self::Adversarial => "adversarial",
        })
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        let known = Self::ALL.into_iter().find(|scenario| scenario.to_string() == text);
        known.ok_or_else(|| UnknownScenario(text.to_owned()))
    }
}

fn known() -> String {
    let names: Vec<String> = Scenario::ALL.iter().map(Scenario::to_string).collect();
    names.join(", ")
}
