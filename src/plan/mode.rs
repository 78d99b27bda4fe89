//! The value of `--chmod`.

use std::fmt;

const PERMISSIONS: u32 = 0o777;
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

/// What `--chmod` makes of a file's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMode {
    /// Octal: the mode itself, at most 07777.
    Absolute(u32),
    /// Symbolic: changes to the mode that the file has.
    Symbolic(SymbolicMode),
}

/// Changes in the notation of chmod(1), such as `u=rwX,go=rX`. The umask has no part in it: `+x` is
/// for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolicMode {
    text: String,
    changes: Vec<Change>,
}

/// A mode that is neither octal nor symbolic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// It looks octal and is not, or is above 07777.
    #[error("`{0}` is no octal mode between 0 and 07777")]
    Octal(String),
    /// It is no list of `[ugoa…][+-=][rwxXstugo…]`.
    #[error("`{0}` is neither an octal nor a symbolic mode")]
    Symbolic(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    /// The bits that may change.
    who: u32,
    operator: Operator,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Bits {
        bits: u32,
        /// `X`: execution too, for directories and for what somebody may execute already.
        searchable: bool,
    },
    /// The permissions of user, group or others: how far to shift them down.
    CopyOf(u32),
}

impl FileMode {
    /// Reads an expanded `--chmod` value.
    ///
    /// # Errors
    /// [`ModeError`].
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let all_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            return u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| all_octal && *mode <= 0o7777)
                .map(Self::Absolute)
                .ok_or_else(|| ModeError::Octal(text.to_owned()));
        }
        let changes: Option<Vec<Vec<Change>>> = text.split(',').map(parse_clause).collect();
        match changes {
            Some(changes) => {
                let changes = changes.into_iter().flatten().collect();
                Ok(Self::Symbolic(SymbolicMode { text: text.to_owned(), changes }))
            }
            None => Err(ModeError::Symbolic(text.to_owned())),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(mode) => write!(out, "{mode:04o}"),
            Self::Symbolic(symbolic) => out.write_str(&symbolic.text),
        }
    }
}

impl SymbolicMode {
    /// Returns what becomes of `mode`, the 12 permission bits of a directory or another file.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let may_execute = is_directory || mode & EXECUTE != 0;
        self.changes.iter().fold(mode, |now, change| {
            let bits = match change.what {
                What::Bits { bits, searchable } if searchable && may_execute => bits | EXECUTE,
                What::Bits { bits, .. } => bits,
                What::CopyOf(shift) => (now >> shift & 0o7) * EXECUTE,
            };
            let bits = bits & change.who;
            match change.operator {
                Operator::Add => now | bits,
                Operator::Remove => now & !bits,
                Operator::Set => now & !change.who | bits,
            }
        })
    }
}

/// Reads one clause: who, then one or more operators with what they change.
fn parse_clause(clause: &str) -> Option<Vec<Change>> {
    let operators = ['+', '-', '='];
    let (classes, mut rest) = clause.split_at(clause.find(operators)?);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => 0o700 | SET_UID,
            'g' => 0o070 | SET_GID,
            'o' => 0o007,
            'a' => PERMISSIONS | SET_UID | SET_GID,
            _ => return None,
        };
    }
    if classes.is_empty() {
        who = PERMISSIONS | SET_UID | SET_GID;
    }
    let mut changes = Vec::new();
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        rest = rest.get(1..)?;
        let (permissions, tail) = rest.split_at(rest.find(operators).unwrap_or(rest.len()));
        rest = tail;
        changes.push(parse_permissions(who, operator, permissions)?);
    }
    Some(changes)
}

fn parse_permissions(who: u32, operator: Operator, permissions: &str) -> Option<Change> {
    let copied = match permissions {
        "u" => Some(6),
        "g" => Some(3),
        "o" => Some(0),
        _ => None,
    };
    if let Some(shift) = copied {
        return Some(Change { who, operator, what: What::CopyOf(shift) });
    }
    let (mut who, mut bits, mut searchable) = (who, 0, false);
    for permission in permissions.chars() {
        bits |= match permission {
            'r' => 0o444,
            'w' => 0o222,
            'x' => EXECUTE,
            's' => SET_UID | SET_GID,
            'X' => {
                searchable = true;
                0
            }
            't' => {
                // It has no class of its own; of others alone it is not set.
                if who != 0o007 {
                    who |= STICKY;
                }
                STICKY
            }
            _ => return None,
        };
    }
    Some(Change { who, operator, what: What::Bits { bits, searchable } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, mode: u32, file: u32, directory: u32) {
        let applied = match FileMode::parse(text) {
            Ok(FileMode::Symbolic(symbolic)) => {
                (symbolic.apply(mode, false), symbolic.apply(mode, true))
            }
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(applied, (file, directory), "{text} on {mode:o}");
    }

    #[test]
    fn symbolic_modes_change_as_chmod_does() {
        check("u=rwX,go=rX", 0o600, 0o644, 0o755);
        check("u=rwX,go=rX", 0o700, 0o755, 0o755);
        check("a=r", 0o777, 0o444, 0o444);
        check("+x", 0o644, 0o755, 0o755);
        check("+X", 0o644, 0o644, 0o755);
        check("go-w", 0o666, 0o644, 0o644);
        check("go=", 0o777, 0o700, 0o700);
        check("go=u", 0o740, 0o777, 0o777);
        check("go=u-w", 0o740, 0o755, 0o755);
        check("u+s,g+s", 0o755, 0o6755, 0o6755);
        check("o+s", 0o755, 0o755, 0o755);
        check("+t", 0o777, 0o1777, 0o1777);
        check("u=rw,u+x", 0o077, 0o777, 0o777);
        check("u=rw", 0o4755, 0o655, 0o655);
    }

    #[test]
    fn octal_modes_are_taken_as_they_are() {
        for (text, mode) in [("0", 0), ("644", 0o644), ("0755", 0o755), ("7777", 0o7777)] {
            assert_eq!(FileMode::parse(text), Ok(FileMode::Absolute(mode)));
        }
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["8", "10000", "64x", "0o644"] {
            assert_eq!(FileMode::parse(text), Err(ModeError::Octal(text.to_owned())));
        }
        for text in ["", "rwx", "u", "u=rwz", "u=rw,", "x+r", "u=ug"] {
            assert_eq!(FileMode::parse(text), Err(ModeError::Symbolic(text.to_owned())));
        }
    }
}
