//! The clock that file systems stamp with.
//!
//! Before Linux 6.13 a ctime is the coarse clock's value, which stands still between timer ticks (1
//! to 10 ms). Two writes within a tick look like one, unless something waits in between.

use std::time::Duration;

use rustix::time::{ClockId, clock_getres, clock_gettime};

use crate::metadata::Timestamp;

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// Returns what a file written now would be stamped with on a kernel with coarse timestamps.
pub(crate) fn coarse_now() -> Timestamp {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    // The kernel keeps nanoseconds within a second.
    Timestamp { seconds: now.tv_sec, nanoseconds: u32::try_from(now.tv_nsec).unwrap_or(0) }
}

/// Returns how long the coarse clock stands still.
pub(crate) fn tick() -> Duration {
    let resolution = clock_getres(ClockId::RealtimeCoarse);
    let nanoseconds = resolution.tv_sec * NANOSECONDS_PER_SECOND + resolution.tv_nsec;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// Waits until files are stamped later than `moment`, but no longer than `limit` from now.
///
/// A moment beyond that lies in the future, for whoever set the clock; no wait helps.
pub(crate) fn wait_past(moment: Timestamp, limit: Duration) {
    let last = later(coarse_now(), limit);
    let target = moment.min(last);
    while coarse_now() <= target {
        std::thread::sleep(tick().min(Duration::from_millis(1)).max(Duration::from_micros(100)));
    }
}

/// Returns the moment that is `span` after `moment`.
pub(crate) fn later(moment: Timestamp, span: Duration) -> Timestamp {
    let sum = u64::from(moment.nanoseconds) + u64::from(span.subsec_nanos());
    let carry = i64::from(sum >= NANOSECONDS_PER_SECOND as u64);
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    Timestamp {
        seconds: moment.seconds.saturating_add(seconds).saturating_add(carry),
        nanoseconds: (sum % NANOSECONDS_PER_SECOND as u64) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_carries_into_the_seconds() {
        let at = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        for (moment, span, expected) in [
            (at(5, 999_999_999), Duration::from_nanos(1), at(6, 0)),
            (at(-1, 500_000_000), Duration::from_millis(1500), at(1, 0)),
            (at(0, 0), Duration::from_nanos(7), at(0, 7)),
            (at(i64::MAX, 0), Duration::MAX, at(i64::MAX, 999_999_999)),
        ] {
            assert_eq!(later(moment, span), expected);
        }
    }

    #[test]
    fn waiting_ends_past_the_moment_or_at_the_limit() {
        let now = coarse_now();
        wait_past(now, Duration::from_secs(60));
        assert!(coarse_now() > now);
        wait_past(Timestamp { seconds: i64::MAX, nanoseconds: 0 }, tick());
    }
}
