//! The command lines of `zuwai cache`.

use std::path::PathBuf;
use std::time::Duration;

use super::{Failure, Invocation, Line, typed};
use crate::cli::args::{CacheLimitArgs, CacheListArgs, CachePruneArgs, FlagSet, LogArgs};
use crate::cli::error::Error;
use crate::cli::{lower, print, settle};
use crate::report::settings::ReportSettings;
use crate::store::Wish;

/// The sub-command.
pub(super) const COMMAND: &str = "cache";

/// What to do with the directory that builds and warmers share, and how to report it.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRequest {
    /// The directory.
    pub directory: PathBuf,
    /// What is to be removed; `None`: it is only listed.
    pub wish: Option<Wish>,
    /// How to report it.
    pub report: ReportSettings,
}

impl Line<'_> {
    pub(super) fn cache(&self, words: &[String]) -> Result<Invocation, Failure> {
        let Some((command, rest)) = words.split_first() else {
            return Err(self.early(Error::NoCacheCommand));
        };
        match command.as_str() {
            "ls" => self.store::<CacheListArgs>(rest, "cache ls", |args| Asked {
                cache_dir: args.place.cache_dir.clone(),
                wish: None,
                log: args.log.clone(),
            }),
            "prune" => self.store::<CachePruneArgs>(rest, "cache prune", |args| Asked {
                cache_dir: args.place.cache_dir.clone(),
                wish: Some(wish(&args.limits)),
                log: args.log.clone(),
            }),
            _ => Err(self.early(Error::NoCacheCommand)),
        }
    }

    fn store<A: FlagSet>(
        &self,
        words: &[String],
        command: &'static str,
        asked: impl FnOnce(&A) -> Asked,
    ) -> Result<Invocation, Failure> {
        let spelled = match self.spelled::<A>(words, command)? {
            Ok(spelled) => spelled,
            Err(text) => return Ok(Invocation::Print(text)),
        };
        let args: A = typed(&spelled).map_err(|error| self.early(error))?;
        let Asked { cache_dir, wish, log } = asked(&args);
        let report = settle::report(&log, &spelled, self.environment, self.facts, self.program)
            .map_err(|error| self.early(error))?;
        if log.print_options {
            return Ok(Invocation::Print(print::options(&print::Understood {
                program: self.program.name(),
                command,
                args: &args,
                from_environment: &[],
                spelled: &spelled,
                environment: self.environment,
                warnings: &spelled.warnings,
            })));
        }
        let directory = lower::absolute(&cache_dir, self.facts);
        Ok(Invocation::Cache(Box::new(CacheRequest { directory, wish, report })))
    }
}

/// What both commands say.
struct Asked {
    cache_dir: String,
    wish: Option<Wish>,
    log: LogArgs,
}

fn wish(limits: &CacheLimitArgs) -> Wish {
    let age =
        |nanoseconds: i64| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
    let unused_for = limits.older_than.map(|duration| age(duration.nanoseconds));
    match (limits.keep, unused_for) {
        (None, None) => Wish { keep_bytes: None, unused_for: Some(Duration::ZERO) },
        (keep, unused_for) => Wish { keep_bytes: keep.map(|size| size.bytes), unused_for },
    }
}
