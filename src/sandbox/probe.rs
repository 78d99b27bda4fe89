//! Finds out what works here by doing it, in a child process, on an empty root in memory.

use std::path::Path;

use snapshot::track::TrackerKind;

use super::run::{self, Supervisor};
use super::wire::{NamespaceRoot, Reply, Request, TrackerTrial};
use super::{HOSTNAME, Sandbox, SandboxError};

/// Tries to enter namespaces and mount everything that a RUN gets.
pub(super) fn namespaces(supervisor: &Path) -> Result<(), SandboxError> {
    let request = Request::ProbeNamespaces(NamespaceRoot {
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
}
