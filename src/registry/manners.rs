//! What was found out about a registry: its scheme, what it wants to be shown, how far it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use url::Url;

use super::challenge::Challenge;

/// How a registry wants to be spoken to, as far as that is known.
#[derive(Default)]
pub(super) struct Manners {
    /// The API's root, once the scheme is known.
    pub(super) base: OnceCell<Url>,
    is_tried: AtomicBool,
    challenge: Mutex<Option<Challenge>>,
    nearest: Mutex<Option<Duration>>,
}

impl Manners {
    /// Tells whether nothing is known yet and nobody has tried to find out; once.
    pub(super) fn is_for_me_to_try(&self) -> bool {
        !self.base.initialized()
            && self.known_challenge().is_none()
            && !self.is_tried.swap(true, Ordering::Relaxed)
    }

    /// Returns what the registry said about authorisation, if it has.
    pub(super) fn known_challenge(&self) -> Option<Challenge> {
        locked(&self.challenge).clone()
    }

    /// Remembers what the registry said about authorisation. Its scope belongs to one request.
    pub(super) fn learn(&self, challenge: &Challenge) {
        let general = match challenge.clone() {
            Challenge::Bearer { realm, service, .. } => {
                Challenge::Bearer { realm, service, scope: None }
            }
            Challenge::Basic => Challenge::Basic,
        };
        *locked(&self.challenge) = Some(general);
    }

    /// Notes how long the registry took to begin an answer.
    pub(super) fn has_answered(&self, after: Duration) {
        let mut nearest = locked(&self.nearest);
        *nearest = Some(nearest.map_or(after, |known| known.min(after)));
    }

    /// Tells whether no answer was ever begun sooner than that; not while there was none.
    pub(super) fn is_further_than(&self, latency: Duration) -> bool {
        locked(&self.nearest).is_some_and(|nearest| nearest >= latency)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half-done while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
