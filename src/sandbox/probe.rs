//! Finds out what works here by doing it, in a child process, on an empty root in memory.

use std::path::Path;

use super::run::{self, Supervisor};
use super::wire::{NamespaceRoot, Reply, Request};
use super::{HOSTNAME, SandboxError};

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
