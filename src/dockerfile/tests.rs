//! What holds for any bytes whatever.

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::ast::{Ast, EscapeToken, Node};
use super::instruction::{CommandLine, Dockerfile, Heredoc, Kind};
use super::shell::{Escapes, Lex, Quotes, Unset};
use super::{Position, Span, Word, decode, parse, parse_nodes, parse_trigger};

/// Bytes that look like a Dockerfile often enough to get somewhere.
fn dockerfile() -> impl Strategy<Value = Vec<u8>> {
    const TOKENS: &[&str] = &[
        "FROM ",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "LABEL ",
        "ARG ",
        "CMD ",
        "ENTRYPOINT ",
        "USER ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "EXPOSE ",
        "VOLUME ",
        "SHELL ",
        "STOPSIGNAL ",
        "WORKDIR ",
        "MAINTAINER ",
        "NONE",
        "a",
        "b",
        "AS ",
        "/x",
        "=",
        "$",
        "${",
        "}",
        ":-",
        "/",
        "#",
        "*",
        "<<",
        "<<-",
        "<<E",
        "E",
        "\nE\n",
        "'",
        "\"",
        "\\",
        "`",
        "\\\n",
        "\n",
        "\r\n",
        "\t",
        " ",
        "\u{a0}",
        "\u{feff}",
        "\u{e9}",
        "[",
        "]",
        "\"a\"",
        ",",
        "{",
        "1",
        "null",
        "# escape=`\n",
        "# c\n",
        "--",
        "--from=a ",
        "--mount=type=cache,target=/t ",
        "--interval=1s ",
        "--x",
        "\0",
    ];
    let token = prop_oneof![
        20 => prop::sample::select(TOKENS).prop_map(|token| token.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

fn words(node: &Node) -> Vec<&Word> {
    let mut words: Vec<&Word> = node.flags.iter().chain(&node.arguments).collect();
    words.push(&node.keyword);
    words.extend(node.trigger.iter().flat_map(|trigger| self::words(trigger)));
    words
}

/// Returns whether a span begins and ends in the source and not inside a character.
fn is_inside(ast: &Ast, span: Span) -> bool {
    let is_place = |Position { line, column }: Position| {
        ast.source.line(line).is_some_and(|line| line.is_char_boundary(column - 1))
    };
    span.start <= span.end && is_place(span.start) && is_place(span.end)
}

proptest! {
    #[test]
    fn parsing_never_panics_and_is_deterministic(file in dockerfile()) {
        prop_assert_eq!(parse(&file), parse(&file));
        prop_assert_eq!(parse_nodes(&file), parse_nodes(&file));
    }

    #[test]
    fn spans_lie_in_the_source_and_in_order(file in dockerfile()) {
        match parse_nodes(&file) {
            Err(error) => {
                prop_assert!(error.span.start <= error.span.end);
                prop_assert!(error.snippet.marked_lines().count() <= 12);
            }
            Ok(ast) => {
                for node in &ast.nodes {
                    prop_assert!(is_inside(&ast, node.span), "{:?}", node);
                    for word in words(node) {
                        prop_assert!(is_inside(&ast, word.span), "{:?} in {:?}", word, node);
                        prop_assert!(node.span.start <= word.span.start);
                        prop_assert!(word.span.end <= node.span.end);
                    }
                }
                let ends = ast.nodes.windows(2).all(|pair| pair[0].span.end < pair[1].span.start);
                prop_assert!(ends);
            }
        }
    }

    #[test]
    fn stored_triggers_mean_what_they_meant(file in dockerfile()) {
        let Ok(dockerfile) = parse(&[b"FROM a\nRUN ".as_slice(), &file].concat()) else {
            return Ok(());
        };
        let onbuild = parse(&[b"FROM a\nONBUILD RUN ".as_slice(), &file].concat());
        let onbuild = onbuild.expect("a RUN that can be parsed can be triggered");
        let (plain, stored) = (first(&dockerfile), first(&onbuild));
        let Kind::Onbuild(stored) = stored else { panic!("{stored:?}") };
        if let Ok(trigger) = parse_trigger(&stored.expression) {
            prop_assert_eq!(without_spans(&trigger.kind), without_spans(plain));
        }
    }

    #[test]
    fn expansion_never_panics_and_is_deterministic(
        file in dockerfile(),
        quotes in prop::sample::select(vec![Quotes::Remove, Quotes::Keep, Quotes::Literal]),
        escapes in prop::sample::select(vec![Escapes::Remove, Escapes::Keep]),
        unset in prop::sample::select(vec![Unset::Empty, Unset::Keep]),
        escape in prop::sample::select(vec![EscapeToken::Backslash, EscapeToken::Backtick]),
    ) {
        let word = String::from_utf8_lossy(&file);
        let lex = Lex { escape, quotes, escapes, unset };
        let lookup = |name: &str| (name == "a").then_some("b c\\*");
        prop_assert_eq!(lex.expand(&word, lookup), lex.expand(&word, lookup));
    }

    #[test]
    fn plain_words_expand_to_themselves(word in "[^$'\"\\\\\u{feff}]*") {
        let expansion = Lex::default().expand(&word, |_| None).expect("nothing to expand");
        prop_assert_eq!(&expansion.text, &word);
        prop_assert!(expansion.unmatched.is_empty());
    }
}

fn first(dockerfile: &Dockerfile) -> &Kind {
    &dockerfile.stages[0].instructions[0].kind
}

/// Returns the command and heredocs of a `RUN`; bodies as text, because that is how an image's
/// config holds them.
fn without_spans(kind: &Kind) -> (CommandLine, Vec<(String, String)>) {
    let Kind::Run(run) = kind else { panic!("{kind:?}") };
    let text = |heredoc: &Heredoc| (heredoc.name.clone(), decode(&heredoc.body));
    (run.command.clone(), run.heredocs.iter().map(text).collect())
}
