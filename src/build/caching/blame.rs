//! Which errors are the layer cache's fault.

use snapshot::Digest;

use crate::build::error::{BuildError, StepError};

impl BuildError {
    /// Returns the cached layer without which the build would have come further.
    pub(in crate::build) fn cached_layer(&self) -> Option<&Digest> {
        match self {
            Self::CachedLayer(digest, _) => Some(digest),
            Self::Step(inner) => inner.error.error.cached_layer(),
            Self::Snapshot(error) => error.cached_layer(),
            _ => None,
        }
    }
}

impl StepError {
    fn cached_layer(&self) -> Option<&Digest> {
        match self {
            Self::Build(error) => error.cached_layer(),
            _ => None,
        }
    }
}
