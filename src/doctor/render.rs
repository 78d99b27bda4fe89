//! An examination as a table for people and as JSON for programs. Pure.

use serde_json::json;

use super::{Examination, Finding};
use crate::report::fault::Fault;

/// Version of the JSON's form.
pub(super) const FORMAT: u32 = 1;

impl Examination {
    /// Returns it as a table: a row for each finding, with what a missing thing costs and what would
    /// give it below it.
    pub fn table(&self) -> String {
        let mut text = rows(&self.findings);
        text.push('\n');
        match &self.sandbox {
            Some(sandbox) => {
                text.push_str(&format!("sandbox: {} ({})\n", sandbox.form, sandbox.reason));
            }
            None => text.push_str("sandbox: none\n"),
        }
        match &self.tracker {
            Some(tracker) => {
                text.push_str(&format!("tracker: {} ({})\n", tracker.kind, tracker.reason));
            }
            None => text.push_str("tracker: none\n"),
        }
        text.push_str(match &self.error {
            None => "A build can run here.\n",
            Some(_) => {
                "A Dockerfile with RUN cannot be built here; one without may be, where its files \
                 need not be on disk.\n"
            }
        });
        text
    }

    /// Returns it as one JSON object, with a newline at its end.
    pub fn json(&self) -> String {
        let sandbox = self.sandbox.as_ref().map(|sandbox| {
            json!({
                "form": sandbox.form.to_string(),
                "reason": sandbox.reason,
                "warning": sandbox.warning,
            })
        });
        let tracker = self
            .tracker
            .as_ref()
            .map(|tracker| json!({"name": tracker.kind.to_string(), "reason": tracker.reason}));
        let error = self.error.as_ref().map(|error| {
            json!({
                "class": error.class().name(),
                "message": error.to_string(),
                "hint": error.hint(),
                "exit_code": error.exit_code(),
            })
        });
        let value = json!({
            "format": FORMAT,
            "findings": self.findings,
            "sandbox": sandbox,
            "tracker": tracker,
            "can_build": self.error.is_none(),
            "error": error,
        });
        format!("{value:#}\n")
    }
}

/// Returns a row for each finding, with what a missing thing costs and what would give it below it.
pub(super) fn rows(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.about.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for Finding { about, verdict, found, cost, setting } in findings {
        text.push_str(&format!("{about:<width$}  {:<3}  {found}\n", verdict.word()));
        let mut more = |what: &str, value: &Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!("{:<width$}       {what}: {value}\n", ""));
            }
        };
        more("costs", cost);
        more("given by", setting);
    }
    text
}
