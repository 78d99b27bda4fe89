//! The patterns of `#`, `%` and `/`: `*`, `?` and escapes, compiled to a regular expression as in
//! the original, so that greediness and newlines come out the same.

use regex::{Regex, RegexBuilder};

use super::super::character::{is_decimal_digit, is_letter};
use super::error::ExpandError;
use super::expand::MAX_RESULT_BYTES;

/// The most memory a compiled pattern may take, in bytes.
const MAX_COMPILED_BYTES: usize = 64 << 20;

/// A compiled pattern.
pub(super) struct Pattern(Regex);

/// How far `*` reaches.
#[derive(Clone, Copy)]
enum Star {
    Short,
    Long,
}

/// Removes the shortest match of `operand` at the start of `value`; the longest if the operand
/// begins with another `#`.
pub(super) fn trim_prefix(operand: &str, value: &str) -> Result<String, ExpandError> {
    let (pattern, star) = star_of(operand, '#');
    let found = compile(pattern, star, "^")?.find(value);
    Ok(found.map_or(value, |found| value.get(found.end()..).unwrap_or_default()).to_owned())
}

/// Removes the shortest match of `operand` at the end of `value`; the longest if the operand
/// begins with another `%`.
pub(super) fn trim_suffix(operand: &str, value: &str) -> Result<String, ExpandError> {
    // A regular expression cannot look for the shortest match at the end: both are reversed.
    let (pattern, star) = star_of(operand, '%');
    let value: String = value.chars().rev().collect();
    let found = compile(&reverse(pattern), star, "^")?.find(&value);
    let rest = found.map_or(value.as_str(), |found| value.get(found.end()..).unwrap_or_default());
    Ok(rest.chars().rev().collect())
}

fn star_of(operand: &str, operator: char) -> (&str, Star) {
    match operand.strip_prefix(operator) {
        Some(pattern) => (pattern, Star::Long),
        None => (operand, Star::Short),
    }
}

/// Reverses a pattern but for its escapes: `a\*c` becomes `c\*a`.
fn reverse(pattern: &str) -> String {
    let mut reversed = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == '\\' {
            reversed.extend(characters.next());
        }
        reversed.push(character);
    }
    reversed.iter().rev().collect()
}

impl Pattern {
    /// Compiles a pattern that may match anywhere, with `*` as long as possible.
    pub fn unanchored(pattern: &str) -> Result<Pattern, ExpandError> {
        compile(pattern, Star::Long, "").map(Pattern)
    }

    /// Replaces the first match; the replacement is taken as it is.
    pub fn replace_first(&self, value: &str, replacement: &str) -> String {
        match self.0.find(value) {
            None => value.to_owned(),
            Some(found) => {
                let before = value.get(..found.start()).unwrap_or_default();
                let after = value.get(found.end()..).unwrap_or_default();
                format!("{before}{replacement}{after}")
            }
        }
    }

    /// Replaces all matches; in the replacement `$0` is the match and every other `$name` empty,
    /// because the original passes it through Go's template expansion.
    pub fn replace_all(&self, value: &str, replacement: &str) -> Result<String, ExpandError> {
        let mut result = String::new();
        let mut end = 0;
        for found in self.0.find_iter(value) {
            result.push_str(value.get(end..found.start()).unwrap_or_default());
            expand_template(&mut result, replacement, found.as_str());
            end = found.end();
            if result.len() > MAX_RESULT_BYTES {
                return Err(ExpandError::TooLong);
            }
        }
        result.push_str(value.get(end..).unwrap_or_default());
        Ok(result)
    }
}

fn compile(pattern: &str, star: Star, anchor: &str) -> Result<Regex, ExpandError> {
    let mut expression = anchor.to_owned();
    let mut buffer = [0; 4];
    let mut characters = pattern.chars().peekable();
    characters.next_if_eq(&'\u{feff}');
    while let Some(character) = characters.next() {
        match character {
            '*' => expression.push_str(match star {
                Star::Short => ".*?",
                Star::Long => ".*",
            }),
            '?' => expression.push('.'),
            '\\' => match characters.peek() {
                // They are escaped because of the `${…}` around; the loop takes them as literals.
                Some('}' | '/') => {}
                Some('*' | '?' | '\\') => {
                    expression.push('\\');
                    expression.extend(characters.next());
                }
                _ => return Err(ExpandError::Pattern { pattern: pattern.to_owned() }),
            },
            literal => expression.push_str(&regex::escape(literal.encode_utf8(&mut buffer))),
        }
    }
    RegexBuilder::new(&expression)
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|_| ExpandError::PatternTooLong { length: pattern.len() })
}

/// Appends `template` with `$0` replaced by `matched`, as Go's `Regexp.Expand` reads templates: a
/// `$` that begins no name is itself, `$$` is one dollar, names that do not exist are empty.
fn expand_template(result: &mut String, template: &str, matched: &str) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        result.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some((name, after)) = template_name(after) {
            if name == "0" {
                result.push_str(matched);
            }
            rest = after;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
}

/// Splits `name…` or `{name}…`.
fn template_name(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('{');
    let text = inner.unwrap_or(text);
    let length = text
        .find(|next| !(next == '_' || is_letter(next) || is_decimal_digit(next)))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(length)?;
    let rest = if inner.is_some() { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}
