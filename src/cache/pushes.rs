//! Entries on their way into the cache while the build goes on.
//!
//! The first failure is the last thing that is tried: what comes after it is not begun, and whoever
//! asks is told of it once.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::entry::{Entry, headers_descriptor};
use super::place::{CacheError, LayerCache};
use crate::image::{Platform, Reference};
use crate::store::Blob;

/// Entries that are stored at once.
const PARALLEL_PUSHES: usize = 4;

/// How long a cache may take to cancel what was begun: half of what a build has that is asked to end.
const CLOSING_TIME: Duration = Duration::from_millis(400);

/// An entry to store.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// What it says.
    pub entry: Entry,
    /// The layer's bytes, if it has one.
    pub blob: Option<Blob>,
    /// The instruction, for whoever looks at the cache.
    pub created_by: String,
    /// What it was made for, likewise.
    pub platform: Platform,
}

/// What is only known when a layer is on its way elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Repositories that have the layer, from which it can be mounted.
    pub mount_from: Vec<Reference>,
    /// What its headers say, in the form to keep.
    pub headers: Option<Vec<u8>>,
}

/// The entries that one build stores.
pub struct Pushes {
    runtime: Handle,
    cache: Arc<LayerCache>,
    permits: Arc<Semaphore>,
    failure: Arc<Mutex<Failure>>,
    stored: Arc<Mutex<Vec<Entry>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
enum Failure {
    #[default]
    None,
    /// Nobody knows yet.
    New(CacheError),
    Told,
}

impl Pushes {
    /// Prepares to store entries.
    pub fn new(runtime: Handle, cache: Arc<LayerCache>) -> Self {
        let permits = Arc::new(Semaphore::new(PARALLEL_PUSHES));
        let (failure, stored, tasks) = (Arc::default(), Arc::default(), Mutex::default());
        Self { runtime, cache, permits, failure, stored, tasks }
    }

    /// Stores an entry in the background once `ready` has said what is known of its layer by then.
    pub fn begin(
        &self,
        mut new: NewEntry,
        ready: impl Future<Output = Circumstances> + Send + 'static,
    ) {
        if self.has_failed() {
            return;
        }
        let (cache, permits) = (Arc::clone(&self.cache), Arc::clone(&self.permits));
        let (failure, stored) = (Arc::clone(&self.failure), Arc::clone(&self.stored));
        let task = self.runtime.spawn(async move {
            let Circumstances { mount_from, headers } = ready.await;
            let _permit = permits.acquire().await;
            if !matches!(*locked(&failure), Failure::None) {
                return;
            }
            if let Some(headers) = &headers {
                new.entry.headers = Some(headers_descriptor(headers));
            }
            match cache.store(&new, mount_from, headers).await {
                Ok(()) => locked(&stored).push(new.entry),
                Err(error) => fail(&failure, error),
            }
        });
        locked(&self.tasks).push(task);
    }

    /// Returns the entries that are stored by now.
    pub fn stored(&self) -> Vec<Entry> {
        locked(&self.stored).clone()
    }

    /// Notes that the cache cannot be used: nothing more is stored.
    pub fn fail(&self, error: CacheError) {
        fail(&self.failure, error);
    }

    /// Returns why nothing more is stored; once.
    pub fn take_failure(&self) -> Option<CacheError> {
        let mut failure = locked(&self.failure);
        match std::mem::take(&mut *failure) {
            Failure::None => None,
            Failure::New(error) => {
                *failure = Failure::Told;
                Some(error)
            }
            Failure::Told => {
                *failure = Failure::Told;
                None
            }
        }
    }

    /// Tells whether nothing more is stored.
    pub fn has_failed(&self) -> bool {
        !matches!(*locked(&self.failure), Failure::None)
    }

    /// Waits until all entries are stored, `longest` is over, or `ended` is; what is not stored by
    /// then is given up, and so is all else that is pushed to the same registries. Must not be called
    /// on a thread of the runtime.
    pub fn finish(&self, longest: Duration, ended: impl Future<Output = ()>) {
        let mut tasks = std::mem::take(&mut *locked(&self.tasks));
        let is_finished = self.runtime.block_on(async {
            tokio::select! {
                () = all(&mut tasks) => true,
                () = tokio::time::sleep(longest) => false,
                () = ended => false,
            }
        });
        if is_finished {
            return;
        }
        fail(&self.failure, CacheError::Unfinished);
        // No registry keeps half of something: what was begun is cancelled, which takes a request.
        self.cache.give_up_pushes();
        let cancelled = async { tokio::time::timeout(CLOSING_TIME, all(&mut tasks)).await };
        if self.runtime.block_on(cancelled).is_err() {
            tracing::debug!("the cache took too long to cancel uploads, some may stay open");
            tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

async fn all(tasks: &mut [JoinHandle<()>]) {
    for task in tasks.iter_mut().filter(|task| !task.is_finished()) {
        // One that has panicked has stored nothing.
        _ = task.await;
    }
}

fn fail(failure: &Mutex<Failure>, error: CacheError) {
    let mut failure = locked(failure);
    if matches!(*failure, Failure::None) {
        *failure = Failure::New(error);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half-done while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
