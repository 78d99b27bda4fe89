//! The directory that builds and warmers share.

use std::path::PathBuf;
use std::time::Duration;

/// What a build does with the directory that builds and warmers share (`--cache-dir`).
///
/// What is in it by digest is used in any case, where the directory is there.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedOptions {
    /// The directory; need not exist.
    pub directory: PathBuf,
    /// Who says what a tag names.
    pub tags: TagLookup,
    /// Whether what the build fetches and finds out is kept there.
    pub new_content: NewContent,
    /// Age at which what a tag named no longer counts (`--cache-ttl`).
    pub time_to_live: Duration,
    /// Room that all of it may take, in bytes; `None`: a tenth of its file system,
    /// but no more than 2 GiB, stays free (`--cache-dir-limit`).
    pub limit_bytes: Option<u64>,
}

/// Who says what a tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagLookup {
    /// The warmer, where it has fetched the image; else the registry.
    Remembered,
    /// The registry.
    Registry,
}

/// Whether what a build fetches and finds out is kept in the shared directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewContent {
    /// It is, and the directory is made.
    Kept,
    /// Where the directory exists.
    KeptWhereItIs,
    /// It is not.
    NotKept,
}
