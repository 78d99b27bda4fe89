//! Go's `filepath.Match`, answer for answer.

use super::PatternError;
use super::rune::first_rune;

/// Reports whether `pattern` matches all of `name`.
///
/// `*` matches a run without `/`, `?` one character but `/`, `[…]` one character of a class (`^`
/// negates; a class may match `/`), `\` takes the next character literally.
///
/// # Errors
/// [`PatternError::Syntax`] where the pattern is malformed, and only as far as the name made the
/// matcher read it: `a[` is an error for the name `a`, `*x/[` is none for `b`. Ignore patterns
/// depend on that, because Docker checks each with one call on the name `.`.
pub fn go_match(pattern: &[u8], name: &[u8]) -> Result<bool, PatternError> {
    match_all(pattern, name).ok_or_else(|| PatternError::syntax(pattern))
}

/// Reports whether all of `pattern` can be read, whatever the name: then [`go_match`] never fails.
pub fn is_well_formed(mut pattern: &[u8]) -> bool {
    while !pattern.is_empty() {
        let (_, chunk, rest) = next_chunk(pattern);
        if match_chunk(chunk, b"").is_none() {
            return false;
        }
        pattern = rest;
    }
    true
}

/// As [`go_match`]; `None` is a malformed pattern.
fn match_all(mut pattern: &[u8], mut name: &[u8]) -> Option<bool> {
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = next_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Some(!name.contains(&b'/'));
        }
        if let Some(left) = match_chunk(chunk, name)?
            && (left.is_empty() || !pattern.is_empty())
        {
            name = left;
            continue;
        }
        if star {
            let run = name.iter().take_while(|byte| **byte != b'/').count();
            for skipped in 1..=run {
                let Some(left) = match_chunk(chunk, name.get(skipped..)?)? else {
                    continue;
                };
                if pattern.is_empty() && !left.is_empty() {
                    continue;
                }
                name = left;
                continue 'pattern;
            }
        }
        return Some(false);
    }
    Some(name.is_empty())
}

/// Splits off the stars at the front and the text up to the next star outside a class.
fn next_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    let body = pattern.get(stars..).unwrap_or_default();
    let mut in_class = false;
    let mut escaped = false;
    let end = body
        .iter()
        .position(|byte| {
            if std::mem::take(&mut escaped) {
                return false;
            }
            match byte {
                b'\\' => escaped = true,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'*' => return !in_class,
                _ => {}
            }
            false
        })
        .unwrap_or(body.len());
    let (chunk, rest) = body.split_at(end);
    (stars > 0, chunk, rest)
}

/// Matches a chunk at the start of `name` and returns what is left of it: `Some(None)` where it
/// does not match, `None` where the chunk is malformed.
///
/// A chunk is read to its end even when it failed early, so that its syntax is always checked.
#[expect(
    clippy::option_option,
    reason = "malformed and unmatched are two answers, private to this file"
)]
fn match_chunk<'n>(mut chunk: &[u8], name: &'n [u8]) -> Option<Option<&'n [u8]>> {
    let mut left = Some(name);
    while let Some((first, tail)) = chunk.split_first() {
        left = left.filter(|left| !left.is_empty());
        match first {
            b'[' => {
                let rune = left.and_then(first_rune);
                let (matched, rest) = match_class(tail, rune.map(|(rune, _)| rune))?;
                chunk = rest;
                left = match rune {
                    Some((_, width)) if matched => left.and_then(|left| left.get(width..)),
                    _ => None,
                };
            }
            b'?' => {
                chunk = tail;
                left = left
                    .filter(|left| left.first() != Some(&b'/'))
                    .and_then(|left| left.get(first_rune(left)?.1..));
            }
            _ => {
                let (literal, rest) = match first {
                    b'\\' => tail.split_first()?,
                    _ => (first, tail),
                };
                chunk = rest;
                left = left.and_then(|left| left.strip_prefix(std::slice::from_ref(literal)));
            }
        }
    }
    Some(left)
}

/// Reads a class after its `[` and says whether it takes `rune`; with the text behind the class.
fn match_class(class: &[u8], rune: Option<char>) -> Option<(bool, &[u8])> {
    let (negated, mut class) = match class.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let mut is_first = true;
    loop {
        if let Some((b']', rest)) = class.split_first()
            && !is_first
        {
            return Some((found != negated, rest));
        }
        is_first = false;
        let (low, rest) = class_rune(class)?;
        let (high, rest) = match rest.split_first() {
            Some((b'-', rest)) => class_rune(rest)?,
            _ => (low, rest),
        };
        class = rest;
        found |= rune.is_some_and(|rune| low <= rune && rune <= high);
    }
}

/// Reads one character of a class. A class always goes on behind it: its `]` is still to come.
fn class_rune(class: &[u8]) -> Option<(char, &[u8])> {
    let text = match class.split_first()? {
        (b'-' | b']', _) => return None,
        (b'\\', rest) => rest,
        _ => class,
    };
    let (rune, width) = first_rune(text)?;
    if rune == char::REPLACEMENT_CHARACTER && width == 1 {
        return None;
    }
    let rest = text.get(width..)?;
    (!rest.is_empty()).then_some((rune, rest))
}
