//! Strings the phases of a build together: context, Dockerfile, plan, bases, steps, layers, push.
//!
//! Owns [`BuildOptions`], the one value that says what was asked for. Must not know `cli`: options
//! come in as values, whoever made them.

pub mod options;

pub use options::BuildOptions;
