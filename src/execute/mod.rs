//! The effects of a step on a root file system: copy, add, workdir, identity, RUN.
//!
//! Knows no registry.

pub mod identity;
