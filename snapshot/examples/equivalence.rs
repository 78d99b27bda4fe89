//! The long run of the trackers' equivalence: random steps on every kind of file system until so many
//! changes were seen, each step's layer compared with the one made by reading everything.
//!
//! `equivalence [--changes N] [--seed N] [--tracker NAME] [--file-system NAME] [--weakness NAME]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for its printed figures")]
#![expect(dead_code, reason = "the tests' modules, of which not all is used here")]

use std::process::ExitCode;

use snapshot::track::{TrackerKind, Weakness};

#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/oracle.rs"]
mod oracle;
#[path = "../tests/it/track/mod.rs"]
mod track;

use track::{Counts, FileSystem, Trial, Way, run, shrink};

/// A root is given up for a new one after so many steps: it grows, and its history with it.
const STEPS_OF_A_ROOT: usize = 100;

const FILE_SYSTEMS: [FileSystem; 6] = [
    FileSystem::Tmpfs,
    FileSystem::Ext4,
    FileSystem::Xfs,
    FileSystem::Btrfs,
    FileSystem::OverlayOnExt4,
    FileSystem::OverlayOnTmpfs,
];

struct Arguments {
    changes: usize,
    seed: u64,
    trackers: Vec<TrackerKind>,
    file_systems: Vec<FileSystem>,
    weakness: Weakness,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        changes: 10_000,
        seed: 1,
        trackers: vec![TrackerKind::Inotify, TrackerKind::Fanotify, TrackerKind::Walk],
        file_systems: FILE_SYSTEMS.to_vec(),
        weakness: Weakness::None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag}: `{value}` is no number"));
        match flag.as_str() {
            "--changes" => parsed.changes = number()?,
            "--seed" => parsed.seed = number()? as u64,
            "--tracker" => {
                parsed.trackers = vec![value.parse().map_err(|error| format!("{error}"))?]
            }
            "--file-system" => {
                let named = |file_system: &&FileSystem| format!("{file_system:?}") == value;
                let found = FILE_SYSTEMS.iter().find(named);
                let known = || format!("{flag}: none of {:?}", FILE_SYSTEMS);
                parsed.file_systems = vec![*found.ok_or_else(known)?];
            }
            "--weakness" => {
                let all = [
                    Weakness::None,
                    Weakness::OneName,
                    Weakness::NoSubtrees,
                    Weakness::DirectoriesOnly,
                    Weakness::NoOpen,
                ];
                let found = all.iter().find(|weakness| format!("{weakness:?}") == value);
                parsed.weakness = *found.ok_or_else(|| format!("{flag}: none of {all:?}"))?;
            }
            _ => return Err(format!("`{flag}` is not known")),
        }
    }
    Ok(parsed)
}

/// Runs until there were enough changes; returns what they came to, or `None` after a failure.
fn long_run(file_system: FileSystem, way: Way, arguments: &Arguments) -> Result<Counts, bool> {
    let mut total = Counts::default();
    let mut seed = arguments.seed;
    while total.changes < arguments.changes {
        let mut trial = Trial::new(file_system, way).map_err(|lacking| {
            println!("{} on {file_system:?}: skipped: {lacking}", way.kind);
            true
        })?;
        let enough = arguments.changes - total.changes;
        let mut goes_on =
            |counts: &Counts| counts.steps < STEPS_OF_A_ROOT && counts.changes < enough;
        match run(&mut trial, seed, &mut goes_on) {
            Ok(counts) => {
                total.steps += counts.steps;
                total.changes += counts.changes;
                total.fallbacks += counts.fallbacks;
                for (name, count) in counts.done {
                    *total.done.entry(name).or_default() += count;
                }
            }
            Err(failure) => {
                let failure = shrink(file_system, way, failure);
                println!("{} on {file_system:?}, seed {seed}: {failure}", way.kind);
                return Err(false);
            }
        }
        seed += 1;
    }
    Ok(total)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut failed = false;
    for &file_system in &arguments.file_systems {
        for &kind in &arguments.trackers {
            let way = Way { kind, weakness: arguments.weakness };
            match long_run(file_system, way, &arguments) {
                Ok(Counts { steps, changes, fallbacks, done }) => {
                    println!(
                        "{kind} on {file_system:?}: {changes} changes in {steps} steps, 0 missed; \
                         everything was looked at in {fallbacks} steps"
                    );
                    let counts: Vec<String> =
                        done.iter().map(|(name, count)| format!("{name} {count}")).collect();
                    println!("  succeeded: {}", counts.join(", "));
                }
                Err(is_skipped) => failed |= !is_skipped,
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
