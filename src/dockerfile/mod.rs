//! Dockerfile text to typed instructions with spans, as BuildKit reads it.
//!
//! Pure: takes bytes, returns values; no IO, no clock, no environment.

pub mod ast;
mod character;
mod csv;
mod directive;
mod error;
mod heredoc;
pub mod instruction;
mod json;
mod keyword;
mod lines;
mod parser;
pub mod shell;
mod source;
mod words;

pub use error::{ParseError, ParseErrorKind};
pub use heredoc::{HeredocWord, drop_leading_tabs};
pub use instruction::{parse, parse_trigger};
pub use keyword::Keyword;
pub use lines::decode;
pub use parser::parse_nodes;
pub use source::{Position, Snippet, Source, Span, Spanned, Word};

#[cfg(test)]
mod tests;
