//! A line now and then about work that takes long. Pure: told what time it is, it says what to write.
//!
//! In a log, silence for minutes looks like a build that hangs. The idea to hold in mind: work that
//! is done within [`EVERY`] is never mentioned, and work of one kind that goes on at once (layers of
//! an image) is one line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::event::{GaugeView, LongWork, Reading};
use super::line::Message;
use super::settings::Level;

/// How long work may go on without a line, and the time from one line to the next.
pub const EVERY: Duration = Duration::from_secs(10);

/// What goes on, by kind.
#[derive(Debug, Default)]
pub struct Progress(BTreeMap<LongWork, Group>);

/// Work of one kind, from when there was some until there is none.
#[derive(Debug)]
struct Group {
    views: Vec<(GaugeView, Option<Reading>)>,
    /// What has ended since the first of it began.
    ended_bytes: u64,
    /// When there was a line, or the first of it began; since the start of the program.
    told: Duration,
    /// Bytes done at that time.
    told_bytes: u64,
}

/// Several gauges of one kind, read together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sum {
    /// What is worked on, if it is one thing; empty, if that has no name.
    name: Option<String>,
    count: usize,
    done_bytes: u64,
    total_bytes: Option<u64>,
}

impl Progress {
    /// Takes note of work that begins `now`, in time since the start of the program.
    pub fn add(&mut self, work: LongWork, view: GaugeView, now: Duration) {
        let new = || Group { views: Vec::new(), ended_bytes: 0, told: now, told_bytes: 0 };
        self.0.entry(work).or_insert_with(new).views.push((view, None));
    }

    /// Returns whether nothing goes on.
    pub fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the lines that are due `now`.
    pub fn lines(&mut self, now: Duration) -> Vec<Message> {
        let mut lines = Vec::new();
        for (work, group) in &mut self.0 {
            let Some(sum) = group.read() else { continue };
            let elapsed = now.saturating_sub(group.told);
            if elapsed < EVERY {
                continue;
            }
            let rate =
                sum.done_bytes.saturating_sub(group.told_bytes) as f64 / elapsed.as_secs_f64();
            lines.push(line(*work, &sum, rate));
            (group.told, group.told_bytes) = (now, sum.done_bytes);
        }
        self.0.retain(|_, group| !group.views.is_empty());
        lines
    }
}

impl Group {
    /// Reads what still goes on; `None` when nothing does.
    fn read(&mut self) -> Option<Sum> {
        let ended_bytes = &mut self.ended_bytes;
        self.views.retain_mut(|(view, last)| match view.read() {
            Some(reading) => {
                *last = Some(reading);
                true
            }
            None => {
                // All of it, most likely; whatever the last look showed, if that is not known.
                *ended_bytes +=
                    last.as_ref().map_or(0, |last| last.total_bytes.unwrap_or(last.done_bytes));
                false
            }
        });
        let readings: Vec<&Reading> =
            self.views.iter().filter_map(|(_, reading)| reading.as_ref()).collect();
        let (first, others) = readings.split_first()?;
        let done: u64 = readings.iter().map(|reading| reading.done_bytes).sum();
        let total: Option<u64> = readings.iter().map(|reading| reading.total_bytes).sum();
        Some(Sum {
            name: others.is_empty().then(|| first.name.clone()),
            count: readings.len(),
            done_bytes: done + self.ended_bytes,
            total_bytes: total.map(|total| total + self.ended_bytes),
        })
    }
}

fn line(work: LongWork, sum: &Sum, rate: f64) -> Message {
    let mut fields = Vec::new();
    match &sum.name {
        Some(name) if name.is_empty() => {}
        Some(name) => fields.push(("name", json!(name))),
        None => fields.push(("count", json!(sum.count))),
    }
    // Bytes sent again, or of a layer begun again, must not make more than the whole.
    let done = sum.total_bytes.map_or(sum.done_bytes, |total| sum.done_bytes.min(total));
    fields.push(("done", json!(amount(done as f64))));
    if let Some(total) = sum.total_bytes.filter(|total| *total > 0) {
        fields.push(("total", json!(amount(total as f64))));
        fields.push(("percent", json!(u128::from(done) * 100 / u128::from(total))));
    }
    fields.push(("rate", json!(format!("{}/s", amount(rate)))));
    Message { level: Level::Info, text: format!("Still {}", verb(work)), fields }
}

/// Returns what is being done, as a participle.
pub fn verb(work: LongWork) -> &'static str {
    match work {
        LongWork::Context => "fetching the context",
        LongWork::Download => "downloading",
        LongWork::Unpack => "unpacking",
        LongWork::Layer => "writing a layer",
        LongWork::Upload => "uploading",
    }
}

/// Writes a number of bytes with three digits or so, in decimal units.
fn amount(bytes: f64) -> String {
    let (value, unit) = match bytes {
        1e9.. => (bytes / 1e9, "GB"),
        1e6.. => (bytes / 1e6, "MB"),
        1e3.. => (bytes / 1e3, "kB"),
        _ => return format!("{bytes:.0} B"),
    };
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::super::event::Gauge;
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns the lines that are due, as a log in text form has them, without the level.
    fn lines(progress: &mut Progress, now: Duration) -> Vec<String> {
        let shown = |message: Message| {
            let fields = message.fields.iter().map(|(name, value)| match value.as_str() {
                Some(text) => format!("{name}={text}"),
                None => format!("{name}={value}"),
            });
            [message.text].into_iter().chain(fields).collect::<Vec<_>>().join(" ")
        };
        progress.lines(now).into_iter().map(shown).collect()
    }

    #[test]
    fn there_is_a_line_every_ten_seconds_from_the_tenth_on() {
        let mut progress = Progress::default();
        let gauge = Gauge::new(LongWork::Upload, "sha256:1", Some(4_000_000_000));
        progress.add(LongWork::Upload, gauge.view(), at(100));
        gauge.add(1_000_000_000);
        for early in [100, 105, 109] {
            assert_eq!(lines(&mut progress, at(early)), [""; 0]);
        }
        assert_eq!(
            lines(&mut progress, at(110)),
            ["Still uploading name=sha256:1 done=1.0 GB total=4.0 GB percent=25 rate=100 MB/s"]
        );
        assert_eq!(lines(&mut progress, at(119)), [""; 0]);
        gauge.add(50_000_000);
        assert_eq!(
            lines(&mut progress, at(120)),
            ["Still uploading name=sha256:1 done=1.1 GB total=4.0 GB percent=26 rate=5.0 MB/s"]
        );
        drop(gauge);
        assert_eq!(lines(&mut progress, at(200)), [""; 0]);
        assert!(progress.is_idle());
    }

    #[test]
    fn short_work_is_never_mentioned() {
        let mut progress = Progress::default();
        for start in 0..30 {
            let gauge = Gauge::new(LongWork::Layer, "RUN make", None);
            progress.add(LongWork::Layer, gauge.view(), at(start));
            gauge.add(1);
            drop(gauge);
            assert_eq!(lines(&mut progress, at(start)), [""; 0]);
        }
    }

    #[test]
    fn work_of_one_kind_is_one_line_and_what_has_ended_stays_counted() {
        let mut progress = Progress::default();
        let one = Gauge::new(LongWork::Download, "sha256:1", Some(30_000_000));
        let two = Gauge::new(LongWork::Download, "sha256:2", Some(10_000));
        let layer = Gauge::new(LongWork::Layer, "", None);
        progress.add(LongWork::Download, one.view(), at(0));
        progress.add(LongWork::Download, two.view(), at(2));
        progress.add(LongWork::Layer, layer.view(), at(5));
        one.add(10_000_000);
        two.add(10_000);
        assert_eq!(
            lines(&mut progress, at(10)),
            ["Still downloading count=2 done=10 MB total=30 MB percent=33 rate=1.0 MB/s"]
        );
        drop(two);
        layer.add(999);
        assert_eq!(
            lines(&mut progress, at(20)),
            [
                "Still downloading name=sha256:1 done=10 MB total=30 MB percent=33 rate=0 B/s",
                "Still writing a layer done=999 B rate=67 B/s",
            ]
        );
        // What is sent twice makes no more than the whole.
        one.add(60_000_000);
        drop(layer);
        assert_eq!(
            lines(&mut progress, at(30)),
            ["Still downloading name=sha256:1 done=30 MB total=30 MB percent=100 rate=6.0 MB/s"]
        );
    }

    #[test]
    fn amounts_have_a_fitting_unit() {
        for (bytes, expected) in [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (1e3, "1.0 kB"),
            (45.2e6, "45 MB"),
            (9.94e9, "9.9 GB"),
            (2e13, "20000 GB"),
        ] {
            assert_eq!(amount(bytes), expected);
        }
    }
}
