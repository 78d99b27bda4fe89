//! The command line of the warmer.

use super::{Failure, Invocation, Line, typed};
use crate::cli::args::WarmerArgs;
use crate::cli::{lower, print, settle};
use crate::report::settings::ReportSettings;
use crate::warm::WarmOptions;

/// Images to fetch and how to report it.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmRequest {
    /// What to fetch.
    pub options: WarmOptions,
    /// How to report it.
    pub report: ReportSettings,
    /// Shown as warnings, once each.
    pub warnings: Vec<String>,
}

impl Line<'_> {
    pub(super) fn warm(&self, words: &[String]) -> Result<Invocation, Failure> {
        let spelled = match self.spelled::<WarmerArgs>(words, "warm")? {
            Ok(spelled) => spelled,
            Err(text) => return Ok(Invocation::Print(text)),
        };
        let args: WarmerArgs = typed(&spelled).map_err(|error| self.early(error))?;
        let report =
            settle::report(&args.log, &spelled, self.environment, self.facts, self.program)
                .map_err(|error| self.early(error))?;
        let fail = |error| Failure { error, report };
        let settled = settle::warm(args, self.environment).map_err(fail)?;
        let mut warnings = spelled.warnings.clone();
        warnings.extend(settled.warnings);
        if settled.args.log.print_options {
            return Ok(Invocation::Print(print::options(&print::Understood {
                program: self.program.name(),
                command: "warm",
                args: &settled.args,
                from_environment: &settled.from_environment,
                spelled: &spelled,
                environment: self.environment,
                warnings: &warnings,
            })));
        }
        let options = lower::warm(&settled.args, self.environment, self.facts, &mut warnings)
            .map_err(fail)?;
        Ok(Invocation::Warm(Box::new(WarmRequest { options, report, warnings })))
    }
}
