//! Where and how the build runs.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::{absolute, filled, shared};
use crate::build::options::{
    Cleanup, ExecutionOptions, Inhabitants, Isolation, Overwrite, Unpacking,
};
use crate::cli::KANIKO_DIRECTORY;
use crate::cli::args::{BuildArgs, ExecutionArgs};
use crate::cli::env::Facts;
use crate::cli::error::Error;
use crate::sandbox;

/// Lowers the flags of the execution.
pub fn execution(
    build_args: &BuildArgs,
    facts: &Facts,
    work_directory: PathBuf,
) -> Result<ExecutionOptions, Error> {
    let args = &build_args.execution;
    // The program is there, and what was mounted for it: kaniko's own never touches it either.
    let mut kept_directories = vec![PathBuf::from(KANIKO_DIRECTORY)];
    if shared::is_used(&build_args.cache) {
        kept_directories.push(absolute(&build_args.cache.cache_dir, facts));
    }
    let isolation = match args.isolation.as_str() {
        "auto" => Isolation::Auto,
        "namespaces" => Isolation::Namespaces,
        "userns" => Isolation::UserNamespace,
        "in-place" => Isolation::InPlace,
        _ => {
            return Err(Error::WrongValue {
                flag: "--isolation",
                value: args.isolation.clone(),
                reason: "expected auto, namespaces, userns or in-place".to_owned(),
            });
        }
    };
    // kaniko's directory is part of a container, and goes with it.
    let is_lasting = work_directory != Path::new(KANIKO_DIRECTORY);
    Ok(ExecutionOptions {
        header_indexes: is_lasting.then(|| work_directory.join("headers")),
        isolation,
        overwrite: if args.force { Overwrite::Forced } else { Overwrite::Refused },
        inhabitants: match (args.pre_cleanup, args.force) {
            (true, _) => Inhabitants::Removed,
            (false, true) => Inhabitants::Kept,
            (false, false) => Inhabitants::Refused,
        },
        surroundings: sandbox::Surroundings { is_kubernetes: facts.is_kubernetes },
        cleanup: if args.cleanup { Cleanup::Removed } else { Cleanup::Kept },
        work_directory,
        kept_directories,
        supervisor: PathBuf::from(sandbox::THIS_BINARY),
        unpacking: Unpacking::WhenNeeded,
    })
}

/// Returns the work directory that was settled.
pub fn work_directory(args: &ExecutionArgs, facts: &Facts) -> Result<PathBuf, Error> {
    args.kaniko_dir
        .as_deref()
        .and_then(filled)
        .map(|text| absolute(text, facts))
        .ok_or(Error::NoWorkDirectory)
}

/// Lowers `--threads`; 0 is `None`.
pub fn threads(args: &ExecutionArgs) -> Result<Option<NonZeroUsize>, Error> {
    usize::try_from(args.threads).map(NonZeroUsize::new).map_err(|_| Error::WrongValue {
        flag: "--threads",
        value: args.threads.to_string(),
        reason: "expected a count of 0 or more".to_owned(),
    })
}
