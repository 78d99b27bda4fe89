//! The integration tests of `zuwai`, one binary.

mod root;
