//! Word expansion: quotes, escapes and `${…}` as Docker's shell lexer reads them.
//!
//! It looks like a POSIX shell and is not one: unset variables are empty, there is no command
//! substitution, and the pattern operators know `*` and `?` only. What is written here is what
//! Dockerfiles rely on, so it is kept exact down to the oddities.

mod error;
mod expand;
mod lex;
mod pattern;
#[cfg(test)]
mod tests;

pub use error::ExpandError;
pub use expand::{MAX_DEPTH, MAX_RESULT_BYTES};
pub use lex::{Escapes, Expansion, Lex, Quotes, Unset};
