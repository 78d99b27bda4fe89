//! An error in three parts: what happened, why, and what to do next. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fault::{Excerpt, Fault};
use super::line::{Moment, seconds};
use super::settings::{Colors, Format, ReportSettings};

/// Writes an error, with a newline at its end.
pub fn render(fault: &dyn Fault, moment: Moment, settings: &ReportSettings) -> String {
    match settings.format {
        Format::Json => json_line(fault, moment),
        Format::Text | Format::Color(_) => people(fault, settings.error_colors),
    }
}

/// Returns the messages of all causes, outermost first, without repetitions.
fn causes(fault: &dyn Fault) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut last = fault.to_string();
    let mut source = fault.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Transparent wrappers, and errors of other crates that quote their source.
        if !last.ends_with(&text) {
            causes.push(text.clone());
        }
        last = text;
        source = error.source();
    }
    causes
}

fn people(fault: &dyn Fault, colors: Colors) -> String {
    let paint = |code: &str, text: &str| match colors {
        Colors::On => format!("\x1b[{code}m{text}\x1b[0m"),
        Colors::Off => text.to_owned(),
    };
    let mut block = format!("{}: {fault}\n", paint("1;31", "error"));
    if let Some(excerpt) = fault.excerpt() {
        block.push_str(&snippet(&excerpt));
    }
    for cause in causes(fault) {
        block.push_str(&format!("{}: {}\n", paint("1", "cause"), indented(&cause)));
    }
    if let Some(hint) = fault.hint() {
        block.push_str(&format!("{}: {}\n", paint("1;36", "hint"), indented(&hint)));
    }
    block
}

/// Keeps the further lines of a text apart from what follows.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n  ")
}

/// Writes the lines of an excerpt with their numbers, and carets below the first.
fn snippet(excerpt: &Excerpt) -> String {
    let last_line = u64::from(excerpt.first_line) + excerpt.lines.len() as u64;
    let width = last_line.saturating_sub(1).to_string().len();
    let mut block = format!("{:>width$}--> {}:{}\n", "", excerpt.file, excerpt.first_line);
    block.push_str(&format!("{:>width$} |\n", ""));
    for (number, line) in (u64::from(excerpt.first_line)..).zip(&excerpt.lines) {
        // A terminal must not act on what a Dockerfile holds.
        let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        block.push_str(format!("{number:>width$} | {shown}").trim_end());
        block.push('\n');
        if number == u64::from(excerpt.first_line) {
            block.push_str(&format!("{:>width$} | {}\n", "", carets(&shown, excerpt)));
        }
    }
    block
}

/// Returns blanks and carets that mark the columns, or the whole text of the line.
fn carets(line: &str, excerpt: &Excerpt) -> String {
    let length = line.trim_end().chars().count();
    let start = line.chars().take_while(|c| c.is_whitespace()).count();
    let columns = excerpt.columns.clone().unwrap_or(start..length);
    let start = columns.start.min(length);
    let count = columns.end.min(length).saturating_sub(start).max(1);
    format!("{}{}", " ".repeat(start), "^".repeat(count))
}

fn json_line(fault: &dyn Fault, moment: Moment) -> String {
    let mut object: BTreeMap<&str, Value> = BTreeMap::from([
        ("causes", json!(causes(fault))),
        ("class", json!(fault.class().name())),
        ("exit_code", json!(fault.exit_code())),
        ("level", json!("error")),
        ("msg", json!(fault.to_string())),
        ("retryable", json!(fault.is_temporary())),
        ("time", json!(seconds(moment.time))),
    ]);
    if let Some(hint) = fault.hint() {
        object.insert("hint", json!(hint));
    }
    if let Some(excerpt) = fault.excerpt() {
        object.insert("file", json!(excerpt.file));
        object.insert("line", json!(excerpt.first_line));
        object.insert("snippet", json!(excerpt.lines.join("\n")));
    }
    let mut line = serde_json::to_string(&object).expect("text keys and plain values serialise");
    line.push('\n');
    line
}
