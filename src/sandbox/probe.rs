//! Finds out what works here by doing it, in a child process, on an empty root in memory.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use snapshot::track::TrackerKind;

use super::choose::{self, become_root_of_user_namespace};
use super::rights::Right;
use super::run::{self, Supervisor};
use super::step_mount::StepNetwork;
use super::wire::{NamespaceRoot, Reply, Request, SetupAction, TrackerTrial};
use super::{Form, HOSTNAME, Sandbox, SandboxError, SandboxOptions, THIS_BINARY};
use crate::report::fault::{Fault, one_line};

/// Why a form of sandbox cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What the kernel refused, where it is known.
    pub action: Option<SetupAction>,
    /// The error that a build would end with, with its causes.
    pub reason: String,
    /// What that error says can be done.
    pub hint: Option<String>,
}

impl Refusal {
    fn of(error: &SandboxError) -> Self {
        let action = match error {
            SandboxError::NoNamespaces { action, .. } | SandboxError::NoMapping { action, .. } => {
                Some(action.clone())
            }
            _ => None,
        };
        Self { action, reason: one_line(error), hint: error.hint() }
    }
}

/// Tries one form of sandbox as [`Sandbox::choose`] does when it is asked for, but leaves this
/// process as it is; `None` when it can be used.
///
/// # Errors
/// When the trial could not be made.
pub fn try_form(options: &SandboxOptions, form: Form) -> Result<Option<Refusal>, SandboxError> {
    let outcome = match form {
        Form::Namespaces => namespaces(&options.supervisor),
        Form::InPlace => {
            choose::choose(SandboxOptions { form: Some(form), ..options.clone() }).map(|_| ())
        }
        Form::UserNamespace => {
            let supervisor = Supervisor::start(&options.supervisor)?;
            return match supervisor.ask(&Request::ProbeUserNamespace, &mut |_| {})? {
                Reply::Works => Ok(None),
                Reply::Refused(refusal) => Ok(Some(refusal)),
                reply => Err(run::failure(reply)),
            };
        }
    };
    Ok(outcome.err().map(|error| Refusal::of(&error)))
}

/// Puts this process, which must be of no other use, into a user namespace.
pub(super) fn user_namespace_here() -> Reply {
    match become_root_of_user_namespace(Path::new(THIS_BINARY)) {
        Ok(()) => Reply::Works,
        Err(error) => Reply::Refused(Refusal::of(&error)),
    }
}

/// Tries to enter namespaces and mount everything that a RUN gets.
pub(super) fn namespaces(supervisor: &Path) -> Result<(), SandboxError> {
    let request = Request::ProbeNamespaces(NamespaceRoot {
        mounts: Vec::new(),
        network: StepNetwork::Shared,
        directory: None,
        hostname: HOSTNAME.to_owned(),
        covers: Vec::new(),
        pipes: Vec::new(),
    });
    match Supervisor::start(supervisor)?.ask(&request, &mut |_| {})? {
        Reply::Works => Ok(()),
        reply => Err(match run::failure(reply) {
            SandboxError::Setup { action, source } => SandboxError::NoNamespaces { action, source },
            other => other,
        }),
    }
}

impl Sandbox {
    /// Tries a change tracker out in `directory`, which must be empty, on the file system that it
    /// is for, and stays full of what the trial made. `watch_count` is how many watches it may take,
    /// where that was said.
    ///
    /// Returns why the tracker cannot be used there, if it cannot.
    ///
    /// # Errors
    /// When the trial could not be made.
    pub fn try_tracker(
        &self,
        kind: TrackerKind,
        directory: &Path,
        watch_count: Option<u64>,
    ) -> Result<Option<String>, SandboxError> {
        let directory = directory.to_owned();
        let request =
            Request::TryTracker(TrackerTrial { tracker: kind.to_string(), directory, watch_count });
        match Supervisor::start(self.supervisor())?.ask(&request, &mut |_| {}) {
            Ok(Reply::Works) => Ok(None),
            Ok(Reply::NoTracker { reason }) => Ok(Some(reason)),
            // What a filter of system calls kills cannot be used either.
            Err(SandboxError::SupervisorLost { status }) => {
                Ok(Some(format!("the trial ended with {status}")))
            }
            Ok(reply) => Err(run::failure(reply)),
            Err(error) => Err(error),
        }
    }

    /// Tries in `directory`, which must be empty, what an image's files take: each right, and the
    /// kernel's answer where it is refused. What the trial made stays there.
    ///
    /// # Errors
    /// When the trial could not be made.
    pub fn try_rights(
        &self,
        directory: &Path,
    ) -> Result<Vec<(Right, Option<io::Error>)>, SandboxError> {
        let request = Request::TryRights(directory.to_owned());
        match Supervisor::start(self.supervisor())?.ask(&request, &mut |_| {})? {
            Reply::Rights(rights) => Ok(rights
                .into_iter()
                .map(|(right, errno)| (right, errno.map(io::Error::from_raw_os_error)))
                .collect()),
            reply => Err(run::failure(reply)),
        }
    }
}
