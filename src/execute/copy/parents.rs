//! `--parents`: what a pattern leaves of a directory, with the directories that it is in.
//!
//! A pattern is one of an ignore file: `**` is any number of directories, and what is in a directory
//! that matches is copied with it. Links on the way are things to be copied, never followed.

use std::collections::HashSet;

use snapshot::{FileKind, Metadata, RootfsPath};

use super::exclude::Excludes;
use super::source::{Source, has_wildcard};
use crate::context::pattern::{ParentMatches, PatternMatcher};
use crate::execute::ExecuteError;

/// Something to copy.
pub(super) struct Picked {
    /// Where it is.
    pub(super) path: RootfsPath,
    /// Where it goes, from the destination.
    pub(super) below: RootfsPath,
    pub(super) metadata: Metadata,
}

/// A directory whose entries are still to be looked at.
struct Pending {
    path: RootfsPath,
    below: RootfsPath,
    /// Which patterns match it; `None`: it is the top.
    matches: Option<ParentMatches>,
}

/// Something that was seen, before it is known whether it is wanted.
struct Seen {
    picked: Picked,
    is_wanted: bool,
}

/// Returns what `pattern` leaves of each directory that `directory` means, in an order that depends on
/// names alone: a directory comes before what is in it.
pub(super) fn pick(
    source: &Source<'_>,
    excludes: &Excludes,
    directory: &RootfsPath,
    pattern: &RootfsPath,
) -> Result<Vec<Vec<Picked>>, ExecuteError> {
    let matcher =
        PatternMatcher::new(&[pattern.as_bytes()]).map_err(ExecuteError::ParentsPattern)?;
    let is_literal = !has_wildcard(directory.as_bytes()) && !has_wildcard(pattern.as_bytes());
    let way = Way::of(pattern);
    let mut picked = Vec::new();
    for named in source.matches(directory)? {
        let top = source.follow(&named)?;
        let mut has_match = pattern.is_root();
        if top.metadata.kind == FileKind::Directory {
            let left = excludes.below(source.rootfs(), &top.path)?;
            let mut seen = Vec::new();
            let below = RootfsPath::root();
            let mut pending = vec![Pending { path: top.path.clone(), below, matches: None }];
            while let Some(next) = pending.pop() {
                let open = source.rootfs().open_dir(&next.path)?;
                let mut entries = open.entries()?;
                entries.sort();
                for entry in entries {
                    let path = next.path.join_name(&entry.name);
                    let below = next.below.join_name(&entry.name);
                    if !source.keeps(&path) {
                        continue;
                    }
                    let matched = matcher.matches_below(below.as_bytes(), next.matches.as_ref());
                    let (is_matched, matches) = matched.map_err(ExecuteError::ParentsPattern)?;
                    has_match |= is_matched;
                    if !left.keeps(&path) || !is_matched && !way.may_lead_through(&below) {
                        continue;
                    }
                    let Some(metadata) = open.metadata(&entry.name)? else {
                        return Err(ExecuteError::SourceVanished { path });
                    };
                    if metadata.kind == FileKind::Directory {
                        let (path, below) = (path.clone(), below.clone());
                        pending.push(Pending { path, below, matches: Some(matches) });
                    } else if !is_matched {
                        continue;
                    }
                    let found = Picked { path, below, metadata };
                    seen.push(Seen { picked: found, is_wanted: is_matched });
                }
            }
            let kept = with_parents(seen);
            kept.iter().for_each(|picked| source.saw(&picked.path, &picked.metadata));
            picked.push(kept);
        }
        if is_literal && !has_match {
            return Err(source.missing(&below(&named, pattern)));
        }
    }
    Ok(picked)
}

fn below(top: &RootfsPath, path: &RootfsPath) -> RootfsPath {
    path.components().fold(top.clone(), |path, name| path.join_name(name))
}

/// Keeps what is wanted, and the directories above it.
fn with_parents(seen: Vec<Seen>) -> Vec<Picked> {
    let mut needed = HashSet::new();
    let mut kept = Vec::new();
    // Whatever is in a directory comes after it.
    for Seen { picked, is_wanted } in seen.into_iter().rev() {
        if is_wanted || needed.contains(&picked.below) {
            needed.extend(picked.below.parent());
            kept.push(picked);
        }
    }
    kept.reverse();
    kept
}

/// The directories that a pattern begins with: no others have to be walked.
struct Way(Vec<Vec<u8>>);

impl Way {
    fn of(pattern: &RootfsPath) -> Self {
        let is_plain = |name: &&[u8]| !name.iter().any(|byte| b"*?[\\^!".contains(byte));
        Self(pattern.components().take_while(is_plain).map(<[u8]>::to_vec).collect())
    }

    /// Tells whether something that matches can be at a path, or in it.
    fn may_lead_through(&self, path: &RootfsPath) -> bool {
        self.0.iter().zip(path.components()).all(|(expected, name)| expected == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_on_the_way_are_walked() {
        let path = |text: &str| RootfsPath::new(text).expect("a path");
        for (pattern, at, expected) in [
            ("a/b/c", "a", true),
            ("a/b/c", "b", false),
            ("a/b/c", "a/x", false),
            ("a/b/c", "a/b/c/d", true),
            ("a/*/c", "a/x", true),
            ("**/c", "x/y", true),
            ("a/\\b", "a/x", true),
        ] {
            assert_eq!(Way::of(&path(pattern)).may_lead_through(&path(at)), expected, "{pattern}");
        }
    }
}
