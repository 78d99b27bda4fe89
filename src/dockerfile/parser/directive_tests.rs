use super::super::ast::{DirectiveName, EscapeToken};
use super::super::error::ParseErrorKind;
use super::super::source::Position;
use super::directive::Directives;

const START: Position = Position { line: 1, column: 1 };

#[test]
fn directives_are_read_until_a_line_is_none() {
    let mut directives = Directives::default();
    for line in ["# syntax = docker/dockerfile:1 x ", "#ESCAPE=`", "#\u{a0}check=\tskip=all"] {
        assert_eq!(directives.read(line, START), Ok(true), "{line}");
    }
    assert_eq!(directives.read("# comment", START), Ok(false));
    assert_eq!(directives.read("# escape=x", START), Ok(false));
    assert_eq!(directives.escape(), EscapeToken::Backtick);
    let found = directives.into_found();
    let values: Vec<_> =
        found.iter().map(|found| (found.name, found.value.value.as_str())).collect();
    let expected = [
        (DirectiveName::Syntax, "docker/dockerfile:1 x"),
        (DirectiveName::Escape, "`"),
        (DirectiveName::Check, "skip=all"),
    ];
    assert_eq!(values, expected);
    assert_eq!(found[0].value.span.start.column, 12);
    assert_eq!(found[0].value.span.end.column, 33);
}

#[test]
fn lines_that_are_no_directive_end_the_phase() {
    for line in
        ["", "FROM x", "# escape", "# escape=", "# other=x", "# escape\u{b}=`", "## escape=`"]
    {
        let mut directives = Directives::default();
        assert_eq!(directives.read(line, START), Ok(false), "{line}");
        assert_eq!(directives.read("#escape=`", START), Ok(false), "{line}");
    }
}

#[test]
fn duplicates_and_other_escapes_are_errors() {
    let mut directives = Directives::default();
    assert!(directives.read("#escape=\\", START).is_ok());
    let error = directives.read("# Escape=`", START).map_err(|(kind, _)| kind);
    let name = DirectiveName::Escape;
    assert_eq!(error, Err(ParseErrorKind::DuplicateDirective { name }));
    for (line, value) in [("#escape=x", "x"), ("#escape=\\\\", "\\\\"), ("#escape=  ", " ")] {
        let error = Directives::default().read(line, START).map_err(|(kind, _)| kind);
        let value = value.to_owned();
        assert_eq!(error, Err(ParseErrorKind::InvalidEscape { value }), "{line}");
    }
}
