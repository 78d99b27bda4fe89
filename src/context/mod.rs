//! Where a build comes from: directories, archives here and elsewhere, and `.dockerignore`.
//!
//! Owns the files of a context: how they become a directory ([`open`]), where the Dockerfile is
//! ([`dockerfile`]), and which files count ([`BuildContext`]); and what is fetched beside them
//! ([`fetch_file`]). Must not know registries or stages.
//! The idea to hold in mind: a context is a [`snapshot::Rootfs`], so that no link in it leads out,
//! and it is only ever read.

pub mod dockerfile;
pub mod dockerignore;
mod error;
mod fetch;
pub mod git;
mod known;
pub mod object;
pub mod pattern;
mod source;
mod stream;
mod tree;

pub use error::ContextError;
pub use fetch::{FetchError, fetch_file};
pub use known::{Attributes, Known, KnownFiles};
pub use source::{ContextSource, enter, open, open_directory, unpack};
pub use stream::Means;
pub use tree::BuildContext;
