//! The integration tests of `zuwai`, one binary.

mod cli_spellings;
mod root;
