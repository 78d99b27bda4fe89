//! Physical lines to nodes: comments, directives, continuations and heredocs.

use super::super::ast::{EscapeToken, Heredoc, Node, Warning, WarningKind};
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::source::{Position, Source, Span};
use super::directive::Directives;
use super::heredoc::HeredocWord;
use super::line::parse_line;
use super::lines::{LogicalLine, PhysicalLine};

/// Turns physical lines into nodes.
pub(super) struct Parser<'a, Lines> {
    source: &'a Source,
    lines: Lines,
    directives: Directives,
    comments: Vec<String>,
    warnings: Vec<Warning>,
}

impl<'a, Lines: Iterator<Item = PhysicalLine<'a>>> Parser<'a, Lines> {
    /// Starts at the top of a file, given as decoded lines and as bytes.
    pub fn new(source: &'a Source, lines: Lines) -> Self {
        let directives = Directives::default();
        Parser { source, lines, directives, comments: Vec::new(), warnings: Vec::new() }
    }

    /// Reads all nodes; at least one.
    pub fn run(mut self) -> Result<(Vec<Node>, Directives, Vec<Warning>), Located> {
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

    /// Returns the next physical line and its decoded content.
    fn next_line(&mut self) -> Result<Option<(PhysicalLine<'a>, &'a str)>, Located> {
        let Some(line) = self.lines.next() else { return Ok(None) };
        if line.is_too_long() {
            return Err((ParseErrorKind::LineTooLong, Span::line(line.number, 0)));
        }
        Ok(Some((line, self.source.line(line.number).unwrap_or_default())))
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
        let mut node = parse_line(&line, escape)?;
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
