//! The places that an image can be pulled from, tried one after the other.

use super::Registry;
use super::endpoint::Target;
use super::error::{Cause, RegistryError};
use crate::image::Reference;
use crate::report::fault::one_line;

/// Maps and mirrors of a registry, then the registry itself, and what went wrong with those tried.
pub(super) struct Sources {
    action: String,
    left: std::vec::IntoIter<Target>,
    several: bool,
    failures: Vec<(String, Cause)>,
}

impl Registry {
    /// Returns the sources of `reference`; `action` is what errors say could not be done.
    pub(super) fn sources(&self, reference: &Reference, action: String) -> Sources {
        let targets = self.transport.endpoints.pull_targets(reference);
        let several = targets.len() > 1;
        Sources { action, left: targets.into_iter(), several, failures: Vec::new() }
    }
}

impl Sources {
    /// Returns the next source to try.
    pub(super) fn next(&mut self) -> Option<Target> {
        self.left.next()
    }

    /// Notes that a source failed.
    pub(super) fn failed(&mut self, target: &Target, cause: Cause) {
        let source = format!("{}/{}", target.endpoint.host, target.repository);
        if self.several {
            tracing::warn!(source, error = one_line(&cause), "source of image failed");
        }
        self.failures.push((source, cause));
    }

    /// Returns the error for a failure after which no other source is tried.
    pub(super) fn into_final(self, cause: Cause) -> RegistryError {
        RegistryError::new(self.action, cause)
    }

    /// Returns the error for the failure of all.
    pub(super) fn into_error(mut self) -> RegistryError {
        if !self.several
            && let Some((_, cause)) = self.failures.pop()
        {
            return RegistryError::new(self.action, cause);
        }
        let failures = self
            .failures
            .into_iter()
            .map(|(source, cause)| RegistryError::new(format!("use `{source}`"), cause))
            .collect();
        RegistryError::new(self.action, Cause::AllFailed(failures))
    }
}
