//! Answers questions about the Dockerfile language, one JSON object a line on standard input, one
//! answer `{"id": …, "out": {…}}` a line on standard output.
//!
//! A thin face on the library's own modules for `hack/conformance.sh`; it decides nothing itself.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::ops::RangeInclusive;
use std::panic::catch_unwind;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use zuwai::context::dockerignore::{self, IgnoreRules};
use zuwai::context::pattern;
use zuwai::dockerfile::ast::{EscapeToken, Node};
use zuwai::dockerfile::instruction::{Dockerfile, Heredoc, ports};
use zuwai::dockerfile::shell::{Lex, Quotes, Unset};
use zuwai::dockerfile::{HeredocWord, ParseErrorKind, decode, parse_nodes};
use zuwai::image::{ImageConfig, Platform};
use zuwai::plan::{self, ImageName, PlanInputs, StageSelection};

/// A question; which fields are set depends on `op`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Question {
    op: String,
    text: String,
    b64: Option<String>,
    env: Vec<String>,
    escape: String,
    raw_quotes: bool,
    skip_quotes: bool,
    skip_unset: bool,
    patterns: Vec<String>,
    path: String,
    context: Vec<Entry>,
    dockerignore: String,
    build_args: Option<BTreeMap<String, String>>,
    target: Option<String>,
    platform: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    images: Option<BTreeMap<String, ImageConfig>>,
}

/// A file or directory of a build context.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "p")]
    path: String,
    /// `d` for a directory.
    #[serde(rename = "t", default)]
    kind: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let mut question: Value = serde_json::from_str(&replace_lone_surrogates(&line))?;
        let id = question["id"].take();
        if let Value::Object(fields) = &mut question {
            fields.retain(|_, value| !value.is_null());
        }
        let answer = match serde_json::from_value::<Question>(question) {
            // A panic in one answer must not hide the others.
            Ok(question) => catch_unwind(|| answer(&question)).unwrap_or_else(|_| error("panic")),
            Err(cause) => error(cause),
        };
        let answer = json!({ "id": id, "out": answer });
        writeln!(output, "{answer}")?;
    }
    Ok(())
}

/// Replaces escaped halves of surrogate pairs by U+FFFD, as Go reads them; JSON libraries for Rust
/// refuse them.
fn replace_lone_surrogates(line: &str) -> String {
    let half = |at: usize, range: RangeInclusive<u32>| {
        let digits = line.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok().filter(|unit| range.contains(unit))
    };
    let mut replaced = String::with_capacity(line.len());
    let mut at = 0;
    while let Some(next) = line[at..].chars().next() {
        let length = match next {
            '\\' if half(at, 0xd800..=0xdbff).and(half(at + 6, 0xdc00..=0xdfff)).is_some() => 12,
            '\\' if half(at, 0xd800..=0xdfff).is_some() => {
                replaced.push(char::REPLACEMENT_CHARACTER);
                at += 6;
                continue;
            }
            '\\' => 1 + line[at + 1..].chars().next().map_or(0, char::len_utf8),
            _ => next.len_utf8(),
        };
        replaced.push_str(&line[at..at + length]);
        at += length;
    }
    replaced
}

fn answer(question: &Question) -> Value {
    match question.op.as_str() {
        "word" => word(question),
        "pattern" => {
            or_error(pattern::matches(&question.patterns, question.path.as_bytes()), "match")
        }
        "filepathmatch" => {
            or_error(pattern::go_match(question.text.as_bytes(), question.path.as_bytes()), "match")
        }
        "ignorefile" => ignore_file(&question.text),
        "context" => context(question),
        "heredoc" => heredoc_word(&question.text),
        "parse" => parse(question),
        "instr" => instruction(&question.text),
        "ports" => exposed_ports(&question.patterns),
        "config" => config(question),
        other => error(format!("unknown operation `{other}`")),
    }
}

fn error(text: impl ToString) -> Value {
    json!({ "error": text.to_string() })
}

fn or_error<T: Into<Value>, E: ToString>(result: Result<T, E>, name: &str) -> Value {
    match result {
        Ok(value) => json!({ name: value.into() }),
        Err(cause) => error(cause),
    }
}

fn word(question: &Question) -> Value {
    let mut variables = BTreeMap::new();
    for entry in &question.env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        variables.insert(name, value);
    }
    let quotes = match (question.skip_quotes, question.raw_quotes) {
        (true, _) => Quotes::Literal,
        (false, true) => Quotes::Keep,
        (false, false) => Quotes::Remove,
    };
    let lex = Lex {
        escape: if question.escape == "`" { EscapeToken::Backtick } else { EscapeToken::Backslash },
        quotes,
        unset: if question.skip_unset { Unset::Keep } else { Unset::Empty },
        ..Lex::default()
    };
    match lex.expand(&question.text, |name| variables.get(name).copied()) {
        Err(cause) => error(cause),
        Ok(done) => json!({
            "result": done.text,
            "words": done.words,
            "matched": done.matched,
            "unmatched": done.unmatched,
        }),
    }
}

fn ignore_file(text: &str) -> Value {
    or_error(dockerignore::parse(text.as_bytes()).map(texts), "patterns")
}

fn texts(paths: Vec<Vec<u8>>) -> Vec<String> {
    paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

/// Lists what an ignore file leaves of a tree; directories above the named entries are implied.
fn context(question: &Question) -> Value {
    let mut tree = BTreeMap::new();
    for entry in &question.context {
        let names: Vec<&str> = entry.path.split('/').filter(|name| !name.is_empty()).collect();
        for depth in 1..names.len() {
            tree.insert(names[..depth].to_vec(), true);
        }
        tree.insert(names, entry.kind == "d");
    }
    let tree = tree.into_iter().map(|(names, is_directory)| (names.join("/"), is_directory));
    let kept = IgnoreRules::read(question.dockerignore.as_bytes())
        .and_then(|rules| Ok(rules.kept(tree)?))
        .map(|kept| {
            let mut kept = texts(kept);
            kept.sort();
            kept
        });
    or_error(kept, "paths")
}

fn heredoc_word(text: &str) -> Value {
    match HeredocWord::parse(text) {
        Err(cause) => error(cause),
        Ok(word) => json!({ "heredoc": word.map(|word| json!({
            "Name": word.name,
            "Expand": word.expand,
            "Chomp": word.chomp,
            "FileDescriptor": word.file_descriptor,
        })) }),
    }
}

fn file(question: &Question) -> Result<Vec<u8>, base64::DecodeError> {
    match &question.b64 {
        None => Ok(question.text.clone().into_bytes()),
        Some(encoded) => STANDARD.decode(encoded),
    }
}

fn parse(question: &Question) -> Value {
    let file = match file(question) {
        Ok(file) => file,
        Err(cause) => return error(cause),
    };
    let ast = match parse_nodes(&file) {
        Ok(ast) => ast,
        Err(cause) => return json!({ "parse_error": cause.to_string() }),
    };
    let nodes: Vec<Value> = ast.nodes.iter().map(node).collect();
    match Dockerfile::from_ast(ast) {
        Err(cause) => json!({ "nodes": nodes, "instr_error": cause.to_string() }),
        Ok(dockerfile) => {
            let stages = dockerfile.stages.iter().map(|stage| {
                json!({
                    "name": stage.name.as_ref().map(|name| &name.value),
                    "base": stage.base.value,
                })
            });
            json!({ "nodes": nodes, "stages": stages.collect::<Vec<_>>() })
        }
    }
}

fn node(node: &Node) -> Value {
    let arguments = match &node.trigger {
        // The original gives a trigger no lines of its own.
        Some(trigger) => vec![lines(self::node(trigger), 0, 0)],
        None => node.arguments.iter().map(|word| json!(word.value)).collect(),
    };
    let value = json!({
        "value": node.keyword.value,
        "args": arguments,
        "flags": node.flags.iter().map(|flag| &flag.value).collect::<Vec<_>>(),
        "json": node.is_json,
        "heredocs": node.heredocs.iter().map(heredoc).collect::<Vec<_>>(),
        "original": node.original,
    });
    lines(value, node.span.start.line, node.span.end.line)
}

fn lines(mut node: Value, start: usize, end: usize) -> Value {
    node["start_line"] = json!(start);
    node["end_line"] = json!(end);
    node
}

fn heredoc(heredoc: &Heredoc) -> Value {
    json!({
        "Name": heredoc.name,
        "Content": decode(&heredoc.body),
        "Expand": heredoc.expand,
        "Chomp": heredoc.chomp,
        "FileDescriptor": heredoc.file_descriptor,
    })
}

fn instruction(text: &str) -> Value {
    let mut ast = match parse_nodes(text.as_bytes()) {
        Ok(ast) => ast,
        Err(cause) => return error(cause),
    };
    ast.nodes.truncate(1);
    match Dockerfile::from_ast(ast) {
        Ok(dockerfile) => json!({ "instruction": format!("{dockerfile:?}") }),
        // It was read, and only stands alone.
        Err(cause) if matches!(cause.kind, ParseErrorKind::NoStage { .. }) => json!({}),
        Err(cause) => error(cause),
    }
}

fn exposed_ports(texts: &[String]) -> Value {
    let ports = texts.iter().map(|text| ports::expand_ports(text)).collect::<Result<Vec<_>, _>>();
    or_error(ports.map(|ports| ports.concat()), "ports")
}

/// Returns the config of the image that a Dockerfile makes; images it is not told about are empty.
fn config(question: &Question) -> Value {
    match image_config(question) {
        Ok(image) => json!({ "image": image }),
        Err(cause) => error(cause),
    }
}

fn image_config(question: &Question) -> Result<ImageConfig, Box<dyn std::error::Error>> {
    let dockerfile = zuwai::dockerfile::parse(&file(question)?)?;
    let build_args = question.build_args.clone().unwrap_or_default();
    let labels: Vec<(String, String)> = question.labels.iter().flatten().map(owned).collect();
    let mut images = BTreeMap::new();
    loop {
        let inputs = PlanInputs {
            build_args: &build_args,
            target: question.target.as_deref().filter(|target| !target.is_empty()),
            platform: question.platform.as_deref().filter(|platform| !platform.is_empty()),
            build_platform: &Platform::of_this_machine(),
            labels: &labels,
            named_contexts: &BTreeMap::new(),
            images: &images,
            selection: StageSelection::Needed,
        };
        let missing = plan::references(&dockerfile, &inputs)?;
        if missing.is_empty() {
            return Ok(plan::image_config(&dockerfile, &inputs)?);
        }
        for request in missing {
            let given = question.images.iter().flatten().find(|(name, _)| {
                let name = name.parse::<zuwai::image::Reference>().map(|name| name.whole());
                matches!(&request.image, ImageName::Reference(full) if name.as_ref() == Ok(full))
            });
            let config = given.map(|(_, config)| config.clone()).unwrap_or_default();
            images.insert(request, config);
        }
    }
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}
