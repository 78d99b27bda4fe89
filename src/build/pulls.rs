//! Layers of a base on their way into the store, beside whoever reads them.
//!
//! Downloads go to disk and wait for no reader; they start lowest layer first, and a few run at
//! once. A reader comes to a layer's end only when its digest was verified, so that what is made of
//! layers that were read to their ends is made of the right bytes.

use std::convert::Infallible;
use std::io::Write;
use std::time::Instant;

use snapshot::Digest;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::error::BuildError;
use super::output::transfer;
use crate::image::{Descriptor, Reference, size_of};
use crate::registry::Registry;
use crate::report::event::{Background, Event, EventSink, Gauge, Phase};
use crate::report::fault::{Class, Fault};
use crate::store::{ArrivingBlob, ExpectedBlob, PassingWriter};
use crate::unpack::UnpackError;

/// Layers that are downloaded at once.
const PARALLEL_PULLS: usize = 4;

/// A layer to download.
pub(super) struct Pull {
    pub(super) registry: Registry,
    pub(super) reference: Reference,
    pub(super) layer: Descriptor,
    pub(super) digest: Digest,
    /// It comes from the layer cache.
    pub(super) is_cached: bool,
    pub(super) target: PullTarget,
    /// Counts what has come.
    pub(super) gauge: Gauge,
}

/// Where a download goes.
pub(super) enum PullTarget {
    /// Into the store, where it can be read while it comes.
    Stored(ExpectedBlob),
    /// Past its only reader.
    Passing(PassingWriter),
}

/// A layer that was downloaded, as events tell of it.
pub(super) struct Pulled {
    pub(super) event: Event,
    background: Background,
}

impl Pull {
    /// Returns the layer as it can be read while it comes, if it is stored.
    pub(super) fn arriving(&self) -> Option<ArrivingBlob> {
        match &self.target {
            PullTarget::Stored(blob) => Some(blob.arriving()),
            PullTarget::Passing(_) => None,
        }
    }

    /// Downloads the layer and checks that it is the one that was promised.
    pub(super) async fn run(self) -> Result<Pulled, BuildError> {
        let (digest, is_cached) = (self.digest, self.is_cached);
        self.run_unblamed().await.map_err(|error| match is_cached && error.class() != Class::Disk {
            true => BuildError::CachedLayer(digest, Box::new(error)),
            false => error,
        })
    }

    async fn run_unblamed(self) -> Result<Pulled, BuildError> {
        let started = Instant::now();
        let pull = async |sink: &mut (dyn Write + Send)| {
            let mut counted = self.gauge.counting(sink);
            self.registry.pull_blob(&self.reference, &self.layer, &mut counted).await
        };
        let stats = match self.target {
            PullTarget::Stored(blob) => {
                let mut writer = blob.begin(size_of(&self.layer)?)?;
                let stats = pull(&mut writer).await?;
                writer.commit(&self.digest)?;
                stats
            }
            PullTarget::Passing(mut writer) => {
                let stats = pull(&mut writer).await?;
                writer.commit();
                stats
            }
        };
        let background = Background { started, elapsed: started.elapsed() };
        let (digest, transfer) = (self.digest.to_string(), transfer(&stats));
        Ok(Pulled { event: Event::BlobPulled { digest, transfer, background }, background })
    }
}

/// Layers on their way. Dropped, what has not arrived is given up.
pub(super) struct Pulls {
    runtime: Handle,
    /// `None` for a layer that is kept nowhere.
    arriving: Vec<(Digest, Option<ArrivingBlob>)>,
    /// Those whose outcome was not taken.
    running: Vec<Running>,
}

/// Layers that were begun together.
struct Running {
    outcome: JoinHandle<Result<Vec<Pulled>, BuildError>>,
    /// Ends them when it goes.
    wanted: Option<oneshot::Sender<Infallible>>,
}

impl Pulls {
    /// Starts to download layers, in this order.
    pub(super) fn start(runtime: &Handle, pulls: Vec<Pull>) -> Self {
        let arriving = pulls.iter().map(|pull| (pull.digest, pull.arriving())).collect();
        let (wanted, unwanted) = oneshot::channel();
        let outcome = runtime.spawn(run_all(pulls, unwanted));
        let running = vec![Running { outcome, wanted: Some(wanted) }];
        Self { runtime: runtime.clone(), arriving, running }
    }

    /// Adds layers that were begun before.
    pub(super) fn with(mut self, mut begun: Self) -> Self {
        self.arriving.append(&mut begun.arriving);
        self.running.append(&mut begun.running);
        self
    }

    /// Returns a layer as it can be read while it comes, if it is one of these and is stored.
    pub(super) fn arriving(&self, digest: &Digest) -> Option<ArrivingBlob> {
        self.arriving.iter().find(|(other, _)| other == digest)?.1.clone()
    }

    /// Tells whether one of `digests` is among these.
    pub(super) fn have_any_of(&self, digests: &[Digest]) -> bool {
        self.arriving.iter().any(|(digest, _)| digests.contains(digest))
    }

    /// Waits until every layer has arrived and is what was promised.
    pub(super) fn finish(mut self, events: &dyn EventSink) -> Result<(), BuildError> {
        let pulled = self.join()?;
        let spans = pulled.iter().map(|pulled| pulled.background);
        let started = spans.clone().map(|span| span.started).min();
        let ended = spans.map(|span| span.started + span.elapsed).max();
        if let Some((started, ended)) = started.zip(ended) {
            let elapsed = ended.saturating_duration_since(started);
            events.send(Event::PhaseTimed { phase: Phase::Pull, elapsed });
        }
        pulled.into_iter().for_each(|pulled| events.send(pulled.event));
        Ok(())
    }

    /// Returns why layers could not be unpacked: because of their download, if that has failed or
    /// was about to.
    pub(super) fn blame(mut self, error: UnpackError) -> BuildError {
        let UnpackError::Layer { digest, .. } = &error else { return error.into() };
        let its = |(other, _): &&(Digest, Option<ArrivingBlob>)| other == digest;
        let Some((_, arriving)) = self.arriving.iter().find(its).cloned() else {
            return error.into();
        };
        let error = BuildError::from(error);
        // The disk's errors are its own; any other may come from wrong bytes, which only the end of
        // the download tells.
        if error.class() == Class::Disk
            || arriving.is_some_and(|arriving| arriving.is_stored_in_the_end())
        {
            return error;
        }
        self.join().err().unwrap_or(error)
    }

    fn join(&mut self) -> Result<Vec<Pulled>, BuildError> {
        let mut done = Ok(Vec::new());
        for mut running in std::mem::take(&mut self.running) {
            if done.is_err() {
                // One error is enough, but what still runs is waited for.
                running.wanted = None;
            }
            let outcome = self.runtime.block_on(running.outcome).unwrap_or_else(panicked);
            done = done.and_then(|mut done| {
                done.extend(outcome?);
                Ok(done)
            });
        }
        done
    }
}

impl Drop for Pulls {
    fn drop(&mut self) {
        self.running.iter_mut().for_each(|running| running.wanted = None);
        // Waited for, because the folder they write to may go next. Whoever drops this has an error
        // of their own.
        let _ = self.join();
    }
}

/// Downloads a few layers at a time, until all have arrived, one has failed, or nobody wants them.
async fn run_all(
    pulls: Vec<Pull>,
    mut unwanted: oneshot::Receiver<Infallible>,
) -> Result<Vec<Pulled>, BuildError> {
    let mut waiting = pulls.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    loop {
        while running.len() < PARALLEL_PULLS
            && let Some((position, pull)) = waiting.next()
        {
            running.spawn(async move { Ok((position, pull.run().await?)) });
        }
        let pulled = tokio::select! {
            pulled = running.join_next() => pulled,
            _ = &mut unwanted => break,
        };
        match pulled.map(|pulled| pulled.unwrap_or_else(panicked)) {
            Some(Ok(pulled)) => done.push(pulled),
            Some(Err(error)) => {
                running.shutdown().await;
                return Err(error);
            }
            None => break,
        }
    }
    running.shutdown().await;
    done.sort_by_key(|(position, _)| *position);
    Ok(done.into_iter().map(|(_, pulled)| pulled).collect())
}

/// Goes on with a panic of a download: nothing aborts one while its outcome is waited for.
fn panicked<T>(error: JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}
