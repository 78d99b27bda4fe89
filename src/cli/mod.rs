//! What was typed and what is meant by it: arguments, environment, and their lowering to options.
//!
//! Owns every flag, its kaniko spelling, and the only reader of the environment ([`env`]).
//! Must not do work: it ends in a `BuildOptions` value that `build` carries out.
//!
//! One idea: words go through four pure steps. `spelling` brings Go's grammar to `--name=value`,
//! `args` gives each value its type, `settle` adds the environment and makes the checks that kaniko
//! makes before it does anything (`--print-options` shows the result), and `lower` turns that into
//! options without strings, refusing what is not built yet.

pub mod args;
mod docs;
pub mod env;
pub mod error;
pub mod flags;
pub mod go_values;
mod lower;
mod masks;
mod parse;
mod print;
mod settle;
pub mod spelling;
mod variables;

pub use env::{Environment, Facts};
pub use error::Error;
pub use parse::{
    BrokerRequest, BuildRequest, CacheRequest, CompareRequest, Failure, Invocation, WarmRequest,
    parse,
};

/// Where kaniko's image keeps its programs and work, and where pipelines mount credentials.
const KANIKO_DIRECTORY: &str = "/kaniko";
