//! The `zuwai` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the supervisor of a step must stay single-threaded.
    if std::env::args_os().nth(1).is_some_and(|word| word == zuwai::sandbox::SUBCOMMAND) {
        return zuwai::sandbox::supervisor::main();
    }
    ExitCode::SUCCESS
}
