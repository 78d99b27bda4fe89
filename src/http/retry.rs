//! When a failed request is tried again, and after how long; pure but for the random jitter.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often and how long requests are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first one. Counted anew whenever [`RetryPolicy::progress_bytes`] arrived.
    pub retries: u32,
    /// Upper bound of the first wait; doubled for each further one.
    pub first_wait: Duration,
    /// Upper bound of any wait.
    pub longest_wait: Duration,
    /// Longest wait that a server's `Retry-After` is granted.
    pub longest_retry_after: Duration,
    /// Progress that makes the count of retries start again, in bytes.
    pub progress_bytes: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(60),
            progress_bytes: 1 << 20,
        }
    }
}

/// The state of one operation's retries.
#[derive(Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    failed: u32,
    progress: u64,
}

impl Backoff {
    /// Starts with no failure.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, failed: 0, progress: 0 }
    }

    /// Notes a temporary failure, and returns how long to wait before the next try, or `None` when
    /// there shall be none. `asked` is the server's `Retry-After`, if it sent one.
    pub fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.failed >= self.policy.retries {
            return None;
        }
        let doubled = self.policy.first_wait.saturating_mul(1 << self.failed.min(20));
        self.failed += 1;
        let bound = doubled.min(self.policy.longest_wait);
        // Full jitter: any wait up to the bound, so that many builders that failed together do not
        // come back together.
        let jittered = bound.mul_f64(random_fraction());
        Some(match asked {
            Some(asked) => asked.min(self.policy.longest_retry_after).max(jittered),
            None => jittered,
        })
    }

    /// Notes that `bytes` more arrived; enough of them make the count of retries start again.
    pub fn progressed(&mut self, bytes: u64) {
        self.progress = self.progress.saturating_add(bytes);
        if self.progress >= self.policy.progress_bytes {
            self.progress = 0;
            self.failed = 0;
        }
    }

    /// Returns the number of failures since the last progress.
    pub fn failures(&self) -> u32 {
        self.failed
    }

    /// Returns the number of retries that are granted between two pieces of progress.
    pub fn limit(&self) -> u32 {
        self.policy.retries
    }
}

/// Returns a number in `0.0..1.0`. The hasher's keys are the only randomness that the standard
/// library offers, and spreading waits needs no better.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    let numerator = u32::try_from(bits).unwrap_or(u32::MAX);
    f64::from(numerator) / (f64::from(u32::MAX) + 1.0)
}

/// Returns whether a response with this status may be different the next time.
pub fn is_temporary_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 522 | 524)
}

/// Returns how long the server asked to wait, from seconds or a date, as seen at `now`.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 3,
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(3),
        longest_retry_after: Duration::from_secs(60),
        progress_bytes: 100,
    };

    #[test]
    fn waits_stay_under_a_doubling_bound_and_end() {
        let mut backoff = Backoff::new(POLICY);
        for bound in [1, 2, 3] {
            let wait = backoff.next_wait(None).unwrap();
            assert!(wait < Duration::from_secs(bound), "{wait:?}");
        }
        assert_eq!(backoff.next_wait(None), None);
        assert_eq!(backoff.failures(), 3);
    }

    #[test]
    fn enough_progress_starts_the_count_again() {
        let mut backoff = Backoff::new(POLICY);
        for _ in 0..3 {
            backoff.next_wait(None).unwrap();
        }
        backoff.progressed(99);
        assert_eq!(backoff.next_wait(None), None);
        backoff.progressed(1);
        assert!(backoff.next_wait(None).is_some());
    }

    #[test]
    fn retry_after_is_granted_up_to_a_limit() {
        let mut backoff = Backoff::new(POLICY);
        let year = Duration::from_secs(365 * 86400);
        assert_eq!(backoff.next_wait(Some(year)), Some(Duration::from_secs(60)));
        assert_eq!(backoff.next_wait(Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |value: &str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        };
        check("120", Some(120));
        check("Sun, 06 Nov 1994 08:49:38 GMT", Some(1));
        check("Sun, 06 Nov 1994 08:49:30 GMT", Some(0));
        check("soon", None);
        check("-1", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_some_statuses_are_worth_another_try() {
        for status in [408, 425, 429, 499, 500, 502, 503, 504, 522, 524] {
            assert!(is_temporary_status(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 400, 401, 403, 404, 405, 409, 413, 416, 501, 505] {
            assert!(!is_temporary_status(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
