//! The single pass over a word.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

use super::super::character::{is_decimal_digit, is_letter};
use super::error::ExpandError;
use super::lex::{Escapes, Expansion, Lex, Quotes, Unset};
use super::pattern::{self, Pattern};

/// How deep `${a:-${b:-…}}` may nest.
pub const MAX_DEPTH: usize = 200;

/// The most bytes an expansion may produce; a few lines of `ENV A=$A$A` would else fill any memory.
pub const MAX_RESULT_BYTES: usize = 16 << 20;

type Lookup<'a, 'env> = &'a dyn Fn(&str) -> Option<&'env str>;

pub(super) fn expand<'env>(
    lex: Lex,
    word: &str,
    lookup: Lookup<'_, 'env>,
) -> Result<Expansion, ExpandError> {
    let mut characters = word.chars().peekable();
    // Go's text scanner, on which the original is built, drops a byte order mark at the start.
    characters.next_if_eq(&'\u{feff}');
    let mut state = State {
        lex,
        escapes: lex.escapes,
        characters,
        lookup,
        depth: 0,
        matched: BTreeSet::new(),
        unmatched: BTreeSet::new(),
    };
    let (text, words) = state.until(None, lex.escapes)?;
    Ok(Expansion { text, words, matched: state.matched, unmatched: state.unmatched })
}

struct State<'a, 'env> {
    lex: Lex,
    /// Differs from the lexer's own inside the operands of pattern modifiers.
    escapes: Escapes,
    characters: Peekable<Chars<'a>>,
    lookup: Lookup<'a, 'env>,
    depth: usize,
    matched: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

impl<'env> State<'_, 'env> {
    /// Expands up to `stop`, which is consumed, or to the end of the word.
    fn until(
        &mut self,
        stop: Option<char>,
        escapes: Escapes,
    ) -> Result<(String, Vec<String>), ExpandError> {
        if self.depth == MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.escapes, escapes);
        let result = self.until_inner(stop);
        self.escapes = outer;
        self.depth -= 1;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(&character) = self.characters.peek() {
            if stop == Some(character) {
                self.characters.next();
                return Ok((text, words.finish()));
            }
            match character {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    words.push_splitting(&value);
                }
                '<' => {
                    let marker = self.possible_heredoc();
                    text.push_str(&marker);
                    words.push_joined(&marker);
                }
                '\'' if self.lex.quotes != Quotes::Literal => {
                    let quoted = self.single_quoted()?;
                    text.push_str(&quoted);
                    words.push_joined(&quoted);
                }
                '"' if self.lex.quotes != Quotes::Literal => {
                    let quoted = self.double_quoted()?;
                    text.push_str(&quoted);
                    words.push_joined(&quoted);
                }
                _ => {
                    self.characters.next();
                    if character != self.lex.escape.character() {
                        text.push(character);
                        words.push(character);
                        continue;
                    }
                    if self.escapes == Escapes::Keep {
                        text.push(character);
                        words.push_escaped(character);
                    }
                    // An escape at the end of the word vanishes.
                    let Some(escaped) = self.characters.next() else { break };
                    text.push(escaped);
                    words.push_escaped(escaped);
                }
            }
            if text.len() > MAX_RESULT_BYTES {
                return Err(ExpandError::TooLong);
            }
        }
        match stop {
            None => Ok((text, words.finish())),
            Some('/') => Err(ExpandError::Slash),
            Some(_) => Err(ExpandError::Brace),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.quote(&mut text);
        loop {
            match self.characters.peek() {
                None => return Err(ExpandError::SingleQuote),
                Some('\'') => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                Some(_) => text.extend(self.characters.next()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let escape = self.lex.escape.character();
        let mut text = String::new();
        self.quote(&mut text);
        loop {
            match self.characters.peek().copied() {
                None => return Err(ExpandError::DoubleQuote),
                Some('"') => {
                    self.quote(&mut text);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(character) => {
                    self.characters.next();
                    if character != escape {
                        text.push(character);
                        continue;
                    }
                    if self.escapes == Escapes::Keep {
                        text.push(character);
                    }
                    match self.characters.peek().copied() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == escape => {
                            self.characters.next();
                            text.push(next);
                        }
                        // It escapes nothing else, and stays.
                        Some(_) => text.push(character),
                    }
                }
            }
            if text.len() > MAX_RESULT_BYTES {
                return Err(ExpandError::TooLong);
            }
        }
    }

    /// Consumes a quote character and keeps it if quotes are kept.
    fn quote(&mut self, text: &mut String) {
        let character = self.characters.next();
        if self.lex.quotes == Quotes::Keep {
            text.extend(character);
        }
    }

    /// Reads `<`, or `<<` with the blanks after it, so that `<< EOF` is one word.
    fn possible_heredoc(&mut self) -> String {
        let mut marker = String::new();
        marker.extend(self.characters.next());
        if let Some(second) = self.characters.next_if_eq(&'<') {
            marker.push(second);
            while let Some(blank) =
                self.characters.next_if(|&next| matches!(next, '\t' | '\r' | ' '))
            {
                marker.push(blank);
            }
        }
        marker
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.characters.next();
        if self.characters.next_if_eq(&'{').is_some() {
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value(&name) {
            None if self.lex.unset == Unset::Keep => format!("${name}"),
            value => value.unwrap_or_default().to_owned(),
        })
    }

    fn braced(&mut self) -> Result<String, ExpandError> {
        match self.characters.peek() {
            None => return Err(ExpandError::Brace),
            Some('{' | '}' | ':') => return Err(ExpandError::NoName),
            Some(_) => {}
        }
        let name = self.name();
        let Some(operator) = self.characters.next() else { return Err(ExpandError::Brace) };
        match operator {
            '}' => Ok(match self.value(&name) {
                None if self.lex.unset == Unset::Keep => format!("${{{name}}}"),
                value => value.unwrap_or_default().to_owned(),
            }),
            ':' => {
                let Some(operator) = self.characters.next() else { return Err(ExpandError::Brace) };
                self.modified(name, operator, EmptyIs::Unset)
            }
            '+' | '-' | '?' | '#' | '%' => self.modified(name, operator, EmptyIs::Set),
            '/' => self.replaced(&name),
            other => Err(ExpandError::Modifier { name, modifier: other.to_string() }),
        }
    }

    /// `${name<operator>word}`, with a `:` before the operator when an empty value counts as unset.
    fn modified(
        &mut self,
        name: String,
        operator: char,
        empty_is: EmptyIs,
    ) -> Result<String, ExpandError> {
        let modifier = match empty_is {
            EmptyIs::Unset => format!(":{operator}"),
            EmptyIs::Set => operator.to_string(),
        };
        let trims = matches!(operator, '#' | '%');
        if trims && empty_is == EmptyIs::Unset {
            return Err(ExpandError::Modifier { name, modifier });
        }
        let escapes = if trims { Escapes::Keep } else { Escapes::Remove };
        let word = self.operand('}', escapes, ExpandError::Brace)?;
        let value = self.value(&name);
        if value.is_none() && self.lex.unset == Unset::Keep {
            return Ok(format!("${{{name}{modifier}{word}}}"));
        }
        let counts = |value: &&str| !(empty_is == EmptyIs::Unset && value.is_empty());
        match operator {
            '-' => Ok(value.filter(counts).map_or(word, str::to_owned)),
            '+' => Ok(value.filter(counts).map_or_else(String::new, |_| word)),
            '?' => match value.filter(counts) {
                Some(value) => Ok(value.to_owned()),
                None => {
                    let stock = match value {
                        None => "is not allowed to be unset",
                        Some(_) => "is not allowed to be empty",
                    };
                    let message = if word.is_empty() { stock.to_owned() } else { word };
                    Err(ExpandError::Required { name, message })
                }
            },
            '#' => pattern::trim_prefix(&word, value.unwrap_or_default()),
            '%' => pattern::trim_suffix(&word, value.unwrap_or_default()),
            _ => Err(ExpandError::Modifier { name, modifier }),
        }
    }

    /// `${name/pattern/replacement}` and `${name//pattern/replacement}`.
    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.characters.next_if_eq(&'/').is_some();
        let pattern = self.operand('/', Escapes::Keep, ExpandError::Slash)?;
        let replacement = self.operand('}', Escapes::Keep, ExpandError::Brace)?;
        let value = self.value(name);
        if value.is_none() && self.lex.unset == Unset::Keep {
            // Sic: of `//` one slash stays.
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let pattern = Pattern::unanchored(&pattern)?;
        let value = value.unwrap_or_default();
        if all {
            pattern.replace_all(value, &replacement)
        } else {
            Ok(pattern.replace_first(value, &replacement))
        }
    }

    /// Expands a modifier's operand; any error at the end of the word is about the missing `stop`.
    fn operand(
        &mut self,
        stop: char,
        escapes: Escapes,
        missing: ExpandError,
    ) -> Result<String, ExpandError> {
        let result = self.until(Some(stop), escapes);
        match result {
            Ok((text, _)) => Ok(text),
            Err(_) if self.characters.peek().is_none() => Err(missing),
            Err(error) => Err(error),
        }
    }

    /// Reads a name: a run of letters, digits and `_`, a run of digits, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.characters.peek().copied() {
            Some(first) if is_decimal_digit(first) => {
                while let Some(digit) = self.characters.next_if(|&next| is_decimal_digit(next)) {
                    name.push(digit);
                }
            }
            Some(first) if "@*#?-$!".contains(first) => name.extend(self.characters.next()),
            _ => {
                while let Some(next) = self
                    .characters
                    .next_if(|&next| next == '_' || is_letter(next) || is_decimal_digit(next))
                {
                    name.push(next);
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> Option<&'env str> {
        let value = (self.lookup)(name);
        let names = if value.is_some() { &mut self.matched } else { &mut self.unmatched };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }
}

/// Whether an empty value counts as a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EmptyIs {
    Set,
    Unset,
}

/// Collects the words of an expansion.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    /// Adds a character that splits if it is blank.
    fn push(&mut self, character: char) {
        if !character.is_whitespace() {
            self.word.push(character);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn push_splitting(&mut self, text: &str) {
        text.chars().for_each(|character| self.push(character));
    }

    /// Adds a character that never splits.
    fn push_escaped(&mut self, character: char) {
        self.word.push(character);
    }

    fn push_joined(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}
