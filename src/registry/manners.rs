//! What was found out about a registry: its scheme, what it wants to be shown, how far it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use url::Url;

use super::challenge::Challenge;

/// Requests that find out the scheme themselves. Each makes a connection for nothing, but whoever
/// waits for another one to find out needs a round trip more.
const FIRST_REQUESTS: usize = 4;

/// How a registry wants to be spoken to, as far as that is known.
#[derive(Default)]
pub(super) struct Manners {
    /// The API's root, once the scheme is known.
    pub(super) base: OnceCell<Url>,
    tries: AtomicUsize,
    challenge: Mutex<Option<Challenge>>,
    nearest: Mutex<Option<Duration>>,
}

impl Manners {
    /// Tells whether nothing is known yet, and few enough are finding out.
    pub(super) fn is_for_me_to_try(&self) -> bool {
        !self.base.initialized()
            && self.known_challenge().is_none()
            && self.tries.fetch_add(1, Ordering::Relaxed) < FIRST_REQUESTS
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_find_out_what_nobody_knows_yet() {
        let manners = Manners::default();
        let tries: Vec<bool> = (0..6).map(|_| manners.is_for_me_to_try()).collect();
        assert_eq!(tries, [true, true, true, true, false, false]);
        let manners = Manners::default();
        manners.learn(&Challenge::Basic);
        assert!(!manners.is_for_me_to_try());
        let manners = Manners::default();
        manners.base.set(Url::parse("https://r.example/v2/").unwrap()).unwrap();
        assert!(!manners.is_for_me_to_try());
    }

    #[test]
    fn a_registry_is_as_far_as_its_soonest_answer() {
        let manners = Manners::default();
        let [near, far] = [Duration::from_millis(10), Duration::from_millis(90)];
        assert!(!manners.is_further_than(Duration::ZERO), "no answer yet");
        manners.has_answered(far);
        assert!(manners.is_further_than(far) && manners.is_further_than(near));
        manners.has_answered(near);
        manners.has_answered(far);
        assert!(manners.is_further_than(near) && !manners.is_further_than(far));
    }
}
