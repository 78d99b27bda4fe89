//! Physical lines, and the logical lines that continuations make of them.

use std::ops::Range;

use super::super::source::{Position, Span, Word};

/// The most bytes a line may have, its terminator not counted; the limit of Docker's line scanner.
pub const MAX_LINE_BYTES: usize = 65_535;

/// A line of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct PhysicalLine<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Its bytes with the terminator, without a byte order mark.
    pub raw: &'a [u8],
}

impl<'a> PhysicalLine<'a> {
    /// Splits a file into lines; the last may lack its terminator.
    pub fn split(file: &'a [u8]) -> impl Iterator<Item = PhysicalLine<'a>> {
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        file.split_inclusive(|byte| *byte == b'\n')
            .enumerate()
            .map(|(index, raw)| PhysicalLine { number: index + 1, raw })
    }

    /// Returns the bytes without the terminator: all carriage returns and newlines at the end.
    pub fn content(&self) -> &'a [u8] {
        let end = self.raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
        end.and_then(|end| self.raw.get(..=end)).unwrap_or_default()
    }

    /// Returns whether the line is longer than allowed.
    pub fn is_too_long(&self) -> bool {
        self.raw.strip_suffix(b"\n").unwrap_or(self.raw).len() > MAX_LINE_BYTES
    }
}

/// Decodes UTF-8 as Go's ranging over a string does: one U+FFFD for each byte that is not part of
/// a character (Rust's own lossy decoding merges neighbours).
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// One instruction's text with its continuations joined, and the way back to the source.
#[derive(Debug, Clone, Default)]
pub(super) struct LogicalLine {
    text: String,
    pieces: Vec<Piece>,
}

/// A run of a logical line that stands in one physical line.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: usize,
    source: Position,
}

impl LogicalLine {
    /// Appends text that begins at `source`.
    pub fn push(&mut self, text: &str, source: Position) {
        self.pieces.push(Piece { offset: self.text.len(), source });
        self.text.push_str(text);
    }

    /// Returns the joined text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns where a range of the joined text was written.
    pub fn span(&self, range: Range<usize>) -> Span {
        let start = self.position(range.start);
        // The end is looked up by the last byte, so that a word that ends where a piece ends does
        // not reach into the next line.
        let end = if range.end > range.start {
            let last = self.position(range.end - 1);
            Position { line: last.line, column: last.column + 1 }
        } else {
            start
        };
        Span { start, end }
    }

    /// Returns the text of a range.
    pub fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    /// Returns a range of the joined text as a word.
    pub fn word(&self, range: Range<usize>) -> Word {
        Word { value: self.slice(range.clone()).to_owned(), span: self.span(range) }
    }

    fn position(&self, offset: usize) -> Position {
        let after = self.pieces.partition_point(|piece| piece.offset <= offset);
        match self.pieces.get(after.saturating_sub(1)) {
            Some(piece) => Position {
                line: piece.source.line,
                column: piece.source.column + (offset - piece.offset),
            },
            None => Position { line: 1, column: 1 },
        }
    }
}
