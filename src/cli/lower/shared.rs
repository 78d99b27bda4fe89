//! What is done with the directory that builds and warmers share.

use std::time::Duration;

use super::absolute;
use crate::build::options::{NewContent, SharedOptions, TagLookup};
use crate::cli::args::{CacheArgs, DEFAULT_CACHE_DIRECTORY};
use crate::cli::env::Facts;
use crate::cli::go_values::GoDuration;

/// Lowers `--cache-dir` and the flags beside it.
///
/// As with kaniko, what a warmer says that a tag names counts with `--cache`; so it does where
/// another directory is named, which nobody does without a reason.
pub fn shared(args: &CacheArgs, facts: &Facts) -> SharedOptions {
    let is_named = is_named(args);
    let is_used = is_used(args);
    SharedOptions {
        directory: absolute(&args.cache_dir, facts),
        tags: match is_used {
            true => TagLookup::Remembered,
            false => TagLookup::Registry,
        },
        new_content: match (is_named, is_used) {
            (true, _) => NewContent::Kept,
            (false, true) => NewContent::KeptWhereItIs,
            (false, false) => NewContent::NotKept,
        },
        time_to_live: lifetime(args.cache_ttl),
        limit_bytes: args.cache_dir_limit.map(|limit| limit.bytes),
    }
}

/// Tells whether the directory counts for more than its blobs.
pub fn is_used(args: &CacheArgs) -> bool {
    args.cache || is_named(args)
}

/// Tells whether another directory than the default one is named.
fn is_named(args: &CacheArgs) -> bool {
    args.cache_dir != DEFAULT_CACHE_DIRECTORY && !args.cache_dir.is_empty()
}

/// Returns how long something counts: nothing is younger than no time at all.
pub fn lifetime(duration: GoDuration) -> Duration {
    Duration::from_nanos(u64::try_from(duration.nanoseconds).unwrap_or_default())
}
