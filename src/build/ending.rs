//! How a build ends before its time: SIGTERM and SIGINT are noticed, and nobody waits long.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::error::BuildError;
use crate::interrupt::Interrupt;
use crate::registry::Registry;
use crate::uploads::Uploads;

/// How long the phases of a build may take to end after the signal. What they leave is then left to
/// the next build, as after a crash.
const GRACE: Duration = Duration::from_millis(800);

/// Raises `interrupt` at the first signal; leaves at the second, or when the build takes too long.
///
/// # Errors
/// [`BuildError::Runtime`] when the signals cannot be listened for.
pub(crate) fn listen(runtime: &Runtime, interrupt: &Interrupt) -> Result<(), BuildError> {
    let _within = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(BuildError::Runtime)?;
    let mut interactive = signal(SignalKind::interrupt()).map_err(BuildError::Runtime)?;
    let interrupt = interrupt.clone();
    runtime.spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => Signal::SIGTERM,
                _ = interactive.recv() => Signal::SIGINT,
            }
        };
        let first = next().await;
        tracing::warn!(signal = first.as_str(), "the build is asked to end");
        interrupt.raise(first);
        tokio::select! {
            _ = next() => {}
            () = tokio::time::sleep(GRACE) => {}
        }
        interrupt.leave(first);
    });
    Ok(())
}

/// Gives up what is pushed when `interrupt` is raised, whatever the build is busy with then.
pub(super) fn give_up(
    runtime: &Runtime,
    interrupt: &Interrupt,
    registry: &Registry,
    uploads: &Uploads,
) {
    let (interrupt, registry, uploads) = (interrupt.clone(), registry.clone(), uploads.clone());
    runtime.spawn(async move {
        interrupt.raised().await;
        uploads.give_up();
        registry.give_up_pushes();
    });
}
