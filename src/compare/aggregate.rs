//! From the runs of a mode to its row in the report. Pure.

use super::memory::Peaks;
use super::mode::Mode;
use super::record::{CommandCost, RunRecord, StepRecord};
use super::report::ModeReport;

/// One run as seen from outside, with what it says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) wall_s: f64,
    pub(super) cpu_s: f64,
    pub(super) peaks: Peaks,
    pub(super) record: RunRecord,
}

/// Everything that is known of a mode.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Runs {
    pub(super) mode: Mode,
    pub(super) measured: Vec<Run>,
    /// The run that looked for what was missed.
    pub(super) checked: Option<RunRecord>,
    /// Why the mode cannot be run.
    pub(super) error: Option<String>,
}

impl Run {
    /// Takes the build's own looking out of the figures of an emulation.
    fn with_replacement(mut self) -> Self {
        let replaced = self.record.replaced;
        self.wall_s = (self.wall_s - replaced.wall_s).max(0.0);
        self.cpu_s = (self.cpu_s - replaced.cpu_s).max(0.0);
        let looking = self.sum(|step| step.looking_wall_s);
        if let Some(phase) = self.record.phases.get_mut("snapshot") {
            *phase = looking;
        }
        self
    }

    fn sum(&self, of: impl Fn(&StepRecord) -> f64) -> f64 {
        self.record.steps.iter().map(of).sum()
    }
}

/// Makes the rows, in order.
pub(super) fn rows(modes: Vec<Runs>) -> Vec<ModeReport> {
    let mut rows: Vec<ModeReport> = modes.into_iter().map(row).collect();
    // Two names of one way.
    let content = ["content", "full"]
        .into_iter()
        .find_map(|name| rows.iter().find(|row| row.mode == name && row.error.is_none()));
    let base = content.map(|row| (row.wall_s, row.looking_cpu_s));
    for row in rows.iter_mut().filter(|row| row.error.is_none()) {
        let ratio = |of: f64, to: f64| (to > 0.0).then(|| of / to);
        row.ratio_to_content = base.and_then(|(wall, _)| ratio(row.wall_s, wall));
        row.looking_ratio_to_content = base.and_then(|(_, cpu)| ratio(row.looking_cpu_s, cpu));
    }
    compare_commands(&mut rows);
    rows
}

/// The modes that record nothing while a command runs, so that it runs as it does anywhere.
const UNRECORDED: [&str; 5] = ["walk", "content", "redo", "full", "time"];

/// Says what recording costs the commands.
fn compare_commands(rows: &mut [ModeReport]) {
    let cost_of = |name: &&str| rows.iter().find(|row| row.mode == **name)?.command;
    let Some(plain) = UNRECORDED.iter().find_map(cost_of) else { return };
    let cpu_s = |cost: CommandCost| cost.user_s + cost.system_s;
    for row in rows.iter_mut().filter(|row| !UNRECORDED.contains(&&*row.mode)) {
        let Some(cost) = row.command else { continue };
        row.command_system_ratio_to_unrecorded =
            (plain.system_s > 0.0).then(|| cost.system_s / plain.system_s);
        let operations = super::table::approximate(cost.operation_count);
        row.command_added_us_per_operation =
            (operations > 0.0).then(|| (cpu_s(cost) - cpu_s(plain)) * 1e6 / operations);
    }
}

/// Adds up what the commands of a run took; `None` where they do not say.
fn command_of(run: &Run) -> Option<CommandCost> {
    let costs = run.record.steps.iter().filter_map(|step| step.command);
    costs.reduce(|a, b| CommandCost {
        operation_count: a.operation_count + b.operation_count,
        wall_s: a.wall_s + b.wall_s,
        user_s: a.user_s + b.user_s,
        system_s: a.system_s + b.system_s,
    })
}

/// Returns the median of each figure by itself.
fn command(runs: &[Run]) -> Option<CommandCost> {
    let costs: Vec<CommandCost> = runs.iter().filter_map(command_of).collect();
    let median_of = |of: &dyn Fn(&CommandCost) -> f64| median(costs.iter().map(of).collect());
    Some(CommandCost {
        operation_count: costs.first()?.operation_count,
        wall_s: median_of(&|cost| cost.wall_s),
        user_s: median_of(&|cost| cost.user_s),
        system_s: median_of(&|cost| cost.system_s),
    })
}

fn row(runs: Runs) -> ModeReport {
    let Runs { mode, measured, checked, error } = runs;
    let emulated = mode.is_emulated();
    let mut row = ModeReport {
        mode: mode.to_string(),
        explanation: mode.explanation().to_owned(),
        emulated,
        error,
        ..ModeReport::default()
    };
    if row.error.is_some() {
        return row;
    }
    let mut runs: Vec<Run> = match emulated {
        true => measured.into_iter().map(Run::with_replacement).collect(),
        false => measured,
    };
    runs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
    let median_of = |of: &dyn Fn(&Run) -> f64| median(runs.iter().map(of).collect());
    let largest = |of: &dyn Fn(&Run) -> Option<u64>| runs.iter().filter_map(of).max();
    row.wall_s = median_of(&|run| run.wall_s);
    row.wall_s_min = runs.first().map_or(0.0, |run| run.wall_s);
    row.wall_s_max = runs.last().map_or(0.0, |run| run.wall_s);
    row.cpu_s = median_of(&|run| run.cpu_s);
    row.looking_cpu_s = median_of(&|run| run.sum(|step| step.looking_cpu_s));
    row.looking_wall_s = median_of(&|run| run.sum(|step| step.looking_wall_s));
    row.command = command(&runs);
    if !emulated {
        row.peak_rss_bytes = largest(&|run| Some(run.record.peak_rss_bytes));
        row.peak_group_bytes = largest(&|run| run.peaks.total_bytes);
        row.peak_group_without_cache_bytes = largest(&|run| run.peaks.without_cache_bytes);
    }
    if let Some(run) = runs.get(runs.len() / 2) {
        let total = |of: &dyn Fn(&StepRecord) -> u64| run.record.steps.iter().map(of).sum();
        row.entries_stated = total(&|step| step.entries_stated);
        row.files_opened = total(&|step| step.files_opened);
        row.bytes_hashed = total(&|step| step.bytes_hashed);
        row.layer_bytes = (!emulated).then(|| total(&|step| step.layer_bytes));
        row.phases = run.record.phases.clone();
        row.steps = run.record.steps.clone();
        row.notes = run.record.notes.clone();
    }
    if let Some(checked) = checked {
        judge(&mut row, checked);
    }
    row.notes.dedup();
    row
}

/// Adds what the checking run found.
fn judge(row: &mut ModeReport, checked: RunRecord) {
    let truths = checked.steps.iter().map(|step| step.truth.as_ref());
    // One step that could not be compared leaves the whole open.
    if let Some(truths) = truths.collect::<Option<Vec<_>>>() {
        row.changed = Some(truths.iter().map(|truth| truth.changed).sum());
        row.missed = Some(truths.iter().map(|truth| truth.missed).sum());
        row.missed_examples =
            truths.iter().flat_map(|truth| truth.examples.iter().cloned()).collect();
    }
    for (step, checked) in row.steps.iter_mut().zip(checked.steps) {
        step.truth = checked.truth;
    }
    for note in checked.notes {
        if !row.notes.contains(&note) {
            row.notes.push(note);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or_default();
    match values.len() % 2 {
        0 => {
            let lower = middle.checked_sub(1).and_then(|index| values.get(index)).copied();
            f64::midpoint(lower.unwrap_or(upper), upper)
        }
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use snapshot::track::TrackerKind;

    use super::super::kaniko::Algorithm;
    use super::super::record::{Replaced, StepTruth};
    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }

    fn run(wall_s: f64, looking_cpu_s: f64) -> Run {
        let step = StepRecord { looking_cpu_s, ..StepRecord::default() };
        Run {
            wall_s,
            cpu_s: wall_s,
            record: RunRecord {
                steps: vec![step],
                replaced: Replaced { wall_s: 0.5, cpu_s: 0.25 },
                ..RunRecord::default()
            },
            ..Run::default()
        }
    }

    fn runs(mode: Mode, measured: Vec<Run>) -> Runs {
        Runs { mode, measured, checked: None, error: None }
    }

    #[test]
    fn an_emulation_stands_in_place_of_the_builds_own_looking() {
        let content = Mode::Tracker(TrackerKind::Content);
        let kaniko = Mode::Kaniko(Algorithm::Full);
        let broken = Runs { error: Some("no".into()), ..runs(Mode::Auto, vec![]) };
        let rows = rows(vec![
            runs(content, vec![run(4.0, 1.0), run(2.0, 1.0), run(3.0, 1.0)]),
            runs(kaniko, vec![run(3.5, 2.0)]),
            broken,
        ]);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.wall_s, row.cpu_s, row.ratio_to_content, row.looking_ratio_to_content))
            .collect();
        assert_eq!(
            seen,
            [
                (3.0, 3.0, Some(1.0), Some(1.0)),
                (3.0, 3.25, Some(1.0), Some(2.0)),
                (0.0, 0.0, None, None),
            ]
        );
    }

    #[test]
    fn a_step_that_was_not_compared_leaves_the_verdict_open() {
        let truth = |missed| Some(StepTruth { changed: 3, missed, examples: vec![] });
        let step = |truth| StepRecord { truth, ..StepRecord::default() };
        let verdict = |steps| {
            let checked = Some(RunRecord { steps, ..RunRecord::default() });
            row(Runs { checked, ..runs(Mode::Auto, vec![run(1.0, 1.0)]) }).verdict()
        };
        assert_eq!(verdict(vec![step(truth(0)), step(truth(0))]), "sound");
        assert_eq!(verdict(vec![step(truth(2)), step(truth(1))]), "UNSOUND (3)");
        assert_eq!(verdict(vec![step(truth(0)), step(None)]), "not checked");
    }

    #[test]
    fn what_recording_costs_a_command_is_told_against_a_mode_that_records_nothing() {
        let taking = |system_s: f64| {
            let command = CommandCost { operation_count: 1000, wall_s: 1.0, user_s: 0.5, system_s };
            let mut run = run(1.0, 1.0);
            run.record.steps.iter_mut().for_each(|step| step.command = Some(command));
            run
        };
        let tracker = |kind| Mode::Tracker(kind);
        let rows = rows(vec![
            runs(tracker(TrackerKind::Inotify), vec![taking(1.5), taking(9.0), taking(1.25)]),
            runs(tracker(TrackerKind::Walk), vec![taking(1.0)]),
            runs(Mode::Auto, vec![run(1.0, 1.0)]),
        ]);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| {
                let system_s = row.command.map(|cost| cost.system_s);
                let ratio = row.command_system_ratio_to_unrecorded;
                (system_s, ratio, row.command_added_us_per_operation)
            })
            .collect();
        assert_eq!(
            seen,
            [(Some(1.5), Some(1.5), Some(500.0)), (Some(1.0), None, None), (None, None, None)]
        );
    }
}
