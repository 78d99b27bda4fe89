//! Compares the tar reader with GNU tar and Python's `tarfile`: `archive_fuzz COUNT [SEED
//! [DIRECTORY]]`; archives that are accepted stay in the directory, if one is given.
//! `hack/fuzz.sh` runs it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers")]

#[path = "../tests/it/differential.rs"]
mod differential;
#[path = "../tests/it/tarball.rs"]
mod tarball;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        arguments.next().map_or(default, |argument| argument.parse().expect("a number"))
    };
    let (count, seed) = (number(10_000), number(1));
    let count = usize::try_from(count).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let kept = arguments.next().map(std::path::PathBuf::from);
    let directory = kept.as_deref().unwrap_or(temporary.path());
    match differential::run(seed, count, directory) {
        Some(outcome) => {
            println!("{}", differential::summary(&outcome));
            if outcome.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => {
            println!("needs GNU tar and python3");
            ExitCode::FAILURE
        }
    }
}
