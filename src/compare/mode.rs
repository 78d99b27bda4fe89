//! The modes that can be compared, and the flags of a build that each stands for.

use std::fmt;
use std::str::FromStr;

use snapshot::track::TrackerKind;
use thiserror::Error;

use super::kaniko::Algorithm;

/// A way to find changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A tracker of ours (`--tracker`).
    Tracker(TrackerKind),
    /// What a build without flags does.
    Auto,
    /// A mode of ours with kaniko's name (`--snapshot-mode`).
    Snapshot(snapshot::Mode),
    /// An algorithm of kaniko's, emulated.
    Kaniko(Algorithm),
    /// One bare pass over names and metadata: no way to find changes, but the floor of those that
    /// look everywhere.
    BareWalk,
}

/// Text that names no mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ModeError {
    /// No mode or group has the name.
    #[error("there is no mode `{0}`; those are {known}", known = known())]
    Unknown(String),
    /// The list is empty.
    #[error("at least one mode is needed; those are {known}", known = known())]
    Empty,
}

impl Mode {
    /// All modes, in the order of the help text.
    pub const ALL: [Self; 14] = [
        Self::Tracker(TrackerKind::Overlay),
        Self::Tracker(TrackerKind::Fanotify),
        Self::Tracker(TrackerKind::Inotify),
        Self::Tracker(TrackerKind::Walk),
        Self::Tracker(TrackerKind::Content),
        Self::Auto,
        Self::Snapshot(snapshot::Mode::Full),
        Self::Snapshot(snapshot::Mode::Redo),
        Self::Snapshot(snapshot::Mode::Time),
        Self::Kaniko(Algorithm::Full),
        Self::Kaniko(Algorithm::Redo),
        Self::Kaniko(Algorithm::Time),
        Self::Kaniko(Algorithm::NewRun),
        Self::BareWalk,
    ];

    /// Returns the flag that makes a build use the mode; emulations ride on a build that walks.
    pub(super) fn build_flag(self) -> Option<String> {
        match self {
            Self::Tracker(kind) => Some(format!("--tracker={kind}")),
            Self::Auto => None,
            Self::Snapshot(mode) => Some(format!("--snapshot-mode={mode}")),
            Self::Kaniko(_) | Self::BareWalk => Some("--snapshot-mode=redo".to_owned()),
        }
    }

    /// Tells whether something else than the build's own way is measured.
    pub(super) fn is_emulated(self) -> bool {
        matches!(self, Self::Kaniko(_) | Self::BareWalk)
    }

    /// Returns the sentence that explains the mode.
    pub(super) fn explanation(self) -> &'static str {
        match self {
            Self::Tracker(TrackerKind::Overlay) => {
                "the upper directory of an overlay that is mounted for each step"
            }
            Self::Tracker(TrackerKind::Fanotify) => "one fanotify mark on the file system",
            Self::Tracker(TrackerKind::Inotify) => "one inotify watch on every inode",
            Self::Tracker(TrackerKind::Walk) => {
                "all metadata is compared after each step, ctime included"
            }
            Self::Tracker(TrackerKind::Content) => "every file is read after each step",
            Self::Auto => "what a build without flags takes here",
            Self::Snapshot(snapshot::Mode::Full) => "as the tracker `content`",
            Self::Snapshot(snapshot::Mode::Redo) => "as the tracker `walk`",
            Self::Snapshot(snapshot::Mode::Time) => "as the tracker `walk`, timestamps only",
            Self::Kaniko(Algorithm::Full) => {
                "EMULATED: kaniko's default, a hash of each file's content, mode, owner and mtime"
            }
            Self::Kaniko(Algorithm::Redo) => {
                "EMULATED: kaniko's `--snapshot-mode=redo`: mtime, size, mode and owner"
            }
            Self::Kaniko(Algorithm::Time) => "EMULATED: kaniko's `--snapshot-mode=time`: mtime",
            Self::Kaniko(Algorithm::NewRun) => {
                "EMULATED: kaniko's `--use-new-run`: metadata before and after, no base image"
            }
            Self::BareWalk => "FLOOR: one bare parallel pass of getdents and statx; finds nothing",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracker(kind) => kind.fmt(formatter),
            Self::Auto => formatter.write_str("auto"),
            Self::Snapshot(mode) => mode.fmt(formatter),
            Self::Kaniko(algorithm) => write!(formatter, "kaniko-{algorithm}"),
            Self::BareWalk => formatter.write_str("bare-walk"),
        }
    }
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let known = Self::ALL.into_iter().find(|mode| mode.to_string() == text);
        known.ok_or_else(|| ModeError::Unknown(text.to_owned()))
    }
}

/// Reads a list of modes, parted by commas: names, or the groups `trackers` and `kaniko`.
///
/// # Errors
/// A name that is none, or no name at all.
pub fn modes(text: &str) -> Result<Vec<Mode>, ModeError> {
    let mut modes: Vec<Mode> = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let named = match word {
            "trackers" => group(|mode| matches!(mode, Mode::Tracker(_))),
            "kaniko" => group(|mode| matches!(mode, Mode::Kaniko(_))),
            name => vec![name.parse()?],
        };
        modes.extend(named.into_iter().filter(|mode| !modes.contains(mode)).collect::<Vec<_>>());
    }
    if modes.is_empty() { Err(ModeError::Empty) } else { Ok(modes) }
}

fn group(of: impl Fn(&Mode) -> bool) -> Vec<Mode> {
    Mode::ALL.into_iter().filter(of).collect()
}

fn known() -> String {
    let names: Vec<String> = Mode::ALL.iter().map(Mode::to_string).collect();
    format!("{}; `trackers` and `kaniko` are groups", names.join(", "))
}
