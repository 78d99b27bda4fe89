//! What can be wrong with a word.

use super::expand::{MAX_DEPTH, MAX_RESULT_BYTES};

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A `'` is not closed.
    #[error("missing closing single quote")]
    SingleQuote,
    /// A `"` is not closed.
    #[error("missing closing double quote")]
    DoubleQuote,
    /// A `${` is not closed.
    #[error("missing `}}` after `${{`")]
    Brace,
    /// `${name/pattern` without the second slash.
    #[error("missing `/` in `${{…/…/…}}`")]
    Slash,
    /// `${}`, `${:…` or `${{…`.
    #[error("bad substitution: no variable name after `${{`")]
    NoName,
    /// What follows the name is no modifier.
    #[error("unsupported modifier `{modifier}` in substitution of `{name}`")]
    Modifier {
        /// The variable.
        name: String,
        /// What follows its name.
        modifier: String,
    },
    /// `${name?message}` and the variable is not set, or `${name:?message}` and it is empty.
    #[error("`{name}`: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The text after `?`, or a stock phrase.
        message: String,
    },
    /// A pattern escapes a character that needs no escape.
    #[error(
        "invalid escape in pattern `{pattern}`: only `*`, `?`, `\\`, `/` and `}}` can be escaped"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// A pattern is too long to be used.
    #[error("pattern of {length} bytes is too long")]
    PatternTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More than [`MAX_DEPTH`] substitutions inside each other.
    #[error("substitutions are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The result is larger than [`MAX_RESULT_BYTES`].
    #[error("expansion is larger than {MAX_RESULT_BYTES} bytes")]
    TooLong,
}
