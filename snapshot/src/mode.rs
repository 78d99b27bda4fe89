//! How candidates are found: the snapshot modes.
//!
//! Owns which recorded values make an entry a candidate. What a candidate has to have in common
//! with its row to be dismissed again is the same in every mode ([`crate::diff`]), which is why all
//! modes give the same layer on a file system that passes the self-test.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::metadata::{FileKind, Metadata};

/// How a snapshot finds candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Everything is a candidate, and every file's content is read.
    Full,
    /// What differs in device, inode, ctime, mtime, size, mode, owner, group or link count.
    #[default]
    Redo,
    /// What differs in mtime or ctime, or is another inode: two directories that change places
    /// bring files along that nobody touched.
    Time,
}

/// Text that names no snapshot mode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a snapshot mode; those are `full`, `redo` and `time`")]
pub struct UnknownMode(pub String);

impl Mode {
    /// Tells whether an entry that was `old` and is `new` is a candidate.
    pub(crate) fn is_candidate(self, old: &Metadata, new: &Metadata) -> bool {
        match self {
            Self::Full => true,
            Self::Redo => !is_same_inode_state(old, new) || !is_same_in_image(old, new),
            Self::Time => {
                (old.mtime, old.ctime, old.inode()) != (new.mtime, new.ctime, new.inode())
            }
        }
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "full" => Ok(Self::Full),
            "redo" => Ok(Self::Redo),
            "time" => Ok(Self::Time),
            _ => Err(UnknownMode(text.to_owned())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "full",
            Self::Redo => "redo",
            Self::Time => "time",
        })
    }
}

/// Tells whether everything that a layer holds of an entry's metadata is equal.
pub(crate) fn is_same_in_image(old: &Metadata, new: &Metadata) -> bool {
    let kind = new.kind;
    // A link's mode is always 0777, a directory's size the file system's own affair.
    let has_size = matches!(kind, FileKind::Regular | FileKind::Symlink);
    old.kind == kind
        && (old.mode == new.mode || kind == FileKind::Symlink)
        && (old.uid, old.gid, old.mtime) == (new.uid, new.gid, new.mtime)
        && (old.size == new.size || !has_size)
        && (old.rdev_major, old.rdev_minor) == (new.rdev_major, new.rdev_minor)
}

/// Tells whether nothing that only the kernel sets has moved.
pub(crate) fn is_same_inode_state(old: &Metadata, new: &Metadata) -> bool {
    // A directory's link count is the number of its sub-directories on some file systems.
    let same_links = old.nlink == new.nlink || new.kind == FileKind::Directory;
    old.inode() == new.inode() && old.ctime == new.ctime && same_links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Timestamp;

    const FILE: Metadata = Metadata {
        kind: FileKind::Regular,
        mode: 0o644,
        uid: 1,
        gid: 2,
        size: 3,
        mtime: Timestamp { seconds: 4, nanoseconds: 5 },
        ctime: Timestamp { seconds: 6, nanoseconds: 7 },
        dev: 8,
        ino: 9,
        nlink: 1,
        rdev_major: 0,
        rdev_minor: 0,
    };

    #[test]
    fn each_mode_has_its_candidates() {
        type Edit = fn(&mut Metadata);
        let edits: [(&str, Edit, [bool; 3]); 11] = [
            ("nothing", |_| {}, [true, false, false]),
            ("mtime", |m| m.mtime.nanoseconds += 1, [true, true, true]),
            ("ctime", |m| m.ctime.seconds += 1, [true, true, true]),
            ("size", |m| m.size += 1, [true, true, false]),
            ("mode", |m| m.mode = 0o600, [true, true, false]),
            ("owner", |m| m.uid += 1, [true, true, false]),
            ("group", |m| m.gid += 1, [true, true, false]),
            ("inode", |m| m.ino += 1, [true, true, true]),
            ("device", |m| m.dev += 1, [true, true, true]),
            ("links", |m| m.nlink += 1, [true, true, false]),
            ("kind", |m| m.kind = FileKind::Fifo, [true, true, false]),
        ];
        for (what, edit, expected) in edits {
            let mut new = FILE;
            edit(&mut new);
            let found =
                [Mode::Full, Mode::Redo, Mode::Time].map(|mode| mode.is_candidate(&FILE, &new));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn what_a_layer_does_not_hold_makes_no_difference_in_it() {
        let mut moved = FILE;
        (moved.ctime.seconds, moved.ino, moved.dev, moved.nlink) = (99, 99, 99, 99);
        assert!(is_same_in_image(&FILE, &moved));
        let directory = Metadata { kind: FileKind::Directory, ..FILE };
        let grown = Metadata { size: 8192, nlink: 7, ..directory };
        assert!(is_same_in_image(&directory, &grown) && is_same_inode_state(&directory, &grown));
        let link = Metadata { kind: FileKind::Symlink, ..FILE };
        assert!(is_same_in_image(&link, &Metadata { mode: 0o777, ..link }));
        let device = Metadata { kind: FileKind::CharDevice, ..FILE };
        assert!(!is_same_in_image(&device, &Metadata { rdev_minor: 1, ..device }));
    }

    #[test]
    fn names_round_trip() {
        for mode in [Mode::Full, Mode::Redo, Mode::Time] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("Full".parse::<Mode>(), Err(UnknownMode("Full".into())));
    }
}
