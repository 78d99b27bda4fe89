//! How much the network was asked.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests and connections of a client since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were sent, repeated ones included.
    pub requests: u64,
    /// Connections that were opened, or tried.
    pub connections: u64,
}

/// Counts what happens on many threads.
#[derive(Debug, Default)]
pub(super) struct TrafficCounter {
    requests: AtomicU64,
    connections: AtomicU64,
}

impl TrafficCounter {
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}
