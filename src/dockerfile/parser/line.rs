//! One logical line to a node: its keyword, flags and arguments.

use std::ops::Range;

use super::super::ast::{EscapeToken, Node};
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::source::Word;
use super::json::{JsonArray, read_array};
use super::lines::{LogicalLine, decode};
use super::words;

/// How many `ONBUILD` may precede each other; any more than one is refused later.
const MAX_TRIGGER_DEPTH: usize = 16;

/// Parses one instruction, without its heredocs.
///
/// # Errors
/// Broken pairs, JSON arrays of other things than strings, triggers nested too deep.
pub(super) fn parse_line(line: &LogicalLine, escape: EscapeToken) -> Result<Node, Located> {
    parse_range(line, 0..line.text().len(), escape, 0)
}

/// Parses a range of the line; `depth` is the number of `ONBUILD`s before it.
fn parse_range(
    line: &LogicalLine,
    range: Range<usize>,
    escape: EscapeToken,
    depth: usize,
) -> Result<Node, Located> {
    let whole = words::trim(line, range.clone());
    let (keyword, rest) = words::split_first(line, whole);
    let rest = rest.unwrap_or(keyword.end..keyword.end);
    let (flags, rest) = words::split_flags(line, rest, escape);
    let rest = words::trim(line, rest);
    let mut node = Node {
        instruction: Keyword::from_text(line.slice(keyword.clone())),
        keyword: line.word(keyword),
        flags,
        arguments: Vec::new(),
        is_json: false,
        trigger: None,
        heredocs: Vec::new(),
        comments: Vec::new(),
        original: line.slice(range.clone()).to_owned(),
        span: line.span(range),
    };
    let span = node.span;
    let locate = |kind| (kind, span);
    // An unknown instruction is refused once all lines are read.
    let Some(instruction) = node.instruction else { return Ok(node) };
    match instruction {
        Keyword::From | Keyword::Expose => node.arguments = words::split_blanks(line, rest),
        Keyword::Copy | Keyword::Add | Keyword::Volume => {
            match json(line, rest.clone()).map_err(locate)? {
                Some(members) => node.set_json(members),
                None => node.arguments = words::split_blanks(line, rest),
            }
        }
        Keyword::Run | Keyword::Cmd | Keyword::Entrypoint | Keyword::Shell => {
            match json(line, rest.clone()).map_err(locate)? {
                Some(members) => node.set_json(members),
                None => node.arguments = whole_rest(line, rest),
            }
        }
        Keyword::User | Keyword::Workdir | Keyword::Stopsignal | Keyword::Maintainer => {
            node.arguments = whole_rest(line, rest);
        }
        Keyword::Arg => {
            let ranges = words::split_quoted(line, rest, escape);
            node.arguments = ranges.into_iter().map(|range| line.word(range)).collect();
        }
        Keyword::Env | Keyword::Label => {
            node.arguments = pairs(line, rest, escape, instruction).map_err(locate)?;
        }
        Keyword::Healthcheck => healthcheck(&mut node, line, rest)?,
        Keyword::Onbuild if depth == MAX_TRIGGER_DEPTH => {
            return Err((ParseErrorKind::NestedOnbuild, span));
        }
        Keyword::Onbuild if rest.is_empty() => {}
        Keyword::Onbuild => {
            node.trigger = Some(Box::new(parse_range(line, rest, escape, depth + 1)?));
        }
    }
    Ok(node)
}

impl Node {
    fn set_json(&mut self, members: Vec<Word>) {
        self.arguments = members;
        self.is_json = true;
    }
}

fn whole_rest(line: &LogicalLine, rest: Range<usize>) -> Vec<Word> {
    if rest.is_empty() { Vec::new() } else { vec![line.word(rest)] }
}

/// Reads the JSON form; each member's span is the whole array's. `None` for another form.
fn json(line: &LogicalLine, rest: Range<usize>) -> Result<Option<Vec<Word>>, ParseErrorKind> {
    match read_array(line.slice(rest.clone())) {
        JsonArray::No => Ok(None),
        JsonArray::Mixed => Err(ParseErrorKind::JsonNotStrings),
        JsonArray::Strings(strings) => {
            let span = line.span(rest);
            Ok(Some(strings.into_iter().map(|value| Word { value, span }).collect()))
        }
    }
}

/// Splits `key=value …`, or `key value` if the first word has no `=`, into key, value, separator.
fn pairs(
    line: &LogicalLine,
    rest: Range<usize>,
    escape: EscapeToken,
    keyword: Keyword,
) -> Result<Vec<Word>, ParseErrorKind> {
    let words = words::split_quoted(line, rest.clone(), escape);
    let separator = |text: &str, at: usize| Word {
        value: text.to_owned(),
        span: line.span(at..at + text.len()),
    };
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !line.slice(first.clone()).contains('=') {
        let (key, Some(value)) = words::split_first(line, rest) else {
            return Err(ParseErrorKind::PairWithoutValue { keyword });
        };
        let at = key.end;
        return Ok(vec![line.word(key), line.word(value), separator("", at)]);
    }
    let mut pairs = Vec::with_capacity(words.len() * 3);
    for word in words {
        let text = line.slice(word.clone());
        let Some(equals) = text.find('=').map(|at| word.start + at) else {
            return Err(ParseErrorKind::PairWithoutEquals { word: text.to_owned() });
        };
        pairs.push(line.word(word.start..equals));
        pairs.push(line.word(equals + 1..word.end));
        pairs.push(separator("=", equals));
    }
    Ok(pairs)
}

/// Splits off the type; the rest is as for `RUN`.
///
/// Docker looks for the blank after the type byte by byte, so that some bytes inside a character
/// end it too; no type that exists holds one, but which error comes first depends on it.
fn healthcheck(node: &mut Node, line: &LogicalLine, rest: Range<usize>) -> Result<(), Located> {
    let text = line.slice(rest.clone());
    let is_blank = |byte: &u8| char::from(*byte).is_whitespace();
    let length = text.bytes().position(|byte| is_blank(&byte)).unwrap_or(text.len());
    let (kind, after) = text.as_bytes().split_at(length);
    if kind.is_empty() {
        return Ok(());
    }
    let blanks = after.iter().take_while(|byte| is_blank(byte)).count();
    let command = decode(after.get(blanks..).unwrap_or_default());
    let (kind_span, command_span) = if text.is_char_boundary(length) {
        let middle = rest.start + length;
        (line.span(rest.start..middle), line.span(middle + blanks..rest.end))
    } else {
        (line.span(rest.clone()), line.span(rest))
    };
    let word = |value: String| Word { value, span: command_span };
    node.arguments = match read_array(&command) {
        JsonArray::Mixed => return Err((ParseErrorKind::JsonNotStrings, node.span)),
        JsonArray::Strings(strings) => {
            node.is_json = true;
            strings.into_iter().map(word).collect()
        }
        JsonArray::No if command.is_empty() => Vec::new(),
        JsonArray::No => vec![word(command)],
    };
    node.arguments.insert(0, Word { value: decode(kind), span: kind_span });
    Ok(())
}
