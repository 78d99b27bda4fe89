//! The integration tests of `zuwai`, one binary.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails with it")]

mod adds;
mod archive_witness;
mod cache;
mod cli;
mod cli_spellings;
mod clouds;
mod contexts;
mod copies;
mod differential;
mod empty_layers;
mod examples;
mod hostile;
mod hostile_cases;
mod layering;
mod mounts;
mod outlines;
mod pages;
mod pod;
mod registry;
mod regsim;
mod root;
mod skip;
mod source;
mod tarball;
mod tidy;
mod tree;
mod unpack;
mod uploads;
mod user;
mod warm;
mod witness;
