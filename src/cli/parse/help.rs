//! What `--help` and `version` print.

use super::{Program, args};
use crate::cli::args::FlagSet;

/// Returns the help of a sub-command.
pub(super) fn help<A: FlagSet>(program: Program, sub_command: &str, short: bool) -> String {
    let command = args::command::<A>();
    let name = match program {
        Program::Zuwai => format!("zuwai {sub_command}"),
        Program::Executor | Program::Warmer => program.name().to_owned(),
    };
    let command = match sub_command {
        "plan" => command.about("Shows what a build would do, without doing it"),
        super::DOCTOR => command.about(
            "Tells what this container allows, what each missing thing costs, and which setting of \
             a Pod would give it; takes the flags of the build that is meant. With `--registry=IMAGE`, \
             repeatable, it asks the image's registry instead: which credentials are used there, \
             where else they were looked for, and whether the image can be pulled and pushed",
        ),
        _ => command,
    };
    let mut command = command.bin_name(name);
    let text = if short { command.render_help() } else { command.render_long_help() };
    text.to_string()
}

/// Returns the version.
pub(super) fn version() -> String {
    format!("zuwai {} (flags of kaniko v1.24.0)\n", env!("CARGO_PKG_VERSION"))
}

/// The help of the program itself.
pub(super) const HELP: &str = "\
Builds container images from a Dockerfile inside an ordinary Kubernetes Pod

Usage: zuwai <COMMAND>

Commands:
  build    Builds an image from a Dockerfile and pushes it
  plan     Shows what a build would do
  doctor   Tells whether a build can run here, and what the container lacks
  warm     Fetches base images into a directory that builds read
  cache    Lists what that directory holds, or removes what is not used
  broker   Holds credentials and talks to registries for a build in another container
  compare-modes
           Measures the ways to find changes, and what each misses
  version  Shows the version

Called through a link named `executor` or `warmer`, it is kaniko's program of that name.
`zuwai <COMMAND> --help` lists the flags of a command.
";
