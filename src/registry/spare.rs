//! Upload sessions that were opened to find out whether that is allowed: the first uploads that need
//! one take them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Registry;
use super::endpoint::Target;
use super::error::RegistryError;
use super::upload::{Started, Upload};
use crate::image::Reference;

/// How long a session is good for; registries keep them longer, and one that is gone costs a request.
const LIFE: Duration = Duration::from_secs(60);

/// Sessions that nobody uses yet.
#[derive(Default)]
pub(super) struct Spares {
    kept: Mutex<Vec<Spare>>,
}

struct Spare {
    target: Target,
    opened: Instant,
    upload: Upload,
}

impl Registry {
    /// Finds out whether blobs may be pushed to a repository, by opening the session of the first
    /// upload that follows. [`Registry::close_unused`] is to be called in the end.
    ///
    /// # Errors
    /// When they may not.
    pub async fn begin_push(&self, reference: &Reference) -> Result<(), RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        let started = self.start(&target, None).await;
        let started =
            started.map_err(|cause| RegistryError::new(format!("push to `{reference}`"), cause))?;
        if let Started::Open(upload) = started {
            self.spares.keep(&target, *upload);
        }
        Ok(())
    }

    /// Cancels the sessions that nobody has used, through this or any clone of it.
    pub async fn close_unused(&self) {
        let unused = std::mem::take(&mut *self.spares.locked());
        futures_util::future::join_all(unused.into_iter().map(|spare| spare.upload.cancel())).await;
    }
}

impl Spares {
    /// Keeps a session for an upload to `target`.
    pub(super) fn keep(&self, target: &Target, upload: Upload) {
        let spare = Spare { target: target.clone(), opened: Instant::now(), upload };
        self.locked().push(spare);
    }

    /// Returns a session for an upload to `target`.
    pub(super) fn take(&self, target: &Target) -> Option<Upload> {
        let mut kept = self.locked();
        let fits = |spare: &Spare| {
            spare.target.endpoint.host == target.endpoint.host
                && spare.target.repository == target.repository
                && spare.opened.elapsed() < LIFE
        };
        let position = kept.iter().position(fits)?;
        Some(kept.swap_remove(position).upload)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Spare>> {
        // Nothing is half-done while the lock is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
