//! Uploads under way, by names of ours: where they go on is for us alone, because it may be signed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use crate::registry::Repository;

use super::door::random_name;

/// Most uploads that are under way at a time; a build has a few.
const LIMIT: usize = 1024;

/// The uploads under way.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<String, Upload>>);

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) repository: Repository,
    pub(super) location: Url,
}

impl Uploads {
    /// Names a new upload; `None` when there are too many.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(super) fn add(&self, upload: Upload) -> rustix::io::Result<Option<String>> {
        let mut all = self.lock();
        if all.len() >= LIMIT {
            return Ok(None);
        }
        let name = random_name()?;
        all.insert(name.clone(), upload);
        Ok(Some(name))
    }

    /// Returns where an upload of a repository goes on.
    pub(super) fn find(&self, name: &str, repository: &Repository) -> Option<Url> {
        let all = self.lock();
        let upload = all.get(name).filter(|upload| upload.repository == *repository)?;
        Some(upload.location.clone())
    }

    /// Notes that an upload goes on elsewhere.
    pub(super) fn moved(&self, name: &str, location: Url) {
        if let Some(upload) = self.lock().get_mut(name) {
            upload.location = location;
        }
    }

    /// Forgets an upload that has come to its end.
    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Forgets all and returns them.
    pub(super) fn take(&self) -> Vec<Upload> {
        self.lock().drain().map(|(_, upload)| upload).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Upload>> {
        // Nothing is half-done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
