//! Heredocs: which words of a line begin one, and what their words say.

use super::super::error::ParseErrorKind;
use super::super::shell::{Escapes, Lex, Quotes, Unset};

/// What a word `<<NAME` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeredocWord {
    /// The terminator without quotes.
    pub name: String,
    /// Whether variables in the body expand: no part of the name was quoted.
    pub expand: bool,
    /// Whether leading tabs are dropped (`<<-`).
    pub chomp: bool,
    /// The number before `<<`; 0 when absent, the largest when it is too large.
    pub file_descriptor: u64,
}

impl HeredocWord {
    /// Reads a word: `[digits]<<[-]name`; `None` if it begins no heredoc.
    ///
    /// The escape in the name is always a backslash, whatever the file says.
    ///
    /// # Errors
    /// [`ParseErrorKind::HeredocWord`] if the name's quotes or substitutions are broken.
    pub fn parse(word: &str) -> Result<Option<HeredocWord>, ParseErrorKind> {
        let rest = word.trim_start_matches(|character: char| character.is_ascii_digit());
        let digits = word.get(..word.len() - rest.len()).unwrap_or_default();
        let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let name = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
        if name.is_empty() || name.contains('<') {
            return Ok(None);
        }
        // Read twice: a quote that is only in the second reading was a quote, not a character.
        let error = |source| ParseErrorKind::HeredocWord { word: word.to_owned(), source };
        let lex = Lex { unset: Unset::Keep, ..Lex::default() };
        let words = |lex: Lex| {
            lex.expand(name, |_| None).map(|done| done.words).map_err(|cause| error(Some(cause)))
        };
        let [plain] = &words(lex)?[..] else { return Ok(None) };
        let [quoted] = &words(Lex { quotes: Quotes::Keep, ..lex })?[..] else {
            return Err(error(None));
        };
        Ok(Some(HeredocWord {
            expand: quote_count(plain) == quote_count(quoted),
            name: plain.clone(),
            chomp,
            file_descriptor: match digits {
                "" => 0,
                digits => digits.parse().unwrap_or(u64::MAX),
            },
        }))
    }

    /// Finds the heredocs that a line begins, in order.
    ///
    /// A line whose quotes are broken begins none: it may be a script in another language.
    ///
    /// # Errors
    /// As [`HeredocWord::parse`].
    pub(super) fn find(line: &str) -> Result<Vec<HeredocWord>, ParseErrorKind> {
        if !line.contains("<<") {
            return Ok(Vec::new());
        }
        let lex = Lex {
            quotes: Quotes::Keep,
            escapes: Escapes::Keep,
            unset: Unset::Keep,
            ..Lex::default()
        };
        let Ok(expansion) = lex.expand(line, |_| None) else { return Ok(Vec::new()) };
        expansion.words.iter().filter_map(|word| HeredocWord::parse(word).transpose()).collect()
    }
}

fn quote_count(text: &str) -> usize {
    text.matches(['\'', '"']).count()
}

/// Drops the leading tabs of each line, as `<<-` asks for.
pub fn drop_leading_tabs(body: &[u8]) -> Vec<u8> {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.iter().copied().skip_while(|byte| *byte == b'\t')).collect()
}
