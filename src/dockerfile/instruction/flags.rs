//! Flags of an instruction: known or not, with a value or not, once or repeated.

use super::super::ast::Node;
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::source::{Spanned, Word};
use super::suggest::nearest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagType {
    /// `--flag`, `--flag=true` or `--flag=false`, once.
    Boolean,
    /// `--flag=value`, once; the value may be empty.
    Text,
    /// `--flag=value`, any number of times.
    Texts,
}

/// The flags of one instruction, checked against those it has.
#[derive(Debug, Default)]
pub(super) struct Flags {
    booleans: Vec<(&'static str, Spanned<bool>)>,
    texts: Vec<(&'static str, Word)>,
}

impl Flags {
    /// Checks a node's flags.
    ///
    /// # Errors
    /// A flag that is not `known`, twice where once is allowed, or with no or a wrong value; with
    /// where it stands.
    pub fn parse(
        node: &Node,
        keyword: Keyword,
        known: &[(&'static str, FlagType)],
    ) -> Result<Flags, Located> {
        let mut flags = Flags::default();
        for word in &node.flags {
            flags.add(word, keyword, known).map_err(|kind| (kind, word.span))?;
        }
        Ok(flags)
    }

    fn add(
        &mut self,
        word: &Word,
        keyword: Keyword,
        known: &[(&'static str, FlagType)],
    ) -> Result<(), ParseErrorKind> {
        let text = word.value.strip_prefix("--").unwrap_or(&word.value);
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(&(flag, kind)) = known.iter().find(|(flag, _)| *flag == name) else {
            let suggestion = nearest(name, known.iter().map(|(flag, _)| *flag));
            return Err(ParseErrorKind::UnknownFlag { keyword, flag: name.to_owned(), suggestion });
        };
        let is_given = self.booleans.iter().any(|(given, _)| *given == flag)
            || self.texts.iter().any(|(given, _)| *given == flag);
        if is_given && kind != FlagType::Texts {
            return Err(ParseErrorKind::DuplicateFlag { flag });
        }
        match (kind, value) {
            (FlagType::Boolean, Some("")) | (FlagType::Text | FlagType::Texts, None) => {
                return Err(ParseErrorKind::FlagWithoutValue { flag });
            }
            (FlagType::Boolean, value) => {
                let value = match value {
                    None => true,
                    Some(text) if text.eq_ignore_ascii_case("true") => true,
                    Some(text) if text.eq_ignore_ascii_case("false") => false,
                    Some(text) => {
                        let value = text.to_owned();
                        return Err(ParseErrorKind::FlagNotBoolean { flag, value });
                    }
                };
                self.booleans.push((flag, Spanned { value, span: word.span }));
            }
            (FlagType::Text | FlagType::Texts, Some(value)) => {
                self.texts.push((flag, Word { value: value.to_owned(), span: word.span }));
            }
        }
        Ok(())
    }

    /// Returns a boolean flag if it was given.
    pub fn boolean(&self, name: &str) -> Option<Spanned<bool>> {
        self.booleans.iter().find(|(flag, _)| *flag == name).map(|(_, value)| value.clone())
    }

    /// Returns a flag's value if it was given and is not empty.
    pub fn text(&self, name: &str) -> Option<Word> {
        self.texts(name).into_iter().find(|word| !word.value.is_empty())
    }

    /// Returns all values of a flag, empty ones too.
    pub fn texts(&self, name: &str) -> Vec<Word> {
        let given = self.texts.iter().filter(|(flag, _)| *flag == name);
        given.map(|(_, word)| word.clone()).collect()
    }
}
