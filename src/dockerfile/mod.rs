//! Dockerfile text to typed instructions with spans, as BuildKit reads it.
//!
//! Pure: takes bytes, returns values; no IO, no clock, no environment.

pub mod ast;
pub mod instruction;
mod source;

pub use source::{Position, Snippet, Source, Span, Spanned, Word};
