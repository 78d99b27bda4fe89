//! COPY: where sources land, what becomes of what is there, owners, modes, times, links.

use std::fs;
use std::os::unix::fs::MetadataExt;

use zuwai::execute::{Source, copy};
use zuwai::plan::CopyStep;

use super::may_run;
use fixture::{copy_context, inline, list, list_metadata, mode, path, rootfs, step, touched, tree};

mod archives;
mod fixture;
mod metadata;
mod parents;
mod tables;

/// Copies `words` from `source` to `target` and compares the entries with `expected`, or the
/// error with `error: …`.
fn check(source: &str, target: &str, words: &str, expected: &str) {
    check_step(source, target, &step(words), expected);
}

fn check_step(source: &str, target: &str, step: &CopyStep, expected: &str) {
    let (source, target) = (tree(source), tree(target));
    let result = match copy_context(step, &source, &target) {
        Ok(_) => list(target.path()),
        Err(error) => vec![format!("error: {error}")],
    };
    let expected: Vec<&str> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(result, expected, "{step:?}");
}
