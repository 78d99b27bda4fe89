//! From `tracing` to the terminal.

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::Message;
use super::settings::Level;
use super::terminal::Terminal;

/// A layer that writes the log lines of this program's crates to a terminal.
///
/// Of other crates only warnings and errors pass: HTTP libraries trace headers and URLs, which may
/// hold credentials.
pub struct Bridge {
    terminal: Terminal,
}

/// Crates whose lines are written at every level.
const OWN: [&str; 2] = ["zuwai", "snapshot"];

impl Bridge {
    /// Writes to `terminal`.
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal }
    }

    fn passes(&self, metadata: &tracing::Metadata<'_>) -> bool {
        let level = level(*metadata.level());
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        self.terminal.shows(level) && (OWN.contains(&crate_name) || level >= Level::Warn)
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

impl<S: Subscriber> Layer<S> for Bridge {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        self.passes(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut collector = Collector::default();
        event.record(&mut collector);
        let level = level(*event.metadata().level());
        self.terminal.log(&Message { level, text: collector.text, fields: collector.fields });
    }
}

/// Gathers the fields of one event.
#[derive(Default)]
struct Collector {
    text: String,
    fields: Vec<(&'static str, Value)>,
}

impl Collector {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.text = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Collector {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }
}
