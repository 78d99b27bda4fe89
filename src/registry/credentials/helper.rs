//! Credential helper programs (`docker-credential-…`).
//!
//! They are found once, before anything is unpacked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::Credential;
use crate::identity::program::{Call, Program, ProgramError};
use crate::registry::options::CredentialOptions;
use crate::secret::{Secret, SecretVariables};

/// What the protocol says when there is nothing for a server.
const NOT_FOUND: &str = "credentials not found";

/// Why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The name is no plain file name.
    #[error("`{name}` is not a helper's name")]
    Name {
        /// As the configuration has it.
        name: String,
    },
    /// There is no such program.
    #[error("no program `{program}` in {directories}")]
    Missing {
        /// Its name.
        program: String,
        /// Where it was looked for.
        directories: String,
    },
    /// The program cannot be run any more, or takes too long.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program failed.
    #[error("`{path}` said: {message}")]
    Failed {
        /// The program.
        path: PathBuf,
        /// The first line of what it said.
        message: String,
    },
    /// The program's answer is not what it should be.
    #[error("`{path}` gave an answer that is not a credential")]
    Answer {
        /// The program.
        path: PathBuf,
    },
}

/// Returns the name of a helper's program.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// The helpers that the configuration names, found or not.
pub(super) struct Helpers {
    found: BTreeMap<String, Program>,
    searched: String,
    environment: Arc<SecretVariables>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Helpers {
    /// Looks for the programs of `names` in the absolute ones of the options' directories.
    pub(super) fn find(names: Vec<String>, options: &CredentialOptions) -> Self {
        let directories: Vec<PathBuf> =
            options.helper_directories.iter().filter(|path| path.is_absolute()).cloned().collect();
        let mut found = BTreeMap::new();
        for name in names.into_iter().filter(|name| is_plain(name)) {
            match Program::find(&program(&name), &directories) {
                Ok(Some(program)) => drop(found.insert(name, program)),
                Ok(None) => {}
                Err(error) => tracing::warn!(name, %error, "cannot read credential helper"),
            }
        }
        let searched: Vec<String> =
            directories.iter().map(|path| format!("`{}`", path.display())).collect();
        let searched =
            if searched.is_empty() { "PATH, which is empty".into() } else { searched.join(", ") };
        Self { found, searched, environment: Arc::new(options.helper_environment.clone()) }
    }

    /// Returns whether there is a program of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// Asks the helper of this name for the credential of `server`; `None` when it has none.
    pub(super) async fn ask(
        &self,
        name: &str,
        server: &str,
    ) -> Result<Option<Credential>, HelperError> {
        if !is_plain(name) {
            return Err(HelperError::Name { name: name.to_owned() });
        }
        let Some(program) = self.found.get(name).cloned() else {
            let (program, directories) = (program(name), self.searched.clone());
            return Err(HelperError::Missing { program, directories });
        };
        let path = program.path().to_owned();
        let call = Call {
            arguments: vec!["get".to_owned()],
            environment: Arc::clone(&self.environment),
            input: server.to_owned(),
        };
        let answer = program.run(call).await?;
        if !answer.success {
            // On failure the protocol has the message on standard output.
            let text = String::from_utf8_lossy(&answer.text);
            let message = text.lines().next().unwrap_or_default().trim().to_owned();
            if message.starts_with(NOT_FOUND) {
                return Ok(None);
            }
            return Err(HelperError::Failed { path, message });
        }
        let answer: Answer =
            serde_json::from_slice(&answer.text).map_err(|_| HelperError::Answer { path })?;
        Ok(credential(answer))
    }
}

fn credential(answer: Answer) -> Option<Credential> {
    match (answer.username.as_str(), answer.secret.as_str()) {
        (_, "") => None,
        // The protocol's mark for a refresh token.
        ("<token>", _) => Some(Credential::Identity(Secret::new(answer.secret))),
        _ => Some(Credential::Password {
            username: answer.username,
            password: Secret::new(answer.secret),
        }),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}
