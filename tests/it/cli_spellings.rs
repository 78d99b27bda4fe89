//! How real pipelines spell flags: every line of `tests/golden/cli/spellings.txt`.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, Value};
use zuwai::cli::env::{Stderr, Surroundings, User};
use zuwai::cli::{Environment, Facts, Invocation, parse};

/// Splits a line into words as a shell does, without expansions.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    assert_eq!(quote, None, "an open quote in `{line}`");
    words.extend(word);
    words
}

fn facts() -> Facts {
    Facts {
        is_kubernetes: false,
        current_directory: PathBuf::from("/project"),
        user: User::Root,
        surroundings: Surroundings::Container,
        stderr: Stderr::Stream,
    }
}

/// Returns the printed options of a command, or its error.
fn understood(line: &str) -> Result<Map<String, Value>, String> {
    let mut words = words(line);
    let program = words.iter().position(|word| !word.contains('=')).unwrap_or_default();
    let environment: Environment = words
        .drain(..program)
        .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .map(|pair| pair.expect("an assignment"))
        .collect();
    // First among the flags, so that it is nobody's value.
    let flags_start = if words[0].ends_with("zuwai") { words.len().min(2) } else { 1 };
    if !words[0].ends_with("zuwai") || words.len() > 1 && !words[1].starts_with('-') {
        words.insert(flags_start, "--print-options".to_owned());
    }
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    match parse(&words, &environment, &facts()) {
        Ok(Invocation::Print(text)) => {
            let mut value: Value = serde_json::from_str(&text).expect("JSON");
            match value["options"].take() {
                Value::Object(options) => Ok(options),
                other => panic!("`{line}`: options are {other}"),
            }
        }
        Ok(other) => panic!("`{line}`: {other:?}"),
        Err(failure) => Err(failure.error.to_string()),
    }
}

/// Reads `name=json name=json`; a value is JSON and may hold blanks.
fn expectation(mut text: &str) -> Map<String, Value> {
    let mut options = Map::new();
    while let Some((name, rest)) = text.trim_start().split_once('=') {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let value = values.next().expect("a value").expect("JSON");
        options.insert(name.to_owned(), value);
        text = &rest[values.byte_offset()..];
    }
    options
}

/// Returns the options of a command that gives none but those it must.
fn defaults(line: &str) -> Map<String, Value> {
    let words = words(line);
    let program = words.iter().position(|word| !word.contains('=')).expect("a program");
    let command = words.get(program + 1).map(String::as_str);
    let (bare, needed, nothing) = match (words[program].as_str(), command) {
        ("warmer", _) | (_, Some("warm")) => ("warmer --image=x", "image", Value::Array(vec![])),
        _ => ("executor --no-push", "no-push", Value::Bool(false)),
    };
    let mut options = understood(bare).expect("a command without more than it needs");
    options.insert(needed.to_owned(), nothing);
    options
}

#[test]
fn every_spelling_is_understood_as_by_kaniko() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (index, line) in include_str!("../golden/cli/spellings.txt").lines().enumerate() {
        let Some((command, expected)) = line.split_once(" => ") else {
            assert!(line.is_empty() || line.starts_with('#'), "line {}: {line}", index + 1);
            continue;
        };
        count += 1;
        let expected = match expected.strip_prefix("error ") {
            Some(message) => Err(message.to_owned()),
            None => {
                let mut options = defaults(command);
                options.extend(expectation(expected));
                Ok(options)
            }
        };
        let found = understood(command);
        if found != expected {
            failures.push(format!("line {}: {command}\n  {found:?}\n  {expected:?}", index + 1));
        }
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 400, "only {count} spellings");
}
