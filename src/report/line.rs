//! One log line in each format, as logrus (kaniko's logger) writes it. Pure.
//!
//! Pipelines grep these lines, so their shape is an interface: `INFO[0003] message` for people,
//! `time="…" level=info msg="message"` for text, one object with sorted keys for JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::settings::{Clock, Colors, Format, Level, ReportSettings};

/// A message with its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// How much it matters.
    pub level: Level,
    /// A fixed phrase.
    pub text: String,
    /// Names and values, in the order shown.
    pub fields: Vec<(&'static str, Value)>,
}

/// When a message was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Since the program started.
    pub since_start: Duration,
    /// By the clock of the machine.
    pub time: Timestamp,
}

/// Width that logrus pads a message to before its fields.
const MESSAGE_WIDTH: usize = 44;

impl Level {
    /// Returns logrus's word for the level, in text and JSON.
    fn word(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
            Self::Panic => "panic",
        }
    }

    /// Returns the four letters shown for people.
    fn letters(self) -> &'static str {
        match self {
            Self::Trace => "TRAC",
            Self::Debug => "DEBU",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERRO",
            Self::Fatal => "FATA",
            Self::Panic => "PANI",
        }
    }

    /// Returns the number of the terminal's colour.
    fn colour(self) -> u8 {
        match self {
            Self::Trace | Self::Debug => 37,
            Self::Info => 36,
            Self::Warn => 33,
            Self::Error | Self::Fatal | Self::Panic => 31,
        }
    }
}

/// Writes a message, with a newline at its end.
pub fn render(message: &Message, moment: Moment, settings: &ReportSettings) -> String {
    match settings.format {
        Format::Text => text(message, moment),
        Format::Color(colors) => people(message, moment, colors, settings.clock),
        Format::Json => json(message, moment),
    }
}

fn people(message: &Message, moment: Moment, colors: Colors, clock: Clock) -> String {
    let paint = |text: &str| match colors {
        Colors::On => format!("\x1b[{}m{text}\x1b[0m", message.level.colour()),
        Colors::Off => text.to_owned(),
    };
    let when = match clock {
        Clock::SinceStart => format!("{:04}", moment.since_start.as_secs()),
        Clock::DateAndTime => seconds(moment.time),
    };
    let mut line = format!("{}[{when}] ", paint(message.level.letters()));
    // What a Dockerfile or a registry says must neither start a line nor move the cursor.
    let mut text = String::with_capacity(message.text.len());
    message.text.chars().for_each(|c| push_visible(&mut text, c));
    if message.fields.is_empty() {
        line.push_str(&text);
    } else {
        write!(line, "{text:<MESSAGE_WIDTH$} ").expect("writing to a String succeeds");
        for (name, value) in &message.fields {
            write!(line, " {}={}", paint(name), quoted(&shown(value)))
                .expect("writing to a String succeeds");
        }
    }
    line.push('\n');
    line
}

fn text(message: &Message, moment: Moment) -> String {
    let mut line = format!(
        "time=\"{}\" level={} msg={}",
        seconds(moment.time),
        message.level.word(),
        quoted(&message.text)
    );
    for (name, value) in &message.fields {
        write!(line, " {name}={}", quoted(&shown(value))).expect("writing to a String succeeds");
    }
    line.push('\n');
    line
}

fn json(message: &Message, moment: Moment) -> String {
    let mut object: BTreeMap<&str, Value> =
        message.fields.iter().map(|(name, value)| (*name, value.clone())).collect();
    object.insert("level", message.level.word().into());
    object.insert("msg", message.text.as_str().into());
    object.insert("time", seconds(moment.time).into());
    let mut line = serde_json::to_string(&object).expect("text keys and plain values serialise");
    line.push('\n');
    line
}

/// Writes a time as RFC 3339 in whole seconds, as logrus does.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Quotes a value as Go's `%q`, unless it is made of logrus's harmless characters.
fn quoted(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c => push_visible(&mut quoted, c),
        }
    }
    quoted.push('"');
    quoted
}

/// Appends a character, a control character as Go's `%q` escapes it.
fn push_visible(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if c.is_ascii_control() => {
            write!(text, "\\x{:02x}", u32::from(c)).expect("writing to a String succeeds");
        }
        c if c.is_control() => {
            write!(text, "\\u{:04x}", u32::from(c)).expect("writing to a String succeeds");
        }
        c => text.push(c),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(format: Format, clock: Clock, message: &Message, expected: &str) {
        let moment = Moment {
            since_start: Duration::from_millis(3_900),
            time: "2026-11-05T10:20:30.5Z".parse().expect("a time"),
        };
        let settings = ReportSettings { format, clock, ..ReportSettings::default() };
        assert_eq!(render(message, moment, &settings), expected);
    }

    fn plain() -> Message {
        Message { level: Level::Info, text: "RUN make all".into(), fields: vec![] }
    }

    fn fielded() -> Message {
        Message {
            level: Level::Warn,
            text: "layer \"big\"".into(),
            fields: vec![("size", json!(12)), ("path", json!("/a b"))],
        }
    }

    #[test]
    fn lines_for_people_are_logruss_without_its_trailing_blanks() {
        let color = |colors| Format::Color(colors);
        check(color(Colors::Off), Clock::SinceStart, &plain(), "INFO[0003] RUN make all\n");
        check(
            color(Colors::On),
            Clock::SinceStart,
            &plain(),
            "\x1b[36mINFO\x1b[0m[0003] RUN make all\n",
        );
        check(
            color(Colors::Off),
            Clock::DateAndTime,
            &plain(),
            "INFO[2026-11-05T10:20:30Z] RUN make all\n",
        );
        check(
            color(Colors::Off),
            Clock::SinceStart,
            &fielded(),
            "WARN[0003] layer \"big\"                                   size=12 path=\"/a b\"\n",
        );
    }

    #[test]
    fn a_message_cannot_forge_a_line_or_move_the_cursor() {
        let message = Message { text: "RUN x\nINFO[0000] Pushed \x1b[2J".into(), ..plain() };
        check(
            Format::Color(Colors::Off),
            Clock::SinceStart,
            &message,
            "INFO[0003] RUN x\\nINFO[0000] Pushed \\x1b[2J\n",
        );
    }

    #[test]
    fn text_lines_are_key_value_pairs() {
        check(
            Format::Text,
            Clock::SinceStart,
            &plain(),
            "time=\"2026-11-05T10:20:30Z\" level=info msg=\"RUN make all\"\n",
        );
        check(
            Format::Text,
            Clock::SinceStart,
            &fielded(),
            "time=\"2026-11-05T10:20:30Z\" level=warning msg=\"layer \\\"big\\\"\" size=12 path=\"/a b\"\n",
        );
    }

    #[test]
    fn json_lines_have_sorted_keys() {
        check(
            Format::Json,
            Clock::SinceStart,
            &fielded(),
            "{\"level\":\"warning\",\"msg\":\"layer \\\"big\\\"\",\"path\":\"/a b\",\"size\":12,\
             \"time\":\"2026-11-05T10:20:30Z\"}\n",
        );
    }

    #[test]
    fn control_characters_are_escaped_so_that_a_line_stays_one() {
        assert_eq!(quoted("a\nb\x1b[31m\u{85}é"), "\"a\\nb\\x1b[31m\\u0085é\"");
        assert_eq!(quoted(""), "");
        assert_eq!(quoted("a/b@c-1.2_+^"), "a/b@c-1.2_+^");
    }
}
