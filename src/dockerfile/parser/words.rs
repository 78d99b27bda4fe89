//! How an instruction's text falls into words; each kind of instruction has its own rule.
//!
//! All work on ranges of a logical line, so that every word knows where it was written.

use std::ops::Range;

use super::super::ast::EscapeToken;
use super::super::source::Word;
use super::lines::LogicalLine;

/// The blanks that Docker's tokenisers split at; Unicode's other spaces are ordinary characters to
/// them, though not to trimming.
fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Returns `range` without white space (Unicode's) around it.
pub(super) fn trim(line: &LogicalLine, range: Range<usize>) -> Range<usize> {
    let text = line.slice(range.clone());
    let start = range.end - text.trim_start().len();
    start..start + text.trim().len()
}

/// Splits off the first word: its range and, after the blanks, the rest; `None` without a blank.
pub(super) fn split_first(
    line: &LogicalLine,
    range: Range<usize>,
) -> (Range<usize>, Option<Range<usize>>) {
    let text = line.slice(range.clone());
    match text.find(is_blank) {
        None => (range, None),
        Some(length) => {
            let rest = text.get(length..).unwrap_or_default().trim_start_matches(is_blank);
            (range.start..range.start + length, Some(range.end - rest.len()..range.end))
        }
    }
}

/// Splits at blanks, whatever quotes and escapes say.
pub(super) fn split_blanks(line: &LogicalLine, range: Range<usize>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = Some(range).filter(|range| !range.is_empty());
    while let Some(range) = rest {
        let (word, after) = split_first(line, range);
        words.push(line.word(word));
        rest = after;
    }
    words
}

/// Splits at white space outside quotes and escapes; both stay in the words.
pub(super) fn split_quoted(
    line: &LogicalLine,
    range: Range<usize>,
    escape: EscapeToken,
) -> Vec<Range<usize>> {
    let escape = escape.character();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut end = range.end;
    let text = line.slice(range.clone());
    let mut characters = text.char_indices().map(|(at, next)| (range.start + at, next)).peekable();
    while let Some((at, character)) = characters.next() {
        let Some(begun) = start else {
            if !character.is_whitespace() {
                start = Some(at);
                quote = Some(character).filter(|first| matches!(first, '\'' | '"'));
                if character == escape && characters.next().is_none() {
                    end = at;
                }
            }
            continue;
        };
        match quote {
            None if character.is_whitespace() => {
                words.push(begun..at);
                start = None;
            }
            None if matches!(character, '\'' | '"') => quote = Some(character),
            Some(open) if character == open => quote = None,
            // Between single quotes nothing is escaped.
            Some('\'') => {}
            // An escape at the very end is dropped.
            _ if character == escape && characters.next().is_none() => end = at,
            _ => {}
        }
    }
    // A word is never empty, but for one that was only the dropped escape.
    words.extend(start.map(|start| start..end).filter(|word| !word.is_empty()));
    words
}

/// Splits the words that begin with `--` off the beginning, without their quotes and escapes, up to
/// the first other word or a lone `--`, which is dropped; returns them and the rest.
///
/// Docker reads flags byte by byte and each byte as a character of its own, so that U+00E9 comes out
/// as U+00C3 U+00A9, and some characters hold a byte that ends the word. That is kept: a flag that
/// does nothing in Docker must not do something here.
pub(super) fn split_flags(
    line: &LogicalLine,
    range: Range<usize>,
    escape: EscapeToken,
) -> (Vec<Word>, Range<usize>) {
    let escape = escape.character();
    let text = line.slice(range.clone());
    let boundary = |at: usize| (at..text.len()).find(|at| text.is_char_boundary(*at));
    let place = |at: usize| range.start + boundary(at).unwrap_or(text.len());
    let mut flags = Vec::new();
    let mut characters = text.bytes().map(char::from).enumerate().peekable();
    loop {
        while characters.next_if(|(_, next)| next.is_whitespace()).is_some() {}
        let start = characters.peek().map_or(text.len(), |(at, _)| *at);
        if !text.as_bytes().get(start..).is_some_and(|rest| rest.starts_with(b"--")) {
            return (flags, place(start)..range.end);
        }
        let mut value = String::new();
        let mut quote = None;
        let mut end = text.len();
        while let Some(&(at, character)) = characters.peek() {
            if quote.is_none() && character.is_whitespace() {
                end = at;
                break;
            }
            characters.next();
            match quote {
                None if matches!(character, '\'' | '"') => quote = Some(character),
                Some(open) if character == open => quote = None,
                // Unlike in words, the escape works between single quotes too.
                _ if character == escape => value.extend(characters.next().map(|(_, next)| next)),
                _ => value.push(character),
            }
        }
        if value == "--" {
            return (flags, place(end)..range.end);
        }
        flags.push(Word { value, span: line.span(place(start)..place(end)) });
    }
}
