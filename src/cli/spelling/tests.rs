use super::*;

fn shape(long: &str, short: Option<char>, arity: Arity) -> FlagShape {
    FlagShape { long: long.to_owned(), short, arity }
}

fn shapes() -> Vec<FlagShape> {
    vec![
        shape("context", Some('c'), Arity::Value),
        shape("cache", Some('k'), Arity::Switch),
        shape("force", Some('f'), Arity::Switch),
        shape("tar-path", None, Arity::Value),
        shape("mode", None, Arity::Value),
    ]
}

const OLD: &[OldName] = &[
    OldName {
        name: "tarPath",
        successor: "tar-path",
        precedence: Precedence::LastGiven,
        notice: Notice::Warn,
    },
    OldName {
        name: "oldMode",
        successor: "mode",
        precedence: Precedence::OldName,
        notice: Notice::Silent,
    },
];

fn spelled(words: &[&str]) -> Result<Spelled, SpellingError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    read(&words, &shapes(), OLD)
}

fn check(words: &[&str], flags: &[(&str, &str)], positionals: &[&str]) {
    let spelled = spelled(words).expect("these words are flags");
    let found: Vec<(&str, &str)> =
        spelled.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, flags, "{words:?}");
    let found: Vec<&str> = spelled.positionals.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(found, positionals, "{words:?}");
}

#[test]
fn long_flags_take_their_value_after_equals_or_as_the_next_word() {
    check(&["--context=/a"], &[("context", "/a")], &[]);
    check(&["--context", "/a"], &[("context", "/a")], &[]);
    check(&["--context="], &[("context", "")], &[]);
    check(&["--context=a=b"], &[("context", "a=b")], &[]);
    check(&["--context", "--cache"], &[("context", "--cache")], &[]);
    check(&["--context", "--"], &[("context", "--")], &[]);
}

#[test]
fn switches_stand_alone_or_take_equals() {
    check(&["--cache"], &[("cache", "true")], &[]);
    check(&["--cache=0"], &[("cache", "0")], &[]);
    check(&["--cache="], &[("cache", "")], &[]);
    check(&["--cache", "x", "--force"], &[("cache", "true"), ("force", "true")], &["x"]);
}

#[test]
fn shorthands_are_glued_or_not_and_may_be_joined() {
    check(&["-c/a"], &[("context", "/a")], &[]);
    check(&["-c=/a"], &[("context", "/a")], &[]);
    check(&["-c", "/a"], &[("context", "/a")], &[]);
    check(&["-c", "-k"], &[("context", "-k")], &[]);
    check(&["-c="], &[("context", "=")], &[]);
    check(&["-kf"], &[("cache", "true"), ("force", "true")], &[]);
    check(&["-kfc", "/a"], &[("cache", "true"), ("force", "true"), ("context", "/a")], &[]);
    check(&["-k=false"], &[("cache", "false")], &[]);
}

#[test]
fn words_beside_flags_are_kept_in_order_and_two_dashes_end_the_flags() {
    check(
        &["a", "--cache", "-", "--", "--force", "b"],
        &[("cache", "true")],
        &["a", "-", "--force", "b"],
    );
    check(&[""], &[], &[""]);
}

#[test]
fn a_word_that_reads_like_a_switchs_value_says_so() {
    let word = |text: &str, after: Option<&str>| Positional {
        text: text.to_owned(),
        after_switch: after.map(str::to_owned),
    };
    let spelled = spelled(&["--cache", "false", "true", "--force", "x"]).expect("flags");
    assert_eq!(
        spelled.positionals,
        [word("false", Some("cache")), word("true", None), word("x", None)]
    );
}

#[test]
fn old_names_count_as_kaniko_counts_them() {
    check(&["--tarPath=a", "--tar-path=b"], &[("tar-path", "a"), ("tar-path", "b")], &[]);
    check(&["--tar-path=b", "--tarPath", "a"], &[("tar-path", "b"), ("tar-path", "a")], &[]);
    check(&["--oldMode=a", "--mode=b"], &[("mode", "b"), ("mode", "a")], &[]);
    check(&["--oldMode=", "--mode=b"], &[("mode", "b")], &[]);
    check(&["--oldMode=a", "--oldMode=", "--mode=b"], &[("mode", "b")], &[]);
}

#[test]
fn old_names_warn_once_and_name_the_successor() {
    let warnings = |words| spelled(words).expect("flags").warnings;
    assert_eq!(
        warnings(&["--tarPath=a", "--tarPath=b"]),
        ["Flag --tarPath is deprecated. Use: --tar-path"]
    );
    assert_eq!(warnings(&["--oldMode=a"]), Vec::<String>::new());
}

#[test]
fn one_dash_too_few_is_read_as_kaniko_reads_it_with_a_warning() {
    let spelled = spelled(&["-cache=x"]).expect("flags");
    assert_eq!(spelled.flags, [("context".to_owned(), "ache=x".to_owned())]);
    assert_eq!(
        spelled.warnings,
        [
            "`-cache=x` was read as `-c` with the value `ache=x`; write `--cache` with two dashes if \
         that was meant"
        ]
    );
}

#[test]
fn what_is_no_flag_is_refused_with_a_suggestion_where_one_is_near() {
    let unknown = |name: &str, similar: Option<&str>| SpellingError::UnknownFlag {
        name: name.to_owned(),
        similar: similar.map(str::to_owned),
    };
    let cases = [
        (vec!["--contxt=/a"], unknown("contxt", Some("context"))),
        (vec!["--context /a"], unknown("context /a", Some("context"))),
        (vec!["--zzz"], unknown("zzz", None)),
        (vec!["--context"], SpellingError::MissingValue { flag: "--context".into() }),
        (vec!["--tarPath"], SpellingError::MissingValue { flag: "--tarPath".into() }),
        (vec!["-kc"], SpellingError::MissingValue { flag: "-c".into() }),
        (vec!["---cache"], SpellingError::BadSyntax { argument: "---cache".into() }),
        (vec!["--=a"], SpellingError::BadSyntax { argument: "--=a".into() }),
        (
            vec!["-kx"],
            SpellingError::UnknownShorthand { letter: 'x', argument: "-kx".into(), similar: None },
        ),
        (
            vec!["-k="],
            SpellingError::UnknownShorthand { letter: '=', argument: "-k=".into(), similar: None },
        ),
        (
            vec!["-tar-path=a"],
            SpellingError::UnknownShorthand {
                letter: 't',
                argument: "-tar-path=a".into(),
                similar: Some("tar-path".into()),
            },
        ),
    ];
    for (words, expected) in cases {
        assert_eq!(spelled(&words), Err(expected), "{words:?}");
    }
}
