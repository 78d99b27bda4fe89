use super::super::ast::{Ast, DirectiveName, EscapeToken, Heredoc, Node, WarningKind};
use super::super::error::ParseErrorKind;
use super::super::keyword::Keyword;
use super::super::source::{Position, Span};
use super::{MAX_LINE_BYTES, parse_nodes};

fn parse(text: &str) -> Ast {
    parse_nodes(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn only(text: &str) -> Node {
    let mut nodes = parse(text).nodes;
    assert_eq!(nodes.len(), 1, "{text:?}");
    nodes.remove(0)
}

fn error(text: &[u8]) -> (ParseErrorKind, usize) {
    let error = parse_nodes(text).expect_err(&String::from_utf8_lossy(text));
    (error.kind, error.span.start.line)
}

fn originals(text: &str) -> Vec<String> {
    parse(text).nodes.into_iter().map(|node| node.original).collect()
}

fn arguments(node: &Node) -> Vec<&str> {
    node.arguments.iter().map(|word| word.value.as_str()).collect()
}

fn span(start: (usize, usize), end: (usize, usize)) -> Span {
    let position = |(line, column)| Position { line, column };
    Span { start: position(start), end: position(end) }
}

#[test]
fn continuations_are_joined_with_nothing_between() {
    for (text, expected) in [
        ("ENV a=b\\\nc", &["ENV a=bc"][..]),
        ("RUN a \\\n  b \\  \t\n\tc\nRUN d", &["RUN a   b \tc", "RUN d"]),
        ("  RUN a\\\\\nRUN b", &["RUN a\\\\", "RUN b"]),
        ("RUN a\\ x\nRUN b", &["RUN a\\ x", "RUN b"]),
        ("\\\nRUN a", &["RUN a"]),
        ("RUN a\\\n\\\nb", &["RUN ab"]),
        ("RUN a\\", &["RUN a"]),
        ("\\", &[""]),
        ("RUN a \\\r\n b\r\nRUN c\r", &["RUN a  b", "RUN c"]),
        ("RUN a \\\n# no\n   # no\nb # yes", &["RUN a b # yes"]),
        ("RUN a \\\n\n \t\n\u{a0}\nb", &["RUN a b"]),
        ("RUN a \\\n# no", &["RUN a "]),
        ("# escape=`\nRUN a `\n b\\\nRUN c``\nRUN d", &["RUN a  b\\", "RUN c``", "RUN d"]),
        ("\u{feff}RUN a", &["RUN a"]),
        ("\u{2003}RUN a\u{2003}", &["RUN a\u{2003}"]),
        ("RUN a\n\n \n# x\n\n", &["RUN a"]),
    ] {
        assert_eq!(originals(text), expected, "{text:?}");
    }
}

#[test]
fn each_instruction_has_its_own_words() {
    for (text, expected, is_json) in [
        ("FROM a\tAS  b", &["a", "AS", "b"][..], false),
        ("FROM [\"a\"]", &["[\"a\"]"], false),
        ("EXPOSE 80 81/udp # c", &["80", "81/udp", "#", "c"], false),
        ("COPY \"a b\" c\\ d /x", &["\"a", "b\"", "c\\", "d", "/x"], false),
        ("COPY [\"a b\", \"/x\"]", &["a b", "/x"], true),
        ("ADD ['a', 'b']", &["['a',", "'b']"], false),
        ("VOLUME [\"/a\"]", &["/a"], true),
        ("VOLUME /a /b", &["/a", "/b"], false),
        ("VOLUME []", &[], true),
        ("RUN  a  'b'  # c ", &["a  'b'  # c"], false),
        ("RUN", &[], false),
        ("CMD [\"a\"] # c", &["[\"a\"] # c"], false),
        ("CMD [\"a\" , \"\"]", &["a", ""], true),
        ("ENTRYPOINT []", &[], true),
        ("SHELL a b", &["a b"], false),
        ("USER a b", &["a b"], false),
        ("WORKDIR /a  b", &["/a  b"], false),
        ("STOPSIGNAL", &[], false),
        ("MAINTAINER \"A\" <b>", &["\"A\" <b>"], false),
        ("ARG a b=c d=\"e f\"", &["a", "b=c", "d=\"e f\""], false),
        ("ENV a b  c # d ", &["a", "b  c # d", ""], false),
        ("ENV a=b c='d e' f=", &["a", "b", "=", "c", "'d e'", "=", "f", "", "="], false),
        ("ENV \"a b\"=c=d", &["\"a b\"", "c=d", "="], false),
        ("ENV 'a b' c=d", &["'a", "b' c=d", ""], false),
        ("LABEL a\\ b=c", &["a\\ b", "c", "="], false),
        ("ENV", &[], false),
        ("HEALTHCHECK NONE", &["NONE"], false),
        ("HEALTHCHECK --retries=1 cmd  a  b", &["cmd", "a  b"], false),
        ("HEALTHCHECK CMD [\"a\"]", &["CMD", "a"], true),
        ("HEALTHCHECK CMD", &["CMD"], false),
        ("HEALTHCHECK C\u{e0} a", &["C\u{fffd}", "a"], false),
        ("unknown a b", &[], false),
    ] {
        let node = only(text);
        assert_eq!((arguments(&node).as_slice(), node.is_json), (expected, is_json), "{text}");
    }
}

#[test]
fn keywords_are_known_in_any_case_and_kept_as_written() {
    for (text, keyword) in [
        ("run a", Some(Keyword::Run)),
        ("OnBuild run a", Some(Keyword::Onbuild)),
        ("RUN\u{b}a", Some(Keyword::Run)),
        ("RUN\u{a0}a", None),
        ("RUNa", None),
    ] {
        let node = only(text);
        assert_eq!(node.instruction, keyword, "{text}");
        assert!(text.starts_with(&node.keyword.value));
    }
}

#[test]
fn flags_are_split_off_every_instruction() {
    for (text, flags, rest) in [
        ("COPY --from=a --chown=\"b c\" d e", &["--from=a", "--chown=b c"][..], &["d", "e"][..]),
        ("RUN --x -- --y", &["--x"], &["--y"]),
        ("MAINTAINER --x me", &["--x"], &["me"]),
        ("ARG --x", &["--x"], &[]),
        ("RUN [\"--x\"]", &[], &["--x"]),
        ("COPY --x [\"a\",\"b\"]", &["--x"], &["a", "b"]),
    ] {
        let node = only(text);
        let found: Vec<_> = node.flags.iter().map(|flag| flag.value.as_str()).collect();
        assert_eq!((found.as_slice(), arguments(&node).as_slice()), (flags, rest), "{text}");
    }
    let ticked = parse("# escape=`\nRUN --a=b`\tc\\ d");
    assert_eq!(ticked.nodes[0].flags[0].value, "--a=b\tc\\");
    assert_eq!(ticked.escape, EscapeToken::Backtick);
}

#[test]
fn triggers_are_parsed_as_one_instruction() {
    let node = only("ONBUILD  COPY --from=a [\"b\", \"c\"]");
    assert_eq!(node.arguments, []);
    let trigger = node.trigger.expect("there is one");
    assert_eq!(trigger.keyword.value, "COPY");
    assert_eq!(trigger.flags[0].value, "--from=a");
    assert_eq!(arguments(&trigger), ["b", "c"]);
    assert_eq!(trigger.original, "COPY --from=a [\"b\", \"c\"]");
    assert_eq!(trigger.span, span((1, 10), (1, 34)));
    assert_eq!(only("ONBUILD").trigger, None);
    assert_eq!(error(b"ONBUILD RUN [1]"), (ParseErrorKind::JsonNotStrings, 1));
    let deep = "ONBUILD ".repeat(100_000);
    assert_eq!(error(deep.replace("D ", "D\\\n ").as_bytes()).0, ParseErrorKind::NestedOnbuild);
}

#[test]
fn heredocs_are_read_in_order_with_their_bytes() {
    let text = b"RUN 3<<-A cat <<'B' \\\n && x\n\tone\r\n\t\tA\nA \nB\nRUN <<E\nE\n";
    let ast = parse_nodes(text).expect("it is sound");
    let [first, second] = ast.nodes.as_slice() else { panic!("{ast:?}") };
    let heredoc = |name: &str, body: &[u8], (start, end)| Heredoc {
        name: name.to_owned(),
        body: body.to_vec(),
        expand: true,
        chomp: false,
        file_descriptor: 0,
        span: span(start, end),
    };
    let expected = [
        Heredoc { chomp: true, file_descriptor: 3, ..heredoc("A", b"\tone\r\n", ((3, 1), (4, 4))) },
        Heredoc { expand: false, ..heredoc("B", b"A \n", ((5, 1), (6, 2))) },
    ];
    assert_eq!(first.heredocs, expected);
    assert_eq!(first.span, span((1, 1), (6, 2)));
    assert_eq!(arguments(first), ["3<<-A cat <<'B'  && x"]);
    assert_eq!(second.heredocs, [heredoc("E", b"", ((8, 1), (8, 2)))]);
}

#[test]
fn heredocs_belong_to_run_copy_and_add_in_other_than_json_form() {
    for (text, count) in [
        ("COPY <<a <<b /x\nb\na\na\nb", 2),
        ("add <<a /x\na", 1),
        ("ONBUILD RUN <<a\na", 1),
        ("RUN [\"<<a\"]", 0),
        ("CMD <<a", 0),
        ("ONBUILD CMD <<a", 0),
        ("RUN '<<a' \"<<b\"", 0),
        ("RUN << a\na", 1),
        ("# escape=`\nRUN <<a\\'b\na'b", 1),
        ("RUN <<a\n# c\n\\\na\\\na", 1),
    ] {
        assert_eq!(only(text).heredocs.len(), count, "{text:?}");
    }
    let bytes = parse_nodes(b"COPY <<a /x\n\xff\xfe\r\na").expect("it is sound");
    assert_eq!(bytes.nodes[0].heredocs[0].body, b"\xff\xfe\r\n");
    assert_eq!(bytes.warnings, []);
}

#[test]
fn spans_point_into_the_source_across_continuations() {
    let ast = parse("# c\n  COPY --from=a \\\n   b \\\n# no\n\tc/\\\nd\n");
    let node = &ast.nodes[0];
    assert_eq!(node.span, span((2, 3), (6, 2)));
    assert_eq!(node.keyword.span, span((2, 3), (2, 7)));
    assert_eq!(node.flags[0].span, span((2, 8), (2, 16)));
    assert_eq!(arguments(node), ["b", "c/d"]);
    assert_eq!(node.arguments[0].span, span((3, 4), (3, 5)));
    assert_eq!(node.arguments[1].span, span((5, 2), (6, 2)));
    let snippet = ast.source.snippet(node.arguments[1].span);
    let marked: Vec<_> = snippet.marked_lines().collect();
    assert_eq!(marked, [(5, "\tc/\\", 1..4), (6, "d", 0..1)]);

    let node = only("ENV \u{e9}=\u{fc} k='v w'");
    let spans: Vec<_> = node.arguments.iter().map(|word| word.span).collect();
    let at = |start, end| span((1, start), (1, end));
    assert_eq!(spans, [at(5, 7), at(8, 10), at(7, 8), at(11, 12), at(13, 18), at(12, 13)]);
}

#[test]
fn long_snippets_are_cut_and_marked_by_characters() {
    let ast = parse("ENV \u{e9}\u{e9}=\u{fc}\nRUN a \\\n b");
    let marks = |node: &Node| {
        let snippet = ast.source.snippet(node.span);
        snippet.marked_lines().map(|(line, _, marks)| (line, marks)).collect::<Vec<_>>()
    };
    assert_eq!(marks(&ast.nodes[0]), [(1, 0..8)]);
    assert_eq!(marks(&ast.nodes[1]), [(2, 0..7), (3, 1..2)]);
    let long = parse(&format!("RUN a{}", " \\\n b".repeat(99)));
    let snippet = long.source.snippet(long.nodes[0].span);
    assert_eq!((snippet.span.end.line, snippet.lines.len()), (100, 12));
}

#[test]
fn directives_and_comments_are_told_apart() {
    let ast = parse("#syntax=a\n# ESCAPE = `\n# check=b\n#  one \n#\n#two\n\nFROM a\n# x\n#y");
    let names: Vec<_> = ast.directives.iter().map(|directive| directive.name).collect();
    assert_eq!(names, [DirectiveName::Syntax, DirectiveName::Escape, DirectiveName::Check]);
    assert_eq!(ast.escape, EscapeToken::Backtick);
    assert_eq!(ast.nodes[0].comments, ["two"]);
    let ast = parse("# comment\n# escape=`\nFROM a");
    assert_eq!((ast.directives.len(), ast.escape), (0, EscapeToken::Backslash));
    assert_eq!(ast.nodes[0].comments, ["comment", "escape=`"]);
}

#[test]
fn mistakes_are_named_with_their_line() {
    let too_long = [b"FROM a\nRUN ".as_slice(), &[b'x'; MAX_LINE_BYTES]].concat();
    let pair = |keyword| ParseErrorKind::PairWithoutValue { keyword };
    for (text, kind, line) in [
        (&b""[..], ParseErrorKind::NoInstructions, 1),
        (b"# a\n\n# b\n", ParseErrorKind::NoInstructions, 3),
        (&too_long, ParseErrorKind::LineTooLong, 2),
        (
            b"#escape=\\\n#escape=\\\n",
            ParseErrorKind::DuplicateDirective { name: DirectiveName::Escape },
            2,
        ),
        (b"FROM a\nENV b", pair(Keyword::Env), 2),
        (b"LABEL b", pair(Keyword::Label), 1),
        (b"ENV a=b c", ParseErrorKind::PairWithoutEquals { word: "c".to_owned() }, 1),
        (b"\nRUN [\"a\",\\\n1]", ParseErrorKind::JsonNotStrings, 2),
        (b"HEALTHCHECK CMD [null]", ParseErrorKind::JsonNotStrings, 1),
        (
            b"FROM a\nRUN <<E\nx\n E\nEx\n",
            ParseErrorKind::UnterminatedHeredoc { name: "E".to_owned() },
            2,
        ),
        (b"RUN <<E\n\xff\nE\xff", ParseErrorKind::UnterminatedHeredoc { name: "E".to_owned() }, 1),
    ] {
        assert_eq!(error(text), (kind, line), "{:?}", String::from_utf8_lossy(text));
    }
    let longest = [b"RUN ".as_slice(), &[b'x'; MAX_LINE_BYTES - 4], b"\n"].concat();
    assert!(parse_nodes(&longest).is_ok());
}

#[test]
fn suspicious_things_are_warned_of_once() {
    let file = b"RUN a \\\n\n\n \xff\nRUN \xe4\xb8\n# \xff\nRUN --a=\xc3\xbc b";
    let ast = parse_nodes(file).expect("it is sound");
    let warnings: Vec<_> =
        ast.warnings.into_iter().map(|warning| (warning.value, warning.span.start.line)).collect();
    let expected = [
        (WarningKind::EmptyContinuation, 2),
        (WarningKind::InvalidUtf8, 4),
        (WarningKind::InvalidUtf8, 5),
        (WarningKind::GarbledFlag, 7),
    ];
    assert_eq!(warnings, expected);
    let text = WarningKind::IgnoredFlags.to_string();
    assert_eq!(text, "this instruction takes no flags, and Docker drops them: delete them");
    assert_eq!(ast.nodes[1].arguments[0].value, "\u{fffd}\u{fffd}");
}
