//! Credential helper programs (`docker-credential-…`).
//!
//! A helper is found once, before anything is unpacked, and its content is remembered by digest:
//! a build that replaces files under `/` must not get its own program run with the executor's
//! rights and identity.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use snapshot::digest::{Digest, Digester};

use super::Credential;
use crate::registry::options::CredentialOptions;
use crate::secret::{Secret, SecretVariables};

/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// How long a helper may take; those for clouds ask metadata services.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// The program is no longer the one that was there at the start.
    #[error("`{path}` has changed since the build started")]
    Changed {
        /// The program.
        path: PathBuf,
    },
    /// The program cannot be run.
    #[error("cannot run `{path}`")]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program failed.
    #[error("`{path}` said: {message}")]
    Failed {
        /// The program.
        path: PathBuf,
        /// The first line of what it said.
        message: String,
    },
    /// The program takes too long.
    #[error("`{path}` did not answer within {} seconds", PATIENCE.as_secs())]
    Slow {
        /// The program.
        path: PathBuf,
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
    found: BTreeMap<String, Helper>,
    searched: String,
}

/// One helper program.
#[derive(Clone, Debug)]
pub(super) struct Helper {
    path: PathBuf,
    digest: Digest,
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
        let environment = Arc::new(options.helper_environment.clone());
        let directories: Vec<&PathBuf> =
            options.helper_directories.iter().filter(|path| path.is_absolute()).collect();
        let mut found = BTreeMap::new();
        for name in names.into_iter().filter(|name| is_plain(name)) {
            let program = program(&name);
            let candidate =
                directories.iter().map(|path| path.join(&program)).find(|path| is_program(path));
            let Some(path) = candidate else { continue };
            match digest(&path) {
                Ok(digest) => {
                    let environment = Arc::clone(&environment);
                    found.insert(name, Helper { path, digest, environment });
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot read credential helper");
                }
            }
        }
        let searched: Vec<String> =
            directories.iter().map(|path| format!("`{}`", path.display())).collect();
        let searched =
            if searched.is_empty() { "PATH, which is empty".into() } else { searched.join(", ") };
        Self { found, searched }
    }

    /// Returns the helper of this name.
    pub(super) fn get(&self, name: &str) -> Result<Helper, HelperError> {
        if !is_plain(name) {
            return Err(HelperError::Name { name: name.to_owned() });
        }
        self.found.get(name).cloned().ok_or_else(|| HelperError::Missing {
            program: program(name),
            directories: self.searched.clone(),
        })
    }
}

impl Helper {
    /// Asks for the credential of `server`; `None` when the helper has none.
    pub(super) async fn get(self, server: String) -> Result<Option<Credential>, HelperError> {
        let slow = HelperError::Slow { path: self.path.clone() };
        let running: Arc<Mutex<Option<Child>>> = Arc::default();
        let shared = Arc::clone(&running);
        let task = tokio::task::spawn_blocking(move || self.run(&server, &shared));
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            Err(_) => {
                // The blocking task ends by itself once the program's output does.
                if let Some(child) = &*running.lock().unwrap_or_else(PoisonError::into_inner) {
                    // The whole group: a child of the helper may hold the pipe open. It fails only
                    // if all of it is gone.
                    let group = rustix::process::Pid::from_child(child);
                    let kill = rustix::process::Signal::KILL;
                    let _ = rustix::process::kill_process_group(group, kill);
                }
                Err(slow)
            }
        }
    }

    fn run(
        &self,
        server: &str,
        running: &Mutex<Option<Child>>,
    ) -> Result<Option<Credential>, HelperError> {
        let failed = |source| HelperError::Run { path: self.path.clone(), source };
        if digest(&self.path).map_err(failed)? != self.digest {
            return Err(HelperError::Changed { path: self.path.clone() });
        }
        let mut child = Command::new(&self.path)
            .arg("get")
            .env_clear()
            .envs(self.environment.expose())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        if let Some(mut stdin) = stdin {
            // A helper that answers without reading closes the pipe; its answer still counts.
            let _ = stdin.write_all(server.as_bytes());
        }
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LARGEST_ANSWER).read_to_end(&mut output).map_err(failed)?;
        }
        let child = running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let status = match child {
            Some(mut child) => child.wait().map_err(failed)?,
            None => return Err(HelperError::Slow { path: self.path.clone() }),
        };
        if !status.success() {
            // On failure the protocol has the message on standard output.
            let text = String::from_utf8_lossy(&output);
            let message = text.lines().next().unwrap_or_default().trim().to_owned();
            if message.starts_with(NOT_FOUND) {
                return Ok(None);
            }
            return Err(HelperError::Failed { path: self.path.clone(), message });
        }
        let answer: Answer = serde_json::from_slice(&output)
            .map_err(|_| HelperError::Answer { path: self.path.clone() })?;
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

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digester.finish()),
            length => digester.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}
