//! Random steps until one comes out wrong, and what then is enough to make it so.

use std::collections::BTreeMap;
use std::fmt;

use super::ground::FileSystem;
use super::random::{Mix, Random, district_count};
use super::trial::{Trial, Way};
use super::writer::Operation;

/// What the writers of one step do.
pub type Step = Vec<Vec<Operation>>;

/// What random steps came to.
#[derive(Debug, Default)]
pub struct Counts {
    pub steps: usize,
    pub changes: usize,
    /// Steps for which everything was looked at, though a tracker recorded them.
    pub fallbacks: usize,
    /// How often each operation was tried, and how often it succeeded.
    pub done: BTreeMap<String, Tally>,
}

/// How often something was tried, and how often it succeeded.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub tried: usize,
    pub succeeded: usize,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.tried += other.tried;
        self.succeeded += other.succeeded;
    }
}

/// Steps the last of which came out wrong.
#[derive(Debug)]
pub struct Failure {
    pub history: Vec<Step>,
    pub error: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.error)?;
        for (number, step) in self.history.iter().enumerate() {
            for (writer, operations) in step.iter().enumerate() {
                for Operation(words) in operations {
                    // As `parse` takes it.
                    writeln!(formatter, "step {number}, writer {writer}: {}", words.join(" "))?;
                }
            }
        }
        Ok(())
    }
}

/// Reads steps back from how a [`Failure`] prints them; other lines are passed over.
pub fn parse(text: &str) -> Vec<Step> {
    let mut history: Vec<Step> = Vec::new();
    for line in text.lines() {
        let Some((place, words)) = line.split_once(": ") else { continue };
        let Some(place) = place.strip_prefix("step ") else { continue };
        let (step, writer) = place.split_once(", writer ").expect("a step and a writer");
        let [step, writer] =
            [step, writer].map(|number| number.parse::<usize>().expect("a number"));
        history.resize_with(history.len().max(step + 1), Vec::new);
        let writers = &mut history[step];
        writers.resize_with(writers.len().max(writer + 1), Vec::new);
        writers[writer].push(Operation(words.split(' ').map(str::to_owned).collect()));
    }
    history
}

/// Runs random steps of a mix while `goes_on` says so.
pub fn run(
    trial: &mut Trial,
    seed: u64,
    mix: &Mix,
    goes_on: &mut dyn FnMut(&Counts) -> bool,
) -> Result<Counts, Failure> {
    let mut random = Random(seed);
    let mut counts = Counts::default();
    let mut history: Vec<Step> = Vec::new();
    while goes_on(&counts) {
        history.push(mix.step(&mut random));
        let step = history.last().expect("one was pushed");
        match trial.step(step) {
            Ok(outcome) => {
                counts.steps += 1;
                counts.changes += outcome.change_count;
                counts.fallbacks += usize::from(outcome.stats.everything_because.is_some());
                for (operation, answer) in step.iter().flatten().zip(outcome.answers.concat()) {
                    let succeeded = answer == "ok" || answer.starts_with("daemon ");
                    let tally = counts.done.entry(operation.name().to_owned()).or_default();
                    tally.add(Tally { tried: 1, succeeded: usize::from(succeeded) });
                }
            }
            Err(error) => return Err(Failure { history, error }),
        }
    }
    Ok(counts)
}

/// A step and a writer, and what it does: what can be left out of a history.
type Item = (usize, usize, Operation);

/// Returns the error that steps come to on a new root.
pub fn fails(file_system: FileSystem, way: Way, history: &[Step]) -> Option<String> {
    let districts = district_count(history.iter().flatten().flatten());
    let mut trial = Trial::wide(file_system, way, districts).ok()?;
    history.iter().find_map(|step| trial.step(step).err())
}

/// Tries to fail with less: first without half of the operations, then without quarters, and in the
/// end without single ones. What does not fail every time stays long.
pub fn shrink(file_system: FileSystem, way: Way, failure: Failure) -> Failure {
    let again = |history: &[Step]| fails(file_system, way, history);
    let Failure { history, mut error } = failure;
    let mut items: Vec<Item> = Vec::new();
    for (step, writers) in history.iter().enumerate() {
        for (writer, operations) in writers.iter().enumerate() {
            items.extend(operations.iter().map(|operation| (step, writer, operation.clone())));
        }
    }
    let mut tries = 0..400;
    let mut chunk = items.len().div_ceil(2).max(1);
    loop {
        let mut place = 0;
        while place < items.len() && tries.next().is_some() {
            let mut less = items.clone();
            less.drain(place..items.len().min(place + chunk));
            match again(&history_of(&less)) {
                Some(other) => (items, error) = (less, other),
                None => place += chunk,
            }
        }
        if chunk == 1 || tries.is_empty() {
            return Failure { history: history_of(&items), error };
        }
        chunk = chunk.div_ceil(2);
    }
}

/// Puts the steps together again, without those and the writers that have nothing left to do.
fn history_of(items: &[Item]) -> Vec<Step> {
    let mut steps: BTreeMap<usize, BTreeMap<usize, Vec<Operation>>> = BTreeMap::new();
    for (step, writer, operation) in items {
        steps.entry(*step).or_default().entry(*writer).or_default().push(operation.clone());
    }
    steps.into_values().map(|writers| writers.into_values().collect()).collect()
}
