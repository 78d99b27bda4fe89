//! The command lines of a comparison, and of what it starts.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::help::help;
use super::{Invocation, Line, Purpose, typed};
use crate::cli::args::{self, BuildArgs, ComparisonArgs, FlagSet};
use crate::cli::error::Error;
use crate::cli::spelling::{self, Spelled};
use crate::cli::{lower, settle};
use crate::compare::{self, Check, CompareOptions, Scenario, Subject};
use crate::report::settings::ReportSettings;
use crate::sandbox::THIS_BINARY;

/// A comparison and how to report it.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareRequest {
    /// What to compare.
    pub options: CompareOptions,
    /// How to report it.
    pub report: ReportSettings,
    /// Shown as warnings, once each.
    pub warnings: Vec<String>,
}

/// Flags of a build that say what the comparison says, or what none of its builds does.
const NOT_COMPARED: [&str; 21] = [
    "snapshot-mode",
    "tracker",
    "use-new-run",
    "single-snapshot",
    "reproducible",
    "destination",
    "tar-path",
    "oci-layout-path",
    "digest-file",
    "image-name-with-digest-file",
    "image-name-tag-with-digest-file",
    "cache",
    "cache-repo",
    "cache-from",
    "cache-signing-key",
    "cleanup",
    "print-options",
    "force-build-metadata",
    "registry-auth-stdin",
    "registry-auth-fd",
    "registry-broker",
];

impl Line<'_> {
    pub(super) fn compare(&self, words: &[String]) -> Result<Invocation, super::Failure> {
        let early = |error| self.early(error);
        let own_shapes = args::shapes::<ComparisonArgs>();
        let is_own = |name: &str| own_shapes.iter().any(|shape| shape.long == name);
        let build_shapes = args::shapes::<BuildArgs>();
        let further = build_shapes.into_iter().filter(|shape| !is_own(&shape.long));
        let shapes: Vec<_> = own_shapes.iter().cloned().chain(further).collect();
        let spelled = spelling::read(words, &shapes, BuildArgs::OLD_NAMES)
            .map_err(|error| early(error.into()))?;
        if spelled.flags.iter().any(|(name, value)| name == "help" && value == "true") {
            let short = words.iter().any(|word| word == "-h");
            let text = help::<ComparisonArgs>(self.program, COMMAND, short);
            return Ok(Invocation::Print(text));
        }
        if let Some(word) = spelled.positionals.first() {
            return Err(early(Error::UnknownCommand {
                program: format!("zuwai {COMMAND}"),
                word: word.text.clone(),
                after_switch: word.after_switch.clone(),
            }));
        }
        let refused = spelled.flags.iter().find(|(name, _)| NOT_COMPARED.contains(&name.as_str()));
        if let Some((name, _)) = refused {
            return Err(early(Error::NotCompared { flag: format!("--{name}") }));
        }
        let (own, build): (Vec<_>, Vec<_>) =
            spelled.flags.into_iter().partition(|(name, _)| is_own(name));
        let own = Spelled { flags: own, ..Spelled::default() };
        let own: ComparisonArgs = typed(&own).map_err(early)?;
        let build = Spelled { flags: build, ..Spelled::default() };
        let typed: BuildArgs = typed(&build).map_err(early)?;
        let report = settle::report(&typed.log, &build, self.environment, self.facts, self.program)
            .map_err(early)?;
        let fail = |error| super::Failure { error, report };
        // What a build would refuse is refused now, and not by each of them.
        let settled =
            settle::build(typed, Purpose::Measure, self.environment, self.facts).map_err(fail)?;
        let lowered = lower::build(&settled.args, self.environment, self.facts).map_err(fail)?;
        let flags = build.flags.iter().map(|(name, value)| format!("--{name}={value}"));
        let options = CompareOptions {
            subject: subject(&own, &build, &settled.args).map_err(fail)?,
            modes: compare::modes(&own.modes)
                .map_err(|error| wrong("--modes", &own.modes, &error.to_string()))
                .map_err(fail)?,
            runs: runs(own.runs).map_err(fail)?,
            check: if own.check { Check::Soundness } else { Check::None },
            json: self.file(&own.json),
            html: self.file(&own.html),
            build_flags: flags.collect(),
            work_directory: lowered.options.execution.work_directory,
            program: PathBuf::from(THIS_BINARY),
        };
        let mut warnings = spelled.warnings;
        warnings.extend(settled.warnings);
        warnings.extend(lowered.warnings);
        Ok(Invocation::Compare(Box::new(CompareRequest { options, report, warnings })))
    }

    /// Reads what [`compare::MEASURE`] is called with: a job file, and flags of a build.
    pub(super) fn measure(&self, words: &[String]) -> Result<Invocation, super::Failure> {
        let Some((job, flags)) = words.split_first() else {
            return Err(self.early(Error::NoCommand));
        };
        match self.build(flags, Purpose::Measure)? {
            Invocation::Build(request) => Ok(Invocation::Measure { job: job.into(), request }),
            other => Ok(other),
        }
    }

    fn file(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty()).then(|| self.facts.current_directory.join(text))
    }
}

/// The sub-command.
pub(super) const COMMAND: &str = "compare-modes";

fn wrong(flag: &'static str, value: &str, reason: &str) -> Error {
    Error::WrongValue { flag, value: value.to_owned(), reason: reason.to_owned() }
}

fn runs(count: i64) -> Result<NonZeroU32, Error> {
    let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
    count.ok_or(Error::NoRuns)
}

fn subject(own: &ComparisonArgs, build: &Spelled, args: &BuildArgs) -> Result<Subject, Error> {
    let has = |name: &str| build.flags.iter().any(|(flag, _)| flag == name);
    if own.scenario.is_empty() {
        if !own.base.is_empty() {
            return Err(wrong("--base", &own.base, "it goes with `--scenario`"));
        }
        if !has("context") {
            return Err(Error::NothingToCompare);
        }
        let text = format!("`{}` of `{}`", args.source.dockerfile, args.source.context);
        return Ok(Subject::Build(text));
    }
    let own_context = ["context", "dockerfile"].into_iter().find(|name| has(name));
    if let Some(name) = own_context {
        return Err(Error::TwoSubjects { flag: format!("--{name}") });
    }
    let scenario: Scenario = own.scenario.parse().map_err(|error: compare::UnknownScenario| {
        wrong("--scenario", &own.scenario, &error.to_string())
    })?;
    if !own.base.is_empty() && !scenario.takes_base() {
        return Err(wrong("--base", &own.base, "only the scenario `small-runs` takes one"));
    }
    let base = (!own.base.is_empty()).then(|| PathBuf::from(&own.base));
    Ok(Subject::Scenario { scenario, base })
}
