//! Ways to get a blob's bytes across, and what a registry has shown of those it takes.
//!
//! What lies in front of a registry limits requests for all blobs alike. The first blob finds that
//! out by being refused; the idea to hold in mind is that no later one is, and that one which is on
//! its way at that moment learns it with its next request.

use std::sync::{Mutex, PoisonError};

use super::growth::Growth;

/// Sizes of ranged requests, tried one after the other while a proxy finds them too large.
/// Cloudflare takes 100 MB, GitHub's registry 4 MiB, nginx without settings 1 MiB.
const CHUNKS: [u64; 3] = [32 << 20, 4 << 20, 512 << 10];

/// Ways to send a blob's bytes, from the one that costs least to those that are taken most often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// One `PATCH`, then `PUT`.
    #[default]
    Streamed,
    /// One `PUT` with everything.
    Whole,
    /// Several `PATCH`es with `Content-Range`, of the size at this place of [`CHUNKS`].
    Ranged(usize),
}

impl Way {
    /// Returns the way to try after this one was refused with `status`, if another may be taken.
    pub(super) fn after(self, status: u16, growth: Growth) -> Option<Self> {
        match (self, status) {
            // No length, no streams, no PATCH at all: what a store behind a simple gateway says.
            (Self::Streamed, 405 | 411 | 501) => Some(Self::Whole),
            (Self::Streamed | Self::Whole, 413) => {
                let fits = |chunk: &u64| match growth {
                    Growth::Complete { size_bytes, .. } => *chunk < size_bytes,
                    Growth::Growing { .. } | Growth::GivenUp => true,
                };
                Some(Self::Ranged(CHUNKS.iter().position(fits)?))
            }
            (Self::Ranged(step), 413) if step + 1 < CHUNKS.len() => Some(Self::Ranged(step + 1)),
            _ => None,
        }
    }

    /// Returns the most bytes that one request carries.
    pub(super) fn chunk(self) -> u64 {
        match self {
            Self::Streamed | Self::Whole => u64::MAX,
            Self::Ranged(step) => CHUNKS.get(step).copied().unwrap_or(u64::MAX),
        }
    }
}

/// The way that a registry is known to need; shared by all uploads to it.
#[derive(Debug, Default)]
pub(super) struct KnownWay(Mutex<Way>);

impl KnownWay {
    /// Returns the way to begin with.
    pub(super) fn now(&self) -> Way {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns that a request was too large for anything but `way`, or that a blob arrived by it.
    /// What others have learned meanwhile stays: parts only get smaller.
    pub(super) fn learn(&self, way: Way) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = way.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use snapshot::Digest;

    use super::*;

    fn complete(size_bytes: u64) -> Growth {
        Growth::Complete { digest: Digest::of(b""), size_bytes }
    }

    #[test]
    fn refusals_lead_to_smaller_and_smaller_requests() {
        let growing = Growth::Growing { written_bytes: 1 };
        let table = [
            (Way::Streamed, 413, growing, Some(Way::Ranged(0))),
            (Way::Streamed, 413, complete(33 << 20), Some(Way::Ranged(0))),
            (Way::Streamed, 413, complete(6 << 20), Some(Way::Ranged(1))),
            (Way::Whole, 413, complete(1 << 20), Some(Way::Ranged(2))),
            (Way::Streamed, 413, complete(1 << 10), None),
            (Way::Ranged(0), 413, growing, Some(Way::Ranged(1))),
            (Way::Ranged(2), 413, growing, None),
            (Way::Streamed, 411, growing, Some(Way::Whole)),
            (Way::Whole, 411, growing, None),
            (Way::Streamed, 403, growing, None),
        ];
        for (way, status, growth, expected) in table {
            assert_eq!(way.after(status, growth), expected, "{way:?} {status} {growth:?}");
        }
    }

    #[test]
    fn what_is_known_only_gets_narrower() {
        let known = KnownWay::default();
        assert_eq!(known.now(), Way::Streamed);
        for (learned, then) in [
            (Way::Ranged(1), Way::Ranged(1)),
            (Way::Ranged(0), Way::Ranged(1)),
            (Way::Whole, Way::Ranged(1)),
            (Way::Ranged(2), Way::Ranged(2)),
        ] {
            known.learn(learned);
            assert_eq!(known.now(), then, "{learned:?}");
        }
    }
}
