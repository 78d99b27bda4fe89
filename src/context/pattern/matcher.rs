//! Ignore patterns: moby's pattern matcher, answer for answer.

use std::sync::OnceLock;

use super::rune::{clean, to_text, trim_space};
use super::{PatternError, go_match, re2};

/// A list of ignore patterns; the last one that matches a path decides.
///
/// A pattern also matches everything below what it matches, and `!` in front excepts what an earlier
/// pattern matched.
#[derive(Debug)]
pub struct PatternMatcher {
    patterns: Vec<Pattern>,
}

/// Which patterns matched a directory; handed on to what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentMatches(Box<[bool]>);

/// Reports whether any of `patterns` matches `path` or a directory above it, after cleaning `path`.
///
/// # Errors
/// Those of [`PatternMatcher::new`] and [`PatternMatcher::matches_or_parent_matches`].
pub fn matches<P: AsRef<[u8]>>(patterns: &[P], path: &[u8]) -> Result<bool, PatternError> {
    let matcher = PatternMatcher::new(patterns)?;
    match clean(path) {
        // Nobody means to ignore everything by naming the root.
        path if path == b"." => Ok(false),
        path => matcher.matches_or_parent_matches(&path),
    }
}

impl PatternMatcher {
    /// Reads a list of patterns; empty ones are skipped.
    ///
    /// # Errors
    /// [`PatternError`] for a lone `!`, and for a pattern whose syntax Go's `filepath.Match` refuses
    /// when asked about the name `.`. Other malformed patterns are errors when they are first used.
    pub fn new<P: AsRef<[u8]>>(patterns: &[P]) -> Result<Self, PatternError> {
        let patterns = patterns
            .iter()
            .map(|pattern| trim_space(pattern.as_ref()))
            .filter(|pattern| !pattern.is_empty())
            .map(Pattern::new)
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Reports whether `path`, or a directory above it, is matched. `path` is taken as written.
    ///
    /// # Errors
    /// [`PatternError::Syntax`] where a pattern that has to be tried is malformed.
    pub fn matches_or_parent_matches(&self, path: &[u8]) -> Result<bool, PatternError> {
        let mut matched = false;
        for pattern in &self.patterns {
            if pattern.is_exception == matched && pattern.matches_at_or_above(path)? {
                matched = !pattern.is_exception;
            }
        }
        Ok(matched)
    }

    /// Reports whether `path` is matched, given what matched the directory it is in (`None`: it has
    /// none above it), and which patterns match it.
    ///
    /// This is not the same question as [`Self::matches_or_parent_matches`]: a pattern that was not
    /// tried on a directory, because it could not have changed the answer there, does not count as
    /// having matched it, and what it would have matched is not remembered below.
    ///
    /// # Errors
    /// [`PatternError::Syntax`] where a pattern that has to be tried is malformed.
    pub fn matches_below(
        &self,
        path: &[u8],
        parent: Option<&ParentMatches>,
    ) -> Result<(bool, ParentMatches), PatternError> {
        let mut matched = false;
        let mut hits = Vec::with_capacity(self.patterns.len());
        for (position, pattern) in self.patterns.iter().enumerate() {
            let hit = match parent {
                Some(parent) if parent.0.get(position) == Some(&true) => true,
                _ if pattern.is_exception != matched => false,
                Some(_) => pattern.matches(path)?,
                None => pattern.matches_at_or_above(path)?,
            };
            hits.push(hit);
            if hit {
                matched = !pattern.is_exception;
            }
        }
        Ok((matched, ParentMatches(hits.into())))
    }

    /// Returns whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the exceptions (`!`), cleaned and without the `!`, in order.
    pub fn exceptions(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns
            .iter()
            .filter(|pattern| pattern.is_exception)
            .map(|pattern| pattern.cleaned.as_slice())
    }
}

/// One pattern, compiled when it is first tried: a malformed pattern that no path reaches is no
/// error.
#[derive(Debug)]
struct Pattern {
    cleaned: Vec<u8>,
    is_exception: bool,
    form: OnceLock<Option<Form>>,
}

/// How a pattern is tried.
#[derive(Debug)]
enum Form {
    /// No wildcard: the path is the pattern.
    Exact,
    /// The only wildcard is a `**` at the end: the path starts with the rest.
    Prefix,
    /// The only wildcard is a `**` at the start: the path ends with the rest.
    Suffix,
    Regex(regex::bytes::Regex),
}

impl Pattern {
    fn new(pattern: &[u8]) -> Result<Self, PatternError> {
        let cleaned = clean(pattern);
        let (is_exception, cleaned) = match cleaned.strip_prefix(b"!") {
            Some([]) => return Err(PatternError::EmptyException),
            Some(rest) => (true, rest.to_vec()),
            None => (false, cleaned),
        };
        go_match(&cleaned, b".")?;
        Ok(Self { cleaned, is_exception, form: OnceLock::new() })
    }

    fn matches_at_or_above(&self, path: &[u8]) -> Result<bool, PatternError> {
        if self.matches(path)? {
            return Ok(true);
        }
        for parent in parents(path) {
            if self.matches(&parent)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn matches(&self, path: &[u8]) -> Result<bool, PatternError> {
        let form = self.form.get_or_init(|| compile(&self.cleaned)).as_ref();
        Ok(match form.ok_or_else(|| PatternError::syntax(&self.cleaned))? {
            Form::Exact => path == self.cleaned,
            Form::Prefix => {
                self.cleaned.strip_suffix(b"**").is_some_and(|prefix| path.starts_with(prefix))
            }
            Form::Suffix => self.cleaned.strip_prefix(b"**").is_some_and(|suffix| {
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }),
            Form::Regex(regex) => regex.is_match(to_text(path).as_bytes()),
        })
    }
}

/// Returns the directories above `path`, topmost first, as Go's `filepath.Dir` and `Split` give
/// them: for an absolute path the first is empty.
fn parents(path: &[u8]) -> Vec<Vec<u8>> {
    let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else {
        return Vec::new();
    };
    let above = clean(path.get(..=slash).unwrap_or_default());
    let ends = above.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    ends.map(|(end, _)| end)
        .chain([above.len()])
        .filter_map(|end| above.get(..end))
        .filter(|parent| *parent != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// Compiles a cleaned pattern; `None` where it makes no regular expression.
fn compile(cleaned: &[u8]) -> Option<Form> {
    match translate(cleaned) {
        Translated::Exact => Some(Form::Exact),
        Translated::Prefix => Some(Form::Prefix),
        Translated::Suffix => Some(Form::Suffix),
        Translated::Regex(source) => re2::compile(&source).map(Form::Regex),
    }
}

/// What a pattern is in Docker's translation; the regular expression is in Go's syntax.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Translated {
    Exact,
    Prefix,
    Suffix,
    Regex(String),
}

pub(super) fn translate(cleaned: &[u8]) -> Translated {
    let text = to_text(cleaned);
    let mut source = String::from("^");
    let mut form = Translated::Exact;
    let regex = || Translated::Regex(String::new());
    // Go's scanner drops a byte order mark at the start.
    let mut runes = text.strip_prefix('\u{FEFF}').unwrap_or(&text).chars().peekable();
    let mut is_first = true;
    while let Some(rune) = runes.next() {
        match rune {
            '*' if runes.next_if_eq(&'*').is_some() => {
                runes.next_if_eq(&'/');
                if runes.peek().is_some() {
                    source.push_str("(.*/)?");
                    form = regex();
                } else if form == Translated::Exact {
                    form = Translated::Prefix;
                } else {
                    source.push_str(".*");
                    form = regex();
                }
                if is_first {
                    form = Translated::Suffix;
                }
            }
            '*' => {
                source.push_str("[^/]*");
                form = regex();
            }
            '?' => {
                source.push_str("[^/]");
                form = regex();
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => source.extend(['\\', rune]),
            '\\' => {
                source.push('\\');
                if let Some(escaped) = runes.next() {
                    source.push(escaped);
                    form = regex();
                }
            }
            '[' | ']' => {
                source.push(rune);
                form = regex();
            }
            _ => source.push(rune),
        }
        is_first = false;
    }
    match form {
        Translated::Regex(_) => Translated::Regex(source + "$"),
        form => form,
    }
}
