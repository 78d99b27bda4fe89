//! Bars on a terminal about work that takes long, below everything else that is written.
//!
//! Must not be used where standard error is no terminal. The idea to hold in mind: whoever writes a
//! line hides the bars first, and the next tick draws them again, so that no line is overwritten and
//! none of them stays behind.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::{GaugeView, Reading};
use super::progress;

/// How long work goes on before it gets a bar: what is done sooner would only flicker.
const GRACE: Duration = Duration::from_secs(1);

/// Bars at once; more would push the log off the screen.
const MOST_BARS: usize = 6;

/// Characters of a name that are shown: `sha256:` and twelve digits.
const NAME_WIDTH: usize = 19;

/// All bars of a terminal.
#[derive(Debug)]
pub struct Bars {
    screen: MultiProgress,
    works: Vec<Work>,
}

/// Work that goes on.
#[derive(Debug)]
struct Work {
    view: GaugeView,
    started: Duration,
    bar: Option<ProgressBar>,
}

impl Bars {
    /// Draws to `target` whenever told to.
    pub fn new(target: ProgressDrawTarget) -> Self {
        Self { screen: MultiProgress::with_draw_target(target), works: Vec::new() }
    }

    /// Takes note of work that begins `now`, in time since the start of the program.
    pub fn add(&mut self, view: GaugeView, now: Duration) {
        self.works.push(Work { view, started: now, bar: None });
    }

    /// Returns whether nothing goes on.
    pub fn is_idle(&self) -> bool {
        self.works.is_empty()
    }

    /// Removes the bars from the screen until the next [`Bars::draw`].
    pub fn hide(&self) {
        // A terminal that is gone is no reason to fail a build.
        drop(self.screen.clear());
    }

    /// Draws a bar for all that goes on for some time `now`.
    pub fn draw(&mut self, now: Duration) {
        let Self { screen, works } = self;
        let mut drawn = 0;
        works.retain_mut(|work| {
            let Some(reading) = work.view.read() else {
                if let Some(bar) = work.bar.take() {
                    bar.finish_and_clear();
                    screen.remove(&bar);
                }
                return false;
            };
            let is_due = now.saturating_sub(work.started) >= GRACE && drawn < MOST_BARS;
            if work.bar.is_none() && is_due {
                work.bar = Some(screen.add(bar(&reading)));
            }
            if let Some(bar) = &work.bar {
                drawn += 1;
                show(bar, &reading);
            }
            true
        });
    }
}

fn bar(reading: &Reading) -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style(false));
    bar.set_prefix(format!("{} {}", progress::verb(reading.work), short(&reading.name)));
    bar
}

fn show(bar: &ProgressBar, reading: &Reading) {
    let total = reading.total_bytes.filter(|total| *total > 0);
    if let Some(total) = total.filter(|total| bar.length() != Some(*total)) {
        bar.set_length(total);
        bar.set_style(style(true));
    }
    bar.set_position(total.map_or(reading.done_bytes, |total| reading.done_bytes.min(total)));
    bar.tick();
}

fn style(has_total: bool) -> ProgressStyle {
    let template = match has_total {
        true => "{prefix:36} [{bar:24}] {decimal_bytes}/{decimal_total_bytes}",
        false => "{prefix:36} {decimal_bytes}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is a good one");
    style.progress_chars("=> ")
}

fn short(name: &str) -> String {
    // Nothing that a registry or a Dockerfile says may move the cursor.
    name.chars().filter(|character| !character.is_control()).take(NAME_WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::super::event::{Gauge, LongWork};
    use super::*;

    #[test]
    fn bars_come_after_a_while_and_go_when_told() {
        let screen = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut bars = Bars::new(target);
        let at = Duration::from_millis;
        let upload = Gauge::new(LongWork::Upload, "sha256:0123456789abcdef", Some(8_000_000));
        let layer = Gauge::new(LongWork::Layer, "", None);
        bars.add(upload.view(), at(0));
        bars.add(layer.view(), at(500));
        upload.add(2_000_000);
        bars.draw(at(900));
        assert_eq!(screen.contents(), "");
        bars.draw(at(1000));
        let upload_bar =
            "uploading sha256:0123456789ab        [======>                 ] 2.00 MB/8.00 MB";
        assert_eq!(screen.contents(), upload_bar);
        bars.hide();
        assert_eq!(screen.contents(), "");
        layer.add(1_500);
        bars.draw(at(1500));
        let layer_bar = "writing a layer                      1.50 kB";
        assert_eq!(screen.contents(), format!("{upload_bar}\n{layer_bar}"));
        drop(upload);
        bars.draw(at(1600));
        assert_eq!(screen.contents(), layer_bar);
        drop(layer);
        bars.draw(at(1700));
        assert_eq!((screen.contents(), bars.is_idle()), (String::new(), true));
    }
}
