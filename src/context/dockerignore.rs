//! `.dockerignore`: text → patterns, and which paths of a tree they leave.
//!
//! Pure. The idea to hold in mind: the answer for a path depends on what was decided for the
//! directories above it ([`IgnoreWalk`]), so a tree has to be asked in pre-order. Matching each path
//! by itself gives other answers, such as re-including all of `d` for `d/*` and `!d`.
//!
//! Sources: moby/patternmatcher (`ignorefile`), tonistiigi/fsutil (`FilterFS`), which is what
//! BuildKit's client runs over a context.

use super::pattern::{ParentMatches, PatternError, PatternMatcher, clean, trim_space};

/// The longest line, in bytes and without its end, that Docker's reader takes.
const MAX_LINE_BYTES: usize = 65_535;

/// Why an ignore file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A line is longer than Docker reads.
    #[error("line {line} is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A pattern is malformed. Patterns that no path reaches are not looked at.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Reads the text of an ignore file into its patterns: comments and empty lines dropped, each
/// cleaned, without a leading `/`, `!` kept.
///
/// # Errors
/// [`IgnoreError::LineTooLong`].
pub fn parse(text: &[u8]) -> Result<Vec<Vec<u8>>, IgnoreError> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut patterns = Vec::new();
    for (position, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.len() > MAX_LINE_BYTES {
            let line = position + 1;
            return Err(IgnoreError::LineTooLong { line });
        }
        // Only a `#` in the very first column makes a comment.
        if line.starts_with(b"#") {
            continue;
        }
        let (mark, pattern) = match trim_space(line) {
            [] => continue,
            [b'!', pattern @ ..] => (b"!".as_slice(), trim_space(pattern)),
            pattern => (b"".as_slice(), pattern),
        };
        let cleaned = match pattern {
            [] => Vec::new(),
            pattern => clean(pattern),
        };
        let relative = match cleaned.strip_prefix(b"/") {
            Some(relative) if !relative.is_empty() => relative,
            _ => &cleaned,
        };
        patterns.push([mark, relative].concat());
    }
    Ok(patterns)
}

/// The rules of an ignore file.
#[derive(Debug)]
pub struct IgnoreRules {
    matcher: PatternMatcher,
    /// Every exception is a path, at most with a wildcard of its own at the end, so that it shows
    /// whether one can match below a directory.
    exceptions_are_paths: bool,
}

impl IgnoreRules {
    /// Reads the text of an ignore file.
    ///
    /// # Errors
    /// [`IgnoreError`], with the pattern or line.
    pub fn read(text: &[u8]) -> Result<Self, IgnoreError> {
        Ok(Self::new(&parse(text)?)?)
    }

    /// Makes rules of patterns in the form [`parse`] gives them.
    ///
    /// # Errors
    /// [`PatternError`] as [`PatternMatcher::new`].
    pub fn new<P: AsRef<[u8]>>(patterns: &[P]) -> Result<Self, PatternError> {
        let matcher = PatternMatcher::new(patterns)?;
        let exceptions_are_paths = matcher.exceptions().all(|exception| {
            !without_trailing_wildcard(exception).iter().any(|byte| b"*[]?^\\".contains(byte))
        });
        Ok(Self { matcher, exceptions_are_paths })
    }

    /// Returns whether nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.matcher.is_empty()
    }

    /// Starts to decide on the paths of one tree.
    pub fn walk(&self) -> IgnoreWalk<'_> {
        IgnoreWalk { rules: self, above: Vec::new() }
    }

    /// Returns which of `tree` is kept, in its order, with the excluded directories above kept ones.
    ///
    /// `tree` is every path of it with whether it is a directory, in pre-order (each directory
    /// directly before what is in it), relative and cleaned.
    ///
    /// # Errors
    /// [`PatternError`] where a malformed pattern had to be tried.
    pub fn kept<P: AsRef<[u8]>>(
        &self,
        tree: impl IntoIterator<Item = (P, bool)>,
    ) -> Result<Vec<Vec<u8>>, PatternError> {
        let mut walk = self.walk();
        let mut kept = Vec::new();
        let mut pruned: Option<Vec<u8>> = None;
        for (path, is_directory) in tree {
            let path = path.as_ref();
            if pruned.as_ref().is_some_and(|pruned| is_below(path, pruned)) {
                continue;
            }
            match walk.visit(path, is_directory)? {
                Verdict::Kept { restored } => {
                    kept.extend(restored);
                    kept.push(path.to_vec());
                }
                Verdict::Ignored => {}
                Verdict::Pruned => pruned = Some(path.to_vec()),
            }
        }
        Ok(kept)
    }

    /// Returns whether an exception could match something below the ignored directory `path`.
    fn may_keep_below(&self, path: &[u8]) -> bool {
        if !self.exceptions_are_paths {
            return true;
        }
        // Docker compares the exception without its trailing `/*` or `/**`, so that of `a/*/**`
        // only `a` counts, and what it would except under `a/x` is not found.
        self.matcher.exceptions().any(|exception| {
            let exception = without_trailing_wildcard(exception);
            exception == path || is_below(exception, path)
        })
    }
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the context.
    Kept {
        /// Ignored directories above it that come back because of it, topmost first; each is named
        /// once in a walk.
        restored: Vec<Vec<u8>>,
    },
    /// It is ignored; if it is a directory, something in it may still be kept.
    Ignored,
    /// It is an ignored directory, and all below it is ignored too: not to be visited.
    Pruned,
}

/// One pass over a tree in pre-order.
#[derive(Debug)]
pub struct IgnoreWalk<'r> {
    rules: &'r IgnoreRules,
    above: Vec<DirectoryAbove>,
}

#[derive(Debug)]
struct DirectoryAbove {
    path: Vec<u8>,
    matches: ParentMatches,
    is_kept: bool,
}

impl IgnoreWalk<'_> {
    /// Decides on the next path; every directory is visited directly before what is in it.
    ///
    /// # Errors
    /// [`PatternError`] where a malformed pattern had to be tried.
    pub fn visit(&mut self, path: &[u8], is_directory: bool) -> Result<Verdict, PatternError> {
        while self.above.last().is_some_and(|above| !is_below(path, &above.path)) {
            self.above.pop();
        }
        let parent = self.above.last().map(|above| &above.matches);
        let (is_ignored, matches) = self.rules.matcher.matches_below(path, parent)?;
        let mut restored = Vec::new();
        if is_ignored {
            if is_directory && !self.rules.may_keep_below(path) {
                return Ok(Verdict::Pruned);
            }
        } else {
            for above in self.above.iter_mut().filter(|above| !above.is_kept) {
                above.is_kept = true;
                restored.push(above.path.clone());
            }
        }
        if is_directory {
            self.above.push(DirectoryAbove { path: path.to_vec(), matches, is_kept: !is_ignored });
        }
        Ok(match is_ignored {
            true => Verdict::Ignored,
            false => Verdict::Kept { restored },
        })
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}

fn without_trailing_wildcard(pattern: &[u8]) -> &[u8] {
    let pattern = pattern.strip_suffix(b"/**").unwrap_or(pattern);
    pattern.strip_suffix(b"/*").unwrap_or(pattern)
}

#[cfg(test)]
#[path = "dockerignore_tests.rs"]
mod tests;
