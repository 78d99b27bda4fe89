use super::{Escapes, ExpandError, Lex, MAX_DEPTH, Quotes, Unset};
use crate::dockerfile::ast::EscapeToken;

const VARIABLES: &[(&str, &str)] = &[
    ("set", "value"),
    ("empty", ""),
    ("path", "/usr/local/lib/libz.so.1.2"),
    ("blank", "one  two "),
    ("lines", "ab\ncb"),
    ("\u{fc}n\u{ef}", "unicode"),
    ("stars", "a*b?c\\d"),
    ("ports", "80 81/udp"),
];

fn lookup(name: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|(variable, _)| *variable == name).map(|(_, value)| *value)
}

fn check_text(lex: Lex, cases: &[(&str, &str)]) {
    for (word, expected) in cases {
        let expansion = lex.expand(word, lookup);
        assert_eq!(expansion.map(|done| done.text).as_deref(), Ok(*expected), "{word}");
    }
}

fn check_words(lex: Lex, cases: &[(&str, &[&str])]) {
    for (word, expected) in cases {
        let expansion = lex.expand(word, lookup).expect(word);
        assert_eq!(expansion.words, *expected, "{word}");
    }
}

#[test]
fn quotes_and_escapes_are_removed() {
    check_text(
        Lex::default(),
        &[
            ("", ""),
            ("plain", "plain"),
            ("a b", "a b"),
            (r#""a b"'c d'"#, "a bc d"),
            (r"\a\ \\\$set", r"a \$set"),
            (r#""\a\"\\\$set""#, r#"\a"\$set"#),
            (r"'\a\\$set'", r"\a\\$set"),
            (r"end\", "end"),
            (r#"'"'"'""#, r#""'"#),
            ("\u{feff}mark", "mark"),
            ("not\u{feff}first", "not\u{feff}first"),
        ],
    );
    let backtick = Lex::new(EscapeToken::Backtick);
    check_text(backtick, &[(r"C:\dir", r"C:\dir"), ("`$set`", "$set"), (r#""\`"""#, "\\\"")]);
}

#[test]
fn names_are_runs_of_letters_digits_or_one_special_character() {
    check_text(
        Lex::default(),
        &[
            ("$set", "value"),
            ("${set}s", "values"),
            ("$sets", ""),
            ("$set-", "value-"),
            ("$\u{fc}n\u{ef}", "unicode"),
            ("$\u{663}x", "x"),
            ("$1set", "set"),
            ("$12$@$*$#$?$-$$$!$0.", "."),
            ("a$", "a$"),
            ("$.$ $\"\"", "$.$ $"),
            ("${@}${1}", ""),
        ],
    );
}

#[test]
fn modifiers_tell_unset_from_empty() {
    check_text(
        Lex::default(),
        &[
            ("${none-w}|${none:-w}|${none+w}|${none:+w}", "w|w||"),
            ("${empty-w}|${empty:-w}|${empty+w}|${empty:+w}", "|w|w|"),
            ("${set-w}|${set:-w}|${set+w}|${set:+w}", "value|value|w|w"),
            ("${set?m}|${set:?m}|${empty?m}", "value|value|"),
            ("${none-}", ""),
            ("${none:-${set}-$empty}", "value-"),
            (r#"${none:-"a b"'$set'}"#, "a b$set"),
            (r#""${none:-"x"}""#, "x"),
            (r"${none-\}}", "}"),
        ],
    );
}

#[test]
fn patterns_trim_and_replace() {
    check_text(
        Lex::default(),
        &[
            ("${path#*/}", "usr/local/lib/libz.so.1.2"),
            ("${path##*/}", "libz.so.1.2"),
            ("${path%.*}", "/usr/local/lib/libz.so.1"),
            ("${path%%.*}", "/usr/local/lib/libz"),
            ("${path%/?*}", "/usr/local/lib"),
            ("${path#nomatch}", "/usr/local/lib/libz.so.1.2"),
            ("${none#*}${none%%*}", ""),
            ("${path/lib/LIB}", "/usr/local/LIB/libz.so.1.2"),
            ("${path//lib/LIB}", "/usr/local/LIB/LIBz.so.1.2"),
            (r"${path//\//:}", ":usr:local:lib:libz.so.1.2"),
            ("${path/.*/}", "/usr/local/lib/libz"),
            ("${path//./}", "/usr/local/lib/libzso12"),
            (r"${stars#a\*}", r"b?c\d"),
            (r"${stars%\\d}", "a*b?c"),
            (r"${stars/\?/}", r"a*bc\d"),
            ("${lines%%b*}", "ab\nc"),
            ("${lines#*b}", "\ncb"),
            ("${lines##*b}", "\ncb"),
            ("${lines//b/<'$0'>}", "a<b>\nc<b>"),
            ("${lines//?/'$$'}", "$$\n$$"),
            ("${set//a/'$1${2}$name$-'}", "v$-lue"),
            ("${set/a/'$0'}", "v$0lue"),
            ("${empty/*/x}|${lines//*/x}", "x|x\nx"),
            ("${set/$empty/x}", "xvalue"),
        ],
    );
}

#[test]
fn words_split_at_blanks_outside_quotes_also_from_variables() {
    check_words(
        Lex::default(),
        &[
            ("", &[]),
            (" a  b ", &["a", "b"]),
            (r#"a"b c" 'd  e'"#, &["ab c", "d  e"]),
            (r"a\ b c", &["a b", "c"]),
            ("x${blank}y", &["xone", "two", "y"]),
            ("x\"${blank}\"y", &["xone  two y"]),
            ("$ports 90", &["80", "81/udp", "90"]),
            ("before${none:-$set}", &["beforevalue"]),
            ("''", &[]),
            ("<< E <<-  F <x", &["<< E", "<<-", "F", "<x"]),
            ("a\u{a0}b\u{85}c", &["a", "b", "c"]),
        ],
    );
}

#[test]
fn modes_keep_what_they_are_told_to_keep() {
    let keep_all =
        Lex { quotes: Quotes::Keep, escapes: Escapes::Keep, unset: Unset::Keep, ..Lex::default() };
    check_text(
        keep_all,
        &[
            (r#"'a' "b\"c" \d"#, r#"'a' "b\"c" \d"#),
            (r#""a\b""#, r#""a\\b""#),
            ("$none ${none} $set", "$none ${none} value"),
            ("${none:-$set}${none?x}${none:=x}", "${none:-value}${none?x}${none:=x}"),
            ("${none//a/b}${none##x}", "${none/a/b}${none##x}"),
        ],
    );
    check_text(
        Lex::for_heredoc(),
        &[
            ("it's \"$set\" \\$set \\\\ \\\n.", "it's \"value\" $set \\ \n."),
            ("${none:-'q'}", "'q'"),
        ],
    );
}

#[test]
fn broken_words_are_errors() {
    let modifier = |name: &str, modifier: &str| ExpandError::Modifier {
        name: name.to_owned(),
        modifier: modifier.to_owned(),
    };
    let required = |name: &str, message: &str| ExpandError::Required {
        name: name.to_owned(),
        message: message.to_owned(),
    };
    let pattern = |pattern: &str| ExpandError::Pattern { pattern: pattern.to_owned() };
    for (word, expected) in [
        ("'a", ExpandError::SingleQuote),
        ("\"a", ExpandError::DoubleQuote),
        ("\"a\\", ExpandError::DoubleQuote),
        ("${", ExpandError::Brace),
        ("${set", ExpandError::Brace),
        ("${set:", ExpandError::Brace),
        ("${set:-a", ExpandError::Brace),
        ("${set:-'a}", ExpandError::Brace),
        ("${set/a}", ExpandError::Slash),
        ("${set/a/b", ExpandError::Brace),
        ("${}", ExpandError::NoName),
        ("${:-a}", ExpandError::NoName),
        ("${{set}}", ExpandError::NoName),
        ("${.}", modifier("", ".")),
        ("${set=w}", modifier("set", "=")),
        ("${set:=w}", modifier("set", ":=")),
        ("${set:#w}", modifier("set", ":#")),
        ("${set:%%w}", modifier("set", ":%")),
        ("${none?}", required("none", "is not allowed to be unset")),
        ("${none:?no ${set}!}", required("none", "no value!")),
        ("${empty:?}", required("empty", "is not allowed to be empty")),
        (r"${set#\v}", pattern(r"\v")),
        (r"${set/\v/x}", pattern(r"\v")),
    ] {
        assert_eq!(Lex::default().expand(word, lookup), Err(expected), "{word}");
    }
}

#[test]
fn variables_that_were_asked_for_are_named() {
    let expansion = Lex::default().expand("$set${none}${empty:-$other}$none", lookup);
    let expansion = expansion.expect("the word is sound");
    assert_eq!(expansion.matched.into_iter().collect::<Vec<_>>(), ["empty", "set"]);
    assert_eq!(expansion.unmatched.into_iter().collect::<Vec<_>>(), ["none", "other"]);
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize| format!("{}x{}", "${none:-".repeat(depth), "}".repeat(depth));
    let expand = |word: &str| Lex::default().expand(word, lookup).map(|done| done.text);
    assert_eq!(expand(&nested(MAX_DEPTH - 1)).as_deref(), Ok("x"));
    assert_eq!(expand(&nested(MAX_DEPTH)), Err(ExpandError::TooDeep));
    let long = "x".repeat(1 << 20);
    let result = Lex::default().expand("$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a$a", |_| Some(&long));
    assert_eq!(result, Err(ExpandError::TooLong));
    let result = Lex::default().expand("${a//x/$b}", |name| match name {
        "a" => Some(&long),
        _ => Some("0123456789abcdef0123456789abcdef"),
    });
    assert_eq!(result, Err(ExpandError::TooLong));
}
