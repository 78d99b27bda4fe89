//! Character classes of the language the original is written in (Go), where they differ from
//! Rust's own.
//!
//! White space is the same in both (`char::is_whitespace`), also for U+0085 and U+00A0.

use std::sync::LazyLock;

use regex::Regex;

/// Returns whether a character is a letter (category L; Rust's `is_alphabetic` has marks too).
pub(super) fn is_letter(character: char) -> bool {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| class(r"\p{L}"));
    if character.is_ascii() {
        return character.is_ascii_alphabetic();
    }
    LETTER.is_match(character.encode_utf8(&mut [0; 4]))
}

/// Returns whether a character is a decimal digit (category Nd; Rust's `is_numeric` has fractions
/// and Roman numbers too).
pub(super) fn is_decimal_digit(character: char) -> bool {
    static DIGIT: LazyLock<Regex> = LazyLock::new(|| class(r"\p{Nd}"));
    if character.is_ascii() {
        return character.is_ascii_digit();
    }
    DIGIT.is_match(character.encode_utf8(&mut [0; 4]))
}

/// Lowers each character by Unicode's simple mapping, which never makes two of one.
pub(super) fn to_lower(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            // The one character whose full mapping has two.
            '\u{130}' => 'i',
            other => other.to_lowercase().next().unwrap_or(other),
        })
        .collect()
}

fn class(class: &str) -> Regex {
    Regex::new(class).expect("the class is a constant that compiles")
}

#[cfg(test)]
mod tests {
    use super::{is_decimal_digit, is_letter, to_lower};

    #[test]
    fn letters_and_digits_are_those_of_the_general_category() {
        for (character, letter, digit) in [
            ('a', true, false),
            ('9', false, true),
            ('_', false, false),
            ('\u{fc}', true, false),
            ('\u{d55c}', true, false),
            ('\u{2160}', false, false), // a Roman number: Nl
            ('\u{345}', false, false),  // a mark that Rust calls alphabetic
            ('\u{663}', false, true),   // an Arabic digit
            ('\u{bd}', false, false),   // one half: No
        ] {
            assert_eq!((is_letter(character), is_decimal_digit(character)), (letter, digit));
        }
    }

    #[test]
    fn lower_case_has_as_many_characters() {
        assert_eq!(to_lower("A\u{c4}\u{212a}\u{130}\u{3a3}x"), "a\u{e4}ki\u{3c3}x");
    }
}
