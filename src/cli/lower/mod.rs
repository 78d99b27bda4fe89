//! From settled flags to options: values with a grammar are read, paths made absolute. Pure.

mod ambient;
mod broker;
mod cache;
mod cloud;
mod execution;
mod git;
mod output;
mod registry;
mod secret;
mod shared;
mod source;
mod tracking;
mod warm;

use std::path::PathBuf;

pub use broker::broker;
pub use warm::warm;

use super::args::{BuildArgs, CompressionName, ImageArgs, SnapshotArgs};
use super::env::{Environment, Facts};
use super::error::Error;
use crate::build::options::{
    BuildArg, BuildOptions, CompressionChoice, Label, LayerChoices, SnapshotChoices,
    SnapshotFrequency, StageSelection, Timestamps, UnchangedSteps, VarRun,
};
use crate::context::pattern::is_well_formed;
use crate::image::{PlatformError, PlatformText};

/// Options, and what to warn of.
pub struct Lowered {
    /// The options.
    pub options: BuildOptions,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Lowers the flags of a build.
///
/// # Errors
/// A value that cannot mean anything, or means something that is not built yet.
pub fn build(args: &BuildArgs, environment: &Environment, facts: &Facts) -> Result<Lowered, Error> {
    let mut warnings = Vec::new();
    let work_directory = execution::work_directory(&args.execution, facts)?;
    let context = source::context(&args.source, environment, facts, &mut warnings)?;
    let dockerfile = source::dockerfile(&args.source, facts)?;
    let credentials = registry::credentials(&args.credentials, facts)?;
    source::check_stdin(&context, &dockerfile, &credentials, &args.source)?;
    let output = output::output(&args.output, environment, facts)?;
    cache::check_delta(args)?;
    let cache = cache::cache(&args.cache, &output.destinations, facts)?;
    let options = BuildOptions {
        context,
        dockerfile,
        target: filled(&args.image.target).map(str::to_owned),
        stages: match args.image.skip_unused_stages {
            None | Some(true) => StageSelection::Needed,
            Some(false) => StageSelection::UpToTarget,
        },
        build_args: args.image.build_arg.iter().map(|text| build_arg(text)).collect(),
        secrets: secret::secrets(&args.source.secret, environment, facts)?,
        labels: args.image.label.iter().map(|text| label(text)).collect::<Result<_, _>>()?,
        platform: filled(&args.image.custom_platform).map(platform).transpose()?,
        snapshots: snapshots(&args.snapshot, &mut warnings)?,
        layers: LayerChoices {
            compression: compression(&args.image)?,
            timestamps: match args.image.reproducible {
                true => Timestamps::Zeroed,
                false => Timestamps::Kept,
            },
            unchanged: match args.image.force_build_metadata {
                true => UnchangedSteps::EmptyLayer,
                false => UnchangedSteps::NoLayer,
            },
            threads: execution::threads(&args.execution)?,
        },
        output,
        cache,
        shared: shared::shared(&args.cache, facts),
        registry: registry::access(args, &work_directory, environment, facts, &mut warnings)?,
        execution: execution::execution(args, facts, work_directory)?,
    };
    Ok(Lowered { options, warnings })
}

/// Returns the text unless it is empty, which is how kaniko says "not given".
fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Makes a path absolute.
pub(super) fn absolute(text: &str, facts: &Facts) -> PathBuf {
    facts.current_directory.join(text)
}

fn platform(text: &str) -> Result<PlatformText, Error> {
    text.parse().map_err(|error: PlatformError| Error::WrongValue {
        flag: "--custom-platform",
        value: text.to_owned(),
        reason: error.to_string(),
    })
}

fn build_arg(text: &str) -> BuildArg {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    BuildArg { name: name.to_owned(), value: value.to_owned() }
}

fn label(text: &str) -> Result<Label, Error> {
    match text.split_once('=') {
        Some((key, value)) => Ok(Label { key: key.to_owned(), value: value.to_owned() }),
        None => Err(Error::WrongValue {
            flag: "--label",
            value: text.to_owned(),
            reason: "expected `KEY=VALUE`".to_owned(),
        }),
    }
}

fn snapshots(args: &SnapshotArgs, warnings: &mut Vec<String>) -> Result<SnapshotChoices, Error> {
    let mode = tracking::mode(args)?;
    let watch_limit = tracking::watch_limit(args)?;
    let mut ignored_paths = Vec::new();
    for text in &args.ignore_path {
        match text.starts_with('/') {
            true => ignored_paths.push(ignored_path(text)?),
            // With kaniko it matches nothing, and old pipelines must not fail on it.
            false => warnings.push(format!(
                "`--ignore-path={text}` matches nothing; write it as an absolute path of the image"
            )),
        }
    }
    Ok(SnapshotChoices {
        mode,
        watch_limit,
        frequency: match args.single_snapshot {
            true => SnapshotFrequency::OncePerStage,
            false => SnapshotFrequency::EveryStep,
        },
        ignored_paths,
        var_run: match args.ignore_var_run {
            true => VarRun::Ignored,
            false => VarRun::Included,
        },
    })
}

/// Cleans an absolute path as Go's `filepath.Clean` does.
fn ignored_path(text: &str) -> Result<String, Error> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let reason = if parts.is_empty() {
        "the root cannot be ignored"
    } else if parts.iter().any(|part| !is_well_formed(part.as_bytes())) {
        "the pattern has a `[` without its `]`, or ends in `\\`"
    } else {
        return Ok(format!("/{}", parts.join("/")));
    };
    Err(Error::WrongValue {
        flag: "--ignore-path",
        value: text.to_owned(),
        reason: reason.to_owned(),
    })
}

fn compression(args: &ImageArgs) -> Result<CompressionChoice, Error> {
    // kaniko applies a level only when it is above 0.
    let level = match args.compression_level {
        ..=0 => None,
        level => Some(level),
    };
    let highest = match args.compression {
        CompressionName::Gzip => 9,
        CompressionName::Zstd => 22,
    };
    let level = level
        .map(|level| match u32::try_from(level) {
            Ok(level) if level <= highest => Ok(level),
            _ => Err(Error::WrongValue {
                flag: "--compression-level",
                value: level.to_string(),
                reason: format!("the highest level of this compression is {highest}"),
            }),
        })
        .transpose()?;
    Ok(match args.compression {
        CompressionName::Gzip => CompressionChoice::Gzip { level },
        CompressionName::Zstd => CompressionChoice::Zstd { level },
    })
}
