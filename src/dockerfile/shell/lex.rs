//! How words are to be read, and what becomes of them.

use std::collections::BTreeSet;

use super::super::ast::EscapeToken;
use super::error::ExpandError;
use super::expand;

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
