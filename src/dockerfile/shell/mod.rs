//! Word expansion: quotes, escapes and `${…}` as Docker's shell lexer reads them.
//!
//! It looks like a POSIX shell and is not one: unset variables are empty, there is no command
//! substitution, and the pattern operators know `*` and `?` only. What is written here is what
//! Dockerfiles rely on, so it is kept exact down to the oddities.

mod expand;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::ast::EscapeToken;

/// How deep `${a:-${b:-…}}` may nest.
pub const MAX_DEPTH: usize = 200;

/// The most bytes an expansion may produce; a few lines of `ENV A=$A$A` would else fill any memory.
pub const MAX_RESULT_BYTES: usize = 16 << 20;

/// Expands words; the default reads a word of an instruction in a file with the usual escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lex {
    /// The escape character.
    pub escape: EscapeToken,
    /// What quotes do.
    pub quotes: Quotes,
    /// What becomes of escape characters.
    pub escapes: Escapes,
    /// What becomes of variables that are not set.
    pub unset: Unset,
}

/// What quotes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quotes {
    /// They group and are removed.
    #[default]
    Remove,
    /// They group and stay.
    Keep,
    /// They are characters like others, as in a heredoc's body.
    Literal,
}

/// What becomes of escape characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escapes {
    /// They are removed where they escape something.
    #[default]
    Remove,
    /// They stay, and still escape.
    Keep,
}

/// What becomes of a variable that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unset {
    /// It is empty; modifiers apply.
    #[default]
    Empty,
    /// It stays as written; modifiers are not applied.
    Keep,
}

/// A word after expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The whole, blanks included.
    pub text: String,
    /// The same split at blanks that were neither quoted nor escaped; blanks that came from a
    /// variable outside quotes split too.
    pub words: Vec<String>,
    /// The variables that were asked for and set.
    pub matched: BTreeSet<String>,
    /// The variables that were asked for and not set.
    pub unmatched: BTreeSet<String>,
}

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

impl Lex {
    /// Returns a lexer for words of instructions.
    pub fn new(escape: EscapeToken) -> Lex {
        Lex { escape, ..Lex::default() }
    }

    /// Returns a lexer for bodies of heredocs: quotes are literal and the escape is always a
    /// backslash, whatever the file says.
    pub fn for_heredoc() -> Lex {
        Lex { quotes: Quotes::Literal, ..Lex::default() }
    }

    /// Expands a word with the variables that `lookup` knows.
    ///
    /// # Errors
    /// See [`ExpandError`].
    pub fn expand<'env>(
        &self,
        word: &str,
        lookup: impl Fn(&str) -> Option<&'env str>,
    ) -> Result<Expansion, ExpandError> {
        expand::expand(*self, word, &lookup)
    }
}
