//! What a source of a COPY means: patterns, links, and what the ignore file leaves of a context.

use snapshot::{Digest, FileKind, Metadata, Rootfs, RootfsPath};

use super::digests::ContentDigests;
use super::watch::Watch;
use crate::archive::is_tar;
use crate::context::KnownFiles;
use crate::context::pattern::go_match;
use crate::execute::ExecuteError;
use crate::execute::error::BUILD_CONTEXT;

/// A tree that files are copied from.
pub struct Source<'a> {
    rootfs: &'a Rootfs,
    keeps: Option<&'a dyn Fn(&RootfsPath) -> bool>,
    keeps_owner: bool,
    place: &'static str,
    known: Option<&'a KnownFiles>,
    fetched: &'a [Rootfs],
    digests: Option<&'a ContentDigests>,
    watch: Option<&'a Watch>,
    /// It is shown to a command, by names in which wildcards mean themselves.
    is_mounted: bool,
}

/// A named source, links followed.
pub(in crate::execute) struct Found {
    pub(in crate::execute) path: RootfsPath,
    pub(in crate::execute) metadata: Metadata,
}

impl<'a> Source<'a> {
    /// Takes a build context or a named one: only the paths that `keeps` answers true for are
    /// there (the directories above a kept path among them), and all files belong to root.
    pub fn context(rootfs: &'a Rootfs, keeps: &'a dyn Fn(&RootfsPath) -> bool) -> Self {
        Self { keeps: Some(keeps), ..Self::all_of(rootfs, BUILD_CONTEXT) }
    }

    /// Takes the root file system of a stage or an image: all of it is there, owners included.
    pub fn root(rootfs: &'a Rootfs) -> Self {
        Self { keeps_owner: true, ..Self::all_of(rootfs, "the source of `--from`") }
    }

    /// Takes a tree whose files all belong to root.
    fn all_of(rootfs: &'a Rootfs, place: &'static str) -> Self {
        Self {
            rootfs,
            keeps: None,
            keeps_owner: false,
            place,
            known: None,
            fetched: &[],
            digests: None,
            watch: None,
            is_mounted: false,
        }
    }

    /// Takes the directories with what was fetched for a step, in the order of its sources.
    pub fn with_fetched(self, fetched: &'a [Rootfs]) -> Self {
        Self { fetched, ..self }
    }

    /// Takes what a mount shows: its name is no pattern, and a directory counts with its own mode and
    /// attributes.
    pub fn mounted(self) -> Self {
        Self { is_mounted: true, ..self }
    }

    /// Shows each entry to `watch` before it is read.
    pub fn watched_by(self, watch: &'a Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Returns what was fetched, each as a source of its own.
    pub(super) fn fetched(&self) -> Vec<Self> {
        self.fetched.iter().map(|rootfs| Self::all_of(rootfs, "what was fetched")).collect()
    }

    pub(super) fn is_mounted(&self) -> bool {
        self.is_mounted
    }

    pub(super) fn watch(&self) -> Option<&'a Watch> {
        self.watch
    }

    pub(super) fn saw(&self, path: &RootfsPath, metadata: &Metadata) {
        if let Some(watch) = self.watch {
            watch.saw(path, metadata);
        }
    }

    /// Checks that a source was the same all the time that it was read.
    pub(super) fn check(&self, found: &Found) {
        if let Some(watch) = self.watch {
            let now = self.rootfs.metadata(&found.path).ok().flatten();
            watch.expect(&found.metadata).check(&found.path, now.as_ref());
        }
    }

    /// Takes what is known of the files' content, where it is only asked what it is.
    pub fn with_known(self, known: &'a KnownFiles) -> Self {
        Self { known: Some(known), ..self }
    }

    /// Takes what was found out of the files' content, to be told where they went.
    pub fn with_digests(self, digests: Option<&'a ContentDigests>) -> Self {
        Self { digests, ..self }
    }

    pub(super) fn digest_of(&self, metadata: &Metadata) -> Option<Digest> {
        self.digests?.get(metadata)
    }

    pub(super) fn known(&self) -> Option<&'a KnownFiles> {
        self.known
    }

    pub(super) fn rootfs(&self) -> &'a Rootfs {
        self.rootfs
    }

    pub(super) fn keeps_owner(&self) -> bool {
        self.keeps_owner
    }

    pub(super) fn keeps(&self, path: &RootfsPath) -> bool {
        path.is_root() || self.keeps.is_none_or(|keeps| keeps(path))
    }

    /// Returns the paths that `pattern` means, in order: itself when there is no wildcard in it,
    /// else what matches, be it nothing. What is in a directory that matches is not looked at.
    pub(super) fn matches(&self, pattern: &RootfsPath) -> Result<Vec<RootfsPath>, ExecuteError> {
        let split = if self.is_mounted { None } else { split_wildcards(pattern) };
        let Some((prefix, rest)) = split else {
            return Ok(vec![pattern.clone()]);
        };
        let base = self.rootfs.resolve(&prefix)?;
        let is_directory = self
            .rootfs
            .metadata(&base)?
            .is_some_and(|metadata| metadata.kind == FileKind::Directory);
        if !is_directory || !self.keeps(&base) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut pending = vec![RootfsPath::root()];
        while let Some(below) = pending.pop() {
            let directory = base.join(below.as_bytes())?;
            let mut inner = Vec::new();
            for entry in self.rootfs.read_dir(&directory)? {
                let relative = below.join_name(&entry.name);
                let path = directory.join_name(&entry.name);
                if !self.keeps(&path) {
                    continue;
                }
                // A malformed pattern matches nothing, which is what BuildKit makes of it.
                if go_match(&rest, relative.as_bytes()).unwrap_or(false) {
                    found.push(path);
                } else if entry.kind == FileKind::Directory && may_match_below(&rest, &relative) {
                    inner.push(relative);
                }
            }
            pending.extend(inner.into_iter().rev());
        }
        found.sort();
        Ok(found)
    }

    /// Returns the error about something that is not there.
    pub(super) fn missing(&self, path: &RootfsPath) -> ExecuteError {
        ExecuteError::SourceMissing { path: path.clone(), place: self.place }
    }

    /// Follows a named source to what it is.
    pub(super) fn follow(&self, path: &RootfsPath) -> Result<Found, ExecuteError> {
        let resolved = self.rootfs.resolve(path)?;
        let missing = || self.missing(path);
        if !self.keeps(&resolved) {
            return Err(missing());
        }
        let metadata = self.rootfs.metadata(&resolved)?.ok_or_else(missing)?;
        self.saw(&resolved, &metadata);
        Ok(Found { path: resolved, metadata })
    }
}

impl Source<'_> {
    /// Tells whether a source is a regular file that holds a tar archive, compressed or not.
    pub(super) fn is_archive(&self, found: &Found) -> Result<bool, ExecuteError> {
        if found.metadata.kind != FileKind::Regular {
            return Ok(false);
        }
        let file = self.rootfs.open_file(&found.path)?;
        is_tar(file).map_err(|source| ExecuteError::Content { path: found.path.clone(), source })
    }
}

/// Splits before the first component with a wildcard in it, `None` when there is none.
fn split_wildcards(pattern: &RootfsPath) -> Option<(RootfsPath, Vec<u8>)> {
    let components: Vec<&[u8]> = pattern.components().collect();
    let first = components.iter().position(|component| has_wildcard(component))?;
    let (before, after) = components.split_at_checked(first)?;
    let prefix = before.iter().fold(RootfsPath::root(), |path, name| path.join_name(name));
    Some((prefix, after.join(&b'/')))
}

/// Tells whether `*`, `?` or `[` is in `text` without a backslash before it.
pub(super) fn has_wildcard(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Tells whether something in the directory `path` can match: spares walking a whole context for
/// `*.txt`. Only plain patterns are judged; a class can hold a slash.
fn may_match_below(pattern: &[u8], path: &RootfsPath) -> bool {
    if pattern.iter().any(|byte| matches!(byte, b'[' | b'\\')) {
        return true;
    }
    let mut patterns = pattern.split(|&byte| byte == b'/');
    let all_fit = path
        .components()
        .all(|name| patterns.next().is_some_and(|one| go_match(one, name).unwrap_or(true)));
    all_fit && patterns.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RootfsPath {
        RootfsPath::new(text).expect("a path")
    }

    #[test]
    fn patterns_are_split_at_their_first_wildcard() {
        let check = |pattern: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(prefix, rest)| (path(prefix), rest.as_bytes().to_vec()));
            assert_eq!(split_wildcards(&path(pattern)), expected, "{pattern}");
        };
        check("", None);
        check("a/b", None);
        check("a/b*", Some(("a", "b*")));
        check("*/b", Some(("", "*/b")));
        check("a/[b]/c/?", Some(("a", "[b]/c/?")));
        check(r"a\*b", None);
        check(r"a\\*b", Some(("", r"a\\*b")));
        check(r"a\", None);
    }

    #[test]
    fn only_directories_that_can_hold_a_match_are_walked() {
        for (pattern, directory, expected) in [
            ("*", "a", false),
            ("*/x", "a", true),
            ("*/x", "a/b", false),
            ("b*/x", "a", false),
            ("b*/x/?", "bar/x", true),
            ("b*/x/?", "bar/y", false),
            ("[a/b]", "a", true),
            (r"\**", "a", true),
        ] {
            assert_eq!(
                may_match_below(pattern.as_bytes(), &path(directory)),
                expected,
                "{pattern}"
            );
        }
    }
}
