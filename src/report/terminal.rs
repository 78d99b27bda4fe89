//! The terminal: the one place that writes to standard output and standard error.

use std::collections::HashSet;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use indicatif::ProgressDrawTarget;
use jiff::Timestamp;

use super::bridge::Bridge;
use super::display::Display;
use super::event::{Event, EventSink, Gauge, SnapshotTotals};
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
    ticks: Ticks,
    shared: Arc<Mutex<Shared>>,
}

type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Who looks at work that takes long, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ticks {
    /// A thread, as long as there is some.
    ByThread,
    /// A test, when it likes.
    #[cfg(test)]
    ByHand,
}

struct Shared {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    warned: HashSet<String>,
    phases: PhaseTimes,
    snapshots: SnapshotTotals,
    display: Display,
    /// Whether a thread looks at it.
    is_watched: bool,
    /// Whether the last output of a command ended a line.
    is_at_line_start: bool,
}

impl Terminal {
    /// Opens the process's own terminal; the time since the start begins now.
    pub fn open(settings: ReportSettings) -> Self {
        let start = Instant::now();
        let now = move || Moment { since_start: start.elapsed(), time: Timestamp::now() };
        let display = Display::new(settings.progress, ProgressDrawTarget::stderr());
        let shared = Shared::new(Box::new(std::io::stdout()), Box::new(std::io::stderr()), display);
        let (clock, shared) = (Arc::new(now), Arc::new(Mutex::new(shared)));
        Self { settings, clock, ticks: Ticks::ByThread, shared }
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
        self.lock().stdout(text.as_bytes());
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

    /// Writes what all snapshots took, and where the time went.
    pub fn finish(&self) {
        let moment = (self.clock)();
        let total = moment.since_start;
        let (phases, snapshots) = {
            let shared = self.lock();
            (shared.phases.clone(), shared.snapshots.clone())
        };
        if let Some(message) = narrate::snapshot_totals(&snapshots) {
            self.log(&message);
        }
        let text = "Build finished".to_owned();
        match self.settings.format {
            Format::Color(_) if self.shows(Level::Info) => {
                self.log(&Message { level: Level::Info, text, fields: vec![] });
                self.lock().stderr(&phases.table(total));
            }
            _ => self.log(&Message { level: Level::Info, text, fields: phases.fields(total) }),
        }
    }

    /// Takes note of work that may take long.
    fn watch(&self, gauge: &Gauge) {
        if !self.shows(Level::Info) {
            return;
        }
        let now = (self.clock)().since_start;
        let mut shared = self.lock();
        shared.display.add(gauge, now);
        if self.ticks == Ticks::ByThread && !shared.is_watched && !shared.display.is_idle() {
            shared.is_watched = self.start_ticking(shared.display.interval());
        }
    }

    /// Starts a thread that shows progress until there is none; returns whether there is one.
    fn start_ticking(&self, interval: std::time::Duration) -> bool {
        let Self { settings, clock, ticks, shared } = self.clone();
        let shared = Arc::downgrade(&shared);
        let tick = move || {
            let shared = shared.upgrade()?;
            Self { settings, clock: Arc::clone(&clock), ticks, shared }.tick()
        };
        let work = move || {
            thread::sleep(interval);
            while tick().is_some() {
                thread::sleep(interval);
            }
        };
        // Without a thread there is no progress to be seen, and nothing else is lost.
        thread::Builder::new().name("progress".to_owned()).spawn(work).is_ok()
    }

    /// Shows how far work has come; `None` when there is none.
    fn tick(&self) -> Option<()> {
        let moment = (self.clock)();
        let mut shared = self.lock();
        // Bars go below a line that is whole.
        let messages = match &shared.display {
            Display::Bars(_) if !shared.is_at_line_start => Vec::new(),
            _ => shared.display.tick(moment.since_start),
        };
        for message in messages {
            shared.stderr(&line::render(&message, moment, &self.settings));
        }
        shared.is_watched = !shared.display.is_idle();
        shared.is_watched.then_some(())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>, display: Display) -> Self {
        Self {
            stdout,
            stderr,
            warned: HashSet::new(),
            phases: PhaseTimes::default(),
            snapshots: SnapshotTotals::default(),
            display,
            is_watched: false,
            is_at_line_start: true,
        }
    }

    fn stdout(&mut self, bytes: &[u8]) {
        self.display.hide();
        drop(self.stdout.write_all(bytes));
        drop(self.stdout.flush());
        self.is_at_line_start = bytes.last().is_none_or(|last| *last == b'\n');
    }

    fn stderr(&mut self, text: &str) {
        self.display.hide();
        drop(self.stderr.write_all(text.as_bytes()));
        drop(self.stderr.flush());
    }
}

impl EventSink for Terminal {
    fn send(&self, event: Event) {
        if let Event::SnapshotTaken(work) = &event {
            self.lock().snapshots.add(work);
        }
        match &event {
            Event::RunOutput { bytes } => self.lock().stdout(bytes),
            Event::WorkStarted(gauge) => self.watch(gauge),
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
