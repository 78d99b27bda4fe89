//! The terminal: the one place that writes to standard output and standard error.

use std::collections::HashSet;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::bridge::Bridge;
use super::event::{Event, EventSink};
use super::fault::Fault;
use super::line::{self, Message, Moment};
use super::settings::{Format, Level, ReportSettings};
use super::timing::PhaseTimes;
use super::{failure, narrate};

/// Writes what happens to standard error, and results and commands' output to standard output.
///
/// Cheap to clone; all clones write through one lock, so that lines stay whole. A terminal that is
/// gone is no reason to fail a build, so that errors of writing are dropped.
#[derive(Clone)]
pub struct Terminal {
    settings: ReportSettings,
    clock: Clock,
    shared: Arc<Mutex<Shared>>,
}

type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

struct Shared {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    warned: HashSet<String>,
    phases: PhaseTimes,
}

impl Terminal {
    /// Opens the process's own terminal; the time since the start begins now.
    pub fn open(settings: ReportSettings) -> Self {
        let start = Instant::now();
        let now = move || Moment { since_start: start.elapsed(), time: Timestamp::now() };
        Self::with(
            settings,
            Arc::new(now),
            Box::new(std::io::stdout()),
            Box::new(std::io::stderr()),
        )
    }

    fn with(
        settings: ReportSettings,
        clock: Clock,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> Self {
        let shared =
            Shared { stdout, stderr, warned: HashSet::new(), phases: PhaseTimes::default() };
        Self { settings, clock, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Sends the log lines of this program's modules here, from now on and for the whole process.
    pub fn capture_logs(&self) {
        use tracing_subscriber::layer::SubscriberExt;
        let subscriber = tracing_subscriber::registry().with(Bridge::new(self.clone()));
        // Only a test that sets a subscriber of its own comes second.
        if tracing::subscriber::set_global_default(subscriber).is_err() {
            tracing::debug!("log lines are captured already");
        }
    }

    /// Writes a result to standard output as it is.
    pub fn print(&self, text: &str) {
        let mut shared = self.lock();
        drop(shared.stdout.write_all(text.as_bytes()));
        drop(shared.stdout.flush());
    }

    /// Returns whether messages of a level are shown.
    pub fn shows(&self, level: Level) -> bool {
        level >= self.settings.level
    }

    /// Writes a log line if its level is shown.
    pub fn log(&self, message: &Message) {
        if self.shows(message.level) {
            let line = line::render(message, (self.clock)(), &self.settings);
            self.lock().stderr(&line);
        }
    }

    /// Writes a warning, unless the same one was written before.
    pub fn warn(&self, text: &str) {
        if self.lock().warned.insert(text.to_owned()) {
            self.log(&Message { level: Level::Warn, text: text.to_owned(), fields: vec![] });
        }
    }

    /// Writes the error that ends the run, at any verbosity.
    pub fn fail(&self, fault: &dyn Fault) {
        let block = failure::render(fault, (self.clock)(), &self.settings);
        self.lock().stderr(&block);
    }

    /// Writes where the time went.
    pub fn finish(&self) {
        let moment = (self.clock)();
        let total = moment.since_start;
        let phases = self.lock().phases.clone();
        let text = "Build finished".to_owned();
        match self.settings.format {
            Format::Color(_) if self.shows(Level::Info) => {
                self.log(&Message { level: Level::Info, text, fields: vec![] });
                self.lock().stderr(&phases.table(total));
            }
            _ => self.log(&Message { level: Level::Info, text, fields: phases.fields(total) }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn stderr(&mut self, text: &str) {
        drop(self.stderr.write_all(text.as_bytes()));
        drop(self.stderr.flush());
    }
}

impl EventSink for Terminal {
    fn send(&self, event: Event) {
        match &event {
            Event::RunOutput { bytes } => {
                let mut shared = self.lock();
                drop(shared.stdout.write_all(bytes));
                drop(shared.stdout.flush());
            }
            Event::PhaseTimed { phase, elapsed } => self.lock().phases.add(*phase, *elapsed),
            Event::Warning { text } => self.warn(text),
            other => {
                if let Some(message) = narrate::narrate(other) {
                    self.log(&message);
                }
            }
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
