//! One thing that was looked at.

use serde::Serialize;

/// One thing that was looked at, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about; the same in every version, for programs.
    pub about: &'static str,
    /// Whether it is there.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What a build lacks without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// What in a Pod would give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It works.
    Yes,
    /// It does not.
    No,
    /// It is neither good nor bad.
    Fact,
    /// It was not reached.
    NotTried,
}

impl Verdict {
    /// Returns the word that a table has for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Fact => "",
            Self::NotTried => "?",
        }
    }
}

impl Finding {
    pub(super) fn yes(about: &'static str, found: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Yes, found: found.into(), cost: None, setting: None }
    }

    pub(super) fn fact(about: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fact, ..Self::yes(about, found) }
    }

    pub(super) fn no(about: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::No, ..Self::yes(about, found) }
    }

    pub(super) fn not_tried(about: &'static str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotTried, ..Self::yes(about, why) }
    }

    /// Says what a build lacks.
    pub(super) fn costs(self, cost: impl Into<String>) -> Self {
        Self { cost: Some(cost.into()), ..self }
    }

    /// Says what in a Pod would give it.
    pub(super) fn given_by(self, setting: impl Into<String>) -> Self {
        Self { setting: Some(setting.into()), ..self }
    }
}
