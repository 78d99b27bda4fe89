use super::super::ast::EscapeToken;
use super::super::source::Position;
use super::lines::LogicalLine;
use super::words::{split_blanks, split_flags, split_quoted};

fn line(text: &str) -> LogicalLine {
    let mut line = LogicalLine::default();
    line.push(text, Position { line: 1, column: 1 });
    line
}

#[test]
fn blanks_split_without_regard_to_quotes() {
    for (text, expected) in [
        ("", &[][..]),
        ("a", &["a"]),
        ("a b\t\u{b}\u{c}\r c", &["a", "b", "c"]),
        (r#""a b" c\ d"#, &["\"a", "b\"", "c\\", "d"]),
        ("a\u{a0}b\u{2003}c", &["a\u{a0}b\u{2003}c"]),
    ] {
        let line = line(text);
        let words = split_blanks(&line, 0..text.len());
        assert_eq!(words.iter().map(|word| &word.value).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn quoted_words_keep_quotes_and_escapes() {
    for (text, expected) in [
        ("", &[][..]),
        ("a b", &["a", "b"]),
        (r"a\ b c", &[r"a\ b", "c"]),
        (r"a\\ b", &[r"a\\", "b"]),
        (r#"a="b c"'d e' f"#, &[r#"a="b c"'d e'"#, "f"]),
        (r#""a\" b" '\' c"#, &[r#""a\" b""#, r"'\'", "c"]),
        (r#"\"a b"#, &[r#"\"a"#, "b"]),
        (r#""" ''"#, &[r#""""#, "''"]),
        (r#"a "b c"#, &["a", r#""b c"#]),
        (r"a b\", &["a", "b"]),
        (r"a \", &["a"]),
        (r#"a "b\"#, &["a", r#""b"#]),
        ("a\u{a0}\u{e0}\u{f6}", &["a", "\u{e0}\u{f6}"]),
    ] {
        let line = line(text);
        let words = split_quoted(&line, 0..text.len(), EscapeToken::Backslash);
        let words: Vec<_> = words.into_iter().map(|word| line.slice(word)).collect();
        assert_eq!(words, expected, "{text}");
    }
    let line = line(r"a` b\ c");
    let words = split_quoted(&line, 0..7, EscapeToken::Backtick);
    assert_eq!(words, [0..5, 6..7]);
}

#[test]
fn flags_are_split_off_by_their_own_quoting_rules() {
    for (text, flags, rest) in [
        ("", &[][..], ""),
        ("a --b", &[], "a --b"),
        ("-a", &[], "-a"),
        ("--a", &["--a"], ""),
        (" --a  --b=c d", &["--a", "--b=c"], "d"),
        (r#"--chown="a b":c d"#, &["--chown=a b:c"], "d"),
        (r"--a='b\'c d' e", &["--a=b'c d"], "e"),
        (r"--a=\  b", &["--a= "], "b"),
        (r#"--a"b c"#, &["--ab c"], ""),
        (r"--a\", &["--a"], ""),
        ("--a -- --b c", &["--a"], " --b c"),
        ("--", &[], ""),
        (r#"--"" a"#, &[], " a"),
        (r"--\- a", &["---"], "a"),
        (r#""--a" b"#, &[], r#""--a" b"#),
        ("--\u{e9}=b a", &["--\u{c3}\u{a9}=b"], "a"),
        ("--a=\u{e0}b c", &["--a=\u{c3}"], "b c"),
        ("--a='\u{e0}b' c", &["--a=\u{c3}\u{a0}b"], "c"),
        ("--a=\u{2140}b", &["--a=\u{e2}"], "b"),
        ("\u{a0}--a b", &[], "\u{a0}--a b"),
    ] {
        let line = line(text);
        let (words, range) = split_flags(&line, 0..text.len(), EscapeToken::Backslash);
        assert_eq!(words.iter().map(|word| &word.value).collect::<Vec<_>>(), flags, "{text}");
        assert_eq!(line.slice(range), rest, "{text}");
    }
}
