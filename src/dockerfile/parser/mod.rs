//! Bytes to nodes: comments, directives, continuations, heredocs, and each line's words.

use std::ops::Range;

use super::ast::{Ast, EscapeToken, Node, Warning, WarningKind};
use super::directive::Directives;
use super::error::{ParseError, ParseErrorKind};
use super::heredoc::HeredocWord;
use super::instruction::Heredoc;
use super::json::{JsonArray, read_array};
use super::keyword::Keyword;
use super::lines::{LogicalLine, PhysicalLine, decode};
use super::source::{Position, Source, Span, Word};
use super::words;

/// How many `ONBUILD` may precede each other; any more than one is refused later.
const MAX_TRIGGER_DEPTH: usize = 16;

/// Splits a Dockerfile into nodes.
///
/// Takes any bytes; those that are not UTF-8 are read as U+FFFD, but stay as they are in heredocs.
///
/// # Errors
/// See [`ParseErrorKind`]: directives, over-long lines, unclosed heredocs, broken `ENV` and `LABEL`
/// pairs, JSON arrays of other things than strings, and files without instructions. What flags and
/// arguments mean is not looked at here.
pub fn parse_nodes(file: &[u8]) -> Result<Ast, ParseError> {
    let lines = PhysicalLine::split(file);
    let source = Source::new(lines.map(|line| decode(line.content())).collect());
    let parser = Parser {
        source: &source,
        lines: PhysicalLine::split(file),
        directives: Directives::default(),
        comments: Vec::new(),
        warnings: Vec::new(),
    };
    match parser.run() {
        Ok((nodes, directives, warnings)) => {
            let escape = directives.escape();
            let directives = directives.into_found();
            Ok(Ast { directives, escape, nodes, warnings, source })
        }
        Err((kind, span)) => Err(ParseError { kind, span, snippet: source.snippet(span) }),
    }
}

/// An error before the snippet is added.
type Located = (ParseErrorKind, Span);

struct Parser<'a, Lines> {
    source: &'a Source,
    lines: Lines,
    directives: Directives,
    comments: Vec<String>,
    warnings: Vec<Warning>,
}

impl<'a, Lines: Iterator<Item = PhysicalLine<'a>>> Parser<'a, Lines> {
    /// Returns the next physical line and its decoded content.
    fn next_line(&mut self) -> Result<Option<(PhysicalLine<'a>, &'a str)>, Located> {
        let Some(line) = self.lines.next() else { return Ok(None) };
        if line.is_too_long() {
            return Err((ParseErrorKind::LineTooLong, Span::line(line.number, 0)));
        }
        Ok(Some((line, self.source.line(line.number).unwrap_or_default())))
    }

    fn run(mut self) -> Result<(Vec<Node>, Directives, Vec<Warning>), Located> {
        let mut nodes = Vec::new();
        while let Some(node) = self.next_node()? {
            nodes.push(node);
        }
        if nodes.is_empty() {
            let last = self.source.line_count().max(1);
            return Err((ParseErrorKind::NoInstructions, Span::line(last, 0)));
        }
        Ok((nodes, self.directives, self.warnings))
    }

    fn next_node(&mut self) -> Result<Option<Node>, Located> {
        while let Some((line, content)) = self.next_line()? {
            let text = content.trim_start();
            let start = Position { line: line.number, column: content.len() - text.len() + 1 };
            let is_directive = self.directives.read(text, start)?;
            if let Some(comment) = text.strip_prefix('#') {
                match comment.trim() {
                    "" => self.comments.clear(),
                    _ if is_directive => {}
                    comment => self.comments.push(comment.to_owned()),
                }
            } else if !text.is_empty() {
                return self.node(text, start).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads the instruction that begins with `text`.
    fn node(&mut self, text: &str, start: Position) -> Result<Node, Located> {
        let escape = self.directives.escape();
        let (line, mut end) = self.logical_line(text, start, escape)?;
        let mut node = parse_line(&line, 0..line.text().len(), escape, 0)?;
        let taker = node.trigger.as_deref().unwrap_or(&node);
        let takes_heredocs =
            matches!(taker.instruction, Some(Keyword::Run | Keyword::Copy | Keyword::Add));
        if takes_heredocs && !taker.is_json {
            let words =
                HeredocWord::find(line.text()).map_err(|kind| (kind, Span { start, end }))?;
            for word in words {
                let heredoc = self.heredoc(word, Span { start, end })?;
                end = heredoc.span.end;
                node.heredocs.push(heredoc);
            }
        }
        let flags = node.flags.iter().chain(node.trigger.iter().flat_map(|node| &node.flags));
        for span in flags.filter(|flag| !flag.value.is_ascii()).map(|flag| flag.span) {
            self.warnings.push(Warning { value: WarningKind::GarbledFlag, span });
        }
        node.span = Span { start, end };
        node.comments = std::mem::take(&mut self.comments);
        Ok(node)
    }

    /// Joins the continuation lines of an instruction; returns where its last line ends too.
    fn logical_line(
        &mut self,
        text: &str,
        start: Position,
        escape: EscapeToken,
    ) -> Result<(LogicalLine, Position), Located> {
        let mut line = LogicalLine::default();
        let mut end = Position { line: start.line, column: start.column + text.len() };
        let (piece, mut goes_on) = strip_continuation(text, escape);
        line.push(piece, start);
        self.warn_of_invalid_utf8(text, start.line);
        let mut has_empty_line = false;
        while goes_on {
            let Some((physical, content)) = self.next_line()? else { break };
            end = Position { line: physical.number, column: content.len() + 1 };
            match content.trim_start() {
                "" if !has_empty_line => {
                    has_empty_line = true;
                    self.warn(WarningKind::EmptyContinuation, Span::line(physical.number, 0));
                }
                "" => {}
                comment if comment.starts_with('#') => {}
                _ => {
                    self.warn_of_invalid_utf8(content, physical.number);
                    let piece;
                    (piece, goes_on) = strip_continuation(content, escape);
                    line.push(piece, Position { line: physical.number, column: 1 });
                }
            }
        }
        Ok((line, end))
    }

    /// Reads the body of a heredoc of the instruction at `span`.
    fn heredoc(&mut self, word: HeredocWord, span: Span) -> Result<Heredoc, Located> {
        let mut body = Vec::new();
        let mut start = None;
        while let Some((line, text)) = self.next_line()? {
            let start = *start.get_or_insert(Position { line: line.number, column: 1 });
            let content = line.content();
            let tabs = content.iter().take_while(|byte| word.chomp && **byte == b'\t').count();
            if content.get(tabs..) == Some(word.name.as_bytes()) {
                let end = Position { line: line.number, column: text.len() + 1 };
                let HeredocWord { name, expand, chomp, file_descriptor } = word;
                let span = Span { start, end };
                return Ok(Heredoc { name, body, expand, chomp, file_descriptor, span });
            }
            body.extend_from_slice(line.raw);
        }
        Err((ParseErrorKind::UnterminatedHeredoc { name: word.name }, span))
    }

    fn warn_of_invalid_utf8(&mut self, text: &str, line: usize) {
        // The character itself is as suspicious as the bytes it stands for.
        if text.contains(char::REPLACEMENT_CHARACTER) {
            self.warn(WarningKind::InvalidUtf8, Span::line(line, text.len()));
        }
    }

    fn warn(&mut self, value: WarningKind, span: Span) {
        self.warnings.push(Warning { value, span });
    }
}

/// Cuts the escape character off the end of a line that goes on in the next: one that may be
/// followed by blanks, but does not follow another.
fn strip_continuation(text: &str, escape: EscapeToken) -> (&str, bool) {
    let escape = escape.character();
    match text.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(piece) if !piece.ends_with(escape) => (piece, true),
        _ => (text, false),
    }
}

/// Parses one instruction, without its heredocs.
fn parse_line(
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
            node.trigger = Some(Box::new(parse_line(line, rest, escape, depth + 1)?));
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

#[cfg(test)]
mod tests;
