use super::matcher::{Translated, translate};
use super::rune::{clean, trim_space};
use super::*;

fn check_go_match(pattern: &str, name: &str, expected: Result<bool, ()>) {
    let actual = go_match(pattern.as_bytes(), name.as_bytes()).map_err(|_| ());
    assert_eq!(actual, expected, "pattern {pattern:?}, name {name:?}");
}

#[test]
fn go_match_follows_filepath_match() {
    for (pattern, name, expected) in [
        ("", "", true),
        ("", "a", false),
        ("main.c", "main.c", true),
        ("*", "", true),
        ("*", "main.c", true),
        ("*", ".hidden", true),
        ("*", "src/main.c", false),
        ("**", "src/main.c", false),
        ("*.c", "main.c", true),
        ("m*n*", "main.c", true),
        ("*ab", "aab", true),
        ("a*a*a", "aaaa", true),
        ("s*/*.c", "src/main.c", true),
        ("s*.c", "src/main.c", false),
        ("src*main.c", "src/main.c", false),
        ("ma?n.c", "main.c", true),
        ("a?b", "a/b", false),
        ("a?b", "aéb", true),
        ("a??b", "aéb", false),
        ("[a-c]", "b", true),
        ("[^a-c]", "b", false),
        ("[^a-c]", "é", true),
        ("[a-cx-z]", "y", true),
        ("a[^b]c", "a/c", true),
        (r"[\-\]]", "]", true),
        (r"[a\-z]", "-", true),
        (r"[a\-z]", "m", false),
        ("[a*]b", "*b", true),
        (r"\*", "*", true),
        (r"\*", "a", false),
        ("]", "]", true),
        ("{a,b}", "a", false),
    ] {
        check_go_match(pattern, name, Ok(expected));
    }
}

#[test]
fn a_pattern_is_well_formed_when_all_of_it_can_be_read() {
    for good in ["", "*", "a?[b-d]*", r"\[", "]", "**", "*[a*]*"] {
        assert!(is_well_formed(good.as_bytes()), "{good}");
    }
    for bad in ["[", "*x[", "a*[b", r"x*\", "[]", "*[a-]*"] {
        assert!(!is_well_formed(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn go_match_reads_a_malformed_pattern_only_as_far_as_it_gets() {
    for (pattern, name) in [
        ("[", "a"),
        ("[]a]", "]"),
        ("[-x]", "x"),
        ("[x-]", "x"),
        ("[a-b-c]", "a"),
        ("[^", "a"),
        ("a[", "a"),
        ("ab[", "x"),
        (r"\", "a"),
        (r"b\", "a"),
        ("*[", "a"),
    ] {
        check_go_match(pattern, name, Err(()));
    }
    check_go_match("*x[", "b", Err(()));
    check_go_match("x*[", "b", Ok(false));
    check_go_match("x*", "b", Ok(false));
}

#[test]
fn go_match_counts_bytes_that_are_no_utf8_as_one_character_each() {
    assert_eq!(go_match(b"a?b", b"a\xFFb"), Ok(true));
    assert_eq!(go_match(b"a??b", b"a\xE2\x82b"), Ok(true));
    assert_eq!(go_match(b"a\xFFb", b"a\xFFb"), Ok(true));
    assert_eq!(go_match(b"[\xFF]", b"\xFF"), Err(PatternError::syntax(b"[\xFF]")));
}

#[test]
fn patterns_translate_as_docker_does() {
    let regex = |source: &str| Translated::Regex(source.to_owned());
    for (pattern, expected) in [
        ("src/main.c", Translated::Exact),
        ("a.|)$(}+{bc", Translated::Exact),
        ("src/**", Translated::Prefix),
        ("src**", Translated::Prefix),
        ("**", Translated::Suffix),
        ("**/main.c", Translated::Suffix),
        ("**.c", Translated::Suffix),
        ("*", regex("^[^/]*$")),
        ("*.c", regex(r"^[^/]*\.c$")),
        ("**/**", regex("^(.*/)?.*$")),
        ("**/src/**", regex("^(.*/)?src/.*$")),
        ("src/**/*.c", regex(r"^src/(.*/)?[^/]*\.c$")),
        ("a***", regex("^a(.*/)?[^/]*$")),
        ("a?b", regex("^a[^/]b$")),
        ("[a-c]*", regex("^[a-c][^/]*$")),
        (r"a\*b", regex(r"^a\*b$")),
        (r"*\", regex(r"^[^/]*\$")),
    ] {
        assert_eq!(translate(pattern.as_bytes()), expected, "pattern {pattern:?}");
    }
}

fn check_matches(patterns: &[&str], path: &str, expected: bool) {
    assert_eq!(
        matches(patterns, path.as_bytes()),
        Ok(expected),
        "patterns {patterns:?}, path {path:?}"
    );
}

#[test]
fn a_pattern_matches_what_it_names_and_all_below() {
    for (pattern, path, expected) in [
        ("src", "src", true),
        ("src", "src/main.c", true),
        ("src", "source", false),
        ("src/", "src/main.c", true),
        ("/src", "src", false),
        ("./src/../src", "src", true),
        ("*.c", "main.c", true),
        ("*.c", "src/main.c", false),
        ("*/*.c", "src/main.c", true),
        ("**/*.c", "main.c", true),
        ("**/*.c", "a/b/main.c", true),
        ("**/main.c", "main.c", true),
        ("**/main.c", "xmain.c", false),
        ("**main.c", "xmain.c", true),
        ("src/**", "src", false),
        ("src/**", "src/a/b", true),
        ("src**/x", "src/a/x", true),
        ("src**/x", "srca/x", true),
        ("src**/x", "srcax", false),
        ("a?c", "a/c", false),
        ("a?c", "aéc", true),
        (".", "src", false),
        ("/", "src", false),
        ("a+b", "a+b", true),
        ("a+b*", "aab", false),
    ] {
        check_matches(&[pattern], path, expected);
    }
}

#[test]
fn the_last_matching_pattern_decides() {
    check_matches(&["src", "!src/main.c"], "src/main.c", false);
    check_matches(&["src", "!src/main.c"], "src/other.c", true);
    check_matches(&["!src", "src"], "src", true);
    check_matches(&["**", "!src", "src/a"], "src/a/b", true);
    check_matches(&["*", "!src"], "src/a", false);
    check_matches(&["**"], ".", false);
}

/// What Go's engine makes of the text, not what the `regex` crate would.
#[test]
fn classes_and_escapes_are_those_of_go() {
    for (pattern, path, expected) in [
        ("[[]x", "[x", true),
        ("[a[b]c", "[c", true),
        ("[a&&b]", "&", true),
        (r"[+-\-]x", ",x", true),
        ("[a~~b]", "~", true),
        ("a[.]b", "a.b", true),
        ("a[.]b", "axb", false),
        // The `*` becomes `[^/]*`, whose `]` ends the class.
        ("[a*b]", "a[xb]", false),
        ("[a*b]", "a^/b]", true),
        ("[[:digit:]]x", "7x", true),
        ("[[:^digit:]]x", "7x", false),
        ("[:digit:]x", "dx", true),
        (r"\d*", "7", true),
        (r"\d*", "d", false),
        (r"\w\W", "a-", true),
        (r"\pLx*", "éx", true),
        (r"a\.b", "axb", false),
        (r"a\bb*", "ab", false),
        (r"\101*", "A", true),
        (r"\x41*", "A", true),
        (r"\Qa*", "a[^/]*$", true),
        ("^a*", "a", true),
        ("x^a*", "x^a", false),
    ] {
        check_matches(&[pattern], path, expected);
    }
}

#[test]
fn malformed_patterns_are_errors_at_once_or_when_reached() {
    let syntax = |pattern: &str| Err(PatternError::syntax(pattern.as_bytes()));
    assert_eq!(matches(&["["], b"a"), syntax("["));
    assert_eq!(matches(&[r"a\"], b"a"), syntax(r"a\"));
    assert_eq!(matches(&["!"], b"a"), Err(PatternError::EmptyException));
    // Fine for `filepath.Match`, but no regular expression.
    assert_eq!(matches(&[r"*\8"], b"a"), syntax(r"*\8"));
    assert_eq!(matches(&["b", r"!*\8"], b"a"), Ok(false));
    assert_eq!(matches(&["a", r"!*\8"], b"a"), syntax(r"*\8"));
    assert_eq!(matches(&["a", r"*\8"], b"a"), Ok(true));
}

#[test]
fn paths_need_not_be_utf8() {
    assert_eq!(matches(&[b"a*b".as_slice()], b"a\xFF\xFEb"), Ok(true));
    assert_eq!(matches(&[b"a?b".as_slice()], b"a\xE2\x82b"), Ok(false));
    assert_eq!(matches(&[b"a??b".as_slice()], b"a\xE2\x82b"), Ok(true));
    assert_eq!(matches(&[b"a\xFF".as_slice()], b"a\xFF/x"), Ok(true));
}

#[test]
fn a_pattern_not_tried_on_a_directory_is_not_remembered_for_it() {
    let matcher = PatternMatcher::new(&["d/*", "!d"]).unwrap();
    let (directory, hits) = matcher.matches_below(b"d", None).unwrap();
    assert!(!directory);
    let (file, _) = matcher.matches_below(b"d/f", Some(&hits)).unwrap();
    assert!(file);
    assert_eq!(matcher.matches_or_parent_matches(b"d/f"), Ok(false));
}

#[test]
fn white_space_is_that_of_unicode() {
    assert_eq!(trim_space(b" \t\x0B\x0C\r\na b\xC2\xA0\xE3\x80\x80"), b"a b");
    assert_eq!(trim_space(b"\xFF "), b"\xFF");
    assert_eq!(trim_space(b" \xA0"), b"\xA0");
    assert_eq!(trim_space(b"  "), b"");
}

#[test]
fn paths_are_cleaned_as_in_go() {
    for (path, expected) in [
        ("", "."),
        (".", "."),
        ("/", "/"),
        ("//", "/"),
        ("a//b/", "a/b"),
        ("a/./b", "a/b"),
        ("a/b/..", "a"),
        ("a/..", "."),
        ("../a", "../a"),
        ("a/../../b", "../b"),
        ("/../a", "/a"),
        ("!a/..", "."),
    ] {
        assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "path {path:?}");
    }
}

/// `*` and `?` by definition, tried in all ways.
fn matches_naively(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => {
            let run = name.iter().take_while(|byte| **byte != b'/').count();
            (0..=run).any(|taken| matches_naively(rest, &name[taken..]))
        }
        Some((b'?', rest)) => {
            name.first().is_some_and(|byte| *byte != b'/') && matches_naively(rest, &name[1..])
        }
        Some((literal, rest)) => name.first() == Some(literal) && matches_naively(rest, &name[1..]),
    }
}

proptest::proptest! {
    #[test]
    fn go_match_finds_what_the_definition_finds(pattern in "[ab/*?]{0,8}", name in "[ab/]{0,8}") {
        let expected = matches_naively(pattern.as_bytes(), name.as_bytes());
        proptest::prop_assert_eq!(go_match(pattern.as_bytes(), name.as_bytes()), Ok(expected));
    }

    /// Where the two languages are one: whole names, no `**`, no class.
    #[test]
    fn a_lone_pattern_matches_as_go_match_does(pattern in "[ab?][ab?*]{0,6}", name in "[ab]{1,6}") {
        proptest::prop_assume!(!pattern.contains("**"));
        let expected = go_match(pattern.as_bytes(), name.as_bytes());
        proptest::prop_assert_eq!(matches(&[pattern], name.as_bytes()), expected);
    }

    #[test]
    fn nothing_panics(
        patterns in proptest::collection::vec(r"[ab*?\[\]^\\/!.{}()|$:dpxQE0-9-]{0,12}", 0..4),
        path in proptest::collection::vec(proptest::num::u8::ANY, 0..12),
    ) {
        let _ = matches(&patterns, &path);
        for pattern in patterns {
            let _ = go_match(pattern.as_bytes(), &path);
        }
    }
}
