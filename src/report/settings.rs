//! How a run is reported, as settled values.

/// How a run is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportSettings {
    /// The lowest level shown.
    pub level: Level,
    /// The form of lines.
    pub format: Format,
    /// What `Format::Color` lines show of time.
    pub clock: Clock,
    /// Whether the error that ends a run has colours; kaniko's never has.
    pub error_colors: Colors,
    /// What is shown of work that takes long.
    pub progress: ProgressForm,
}

/// Levels of messages, kaniko's, from the most to the least talkative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Per file.
    Trace,
    /// Decisions and their reasons.
    Debug,
    /// One line for each step, snapshot, layer and push.
    Info,
    /// The build goes on but the user should act.
    Warn,
    /// The build fails.
    Error,
    /// kaniko's name for errors that end it at once; shows no more than the final error.
    Fatal,
    /// As `Fatal`.
    Panic,
}

/// Forms of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=info msg="…"`.
    Text,
    /// `INFO[0000] …`.
    Color(Colors),
    /// One JSON object a line.
    Json,
}

/// What is shown of work that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressForm {
    /// Nothing: programs read the log.
    Hidden,
    /// A line every ten seconds.
    Lines,
    /// Bars; only where standard error is a terminal.
    Bars,
}

/// Whether `Format::Color` has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// Escape sequences around the level.
    On,
    /// Plain characters.
    Off,
}

/// What `Format::Color` lines show of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Whole seconds since the start.
    SinceStart,
    /// Date and time.
    DateAndTime,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Color(Colors::Off),
            clock: Clock::SinceStart,
            error_colors: Colors::Off,
            progress: ProgressForm::Lines,
        }
    }
}
