//! `--print-options`: what was understood, as JSON, with secrets masked. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::args::FlagSet;
use super::env::Environment;
use super::masks;
use super::spelling::Spelled;

/// Everything that the text is made from.
pub struct Understood<'a, A> {
    /// The program as called.
    pub program: &'static str,
    /// The sub-command.
    pub command: &'static str,
    /// The settled flags.
    pub args: &'a A,
    /// Flags whose value came from the environment.
    pub from_environment: &'a [&'static str],
    /// What was typed.
    pub spelled: &'a Spelled,
    /// The environment, for the variables that have no flag.
    pub environment: &'a Environment,
    /// Warnings that a build would show.
    pub warnings: &'a [String],
}

/// Variables without a flag of their own that a build reads.
const VARIABLES: [&str; 15] = [
    "DOCKER_CONFIG",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KANIKO_DIR",
    "KANIKO_NO_PUSH",
    "KANIKO_REGISTRY_MAP",
    "KANIKO_REGISTRY_MIRROR",
    "NO_COLOR",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_CACHE_HOME",
    "container",
];

/// Returns the values of all flags by name.
pub fn values<A: Serialize>(args: &A) -> Map<String, Value> {
    match serde_json::to_value(args) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Returns the text, one JSON object with a newline at its end.
pub fn options<A: FlagSet>(understood: &Understood<'_, A>) -> String {
    let mut options = values(understood.args);
    options.iter_mut().for_each(|(name, value)| mask(name, value));
    let sources: BTreeMap<&str, &str> =
        options.keys().map(|name| (name.as_str(), source(understood, name))).collect();
    let variables: BTreeMap<&str, String> =
        VARIABLES.iter().filter_map(|name| Some((*name, variable(understood, name)?))).collect();
    let support: BTreeMap<&str, &str> = A::FLAGS
        .iter()
        .filter(|flag| source(understood, flag.name) != "default")
        .map(|flag| (flag.name, flag.support.name()))
        .collect();
    let value = json!({
        "program": understood.program,
        "command": understood.command,
        "options": options,
        "sources": sources,
        "support": support,
        "environment": variables,
        "warnings": understood.warnings,
    });
    format!("{value:#}\n")
}

fn source<A>(understood: &Understood<'_, A>, name: &str) -> &'static str {
    let typed = understood.spelled.flags.iter().any(|(typed, _)| typed == name);
    match (understood.from_environment.contains(&name), typed) {
        (true, true) if name.starts_with("registry-") => "command line and environment",
        (true, _) => "environment",
        (false, true) => "command line",
        (false, false) => "default",
    }
}

fn variable<A>(understood: &Understood<'_, A>, name: &str) -> Option<String> {
    let either_case = [name.to_owned(), name.to_ascii_lowercase()];
    let names = if name.ends_with("_PROXY") { either_case.as_slice() } else { &either_case[..1] };
    names
        .iter()
        .find_map(|name| understood.environment.path(name))
        .map(|value| masks::proxy(&value.to_string_lossy()))
}

/// Masks what may be secret in one flag's value.
fn mask(name: &str, value: &mut Value) {
    let masked: fn(&str) -> String = match name {
        "build-arg" => masks::build_arg,
        _ => masks::url,
    };
    match value {
        Value::String(text) => *text = masked(text),
        Value::Array(items) => {
            for item in items {
                if let Value::String(text) = item {
                    *text = masked(text);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
}
