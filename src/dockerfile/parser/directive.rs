//! Parser directives: `# escape=` and its like at the top of the file.

use std::fmt;

use super::super::ast::{Directive, DirectiveName, EscapeToken};
use super::super::error::{Located, ParseErrorKind};
use super::super::source::{Position, Span, Word};

/// Reads directives as long as every line is one.
#[derive(Debug, Default)]
pub(super) struct Directives {
    found: Vec<Directive>,
    is_over: bool,
}

impl Directives {
    /// Looks at the next line, given without blanks before it, whose first byte is in `column`;
    /// returns whether it is a directive.
    ///
    /// # Errors
    /// A second directive of a name, or an escape character that is none; with where.
    pub fn read(&mut self, line: &str, start: Position) -> Result<bool, Located> {
        if self.is_over {
            return Ok(false);
        }
        let Some((name, value)) = split(line) else {
            self.is_over = true;
            return Ok(false);
        };
        let before = line.len() - value.len();
        let value = match value.trim_end_matches(is_blank) {
            // Of a value of blanks the last one is kept: it is what the original's expression,
            // which wants at least one character, is left with.
            "" => value.get(value.len() - 1..).unwrap_or_default(),
            trimmed => trimmed,
        };
        let column = start.column + before;
        let value = Word {
            value: value.to_owned(),
            span: Span {
                start: Position { line: start.line, column },
                end: Position { line: start.line, column: column + value.len() },
            },
        };
        if self.found.iter().any(|directive| directive.name == name) {
            return Err((ParseErrorKind::DuplicateDirective { name }, value.span));
        }
        if name == DirectiveName::Escape && EscapeToken::from_text(&value.value).is_none() {
            let Word { value, span } = value;
            return Err((ParseErrorKind::InvalidEscape { value }, span));
        }
        self.found.push(Directive { name, value });
        Ok(true)
    }

    /// Returns the escape character that was set, or the usual one.
    pub fn escape(&self) -> EscapeToken {
        let set = self.found.iter().find(|directive| directive.name == DirectiveName::Escape);
        set.and_then(|set| EscapeToken::from_text(&set.value.value)).unwrap_or_default()
    }

    /// Returns what was found, in order.
    pub fn into_found(self) -> Vec<Directive> {
        self.found
    }
}

impl EscapeToken {
    fn from_text(text: &str) -> Option<EscapeToken> {
        match text {
            "\\" => Some(EscapeToken::Backslash),
            "`" => Some(EscapeToken::Backtick),
            _ => None,
        }
    }
}

/// Splits `# name = value` of a known name; the value is not trimmed at its end and never empty.
fn split(line: &str) -> Option<(DirectiveName, &str)> {
    let (name, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
    let name = match name.trim_end_matches(is_blank).to_ascii_lowercase().as_str() {
        "syntax" => DirectiveName::Syntax,
        "escape" => DirectiveName::Escape,
        "check" => DirectiveName::Check,
        _ => return None,
    };
    let trimmed = value.trim_start_matches(is_blank);
    match (trimmed, value) {
        ("", "") => None,
        ("", blanks) => Some((name, blanks)),
        (trimmed, _) => Some((name, trimmed)),
    }
}

/// The blanks of `\s` in Go's expressions; a vertical tab is none.
fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ')
}

impl fmt::Display for DirectiveName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            DirectiveName::Syntax => "syntax",
            DirectiveName::Escape => "escape",
            DirectiveName::Check => "check",
        })
    }
}
