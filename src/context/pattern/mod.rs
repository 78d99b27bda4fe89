//! Path patterns as Docker understands them: Go's `filepath.Match` and the ignore patterns of
//! `.dockerignore`.
//!
//! Pure: bytes in, an answer out. Paths and patterns are bytes, because file names are; where a
//! rule is about characters, a byte that is no UTF-8 counts as U+FFFD, as in Go.
//!
//! The two languages are close and not the same: [`go_match`] knows no `**`, looks at a pattern only
//! as far as it got, and lets a class match `/`; a [`PatternMatcher`] translates a pattern to a
//! regular expression, with the oddities that follow from that (`re2`).

mod go_match;
mod matcher;
mod re2;
mod rune;

pub use go_match::{go_match, is_well_formed};
pub use matcher::{ParentMatches, PatternMatcher, matches};
pub(super) use rune::{clean, trim_space};

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern is malformed: an open class, a trailing `\`, an unknown escape.
    #[error("syntax error in pattern `{pattern}`")]
    Syntax {
        /// The pattern as it was used, invalid UTF-8 replaced.
        pattern: String,
    },
    /// A lone `!` excepts nothing.
    #[error("pattern `!` names nothing to except")]
    EmptyException,
}

impl PatternError {
    pub(super) fn syntax(pattern: &[u8]) -> Self {
        Self::Syntax { pattern: String::from_utf8_lossy(pattern).into_owned() }
    }
}

#[cfg(test)]
mod tests;
