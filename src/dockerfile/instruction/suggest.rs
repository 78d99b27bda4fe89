//! What a misspelled word may have meant.

/// Returns the candidate that is closest to `word`, ignoring case, if one is close: one letter wrong
/// in a short word, two in a longer one.
pub(super) fn nearest(
    word: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let word = word.to_lowercase();
    let most = match word.len() {
        // Of such a word everything is close.
        0 | 1 => return None,
        2 | 3 => 1,
        _ => 2,
    };
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= most)
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the letters to insert, delete or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, character) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn close_words_are_found() {
        let flags = ["from", "chown", "chmod", "link", "parents"];
        for (word, expected) in [
            ("frm", Some("from")),
            ("fromm", Some("from")),
            ("FORM", Some("from")),
            ("chwon", Some("chown")),
            ("chmo", Some("chmod")),
            ("parent", Some("parents")),
            ("x", None),
            ("lnk", Some("link")),
            ("fr", None),
            ("platform", None),
            ("\u{e9}\u{e9}\u{e9}", None),
        ] {
            assert_eq!(nearest(word, flags.into_iter()), expected, "{word}");
        }
    }
}
