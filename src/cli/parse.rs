//! From words to an invocation: which program and sub-command, and the steps of a command line.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::args::{self, BuildArgs, FlagSet};
use super::env::{Environment, Facts};
use super::error::Error;
use super::flags::{Flag, Support};
use super::go_values::ValueError;
use super::spelling::{self, Spelled};
use super::{docs, lower, print, settle};
use crate::build::BuildOptions;
use crate::build::options::Push;
use crate::image::Reference;
use crate::report::settings::ReportSettings;

mod broker;
mod compare;
mod doctor;
mod help;
mod store;
mod warm;

pub use broker::BrokerRequest;
pub use compare::CompareRequest;
use help::{HELP, help, version};
pub use store::CacheRequest;
pub use warm::WarmRequest;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// A build.
    Build(Box<BuildRequest>),
    /// What a build would do, as text.
    Plan(Box<BuildRequest>),
    /// What this container allows a build.
    Doctor(Box<BuildRequest>),
    /// What registries allow a build.
    DoctorOfRegistries {
        /// The build.
        request: Box<BuildRequest>,
        /// References whose registries are asked.
        references: Vec<Reference>,
    },
    /// A broker.
    Broker(Box<BrokerRequest>),
    /// Images to fetch.
    Warm(Box<WarmRequest>),
    /// A look after the directory that builds and warmers share.
    Cache(Box<CacheRequest>),
    /// A comparison of ways to find changes.
    Compare(Box<CompareRequest>),
    /// One build of a comparison.
    Measure {
        /// The file that says what is measured.
        job: PathBuf,
        /// The build.
        request: Box<BuildRequest>,
    },
    /// A step of a scenario of a comparison, in its sandbox.
    Step(String),
    /// A text for standard output: help, version or options.
    Print(String),
}

/// A build and how to report it.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildRequest {
    /// What to build.
    pub options: BuildOptions,
    /// How to report it.
    pub report: ReportSettings,
    /// Shown as warnings, once each.
    pub warnings: Vec<String>,
    /// Shown at debug level: flags that ask for what is always so, and why it is.
    pub notes: Vec<String>,
}

/// An error and how to report it.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong.
    pub error: Error,
    /// As far as the flags could be read.
    pub report: ReportSettings,
}

/// The names this program is called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Its own name: sub-commands.
    Zuwai,
    /// kaniko's builder.
    Executor,
    /// kaniko's warmer.
    Warmer,
}

/// What the flags of a build are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To build.
    Build,
    /// To see what would be built; needs no destination.
    Plan,
    /// To see whether a build can run; needs neither destination nor context.
    Examine,
    /// To build for a comparison; nothing is pushed.
    Measure,
}

impl Purpose {
    fn command(self) -> &'static str {
        match self {
            Self::Build | Self::Measure => "build",
            Self::Plan => "plan",
            Self::Examine => DOCTOR,
        }
    }
}

impl Program {
    fn called(name: &OsStr) -> Self {
        match Path::new(name).file_name().and_then(OsStr::to_str) {
            Some("executor") => Self::Executor,
            Some("warmer") => Self::Warmer,
            _ => Self::Zuwai,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zuwai => "zuwai",
            Self::Executor => "executor",
            Self::Warmer => "warmer",
        }
    }
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Anything that kaniko would refuse, and anything that is not built yet.
pub fn parse(
    words: &[OsString],
    environment: &Environment,
    facts: &Facts,
) -> Result<Invocation, Failure> {
    let (name, words) = match words.split_first() {
        Some((name, words)) => (name.as_os_str(), words),
        None => (OsStr::new("zuwai"), words),
    };
    let program = Program::called(name);
    let line = Line { program, environment, facts };
    let words = texts(words).map_err(|error| line.early(error))?;
    match program {
        // A Pod of our image needs no other entrypoint to be examined; kaniko has no such command.
        Program::Executor => match words.split_first() {
            Some((first, rest)) if first == DOCTOR => line.doctor(rest),
            _ => line.build(&words, Purpose::Build),
        },
        Program::Warmer => line.warm(&words),
        Program::Zuwai => line.zuwai(&words),
    }
}

fn texts(words: &[OsString]) -> Result<Vec<String>, Error> {
    let text = |(index, word): (usize, &OsString)| {
        let text = word.to_str().ok_or(Error::ArgumentNotText { position: index + 1 })?;
        Ok(text.to_owned())
    };
    words.iter().enumerate().map(text).collect()
}

/// What every step of reading one command line needs.
#[derive(Clone, Copy)]
struct Line<'a> {
    program: Program,
    environment: &'a Environment,
    facts: &'a Facts,
}

impl Line<'_> {
    /// Wraps an error from before the reporting flags were read.
    fn early(&self, error: Error) -> Failure {
        Failure { error, report: ReportSettings::default() }
    }

    fn zuwai(&self, words: &[String]) -> Result<Invocation, Failure> {
        let Some((command, rest)) = words.split_first() else {
            return Err(self.early(Error::NoCommand));
        };
        match command.as_str() {
            "build" => self.build(rest, Purpose::Build),
            "plan" => self.build(rest, Purpose::Plan),
            DOCTOR => self.doctor(rest),
            "warm" => self.warm(rest),
            store::COMMAND => self.cache(rest),
            "broker" => self.broker(rest),
            compare::COMMAND => self.compare(rest),
            crate::compare::MEASURE => self.measure(rest),
            crate::compare::STEP => Ok(Invocation::Step(rest.join(" "))),
            DOCS if rest.first().is_some_and(|word| word == "flags") => {
                Ok(Invocation::Print(docs::flags()))
            }
            DOCS if rest.first().is_some_and(|word| word == "compatibility") => {
                Ok(Invocation::Print(docs::compatibility()))
            }
            "version" | "--version" => Ok(Invocation::Print(version())),
            "help" | "--help" | "-h" => Ok(Invocation::Print(HELP.to_owned())),
            flag if flag.starts_with('-') => Err(self.early(Error::NoCommand)),
            word => Err(self.early(Error::UnknownCommand {
                program: self.program.name().to_owned(),
                word: word.to_owned(),
                after_switch: None,
            })),
        }
    }

    fn build(&self, words: &[String], purpose: Purpose) -> Result<Invocation, Failure> {
        let spelled = match self.spelled::<BuildArgs>(words, purpose.command())? {
            Ok(spelled) => spelled,
            Err(text) => return Ok(Invocation::Print(text)),
        };
        let typed: BuildArgs = typed(&spelled).map_err(|error| self.early(error))?;
        let report =
            settle::report(&typed.log, &spelled, self.environment, self.facts, self.program)
                .map_err(|error| self.early(error))?;
        let fail = |error| Failure { error, report };
        let settled = settle::build(typed, purpose, self.environment, self.facts).map_err(fail)?;
        let mut warnings = spelled.warnings.clone();
        warnings.extend(settled.warnings);
        if settled.args.log.print_options {
            return Ok(Invocation::Print(print::options(&print::Understood {
                program: self.program.name(),
                command: purpose.command(),
                args: &settled.args,
                from_environment: &settled.from_environment,
                spelled: &spelled,
                environment: self.environment,
                warnings: &warnings,
            })));
        }
        let mut lowered =
            lower::build(&settled.args, self.environment, self.facts).map_err(fail)?;
        if purpose == Purpose::Measure {
            // Whatever the environment says.
            lowered.options.output.push = Push::No;
        }
        warnings.extend(lowered.warnings);
        let request = Box::new(BuildRequest {
            options: lowered.options,
            report,
            warnings,
            notes: notes(&spelled, BuildArgs::FLAGS),
        });
        Ok(match purpose {
            Purpose::Build | Purpose::Measure => Invocation::Build(request),
            Purpose::Plan => Invocation::Plan(request),
            Purpose::Examine => Invocation::Doctor(request),
        })
    }

    /// Reads the grammar, sub-command words included; `Err` inside is a text to print instead.
    fn spelled<A: FlagSet>(
        &self,
        words: &[String],
        command: &str,
    ) -> Result<Result<Spelled, String>, Failure> {
        let spelled = spelling::read(words, &args::shapes::<A>(), A::OLD_NAMES)
            .map_err(|error| self.early(error.into()))?;
        if spelled.flags.iter().any(|(name, value)| name == "help" && value == "true") {
            let short = words.iter().any(|word| word == "-h");
            return Ok(Err(help::<A>(self.program, command, short)));
        }
        let Some(word) = spelled.positionals.first() else {
            return Ok(Ok(spelled));
        };
        match (self.program, word.text.as_str()) {
            (Program::Executor | Program::Warmer, "version") => Ok(Err(version())),
            (Program::Executor | Program::Warmer, "help") => {
                Ok(Err(help::<A>(self.program, command, false)))
            }
            (program, _) => Err(self.early(Error::UnknownCommand {
                program: match program {
                    Program::Zuwai => format!("zuwai {command}"),
                    Program::Executor | Program::Warmer => program.name().to_owned(),
                },
                word: word.text.clone(),
                after_switch: word.after_switch.clone(),
            })),
        }
    }
}

/// Gives canonical arguments their types.
fn typed<A: FlagSet>(spelled: &Spelled) -> Result<A, Error> {
    let words = std::iter::once("zuwai".to_owned()).chain(
        spelled
            .flags
            .iter()
            .filter(|(name, _)| name != "help")
            .map(|(name, value)| format!("--{name}={value}")),
    );
    args::command::<A>()
        .try_get_matches_from(words)
        .and_then(|matches| A::from_arg_matches(&matches))
        .map_err(|error| value_error(&error, spelled))
}

/// Says which flag's value clap refused.
fn value_error(error: &clap::Error, spelled: &Spelled) -> Error {
    use clap::error::{ContextKind, ContextValue};
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let shown = text(ContextKind::InvalidArg);
    let flag = shown.split(['=', '[', ' ']).next().unwrap_or_default().to_owned();
    let source = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<ValueError>())
        .cloned();
    let value = match text(ContextKind::InvalidValue) {
        // An empty value is not repeated in clap's context; it is the last one given.
        value if value.is_empty() => spelled
            .flags
            .iter()
            .rev()
            .find(|(name, _)| flag.strip_prefix("--") == Some(name))
            .map(|(_, value)| value.clone())
            .unwrap_or_default(),
        value => value,
    };
    Error::InvalidValue { flag, value, source: source.unwrap_or(ValueError::KeyValue) }
}

/// Returns why given flags need no work.
fn notes(spelled: &Spelled, table: &[Flag]) -> Vec<String> {
    let given = |flag: &&Flag| spelled.flags.iter().any(|(name, _)| name == flag.name);
    let note = |flag: &Flag| match flag.support {
        Support::ByDesign(why) => Some(format!("--{} has nothing to do: {why}", flag.name)),
        Support::Works | Support::NotYet => None,
    };
    table.iter().filter(given).filter_map(note).collect()
}

/// The sub-command that tells what a container allows.
const DOCTOR: &str = "doctor";

/// The hidden sub-command that `hack/docs.sh` writes the generated docs with.
const DOCS: &str = "__docs";

#[cfg(test)]
mod tests;
