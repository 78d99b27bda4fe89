//! From typed flags to settled ones: the environment's share and the checks kaniko makes at once.
//!
//! What leaves here is what `--print-options` shows. Only what kaniko refuses before it starts to
//! work is refused here; values with a grammar of their own are read by `lower`. Pure.

use super::KANIKO_DIRECTORY;
use super::args::{BuildArgs, KeyValues, LogArgs, PullArgs, WarmerArgs};
use super::env::{Environment, Facts, Stderr, Surroundings, User};
use super::error::Error;
use super::go_values;
use super::parse::{Program, Purpose};
use super::spelling::Spelled;
use super::variables::{Missing, VARIABLES, Variable};
use crate::report::settings::{Clock, Colors, Format, Level, ProgressForm, ReportSettings};

/// Flags with the environment's share in them.
pub struct Settled<A> {
    /// The flags.
    pub args: A,
    /// Flags whose value came from the environment, at least in part.
    pub from_environment: Vec<&'static str>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Settles the flags of a build.
pub fn build(
    mut args: BuildArgs,
    purpose: Purpose,
    environment: &Environment,
    facts: &Facts,
) -> Result<Settled<BuildArgs>, Error> {
    let mut from_environment = pull(&mut args.pull, environment)?;
    let mut warnings = Vec::new();

    if let Some(value) = environment.filled("KANIKO_NO_PUSH")? {
        args.output.no_push = go_values::parse_bool(value).map_err(|source| {
            Error::InvalidVariable { variable: "KANIKO_NO_PUSH", value: value.to_owned(), source }
        })?;
        from_environment.push("no-push");
    }
    if args.output.benchmark_file.is_empty()
        && let Some(value) = environment.filled("BENCHMARK_FILE")?
        && value != "false"
    {
        args.output.benchmark_file = value.to_owned();
        from_environment.push("benchmark-file");
    }
    if args.execution.kaniko_dir.is_none() {
        if environment.filled("KANIKO_DIR")?.is_some() {
            from_environment.push("kaniko-dir");
        }
        args.execution.kaniko_dir = work_directory(environment, facts)?;
    }
    for argument in &mut args.image.build_arg {
        if !argument.contains('=') {
            let value = environment.get(argument)?;
            if value.is_none() {
                warnings.push(format!(
                    "the build argument `{argument}` has no value and is not in the environment; it \
                     is passed as empty, write `--build-arg={argument}=` if that is meant"
                ));
            }
            *argument = format!("{argument}={}", value.unwrap_or_default());
        }
    }
    for option in &args.source.git {
        let key = &option.0.key;
        let known = ["branch", "single-branch", "recurse-submodules", "insecure-skip-tls", "depth"];
        if !known.contains(&key.as_str()) {
            warnings
                .push(format!("`--git={key}=…` is no option of git contexts; it has no effect"));
        }
    }
    warnings.extend(unsupported_variables(environment));
    check(&args, purpose)?;
    Ok(Settled { args, from_environment, warnings })
}

/// Returns warnings of variables that are set and do nothing yet.
fn unsupported_variables(environment: &Environment) -> impl Iterator<Item = String> {
    let warns = |variable: &&Variable| {
        variable.missing == Missing::Warn && environment.path(variable.name).is_some()
    };
    VARIABLES.iter().filter(warns).map(|variable| {
        format!(
            "the environment variable `{}` ({}) is not supported yet and has no effect",
            variable.name, variable.effect
        )
    })
}

/// Makes kaniko's checks, in its order.
fn check(args: &BuildArgs, purpose: Purpose) -> Result<(), Error> {
    let output = &args.output;
    platform(&args.image.custom_platform, "--custom-platform")?;
    if purpose == Purpose::Examine {
        return Ok(());
    }
    if purpose == Purpose::Build && !output.no_push && output.destination.is_empty() {
        return Err(Error::NoDestination);
    }
    if args.cache.cache && args.cache.cache_repo.is_empty() && output.no_push {
        return Err(Error::NoCacheRepository);
    }
    if args.source.context.is_empty() && args.source.bucket.is_empty() {
        return Err(Error::NoContext);
    }
    for (value, flag) in [
        (&output.image_name_with_digest_file, "--image-name-with-digest-file"),
        (&output.image_name_tag_with_digest_file, "--image-name-tag-with-digest-file"),
    ] {
        if !value.is_empty() && output.destination.is_empty() {
            return Err(Error::NoDestinationForFile { flag });
        }
    }
    Ok(())
}

/// Settles the flags of the warmer.
pub fn warm(mut args: WarmerArgs, environment: &Environment) -> Result<Settled<WarmerArgs>, Error> {
    let from_environment = pull(&mut args.pull, environment)?;
    platform(&args.warm.custom_platform, "--customPlatform")?;
    if args.warm.image.is_empty() && args.warm.dockerfile.is_empty() {
        return Err(Error::NothingToWarm);
    }
    Ok(Settled { args, from_environment, warnings: Vec::new() })
}

/// Appends what the environment says about pulling.
fn pull(args: &mut PullArgs, environment: &Environment) -> Result<Vec<&'static str>, Error> {
    let mut from_environment = Vec::new();
    if let Some(value) = environment.filled("KANIKO_REGISTRY_MAP")? {
        let pairs: KeyValues = value.parse().map_err(|source| Error::InvalidVariable {
            variable: "KANIKO_REGISTRY_MAP",
            value: value.to_owned(),
            source,
        })?;
        args.registry_map.push(pairs);
        from_environment.push("registry-map");
    }
    if let Some(value) = environment.filled("KANIKO_REGISTRY_MIRROR")? {
        args.registry_mirror.push(value.to_owned());
        from_environment.push("registry-mirror");
    }
    Ok(from_environment)
}

/// Refuses what kaniko's platform parser refuses.
fn platform(value: &str, flag: &'static str) -> Result<(), Error> {
    let before_version = value.trim().split(':').next().unwrap_or_default();
    if before_version.split('/').count() > 3 {
        return Err(Error::WrongValue {
            flag,
            value: value.to_owned(),
            reason: "too many slashes, expected `OS/ARCHITECTURE[/VARIANT]`".to_owned(),
        });
    }
    Ok(())
}

/// Chooses the work directory where no flag does.
fn work_directory(environment: &Environment, facts: &Facts) -> Result<Option<String>, Error> {
    if let Some(directory) = environment.filled("KANIKO_DIR")? {
        return Ok(Some(directory.to_owned()));
    }
    // In a container, too, kaniko's directory is root's.
    let cache = match (environment.filled("XDG_CACHE_HOME")?, environment.filled("HOME")?) {
        (Some(cache), _) => Some(format!("{cache}/zuwai")),
        (None, Some(home)) => Some(format!("{home}/.cache/zuwai")),
        (None, None) => None,
    };
    Ok(match (facts.surroundings, facts.user) {
        (Surroundings::Container, User::Root) => Some(KANIKO_DIRECTORY.to_owned()),
        (Surroundings::Machine, User::Root) => Some("/var/lib/zuwai".to_owned()),
        (Surroundings::Container, User::Other) => cache.or(Some(KANIKO_DIRECTORY.to_owned())),
        (Surroundings::Machine, User::Other) => cache,
    })
}

/// Settles how the run is reported.
pub fn report(
    log: &LogArgs,
    spelled: &Spelled,
    environment: &Environment,
    facts: &Facts,
    program: Program,
) -> Result<ReportSettings, Error> {
    let level = match log.verbosity.to_ascii_lowercase().as_str() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" | "warning" => Level::Warn,
        "error" => Level::Error,
        "fatal" => Level::Fatal,
        "panic" => Level::Panic,
        _ => {
            return Err(Error::WrongValue {
                flag: "--verbosity",
                value: log.verbosity.clone(),
                reason: "expected trace, debug, info, warn, error, fatal or panic".to_owned(),
            });
        }
    };
    let wished = spelled.flags.iter().any(|(name, _)| name == "log-format");
    let refused = environment.path("NO_COLOR").is_some();
    let terminal = facts.stderr == Stderr::Terminal;
    let colors = |shown| if shown && !refused { Colors::On } else { Colors::Off };
    let (format, error_colors) = match log.log_format.as_str() {
        "text" => (Format::Text, Colors::Off),
        // kaniko colours its lines whatever they go to, but not its last error.
        "color" => (
            Format::Color(colors(wished || terminal || program != Program::Zuwai)),
            colors(wished || terminal),
        ),
        "json" => (Format::Json, Colors::Off),
        _ => {
            return Err(Error::WrongValue {
                flag: "--log-format",
                value: log.log_format.clone(),
                reason: "expected text, color or json".to_owned(),
            });
        }
    };
    let clock = if log.log_timestamp { Clock::DateAndTime } else { Clock::SinceStart };
    let progress = match format {
        Format::Json => ProgressForm::Hidden,
        Format::Color(_) if terminal => ProgressForm::Bars,
        Format::Color(_) | Format::Text => ProgressForm::Lines,
    };
    Ok(ReportSettings { level, format, clock, error_colors, progress })
}
