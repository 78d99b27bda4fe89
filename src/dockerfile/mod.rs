//! Dockerfile text to typed instructions with spans, as BuildKit reads it.
//!
//! Pure: takes bytes, returns values; no IO, no clock, no environment.

pub mod ast;
mod character;
pub mod instruction;
pub mod shell;
mod source;

pub use source::{Position, Snippet, Source, Span, Spanned, Word};
