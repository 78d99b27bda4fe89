//! The report as a table on the terminal. Pure.

use super::report::{Comparison, ModeReport};

/// The columns of a second table, where the commands of RUN say what they took.
pub(super) const COMMAND_HEADINGS: [&str; 6] =
    ["mode", "RUN wall s", "RUN user s", "RUN sys s", "× unrecorded", "µs/op more"];

const HEADINGS: [&str; 11] = [
    "mode",
    "wall s",
    "CPU s",
    "looking CPU s",
    "× content",
    "peak MiB",
    "entries",
    "opened",
    "read MiB",
    "layers KiB",
    "changes missed",
];

/// Writes the table, with what is needed to read it.
pub(super) fn render(comparison: &Comparison) -> String {
    let Comparison { machine, scenario, runs, modes, .. } = comparison;
    let shown = || modes.iter().filter(|mode| mode.error.is_none());
    let mut text = format!("{}: {}\n", scenario.name, scenario.description);
    text.push_str(&format!(
        "{} runs, medians; {} processors, {}, Linux {}, {}\n\n",
        runs, machine.cpus, machine.cpu_model, machine.kernel, machine.file_system
    ));
    text.push_str(&in_columns(&HEADINGS, shown().map(cells)));
    for mode in modes {
        if let Some(error) = &mode.error {
            text.push_str(&format!("{}: not run: {error}\n", mode.mode));
        }
    }
    if tells_of_commands(comparison) {
        let cells = shown().map(|mode| command_cells(mode).to_vec());
        text.push_str(&format!("\n{}", in_columns(&COMMAND_HEADINGS, cells)));
    }
    text.push('\n');
    for note in notes(comparison) {
        text.push_str(&format!("{note}\n"));
    }
    text
}

fn in_columns(headings: &[&str], cells: impl Iterator<Item = Vec<String>>) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(headings).chain(cells).collect();
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len))
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => line.push_str(&format!("{cell:<width$}")),
                _ => line.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Tells whether there is a mode whose commands say what they took.
pub(super) fn tells_of_commands(comparison: &Comparison) -> bool {
    comparison.modes.iter().any(|mode| mode.command.is_some())
}

/// Returns what the commands of a mode took, as text: times, the ratio of the system time to that of a
/// RUN that nobody records, and what an operation takes more than there.
pub(super) fn command_cells(mode: &ModeReport) -> [String; 6] {
    let shown = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    [
        mode.mode.clone(),
        shown(mode.command.map(|cost| cost.wall_s), 3),
        shown(mode.command.map(|cost| cost.user_s), 3),
        shown(mode.command.map(|cost| cost.system_s), 3),
        shown(mode.command_system_ratio_to_unrecorded, 3),
        shown(mode.command_added_us_per_operation, 2),
    ]
}

fn cells(mode: &ModeReport) -> Vec<String> {
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
    let scaled = |bytes: Option<u64>, unit: f64| {
        bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", approximate(bytes) / unit))
    };
    vec![
        mode.mode.clone(),
        format!("{:.2}", mode.wall_s),
        format!("{:.2}", mode.cpu_s),
        format!("{:.4}", mode.looking_cpu_s),
        ratio(mode.looking_ratio_to_content),
        scaled(mode.peak_bytes(), MIB),
        mode.entries_stated.to_string(),
        mode.files_opened.to_string(),
        scaled(Some(mode.bytes_hashed), MIB),
        scaled(mode.layer_bytes, 1024.0),
        mode.verdict(),
    ]
}

/// How many missed paths a note names; the JSON report has more.
const EXAMPLE_LIMIT: usize = 4;

pub(super) const MIB: f64 = 1024.0 * 1024.0;

/// Returns a count as a number to divide and draw.
pub(super) fn approximate(count: u64) -> f64 {
    // Exact up to 2^53; beyond that nobody reads the last digits.
    let (high, low) = (u32::try_from(count >> 32), u32::try_from(count & 0xffff_ffff));
    f64::from(high.unwrap_or_default()) * 4_294_967_296.0 + f64::from(low.unwrap_or_default())
}

/// Returns what has to be said beside the figures, in table and page.
pub(super) fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes = vec![
        "looking CPU: of the building process, in steps, for everything but writing layers; \
         × content: the same, divided by that of `content`"
            .to_owned(),
        format!("peak: {}", comparison.machine.memory_source),
    ];
    if tells_of_commands(comparison) {
        notes.push(
            "RUN: wall and CPU time of the commands themselves, with what the kernel does there for a \
             tracker; × unrecorded, µs/op more: against a mode that records nothing while they run"
                .to_owned(),
        );
    }
    if comparison.modes.iter().any(|mode| mode.emulated) {
        notes.push(
            "kaniko-*, bare-walk: emulated in a build of ours, whose own looking is taken out of \
             the figures; no figures of kaniko itself"
                .to_owned(),
        );
    }
    if comparison.machine.build == "debug" {
        notes.push("this program is not optimised: the times mean nothing".to_owned());
    }
    for mode in &comparison.modes {
        notes.extend(mode.notes.iter().map(|note| format!("{}: {note}", mode.mode)));
        if !mode.missed_examples.is_empty() {
            let shown = mode.missed_examples.iter().take(EXAMPLE_LIMIT).cloned();
            let shown: Vec<String> = shown.collect();
            let further = mode.missed.unwrap_or_default().saturating_sub(shown.len() as u64);
            let further = match further {
                0 => String::new(),
                count => format!(", and {count} more"),
            };
            notes.push(format!("{} missed {}{further}", mode.mode, shown.join(", ")));
        }
    }
    notes
}
