//! The long run of the trackers' equivalence: random steps on every kind of file system until so many
//! changes were seen, each step's layer compared with the one made by reading everything.
//!
//! `equivalence [--changes N] [--each N] [--patience N] [--seed N] [--tracker NAME]…
//! [--file-system NAME]… [--lacking skip|fail] [--weakness NAME] [--keep DIRECTORY]`
//!
//! `N` changes are spread over the trackers and file systems; on each file system every operation
//! that it has must have succeeded `--each` times, a thousandth of the changes where not given. Both
//! have to be reached. What was tried `--patience` times and never succeeded is impossible there, and named.
//! A tracker or a file system that cannot be had is passed over, or with `--lacking fail` an error. The
//! file system `Here` is that of the directory for temporary files, where nothing is mounted. Steps that came out wrong are shrunk, printed and kept in a file each. How far
//! it is, is told on standard error twice a minute.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for its printed figures")]
#![expect(dead_code, reason = "the tests' modules, of which not all is used here")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use snapshot::track::{TrackerKind, Weakness};

#[path = "../tests/it/fixture.rs"]
mod fixture;
#[path = "../tests/it/oracle.rs"]
mod oracle;
#[path = "../tests/it/skip.rs"]
mod skip;
#[path = "../tests/it/track/mod.rs"]
mod track;

use track::{Counts, FileSystem, Mix, OPERATIONS, Tally, Trial, Way, run, shrink};

/// A root is given up for a new one after so many steps: it grows, and its history with it.
const STEPS_OF_A_ROOT: usize = 25;

/// Districts of a root: so many small steps are one here, so that a change costs a tenth of what it
/// does in a small step.
const DISTRICTS: usize = 8;

/// Small steps in one where the clock has to be waited for before each.
const PARTS_BY_A_COARSE_CLOCK: usize = 24;

/// An operation that was tried so often in vain is one that is impossible, where nothing else is asked for.
const PATIENCE: usize = 1000;

/// After so many steps without any success under one tracker, it is tried under the others.
const PATIENCE_OF_A_TRACKER: usize = 60;

const PROGRESS: Duration = Duration::from_secs(30);

const FILE_SYSTEMS: [FileSystem; 7] = [
    FileSystem::Tmpfs,
    FileSystem::Ext4,
    FileSystem::CoarseExt4,
    FileSystem::Xfs,
    FileSystem::Btrfs,
    FileSystem::OverlayOnExt4,
    FileSystem::OverlayOnTmpfs,
];

const TRACKERS: [TrackerKind; 4] =
    [TrackerKind::Overlay, TrackerKind::Inotify, TrackerKind::Fanotify, TrackerKind::Walk];

struct Arguments {
    changes: usize,
    each: Option<usize>,
    patience: usize,
    may_lack: bool,
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
        patience: PATIENCE,
        may_lack: true,
        seed: 1,
        keep: PathBuf::from("equivalence-failures"),
        trackers: Vec::new(),
        file_systems: Vec::new(),
        weakness: Weakness::None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} takes a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag}: `{value}` is no number"));
        match flag.as_str() {
            "--changes" => parsed.changes = number()?,
            "--each" => parsed.each = Some(number()?),
            "--patience" => parsed.patience = number()?,
            "--lacking" => {
                parsed.may_lack = match value.as_str() {
                    "skip" => true,
                    "fail" => false,
                    _ => return Err(format!("{flag}: neither skip nor fail")),
                };
            }
            "--keep" => parsed.keep = PathBuf::from(&value),
            "--seed" => parsed.seed = number()? as u64,
            "--tracker" => {
                parsed.trackers.push(value.parse().map_err(|error| format!("{error}"))?);
            }
            "--file-system" => {
                let named = |file_system: &&FileSystem| format!("{file_system:?}") == value;
                let found = FILE_SYSTEMS.iter().chain(&[FileSystem::Here]).find(named);
                let known = || format!("{flag}: none of {FILE_SYSTEMS:?} and Here");
                parsed.file_systems.push(*found.ok_or_else(known)?);
            }
            "--weakness" => {
                let all = [
                    Weakness::None,
                    Weakness::OneName,
                    Weakness::NoSubtrees,
                    Weakness::DirectoriesOnly,
                    Weakness::NoOpen,
                    Weakness::OldNumbers,
                    Weakness::NoWait,
                ];
                let found = all.iter().find(|weakness| format!("{weakness:?}") == value);
                parsed.weakness = *found.ok_or_else(|| format!("{flag}: none of {all:?}"))?;
            }
            _ => return Err(format!("`{flag}` is not known")),
        }
    }
    if parsed.trackers.is_empty() {
        parsed.trackers = TRACKERS.to_vec();
    }
    if parsed.file_systems.is_empty() {
        parsed.file_systems = FILE_SYSTEMS.to_vec();
    }
    Ok(parsed)
}

/// What one tracker came to on one file system.
struct Row {
    way: Way,
    counts: Counts,
    /// Steps that came out wrong: one at most, after which there are no more.
    wrong: usize,
    /// Why it cannot be tried here.
    lacking: Option<String>,
}

impl Row {
    fn tally(&self, name: &str) -> Tally {
        self.counts.done.get(name).copied().unwrap_or_default()
    }

    /// Tells whether an operation never succeeds under this tracker, though it may under others.
    fn is_in_vain(&self, name: &str) -> bool {
        let tally = self.tally(name);
        tally.succeeded == 0 && tally.tried >= PATIENCE_OF_A_TRACKER
    }
}

/// Everything that is tried on one file system.
struct Run<'a> {
    arguments: &'a Arguments,
    file_system: FileSystem,
    rows: Vec<Row>,
    /// So many changes are wanted, and so many successes of each operation.
    changes: usize,
    each: usize,
    seed: u64,
    told: Instant,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a Arguments, file_system: FileSystem, changes: usize) -> Self {
        let way = |&kind| Way { kind, weakness: arguments.weakness };
        let row = |kind| Row { way: way(kind), counts: Counts::default(), wrong: 0, lacking: None };
        let rows = arguments.trackers.iter().map(row).collect();
        let each = arguments.each.unwrap_or(arguments.changes / 1000);
        let (seed, told) = (arguments.seed, Instant::now());
        Self { arguments, file_system, rows, changes, each, seed, told }
    }

    /// How often an operation was tried and succeeded, under all trackers.
    fn tally(&self, name: &str) -> Tally {
        let mut total = Tally::default();
        self.rows.iter().for_each(|row| total.add(row.tally(name)));
        total
    }

    fn is_impossible(&self, name: &str) -> bool {
        let shares_blocks = matches!(self.file_system, FileSystem::Xfs | FileSystem::Btrfs);
        if name.starts_with("clone") && !shares_blocks {
            return true;
        }
        // A kernel may lack what others have.
        let tally = self.tally(name);
        tally.succeeded == 0 && tally.tried >= self.arguments.patience
    }

    fn possible(&self) -> impl Iterator<Item = &'static str> {
        let names = OPERATIONS.iter().map(|(name, ..)| *name);
        names.filter(|name| !self.is_impossible(name))
    }

    /// The operation that has succeeded least.
    fn rarest(&self) -> (usize, &'static str) {
        let counts = self.possible().map(|name| (self.tally(name).succeeded, name));
        counts.min().expect("there are operations")
    }

    fn change_count(&self) -> usize {
        self.rows.iter().map(|row| row.counts.changes).sum()
    }

    /// What the next root under a tracker is made of: more of what is short, the more the less of
    /// it succeeds.
    fn mix(&self, place: usize) -> Mix {
        let wanted = |name: &str| {
            let row = &self.rows[place];
            if self.is_impossible(name) || row.is_in_vain(name) {
                return 0;
            }
            let short = self.each.saturating_sub(self.tally(name).succeeded);
            let Tally { tried, succeeded } = row.tally(name);
            // As if one of two more had succeeded, of which nothing is known yet.
            (short * (tried + 2)).div_ceil(succeeded + 1)
        };
        let parts = match self.file_system {
            FileSystem::CoarseExt4 => PARTS_BY_A_COARSE_CLOCK,
            _ => DISTRICTS,
        };
        let Mix { weights, .. } = Mix::default();
        let weights = with_wanted(&weights, &wanted);
        Mix { weights, is_rough: true, districts: DISTRICTS, parts }
    }

    /// Runs one root under each tracker in turn until there were enough changes under each, and of
    /// each operation. Returns whether all steps came out right.
    fn run(&mut self) -> bool {
        loop {
            let working = self.rows.iter().filter(|row| row.lacking.is_none()).count();
            let share = self.changes.div_ceil(working.max(1));
            let mut is_enough = true;
            for place in 0..self.rows.len() {
                let row = &self.rows[place];
                let is_short = row.counts.changes < share || self.rarest().0 < self.each;
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
        let mut trial = match Trial::wide(file_system, way, DISTRICTS) {
            Ok(trial) => trial,
            Err(lacking) => {
                self.rows[place].lacking = Some(lacking);
                return true;
            }
        };
        let mix = self.mix(place);
        let mut goes_on = |counts: &Counts| {
            if self.told.elapsed() >= PROGRESS {
                self.told = Instant::now();
                self.tell(way.kind, counts);
            }
            counts.steps < STEPS_OF_A_ROOT
        };
        match run(&mut trial, seed, &mix, &mut goes_on) {
            Ok(counts) => {
                trial.assert_not_given_up();
                self.add(place, counts);
                true
            }
            Err(failure) => {
                self.rows[place].wrong += 1;
                let what = format!("{} on {file_system:?}", way.kind);
                println!("{what}, seed {seed}: {}", failure.error);
                let path = self.keep(place, "long", &failure.to_string());
                println!("the whole history is in `{path}`");
                let failure = shrink(file_system, way, failure);
                let path = self.keep(place, "shrunk", &failure.to_string());
                println!("shrunk, and in `{path}`: {failure}");
                false
            }
        }
    }

    fn keep(&self, place: usize, what: &str, text: &str) -> String {
        let Self { arguments, file_system, seed, .. } = self;
        let name = format!("{file_system:?}-{}-{}-{what}.txt", self.rows[place].way.kind, seed - 1);
        let path = arguments.keep.join(name);
        let kept =
            std::fs::create_dir_all(&arguments.keep).and_then(|()| std::fs::write(&path, text));
        match kept {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("{}: {error}", path.display()),
        }
    }

    fn add(&mut self, place: usize, counts: Counts) {
        let total = &mut self.rows[place].counts;
        total.steps += counts.steps;
        total.changes += counts.changes;
        total.fallbacks += counts.fallbacks;
        for (name, tally) in counts.done {
            total.done.entry(name).or_default().add(tally);
        }
    }

    /// How far it is, with what the root that is just worked on has come to.
    fn tell(&self, kind: TrackerKind, counts: &Counts) {
        let changes = self.change_count() + counts.changes;
        let (least, rarest) = self.rarest();
        eprintln!(
            "{:?}: {changes} of {} changes, at {kind}; least of `{rarest}`, {least} of {}",
            self.file_system, self.changes, self.each
        );
    }

    fn print(&self) {
        for Row { way, counts, wrong, lacking } in &self.rows {
            let what = format!("{} on {:?}", way.kind, self.file_system);
            if let Some(lacking) = lacking {
                println!("{what}: skipped: {lacking}");
                continue;
            }
            let Counts { steps, changes, fallbacks, .. } = counts;
            println!(
                "{what}: {changes} changes in {steps} steps, {wrong} steps wrong; everything was \
                 looked at in {fallbacks}"
            );
        }
        let names = || OPERATIONS.iter().map(|(name, ..)| *name);
        let counts: Vec<String> =
            names().map(|name| format!("{name} {}", self.tally(name).succeeded)).collect();
        println!("  succeeded: {}", counts.join(", "));
        let impossible: Vec<&str> = names().filter(|name| self.is_impossible(name)).collect();
        let (least, rarest) = self.rarest();
        let each = self.each;
        println!(
            "  each at least {least} times (`{rarest}`; {each} wanted), but for {impossible:?}"
        );
        println!("  seeds {} to {}", self.arguments.seed, self.seed - 1);
    }
}

/// Adds to the weights of operations how often each is wanted besides. At least a third of all stays as it
/// was, more where fewer than a thousand are wanted.
fn with_wanted(weights: &[usize], wanted: &dyn Fn(&str) -> usize) -> Vec<usize> {
    let total: usize = weights.iter().sum();
    let wanted: Vec<usize> = OPERATIONS.iter().map(|(name, ..)| wanted(name)).collect();
    let sum = wanted.iter().sum::<usize>().max(1000);
    // In thousandths, so that small numbers do not vanish.
    let add = |(weight, wanted): (&usize, usize)| weight * 1000 + wanted * total * 2000 / sum;
    weights.iter().zip(wanted).map(add).collect()
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
    let mut total = 0;
    let mut failed = false;
    let count = arguments.file_systems.len();
    for (place, &file_system) in arguments.file_systems.iter().enumerate() {
        // What one file system has left over or lacked is the others'.
        let share = arguments.changes.saturating_sub(total).div_ceil(count - place);
        let mut run = Run::new(&arguments, file_system, share);
        failed |= !run.run();
        failed |= !arguments.may_lack && run.rows.iter().any(|row| row.lacking.is_some());
        run.print();
        total += run.change_count();
    }
    println!("{total} changes in {} s", started.elapsed().as_secs());
    if total < arguments.changes {
        eprintln!("{} changes were wanted", arguments.changes);
        failed = true;
    }
    ExitCode::from(u8::from(failed))
}
