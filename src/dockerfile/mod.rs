//! Dockerfile text to typed instructions with spans, as BuildKit reads it.
//!
//! Pure: takes bytes, returns values; no IO, no clock, no environment. Must not know images,
//! contexts or what an instruction does.
//!
//! The one idea: reading has two phases, as in BuildKit, because what is an error, and which comes
//! first, depends on it. [`parse_nodes`] splits the text into words without knowing what they mean;
//! [`parse`] makes typed instructions of them. Variables stay unexpanded in both; [`shell`] expands
//! them when their values are known.

pub mod ast;
mod character;
mod error;
pub mod instruction;
mod keyword;
mod parser;
pub mod shell;
mod source;
#[cfg(test)]
mod tests;

pub use error::{ParseError, ParseErrorKind};
pub use instruction::{parse, parse_trigger};
pub use keyword::Keyword;
pub use parser::{HeredocWord, decode, drop_leading_tabs, parse_nodes};
pub use source::{Position, Snippet, Source, Span, Spanned, Word};
