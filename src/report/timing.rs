//! The table at the end of a build: where its time went. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::event::Phase;

/// Time by phase, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseTimes(BTreeMap<Phase, Duration>);

impl PhaseTimes {
    /// Adds time spent in a phase.
    pub fn add(&mut self, phase: Phase, elapsed: Duration) {
        let total = self.0.entry(phase).or_default();
        *total = total.saturating_add(elapsed);
    }

    /// Writes a table of the phases that took time, one a line, and the rest up to `total`.
    ///
    /// What goes on in the background takes none of the rest and says so; other phases may overlap,
    /// and then there is no rest, and the shares add up to more than the whole.
    pub fn table(&self, total: Duration) -> String {
        let foreground = self.0.iter().filter(|(phase, _)| !phase.is_background());
        let known: Duration = foreground.map(|(_, elapsed)| *elapsed).sum();
        let rest = total.saturating_sub(known);
        let rows = self
            .0
            .iter()
            .map(|(phase, elapsed)| {
                let note = if phase.is_background() { "  beside the others" } else { "" };
                (phase.name(), *elapsed, note)
            })
            .chain([("other", rest, "")])
            .filter(|(_, elapsed, _)| !elapsed.is_zero());
        let mut table = String::new();
        for (name, elapsed, note) in rows {
            table.push_str(&row(name, elapsed, total, note));
        }
        table.push_str(&row("total", total, total, ""));
        table
    }

    /// Returns the same as fields of a log line, in milliseconds.
    pub fn fields(&self, total: Duration) -> Vec<(&'static str, Value)> {
        let milliseconds =
            |elapsed: Duration| json!(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let phases: BTreeMap<&str, Value> =
            self.0.iter().map(|(phase, elapsed)| (phase.name(), milliseconds(*elapsed))).collect();
        vec![("phases_ms", json!(phases)), ("total_ms", milliseconds(total))]
    }
}

fn row(name: &str, elapsed: Duration, total: Duration, note: &str) -> String {
    let share = match total.is_zero() {
        true => 0.0,
        false => 100.0 * elapsed.as_secs_f64() / total.as_secs_f64(),
    };
    format!("  {name:<10} {:>9.3} s {share:>4.0} %{note}\n", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> PhaseTimes {
        let mut times = PhaseTimes::default();
        times.add(Phase::Run, Duration::from_millis(6_000));
        times.add(Phase::Unpack, Duration::from_millis(1_500));
        times.add(Phase::Run, Duration::from_millis(1_500));
        times.add(Phase::Copy, Duration::ZERO);
        times
    }

    #[test]
    fn the_table_has_phases_in_their_order_and_the_rest() {
        assert_eq!(
            times().table(Duration::from_secs(10)),
            "  unpack         1.500 s   15 %\n  \
               run            7.500 s   75 %\n  \
               other          1.000 s   10 %\n  \
               total         10.000 s  100 %\n"
        );
    }

    #[test]
    fn what_goes_on_in_the_background_takes_no_time_of_the_build() {
        let mut times = times();
        times.add(Phase::Upload, Duration::from_secs(4));
        assert_eq!(
            times.table(Duration::from_secs(10)),
            "  unpack         1.500 s   15 %\n  \
               run            7.500 s   75 %\n  \
               upload         4.000 s   40 %  beside the others\n  \
               other          1.000 s   10 %\n  \
               total         10.000 s  100 %\n"
        );
    }

    #[test]
    fn overlapping_phases_leave_no_rest() {
        assert_eq!(
            times().table(Duration::from_secs(5)),
            "  unpack         1.500 s   30 %\n  \
               run            7.500 s  150 %\n  \
               total          5.000 s  100 %\n"
        );
    }
}
