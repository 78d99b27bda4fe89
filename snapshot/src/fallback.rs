//! Why a snapshot reads more than its mode asks for.

use std::fmt;

use crate::self_test::Blindness;

/// Why a snapshot trusted the kernel less than its mode does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fallback {
    /// The file system does not tell of a kind of change.
    Blind(Blindness),
    /// Whether it does could not be tried.
    SelfTestNotRun,
    /// The file system's timestamps are too coarse to tell two writes apart.
    CoarseTimestamps,
}

impl fmt::Display for Fallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blind(blindness) => blindness.fmt(formatter),
            Self::SelfTestNotRun => formatter.write_str("the file system could not be tested"),
            Self::CoarseTimestamps => formatter.write_str("timestamps are of whole seconds"),
        }
    }
}
