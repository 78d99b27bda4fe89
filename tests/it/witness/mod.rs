//! Whole builds on real bases, pushed to a real registry, read back by other programs.
//!
//! `docker-registry` takes the push, `skopeo` reads it back, `umoci` unpacks it, and
//! `tests/witness/tree.py` describes both the file system that the commands left and the unpacked
//! one: they must be equal.

mod contexts;
mod flags;
pub mod harness;
mod images;
mod peers;
mod trackers;
mod trees;
mod user;

pub use harness::unavailable as harness_unavailable;
