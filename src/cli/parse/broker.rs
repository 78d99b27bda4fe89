//! The command line of a broker.

use super::{Failure, Invocation, Line, typed};
use crate::broker::BrokerOptions;
use crate::cli::args::BrokerArgs;
use crate::cli::{lower, print, settle};
use crate::report::settings::ReportSettings;

/// A broker and how to report what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRequest {
    /// What to serve.
    pub options: BrokerOptions,
    /// How to report it.
    pub report: ReportSettings,
    /// Shown as warnings, once each.
    pub warnings: Vec<String>,
}

impl Line<'_> {
    pub(super) fn broker(&self, words: &[String]) -> Result<Invocation, Failure> {
        let spelled = match self.spelled::<BrokerArgs>(words, "broker")? {
            Ok(spelled) => spelled,
            Err(text) => return Ok(Invocation::Print(text)),
        };
        let args: BrokerArgs = typed(&spelled).map_err(|error| self.early(error))?;
        let report =
            settle::report(&args.log, &spelled, self.environment, self.facts, self.program)
                .map_err(|error| self.early(error))?;
        if args.log.print_options {
            return Ok(Invocation::Print(print::options(&print::Understood {
                program: self.program.name(),
                command: "broker",
                args: &args,
                from_environment: &[],
                spelled: &spelled,
                environment: self.environment,
                warnings: &spelled.warnings,
            })));
        }
        let mut warnings = spelled.warnings;
        let options = lower::broker(&args, self.environment, self.facts, &mut warnings)
            .map_err(|error| Failure { error, report })?;
        Ok(Invocation::Broker(Box::new(BrokerRequest { options, report, warnings })))
    }
}
