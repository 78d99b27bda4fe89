//! What registries say to a build: as whom they are asked, and what they allow.

use serde_json::json;

use super::finding::Finding;
use super::render;
use crate::build::{BuildError, BuildOptions, examine_registries};
use crate::image::Reference;
use crate::registry::{Answer, Credential, Examined, Pullable, RegistryError, Wants};
use crate::report::fault::{Fault, one_line};

/// What was found out about registries.
#[derive(Debug)]
pub struct RegistryExamination {
    /// For each reference that was asked for, in that order.
    pub registries: Vec<ExaminedRegistry>,
}

/// What was found out about the registry of one reference.
#[derive(Debug)]
pub struct ExaminedRegistry {
    /// The reference, in full.
    pub reference: String,
    /// In the order they are shown.
    pub findings: Vec<Finding>,
    /// Why neither pulling nor pushing works, if so.
    pub error: Option<RegistryError>,
}

/// Asks the registry of each reference what it allows a build with these options.
///
/// # Errors
/// When the network cannot be set up, or a file with credentials cannot be read.
pub fn examine_registry(
    options: &BuildOptions,
    references: &[Reference],
) -> Result<RegistryExamination, BuildError> {
    let examined = examine_registries(options, references)?;
    let judge = |(reference, examined): (&Reference, Examined)| judge(reference, examined);
    Ok(RegistryExamination { registries: references.iter().zip(examined).map(judge).collect() })
}

impl RegistryExamination {
    /// Returns the first error of a registry that allows nothing.
    pub fn error(&self) -> Option<&RegistryError> {
        self.registries.iter().find_map(|registry| registry.error.as_ref())
    }

    /// Returns it as a table.
    pub fn table(&self) -> String {
        let tables = self.registries.iter().map(|registry| {
            format!("{}\n{}", registry.reference, render::rows(&registry.findings))
        });
        tables.collect::<Vec<_>>().join("\n")
    }

    /// Returns it as one JSON object, with a newline at its end.
    pub fn json(&self) -> String {
        let registries: Vec<_> = self
            .registries
            .iter()
            .map(|registry| json!({"reference": registry.reference, "findings": registry.findings}))
            .collect();
        let value = json!({"format": render::FORMAT, "registries": registries});
        format!("{value:#}\n")
    }
}

fn judge(reference: &Reference, examined: Examined) -> ExaminedRegistry {
    let Examined { host, looks, credential, answer, pull, push } = examined;
    let mut findings = vec![match &credential {
        Ok(Credential::Chosen(text)) => Finding::yes("credentials", text),
        Ok(Credential::None(text)) => Finding::fact("credentials", text),
        Err(error) => Finding::no("credentials", one_line(error)),
    }];
    // The last one is what was chosen.
    let others = match credential {
        Ok(Credential::Chosen(_)) => looks.split_last().map(|(_, others)| others),
        Ok(Credential::None(_)) | Err(_) => Some(looks.as_slice()),
    };
    for look in others.unwrap_or_default() {
        findings.push(Finding::fact("looked at", format!("{}: {}", look.place, look.found)));
    }
    findings.push(match &answer {
        Ok(answer) => Finding::yes("answer", told(&host, answer)),
        Err(error) => failed("answer", error),
    });
    findings.push(match &pull {
        Ok(Pullable::Present) => Finding::yes("pull", "it is there"),
        Ok(Pullable::Absent) => Finding::yes("pull", "allowed; there is no image of this name"),
        Err(error) => failed("pull", error),
    });
    findings.push(match &push {
        Ok(()) => Finding::yes("push", "allowed: an upload was started and cancelled"),
        Err(error) => failed("push", error),
    });
    let error = match (pull, push) {
        (Err(_), Err(error)) => Some(error),
        _ => None,
    };
    ExaminedRegistry { reference: reference.whole(), findings, error }
}

fn failed(about: &'static str, error: &RegistryError) -> Finding {
    let finding = Finding::no(about, one_line(error));
    match error.hint() {
        Some(hint) => finding.given_by(hint),
        None => finding,
    }
}

fn told(host: &str, answer: &Answer) -> String {
    let wants = match &answer.wants {
        Wants::Nothing => "wants no credentials".to_owned(),
        Wants::Password => "wants a user name and a password".to_owned(),
        Wants::Token { server } => format!("wants a token of `{server}`"),
    };
    format!("`{}://{host}/v2/` answered {}, {wants}", answer.scheme, answer.status)
}
