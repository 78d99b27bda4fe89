//! Random steps until one comes out wrong, and what then is enough to make it so.

use std::collections::BTreeMap;
use std::fmt;

use super::ground::FileSystem;
use super::random::{self, Random};
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
    /// How often each operation succeeded.
    pub done: BTreeMap<String, usize>,
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
                    writeln!(formatter, "step {number}, writer {writer}: {}", words.join(" "))?;
                }
            }
        }
        Ok(())
    }
}

/// Runs random steps while `goes_on` says so.
pub fn run(
    trial: &mut Trial,
    seed: u64,
    goes_on: &mut dyn FnMut(&Counts) -> bool,
) -> Result<Counts, Failure> {
    let mut random = Random(seed);
    let mut counts = Counts::default();
    let mut history: Vec<Step> = Vec::new();
    while goes_on(&counts) {
        history.push(random::step(&mut random));
        let step = history.last().expect("one was pushed");
        match trial.step(step) {
            Ok(outcome) => {
                counts.steps += 1;
                counts.changes += outcome.change_count;
                counts.fallbacks += usize::from(outcome.stats.everything_because.is_some());
                for (operation, answer) in step.iter().flatten().zip(outcome.answers.concat()) {
                    if answer == "ok" || answer.starts_with("daemon ") {
                        *counts.done.entry(operation.name().to_owned()).or_default() += 1;
                    }
                }
            }
            Err(error) => return Err(Failure { history, error }),
        }
    }
    Ok(counts)
}

/// Tries to fail with less: first without whole steps, then without operations. What does not fail
/// every time stays long.
pub fn shrink(file_system: FileSystem, way: Way, failure: Failure) -> Failure {
    let again = |history: &[Step]| -> Option<String> {
        let mut trial = Trial::new(file_system, way).ok()?;
        history.iter().find_map(|step| trial.step(step).err())
    };
    let Failure { mut history, mut error } = failure;
    let mut tries = 0..200;
    let mut place = 0;
    while place < history.len() && tries.next().is_some() {
        let mut less = history.clone();
        less.remove(place);
        match again(&less) {
            Some(other) => (history, error) = (less, other),
            None => place += 1,
        }
    }
    let mut place = 0;
    loop {
        let total: usize = history.iter().flatten().map(Vec::len).sum();
        if place >= total || tries.next().is_none() {
            return Failure { history, error };
        }
        let mut less = history.clone();
        let mut at = place;
        for operations in less.iter_mut().flatten() {
            if at < operations.len() {
                operations.remove(at);
                break;
            }
            at -= operations.len();
        }
        match again(&less) {
            Some(other) => (history, error) = (less, other),
            None => place += 1,
        }
    }
}
