//! What giving an image's files their owners and kinds takes, as rights that a container may lack.

use serde::{Deserialize, Serialize};

/// A right that an image's files, or a step's user, take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Right {
    /// Giving a file to another user.
    Owners,
    /// Reading what only another user may.
    Access,
    /// Changing the mode and time of another user's file.
    Modes,
    /// Keeping the set-group-id bit of another group's file.
    SetIds,
    /// Giving a file capabilities.
    FileCapabilities,
    /// Making a device node.
    Devices,
    /// Becoming another user.
    Users,
}

impl Right {
    /// All of them, in the order they are tried: the last one gives up all others.
    pub const ALL: [Self; 7] = [
        Self::Owners,
        Self::Access,
        Self::Modes,
        Self::SetIds,
        Self::FileCapabilities,
        Self::Devices,
        Self::Users,
    ];

    /// Returns the capabilities that give it, without `CAP_`.
    pub fn capabilities(self) -> &'static [&'static str] {
        match self {
            Self::Owners => &["CHOWN"],
            Self::Access => &["DAC_OVERRIDE"],
            Self::Modes => &["FOWNER"],
            Self::SetIds => &["FSETID"],
            Self::FileCapabilities => &["SETFCAP"],
            Self::Devices => &["MKNOD"],
            Self::Users => &["SETUID", "SETGID"],
        }
    }

    /// Says what lacks without it.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Owners => "files of other users in an image",
            Self::Access => "reading files that only another user may read",
            Self::Modes => "modes and times of other users' files",
            Self::SetIds => "set-group-id bits of other groups' files",
            Self::FileCapabilities => "files with capabilities in an image",
            Self::Devices => "device nodes in a base image",
            Self::Users => "`USER`, and commands that become another user",
        }
    }
}
