//! Whether the destinations may be pushed to: asked while the build is planned, and known before its
//! first step.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use super::error::BuildError;
use crate::image::Reference;
use crate::interrupt::Interrupt;
use crate::registry::{Registry, RegistryError};

/// How long registries may take to cancel the sessions that a build has not used.
const CLOSING_TIME: Duration = Duration::from_secs(10);

/// The same where a signal has ended the build, which then has to be gone within a second.
const INTERRUPTED_CLOSING_TIME: Duration = Duration::from_millis(400);

/// The question, and its answer.
#[derive(Default)]
pub(super) struct Permission {
    /// `None` when the answer was taken, or nobody asks.
    asked: RefCell<Option<JoinHandle<Result<(), RegistryError>>>>,
}

impl Permission {
    /// Asks the registries of all destinations at once.
    pub(super) fn ask(runtime: &Handle, registry: &Registry, destinations: &[&Reference]) -> Self {
        let registry = registry.clone();
        let destinations: Vec<Reference> = destinations.iter().copied().cloned().collect();
        let asked = runtime.spawn(async move {
            let begun = destinations.iter().map(|reference| registry.begin_push(reference));
            // The first one that is refused, in their order.
            join_all(begun).await.into_iter().collect()
        });
        Self { asked: RefCell::new(Some(asked)) }
    }

    /// Waits for the answer; once it was given, there is nothing more to say.
    ///
    /// # Errors
    /// [`BuildError::Registry`] when a destination refuses, [`BuildError::Interrupted`].
    pub(super) fn wait(&self, runtime: &Runtime, interrupt: &Interrupt) -> Result<(), BuildError> {
        let Some(mut asked) = self.asked.take() else { return Ok(()) };
        let answer = runtime.block_on(async {
            tokio::select! {
                answer = &mut asked => Some(answer),
                _ = interrupt.raised() => None,
            }
        });
        match answer {
            Some(Ok(answer)) => Ok(answer?),
            // Nothing aborts it while its answer is waited for.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => {
                self.asked.replace(Some(asked));
                Ok(interrupt.check()?)
            }
        }
    }

    /// Cancels the sessions that were opened and not used.
    pub(super) fn close(&self, runtime: &Runtime, registry: &Registry, interrupt: &Interrupt) {
        let limit = match interrupt.check() {
            Ok(()) => CLOSING_TIME,
            Err(_) => INTERRUPTED_CLOSING_TIME,
        };
        let asked = self.asked.take();
        let close = async {
            if let Some(asked) = asked {
                // Whoever closes this has an outcome of their own.
                _ = asked.await;
            }
            registry.close_unused().await;
        };
        let closed = runtime.block_on(async { tokio::time::timeout(limit, close).await });
        if closed.is_err() {
            tracing::warn!("registries took too long to cancel uploads, some may stay open");
        }
    }
}
