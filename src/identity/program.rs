//! Programs of the user's that give credentials.
//!
//! One is found once, before anything is unpacked, and its content is remembered by digest: a build
//! that replaces files under `/` must not get its own program run with the executor's rights and
//! identity.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use snapshot::digest::{Digest, Digester};

use crate::secret::SecretVariables;

/// Largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// How long a program may take; those for clouds ask metadata services.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a program gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
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
    /// The program takes too long.
    #[error("`{path}` did not answer within {} seconds", PATIENCE.as_secs())]
    Slow {
        /// The program.
        path: PathBuf,
    },
}

/// A program as it was at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    digest: Digest,
}

/// What a program answered.
pub struct Answer {
    /// Whether it says that it succeeded.
    pub success: bool,
    /// What it wrote to standard output.
    pub text: Vec<u8>,
}

/// How a program is run.
pub struct Call {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Arc<SecretVariables>,
    /// What it reads from standard input.
    pub input: String,
}

impl Program {
    /// Looks for a program: at its path, or under its name in the absolute ones of `directories`.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn find(name: &str, directories: &[PathBuf]) -> Result<Option<Self>, ProgramError> {
        let candidates: Vec<PathBuf> = match name.contains('/') {
            true => vec![PathBuf::from(name)],
            false => directories.iter().map(|directory| directory.join(name)).collect(),
        };
        let found = candidates.into_iter().find(|path| path.is_absolute() && is_program(path));
        let Some(path) = found else { return Ok(None) };
        match digest(&path) {
            Ok(digest) => Ok(Some(Self { path, digest })),
            Err(source) => Err(ProgramError::Run { path, source }),
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it, in `/` and in a group of its own.
    ///
    /// # Errors
    /// When it is not what it was, cannot be run, or takes too long; then the group is ended.
    pub async fn run(self, call: Call) -> Result<Answer, ProgramError> {
        let slow = ProgramError::Slow { path: self.path.clone() };
        let running: Arc<Mutex<Option<Child>>> = Arc::default();
        let shared = Arc::clone(&running);
        let task = tokio::task::spawn_blocking(move || self.run_blocking(&call, &shared));
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            Err(_) => {
                // The blocking task ends by itself once the program's output does.
                if let Some(child) = &*running.lock().unwrap_or_else(PoisonError::into_inner) {
                    // The whole group: a child of the program may hold the pipe open. It fails only
                    // if all of it is gone.
                    let group = rustix::process::Pid::from_child(child);
                    let kill = rustix::process::Signal::KILL;
                    let _ = rustix::process::kill_process_group(group, kill);
                }
                Err(slow)
            }
        }
    }

    fn run_blocking(
        &self,
        call: &Call,
        running: &Mutex<Option<Child>>,
    ) -> Result<Answer, ProgramError> {
        let failed = |source| ProgramError::Run { path: self.path.clone(), source };
        if digest(&self.path).map_err(failed)? != self.digest {
            return Err(ProgramError::Changed { path: self.path.clone() });
        }
        let mut child = Command::new(&self.path)
            .args(&call.arguments)
            .env_clear()
            .envs(call.environment.expose())
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
            // A program that answers without reading closes the pipe; its answer still counts.
            let _ = stdin.write_all(call.input.as_bytes());
        }
        let mut text = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LARGEST_ANSWER).read_to_end(&mut text).map_err(failed)?;
        }
        let child = running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let status = match child {
            Some(mut child) => child.wait().map_err(failed)?,
            None => return Err(ProgramError::Slow { path: self.path.clone() }),
        };
        Ok(Answer { success: status.success(), text })
    }
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
