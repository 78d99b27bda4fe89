//! A connection that is made before there is anything to ask over it.
//!
//! Far from a registry, the round trip that makes a connection is as dear as one that brings bytes.
//! Whoever will want a layer as soon as the manifest names it has a second connection made
//! meanwhile, over which that comes while the config comes over the first.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Registry;
use super::scheme;
use crate::image::Reference;
use crate::report::fault::one_line;

/// A connection on its way; dropped, it is given up unless it is there.
pub struct Knocking {
    begun: Instant,
    /// How long it is waited with the knock; its answer comes about so much later than the other.
    wait: Duration,
    task: JoinHandle<()>,
}

impl Knocking {
    /// Waits for the connection, if it is on its way; not longer than what comes over it would gain.
    pub async fn wait(&mut self) {
        if self.begun.elapsed() >= self.wait {
            // Whoever asks next finds out what has become of it.
            let _ = tokio::time::timeout(self.wait * 2, &mut self.task).await;
        }
    }
}

impl Drop for Knocking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Registry {
    /// Has a second connection made to the first source of `reference`, if that has not answered the
    /// first request by the time that tells a far registry from a near one. Called where a runtime is.
    pub fn knock(&self, reference: &Reference) -> Option<Knocking> {
        let target = self.transport.endpoints.pull_targets(reference).into_iter().next()?;
        let (transport, wait) = (self.transport.clone(), self.options.parts_ahead.latency);
        let knock = async move {
            tokio::time::sleep(wait).await;
            if let Err(error) = scheme::knock(&transport.http, &target.endpoint).await {
                // It was a favour.
                tracing::debug!(host = %target.endpoint.host, error = one_line(&error), "no knock");
            }
        };
        Some(Knocking { begun: Instant::now(), wait, task: tokio::spawn(knock) })
    }
}
