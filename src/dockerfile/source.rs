//! The Dockerfile's text, and where in it something was written.

use std::fmt;
use std::ops::Range;

/// The most lines a [`Snippet`] shows; of a longer span it shows the beginning.
const SNIPPET_LINES: usize = 12;

/// A place in the Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The physical line, counted from 1.
    pub line: usize,
    /// The byte in that line, counted from 1, in the line as [`Source::line`] returns it.
    pub column: usize,
}

/// A stretch of the Dockerfile: from `start` up to, but not including, `end`.
///
/// An instruction's span covers its continuation lines and its heredocs with their terminators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: Position,
    /// The first place that is no longer part of it; on the same line as its last byte.
    pub end: Position,
}

impl Span {
    /// Returns the span of a whole line of `width` bytes.
    pub fn line(line: usize, width: usize) -> Span {
        Span { start: Position { line, column: 1 }, end: Position { line, column: width + 1 } }
    }

    /// Returns the span from the start of this to the end of `last`.
    pub fn until(self, last: Span) -> Span {
        Span { start: self.start, end: last.end }
    }
}

impl fmt::Display for Span {
    /// Writes `line 3` or `lines 3-5`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start.line == self.end.line {
            write!(out, "line {}", self.start.line)
        } else {
            write!(out, "lines {}-{}", self.start.line, self.end.line)
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written, quotes and flag name included.
    pub span: Span,
}

/// A word as its instruction's tokeniser leaves it: quotes, escapes and variables still inside.
///
/// [`super::shell`] turns it into what it means.
pub type Word = Spanned<String>;

/// The text of a Dockerfile by lines, kept so that any later layer can show where it went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    lines: Vec<String>,
}

impl Source {
    /// Makes a source from lines without their terminators.
    pub fn new(lines: Vec<String>) -> Source {
        Source { lines }
    }

    /// Returns the number of physical lines.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Returns a line, counted from 1, without its terminator and byte order mark; each byte that
    /// is not UTF-8 is U+FFFD.
    pub fn line(&self, number: usize) -> Option<&str> {
        self.lines.get(number.checked_sub(1)?).map(String::as_str)
    }

    /// Returns the lines of `span`, cut to the first dozen.
    pub fn snippet(&self, span: Span) -> Snippet {
        let first = span.start.line.max(1);
        let last = span.end.line.min(first + SNIPPET_LINES - 1);
        let lines = (first..=last).map_while(|number| self.line(number)).map(str::to_owned);
        Snippet { span, lines: lines.collect() }
    }
}

/// The source lines that an error or a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// What the error is about; `lines` begins with `span.start.line`.
    pub span: Span,
    /// The lines without terminators; fewer than the span has when it is long.
    pub lines: Vec<String>,
}

impl Snippet {
    /// Returns each line with its number and the characters (not bytes) in it that belong to the
    /// span, for underlining.
    pub fn marked_lines(&self) -> impl Iterator<Item = (usize, &str, Range<usize>)> {
        self.lines.iter().zip(self.span.start.line..).map(|(line, number)| {
            let characters = |column: usize| {
                line.char_indices().take_while(|(index, _)| index + 1 < column).count()
            };
            let blank = line.chars().take_while(|character| character.is_whitespace()).count();
            let from = if number == self.span.start.line {
                characters(self.span.start.column)
            } else {
                blank
            };
            let to = if number == self.span.end.line {
                characters(self.span.end.column)
            } else {
                line.chars().count()
            };
            (number, line.as_str(), from..to.max(from))
        })
    }
}
