//! How work that takes long is shown, whatever form that has.

use std::time::Duration;

use indicatif::ProgressDrawTarget;

use super::bars::Bars;
use super::event::Gauge;
use super::line::Message;
use super::progress::Progress;
use super::settings::ProgressForm;

/// What is shown of work that takes long.
pub enum Display {
    /// Nothing.
    Hidden,
    /// A line now and then.
    Lines(Progress),
    /// Bars at the bottom of a terminal.
    Bars(Bars),
}

impl Display {
    /// Shows work in a form; bars go to `target`.
    pub fn new(form: ProgressForm, target: ProgressDrawTarget) -> Self {
        match form {
            ProgressForm::Hidden => Self::Hidden,
            ProgressForm::Lines => Self::Lines(Progress::default()),
            ProgressForm::Bars => Self::Bars(Bars::new(target)),
        }
    }

    /// Takes note of work that begins `now`, in time since the start of the program.
    pub fn add(&mut self, gauge: &Gauge, now: Duration) {
        match self {
            Self::Hidden => {}
            Self::Lines(progress) => progress.add(gauge.work(), gauge.view(), now),
            Self::Bars(bars) => bars.add(gauge.view(), now),
        }
    }

    /// Shows how far the work is `now`, and returns what is to be written of it.
    pub fn tick(&mut self, now: Duration) -> Vec<Message> {
        match self {
            Self::Hidden => Vec::new(),
            Self::Lines(progress) => progress.lines(now),
            Self::Bars(bars) => {
                bars.draw(now);
                Vec::new()
            }
        }
    }

    /// Makes room for a line.
    pub fn hide(&self) {
        if let Self::Bars(bars) = self {
            bars.hide();
        }
    }

    /// Returns whether there is nothing to show.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Hidden => true,
            Self::Lines(progress) => progress.is_idle(),
            Self::Bars(bars) => bars.is_idle(),
        }
    }

    /// Returns the time from one look at the work to the next.
    pub fn interval(&self) -> Duration {
        match self {
            Self::Bars(_) => Duration::from_millis(100),
            Self::Hidden | Self::Lines(_) => Duration::from_secs(1),
        }
    }
}
