//! Bytes to nodes: comments, directives, continuations, heredocs, and each line's words.
//!
//! What is found here is how the text falls apart, never whether an instruction makes sense: that
//! is `instruction`'s, and comes after the whole file has been read. Everything works on ranges of
//! a [`lines::LogicalLine`], so that each word knows where it was written.

mod directive;
mod file;
mod heredoc;
mod json;
mod line;
mod lines;
mod words;

#[cfg(test)]
mod directive_tests;
#[cfg(test)]
mod heredoc_tests;
#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words_tests;

pub use heredoc::{HeredocWord, drop_leading_tabs};
pub use lines::{MAX_LINE_BYTES, decode};

use super::ast::Ast;
use super::error::ParseError;
use super::source::Source;

/// Splits a Dockerfile into nodes.
///
/// Takes any bytes; those that are not UTF-8 are read as U+FFFD, but stay as they are in heredocs.
///
/// # Errors
/// See [`super::ParseErrorKind`]: directives, over-long lines, unclosed heredocs, broken `ENV` and
/// `LABEL` pairs, JSON arrays of other things than strings, and files without instructions. What
/// flags and arguments mean is not looked at here.
pub fn parse_nodes(file: &[u8]) -> Result<Ast, ParseError> {
    let lines = || lines::PhysicalLine::split(file);
    let source = Source::new(lines().map(|line| decode(line.content())).collect());
    match file::Parser::new(&source, lines()).run() {
        Ok((nodes, directives, warnings)) => {
            let escape = directives.escape();
            let directives = directives.into_found();
            Ok(Ast { directives, escape, nodes, warnings, source })
        }
        Err(located) => Err(ParseError::new(located, &source)),
    }
}
