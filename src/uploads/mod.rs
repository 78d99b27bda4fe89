//! Layers on their way to registries while the build goes on; joined before the manifest.
//!
//! Owns the sink that a layer is written to and the pushes that follow it. Must not know what is in
//! a layer, nor images and manifests. The idea to hold in mind: the spool file is the queue. The
//! writer of a layer never waits for the network; an upload reads behind it from the file, and one
//! that broke starts again from there, so that no layer is written twice. What no background push
//! brought to its end is no failure yet: whoever needs the blob pushes it from the store.

mod sink;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oci_client::Reference;
use snapshot::Digest;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use sink::LayerSink;

use crate::registry::{GrowingBlob, Growth, OpenBlob, PushedBlob, Registry};
use crate::report::event::{Event, EventSink, Gauge, LongWork};
use crate::store::{Store, StoreError};

/// Layers that are sent to one repository at once; those after them wait in their spool files.
const PARALLEL_UPLOADS: usize = 4;

/// How long registries may take to cancel the sessions of a build that ends.
const CLOSING_TIME: Duration = Duration::from_secs(10);

/// All background pushes of one build; cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    registry: Registry,
    repositories: Vec<Repository>,
    layers: Mutex<Vec<LayerUpload>>,
    /// The build ends: what is begun now is given up at once. Changed with `layers` locked.
    is_given_up: AtomicBool,
}

/// A repository that the layers go to.
struct Repository {
    reference: Reference,
    /// The first one of the same registry, if this is another: its blobs are mounted from there.
    sibling: Option<usize>,
    permits: Arc<Semaphore>,
}

/// One layer, complete or not.
struct LayerUpload {
    growth: Arc<watch::Sender<Growth>>,
    /// In the order of the repositories.
    pushes: Vec<Push>,
}

struct Push {
    outcome: watch::Receiver<Outcome>,
    task: JoinHandle<()>,
}

/// How and when a layer came to a repository in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How.
    pub pushed: PushedBlob,
    /// When its first bytes could be sent.
    pub started: Instant,
    /// How long it took from there.
    pub elapsed: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Pending,
    Arrived(Arrival),
    Failed,
}

impl Uploads {
    /// Prepares pushes to the repositories of `destinations`, each once; without any, layers are
    /// only kept in the store.
    pub fn new(runtime: Handle, registry: Registry, destinations: &[&Reference]) -> Self {
        let mut repositories: Vec<Repository> = Vec::new();
        for reference in destinations {
            let same_registry = |other: &&Repository| is_same_registry(&other.reference, reference);
            let siblings: Vec<&Repository> = repositories.iter().filter(same_registry).collect();
            if siblings.iter().any(|other| other.reference.repository() == reference.repository()) {
                continue;
            }
            repositories.push(Repository {
                reference: (*reference).clone(),
                sibling: repositories
                    .iter()
                    .position(|other| is_same_registry(&other.reference, reference)),
                permits: Arc::new(Semaphore::new(PARALLEL_UPLOADS)),
            });
        }
        let (layers, is_given_up) = (Mutex::default(), AtomicBool::new(false));
        let inner = Inner { runtime, registry, repositories, layers, is_given_up };
        Self { inner: Arc::new(inner) }
    }

    /// Starts a layer that goes to all repositories while it is written; `events` are told of it.
    ///
    /// # Errors
    /// [`StoreError::Io`] when its spool file cannot be made.
    pub fn sink(&self, store: &Store, events: &dyn EventSink) -> Result<LayerSink, StoreError> {
        let new = |repository: &Repository| {
            let reference = &repository.reference;
            let name = format!("{}/{}", reference.registry(), reference.repository());
            let gauge = Gauge::new(LongWork::Upload, name, None);
            events.send(Event::WorkStarted(gauge.clone()));
            gauge
        };
        let gauges = self.inner.repositories.iter().map(new).collect();
        LayerSink::pushed(store, self, gauges)
    }

    /// Waits until a layer has come to `reference`'s repository, and says how. `None` when no push
    /// in the background has brought it there.
    pub async fn arrived(&self, reference: &Reference, digest: &Digest) -> Option<Arrival> {
        let repository = self.inner.repositories.iter().position(|repository| {
            is_same_registry(&repository.reference, reference)
                && repository.reference.repository() == reference.repository()
        })?;
        let outcomes: Vec<watch::Receiver<Outcome>> = self
            .inner
            .layers()
            .iter()
            .filter(|layer| is_of(&layer.growth, digest))
            .filter_map(|layer| layer.pushes.get(repository))
            .map(|push| push.outcome.clone())
            .collect();
        for mut outcome in outcomes {
            if let Outcome::Arrived(arrival) = settled(&mut outcome).await {
                return Some(arrival);
            }
        }
        None
    }

    /// Gives up what is not done and what is still to come; registries are asked to cancel its
    /// sessions, which is not waited for.
    pub fn give_up(&self) {
        let layers = self.inner.layers();
        self.inner.is_given_up.store(true, Ordering::Relaxed);
        for layer in layers.iter() {
            layer.growth.send_replace(Growth::GivenUp);
        }
    }

    /// Gives up what is not done, and waits until registries have cancelled its sessions. Must not
    /// be called on a thread of the runtime.
    pub fn close(&self) {
        self.give_up();
        let layers = std::mem::take(&mut *self.inner.layers());
        let mut tasks = Vec::new();
        for layer in layers {
            tasks.extend(layer.pushes.into_iter().map(|push| push.task));
        }
        let cancelled = async {
            for task in &mut tasks {
                // A push that panicked has nothing left to cancel.
                let _ = task.await;
            }
        };
        let closed = self
            .inner
            .runtime
            .block_on(async { tokio::time::timeout(CLOSING_TIME, cancelled).await });
        if closed.is_err() {
            tracing::warn!("registries took too long to cancel uploads, some may stay open");
            tasks.iter().for_each(JoinHandle::abort);
        }
    }

    /// Starts the pushes of a layer whose bytes will be in `file`, counted by a gauge for each
    /// repository, and returns what to announce them with.
    fn begin(&self, file: File, gauges: &[Gauge]) -> Arc<watch::Sender<Growth>> {
        let (growth, receiver) = watch::channel(Growth::Growing { written_bytes: 0 });
        let growth = Arc::new(growth);
        let file = Arc::new(file);
        let open: OpenBlob =
            Arc::new(move |offset| Ok(Box::new(FileReader { file: Arc::clone(&file), offset })));
        let mut pushes: Vec<Push> = Vec::new();
        for (repository, gauge) in self.inner.repositories.iter().zip(gauges) {
            let sibling = repository.sibling.and_then(|position| {
                let reference = self.inner.repositories.get(position)?.reference.clone();
                Some((reference, pushes.get(position)?.outcome.clone()))
            });
            let job = Job {
                registry: self.inner.registry.clone(),
                reference: repository.reference.clone(),
                permits: Arc::clone(&repository.permits),
                sibling,
                open: Arc::clone(&open),
                growth: receiver.clone(),
                gauge: gauge.clone(),
            };
            let (announce, outcome) = watch::channel(Outcome::Pending);
            let task = self.inner.runtime.spawn(async move {
                announce.send_replace(job.run().await);
            });
            pushes.push(Push { outcome, task });
        }
        let mut layers = self.inner.layers();
        if self.inner.is_given_up.load(Ordering::Relaxed) {
            growth.send_replace(Growth::GivenUp);
        }
        layers.push(LayerUpload { growth: Arc::clone(&growth), pushes });
        growth
    }
}

impl Inner {
    fn layers(&self) -> MutexGuard<'_, Vec<LayerUpload>> {
        // Nothing is half-done while the lock is held.
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The push of one layer to one repository.
struct Job {
    registry: Registry,
    reference: Reference,
    permits: Arc<Semaphore>,
    /// Another repository of the registry that gets the layer, and what becomes of that.
    sibling: Option<(Reference, watch::Receiver<Outcome>)>,
    open: OpenBlob,
    growth: watch::Receiver<Growth>,
    gauge: Gauge,
}

impl Job {
    async fn run(self) -> Outcome {
        let mut mount_from = Vec::new();
        if let Some((reference, mut outcome)) = self.sibling
            && matches!(settled(&mut outcome).await, Outcome::Arrived(_))
        {
            mount_from.push(reference);
        }
        let permit = self.permits.acquire().await;
        let started = Instant::now();
        let blob =
            GrowingBlob { mount_from, open: self.open, growth: self.growth, gauge: self.gauge };
        let pushed = self.registry.push_growing(&self.reference, &blob).await;
        drop(permit);
        match pushed {
            Ok(pushed) => {
                tracing::debug!(to = %self.reference, ?pushed, "layer arrived in the background");
                Outcome::Arrived(Arrival { pushed, started, elapsed: started.elapsed() })
            }
            // Whoever needs the layer pushes it again, and reports what is wrong then.
            Err(error) => {
                let cause = error.cause();
                tracing::debug!(to = %self.reference, %cause, "layer not pushed in the background");
                Outcome::Failed
            }
        }
    }
}

/// Waits for a push to end; one that vanished has failed.
async fn settled(outcome: &mut watch::Receiver<Outcome>) -> Outcome {
    let settled = outcome.wait_for(|outcome| *outcome != Outcome::Pending).await;
    settled.map_or(Outcome::Failed, |outcome| outcome.clone())
}

fn is_of(growth: &watch::Sender<Growth>, wanted: &Digest) -> bool {
    matches!(*growth.borrow(), Growth::Complete { digest, .. } if digest == *wanted)
}

fn is_same_registry(one: &Reference, other: &Reference) -> bool {
    one.registry() == other.registry()
}

/// Reads a file from its own position, whoever else reads or writes it.
struct FileReader {
    file: Arc<File>,
    offset: u64,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}
