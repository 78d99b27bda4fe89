//! The long run of the trackers' equivalence: random steps on every kind of file system until so many
//! changes were seen, each step's layer compared with the one made by reading everything.
//!
//! `equivalence [--changes N] [--each N] [--seed N] [--tracker NAME] [--file-system NAME]
//! [--weakness NAME] [--keep DIRECTORY]`
//!
//! `N` changes are spread over the trackers and file systems; on each file system every operation
//! that it has must have succeeded `--each` times, a thousandth of the changes where not given. Steps
//! that came out wrong are shrunk, printed and kept in a file each.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for its printed figures")]
#![expect(dead_code, reason = "the tests' modules, of which not all is used here")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use snapshot::track::{TrackerKind, Weakness};

#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/oracle.rs"]
mod oracle;
#[path = "../tests/it/skip.rs"]
mod skip;
#[path = "../tests/it/track/mod.rs"]
mod track;

use track::{Counts, FileSystem, Mix, OPERATIONS, Trial, Way, run, shrink};

/// A root is given up for a new one after so many steps: it grows, and its history with it.
const STEPS_OF_A_ROOT: usize = 60;

/// So many operations, those that have succeeded least, come more often.
const FAVOURED: usize = 12;

/// After so many roots on which an operation that is favoured never succeeds, it never will.
const PATIENCE: usize = 40;

const FILE_SYSTEMS: [FileSystem; 7] = [
    FileSystem::Tmpfs,
    FileSystem::Ext4,
    FileSystem::CoarseExt4,
    FileSystem::Xfs,
    FileSystem::Btrfs,
    FileSystem::OverlayOnExt4,
    FileSystem::OverlayOnTmpfs,
];

struct Arguments {
    changes: usize,
    each: Option<usize>,
    seed: u64,
    keep: PathBuf,
    trackers: Vec<TrackerKind>,
    file_systems: Vec<FileSystem>,
    weakness: Weakness,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        changes: 10_000,
        each: None,
        seed: 1,
        keep: PathBuf::from("equivalence-failures"),
        trackers: vec![
            TrackerKind::Overlay,
            TrackerKind::Inotify,
            TrackerKind::Fanotify,
            TrackerKind::Walk,
        ],
        file_systems: FILE_SYSTEMS.to_vec(),
        weakness: Weakness::None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag}: `{value}` is no number"));
        match flag.as_str() {
            "--changes" => parsed.changes = number()?,
            "--each" => parsed.each = Some(number()?),
            "--keep" => parsed.keep = PathBuf::from(&value),
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
                    Weakness::NoWait,
                ];
                let found = all.iter().find(|weakness| format!("{weakness:?}") == value);
                parsed.weakness = *found.ok_or_else(|| format!("{flag}: none of {all:?}"))?;
            }
            _ => return Err(format!("`{flag}` is not known")),
        }
    }
    Ok(parsed)
}

/// What one tracker came to on one file system.
struct Row {
    way: Way,
    counts: Counts,
    /// Why it cannot be tried here.
    lacking: Option<String>,
}

/// Everything that was tried on one file system.
struct Run<'a> {
    arguments: &'a Arguments,
    file_system: FileSystem,
    rows: Vec<Row>,
    /// How often each operation succeeded, under all trackers.
    done: BTreeMap<&'static str, usize>,
    /// How many roots an operation was favoured on since it succeeded last.
    in_vain: BTreeMap<&'static str, usize>,
    seed: u64,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Arguments, file_system: FileSystem) -> Self {
        let way = |&kind| Way { kind, weakness: arguments.weakness };
        let row = |kind| Row { way: way(kind), counts: Counts::default(), lacking: None };
        let done = OPERATIONS.iter().map(|&(name, ..)| (name, 0)).collect();
        let (rows, in_vain) = (arguments.trackers.iter().map(row).collect(), BTreeMap::new());
        Self { arguments, file_system, rows, done, in_vain, seed: arguments.seed }
    }

    /// The operations that have succeeded least, without those that never will.
    fn favoured(&self) -> Vec<&'static str> {
        let is_possible = |name: &&'static str| !self.is_impossible(name);
        let mut names: Vec<&'static str> = self.done.keys().copied().filter(is_possible).collect();
        names.sort_by_key(|name| self.done[name]);
        names.truncate(FAVOURED);
        names
    }

    fn is_impossible(&self, name: &'static str) -> bool {
        let shares_blocks = matches!(self.file_system, FileSystem::Xfs | FileSystem::Btrfs);
        if name.starts_with("clone") && !shares_blocks {
            return true;
        }
        // A kernel may lack what others have.
        self.done[name] == 0 && self.in_vain.get(name).is_some_and(|&roots| roots >= PATIENCE)
    }

    fn lacks(&self, each: usize) -> bool {
        self.done.iter().any(|(name, &count)| count < each && !self.is_impossible(name))
    }

    /// Runs one root under each tracker in turn until there were enough changes under each, and of
    /// each operation. Returns whether all steps came out right.
    fn run(&mut self, changes: usize, each: usize) -> bool {
        loop {
            let mut is_enough = true;
            for place in 0..self.rows.len() {
                let row = &self.rows[place];
                let is_short = row.counts.changes < changes || self.lacks(each);
                if row.lacking.is_some() || !is_short {
                    continue;
                }
                is_enough = false;
                if !self.root(place) {
                    return false;
                }
            }
            if is_enough {
                return true;
            }
        }
    }

    fn root(&mut self, place: usize) -> bool {
        let (file_system, seed) = (self.file_system, self.seed);
        self.seed += 1;
        let way = self.rows[place].way;
        let mut trial = match Trial::new(file_system, way) {
            Ok(trial) => trial,
            Err(lacking) => {
                self.rows[place].lacking = Some(lacking);
                return true;
            }
        };
        let mix = Mix { favoured: self.favoured(), is_rough: true };
        let mut goes_on = |counts: &Counts| counts.steps < STEPS_OF_A_ROOT;
        match run(&mut trial, seed, &mix, &mut goes_on) {
            Ok(counts) => {
                trial.assert_not_given_up();
                self.add(place, counts, &mix);
                true
            }
            Err(failure) => {
                println!("{} on {file_system:?}, seed {seed}, {mix:?}: {failure}", way.kind);
                let failure = shrink(file_system, way, failure);
                let name = format!("{file_system:?}-{}-{seed}.txt", way.kind);
                let path = self.arguments.keep.join(name);
                let kept = std::fs::create_dir_all(&self.arguments.keep)
                    .and_then(|()| std::fs::write(&path, failure.to_string()));
                println!("shrunk, and in `{}` ({kept:?}): {failure}", path.display());
                false
            }
        }
    }

    fn add(&mut self, place: usize, counts: Counts, mix: &Mix) {
        for &name in &mix.favoured {
            *self.in_vain.entry(name).or_default() += 1;
        }
        for (name, count) in &counts.done {
            if let Some((&name, total)) = self.done.iter_mut().find(|(known, _)| *known == name) {
                *total += count;
                self.in_vain.remove(name);
            }
        }
        let total = &mut self.rows[place].counts;
        total.steps += counts.steps;
        total.changes += counts.changes;
        total.fallbacks += counts.fallbacks;
    }

    fn print(&self, each: usize) {
        for Row { way, counts, lacking } in &self.rows {
            let what = format!("{} on {:?}", way.kind, self.file_system);
            if let Some(lacking) = lacking {
                println!("{what}: skipped: {lacking}");
                continue;
            }
            let Counts { steps, changes, fallbacks, .. } = counts;
            println!(
                "{what}: {changes} changes in {steps} steps, 0 missed; everything was looked at in \
                 {fallbacks} steps"
            );
        }
        let counts: Vec<String> =
            self.done.iter().map(|(name, count)| format!("{name} {count}")).collect();
        println!("  succeeded: {}", counts.join(", "));
        let impossible: Vec<&str> =
            self.done.keys().copied().filter(|name| self.is_impossible(name)).collect();
        let least = self.done.iter().filter(|(name, _)| !self.is_impossible(name));
        let least = least.map(|(_, count)| *count).min().unwrap_or_default();
        println!("  each at least {least} times ({each} wanted), but for {impossible:?}");
        println!("  seeds {} to {}", self.arguments.seed, self.seed - 1);
    }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let each = arguments.each.unwrap_or(arguments.changes / 1000);
    let pairs = arguments.file_systems.len() * arguments.trackers.len();
    let mut total = 0;
    let mut failed = false;
    for &file_system in &arguments.file_systems {
        let mut run = Run::new(&arguments, file_system);
        failed |= !run.run(arguments.changes.div_ceil(pairs), each);
        run.print(each);
        total += run.rows.iter().map(|row| row.counts.changes).sum::<usize>();
    }
    println!("{total} changes in {} s", started.elapsed().as_secs());
    ExitCode::from(u8::from(failed))
}
