//! Parts of a large blob that are fetched before their turn, over connections of their own.
//!
//! One connection brings no more than its window in a round trip, which far from the registry is
//! less than a disk takes. The idea to hold in mind: whatever is fetched ahead is a favour. The
//! transfer takes the blob's bytes in their order, and what a part does not bring, for whatever
//! reason, is asked for again by the one request that waits and tries again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snapshot::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

use super::Registry;
use super::endpoint::Target;
use super::error::Cause;
use super::pull::Span;
use crate::report::fault::one_line;

/// Parts that may fail before a blob is fetched over one connection only: one that broke is an
/// accident, several are a registry that has had enough.
const FAILURES: u32 = 3;

/// A blob of so many parts or fewer comes in one go; other layers come beside it.
const WORTH_IT: u64 = 4;

/// Parts that the first request brings where those after them are asked for at the same time: they
/// come over connections that take a round trip to be made.
const FIRST_PARTS: u64 = 3;

/// How large blobs are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartsAhead {
    /// Size of a part, in bytes. A blob of four parts or fewer is fetched in one go.
    pub part_bytes: u64,
    /// Parts that are fetched before their turn or wait for it, of all blobs together; each is
    /// held in memory.
    pub count: usize,
    /// How long a registry must take to begin its answer for that to be worth it.
    pub latency: Duration,
}

impl Default for PartsAhead {
    /// Eight times four MiB, which is a quarter of the memory that a build may have. At a round trip
    /// of 150 ms and a window of 4 MiB, 355 MB take 7.6 s instead of 15.1 s; at 30 ms one connection
    /// brings about what is unpacked meanwhile, and nearer still parts are only more work.
    fn default() -> Self {
        Self { part_bytes: 4 << 20, count: 8, latency: Duration::from_millis(20) }
    }
}

/// What is known of a registry's will to serve parts of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// It was not asked yet.
    Unknown,
    /// It was not asked yet, but is so far that this is not waited for.
    Expected,
    /// It has served the first one.
    Works,
    /// It does not, or no longer, or it is not worth it.
    Off,
}

/// The parts of one blob that are fetched ahead from one source.
pub(super) struct Ahead {
    registry: Registry,
    target: Target,
    digest: Digest,
    size: u64,
    service: Service,
    failures: u32,
    /// For the first parts, until the registry has shown that it serves them.
    reserved: Vec<OwnedSemaphorePermit>,
    parts: VecDeque<Part>,
    running: JoinSet<()>,
}

/// A part on its way, or here.
pub(super) struct Part {
    pub(super) span: Span,
    received: oneshot::Receiver<Vec<u8>>,
    /// Given back when the part was taken, because that is how long it is in memory.
    _permit: OwnedSemaphorePermit,
}

impl Part {
    /// Waits for the part, and returns what came of it.
    pub(super) async fn received(&mut self) -> Vec<u8> {
        // Whoever fetched it may be gone; then nothing came.
        (&mut self.received).await.unwrap_or_default()
    }
}

/// What the parts of all blobs share.
pub(super) struct Shared {
    permits: Arc<Semaphore>,
    /// Buffers that are used again: freed and allocated anew on other threads, as many bytes as are
    /// in use would be lost between them.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Shared {
    pub(super) fn new(policy: PartsAhead) -> Self {
        let permits = Arc::new(Semaphore::new(policy.count.min(Semaphore::MAX_PERMITS)));
        Self { permits, buffers: Mutex::default() }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Nothing is half-done while the lock is held.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ahead {
    pub(super) fn new(registry: &Registry, target: &Target, digest: Digest, size: u64) -> Self {
        let policy = registry.options.parts_ahead;
        let worth_it = size > policy.part_bytes.saturating_mul(WORTH_IT) && policy.part_bytes > 0;
        Self {
            registry: registry.clone(),
            target: target.clone(),
            digest,
            size,
            service: match (worth_it, target.endpoint.manners.is_further_than(policy.latency)) {
                (true, true) => Service::Expected,
                (true, false) => Service::Unknown,
                (false, _) => Service::Off,
            },
            failures: 0,
            reserved: Vec::new(),
            parts: VecDeque::new(),
            running: JoinSet::new(),
        }
    }

    /// Returns the part that begins at `offset`, if that is fetched already.
    pub(super) fn take(&mut self, offset: u64) -> Option<Part> {
        while self.parts.front().is_some_and(|part| part.span.start < offset) {
            // Passed by: somebody else has brought its bytes.
            self.parts.pop_front();
        }
        let next = self.parts.front().is_some_and(|part| part.span.start == offset);
        if next { self.parts.pop_front() } else { None }
    }

    /// Returns where a request for what begins at `offset` should end; `None` to ask for all of it.
    pub(super) fn end_of_request(&mut self, offset: u64) -> Option<u64> {
        if let Some(part) = self.parts.front() {
            return Some(part.span.start);
        }
        let parts = if self.service == Service::Expected { FIRST_PARTS } else { 1 };
        let end = self.end_of_parts(offset, parts);
        if self.service == Service::Off || end >= self.size {
            return None;
        }
        if self.reserved.is_empty() {
            self.reserved.extend(self.permit());
        }
        // Where others have taken all connections, one is enough.
        if self.reserved.is_empty() { None } else { Some(end) }
    }

    /// Notes that the registry has answered a request for a part with all of the blob.
    pub(super) fn is_ignored(&mut self) {
        self.service = Service::Off;
        self.reserved.clear();
        self.parts.clear();
        self.running.abort_all();
    }

    /// Takes the buffer of a part back.
    pub(super) fn done_with(&mut self, mut buffer: Vec<u8>) {
        let mut buffers = self.registry.ahead.buffers();
        let in_use = self.registry.options.parts_ahead.count;
        let in_use = in_use.saturating_sub(self.registry.ahead.permits.available_permits());
        if in_use <= 1 {
            // It was the last one: memory is for the rest of the build now.
            *buffers = Vec::new();
        } else {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Notes that a part did not bring what it should.
    pub(super) fn has_failed(&mut self) {
        self.failures += 1;
        if self.failures >= FAILURES {
            self.service = Service::Off;
        }
    }

    /// Notes that the registry has begun to serve a part after so long.
    pub(super) fn is_served(&mut self, latency: Duration) {
        if matches!(self.service, Service::Unknown | Service::Expected) {
            let is_far = latency >= self.registry.options.parts_ahead.latency;
            self.service = if is_far { Service::Works } else { Service::Off };
        }
    }

    /// Starts what can be fetched while the bytes up to `end` are on their way, or asked for. Returns
    /// how many requests that takes.
    pub(super) fn fill(&mut self, end: u64) -> u32 {
        match self.service {
            Service::Works | Service::Expected => {}
            Service::Unknown => return 0,
            Service::Off => {
                self.reserved.clear();
                return 0;
            }
        }
        let mut started = 0;
        loop {
            let start = self.parts.back().map_or(end, |part| part.span.end);
            let span = Span { start, end: self.end_of_parts(start, 1) };
            if span.start >= self.size {
                break;
            }
            let Some(permit) = self.reserved.pop().or_else(|| self.permit()) else { break };
            self.start(span, permit);
            started += 1;
        }
        self.reserved.clear();
        started
    }

    fn start(&mut self, span: Span, permit: OwnedSemaphorePermit) {
        let (sender, received) = oneshot::channel();
        let (registry, target) = (self.registry.clone(), self.target.clone());
        let (digest, size) = (self.digest, self.size);
        self.running.spawn(async move {
            let mut bytes = registry.ahead.buffers().pop().unwrap_or_default();
            if let Err(error) = fetch(&registry, &target, &digest, (span, size), &mut bytes).await {
                // Whoever takes the part sees what is missing, and asks for it.
                let error = one_line(&error);
                tracing::debug!(%digest, start = span.start, error, "part of a blob failed");
            }
            // If nobody takes it, nobody needs it.
            _ = sender.send(bytes);
        });
        self.parts.push_back(Part { span, received, _permit: permit });
        // Those that are done are not kept.
        while self.running.try_join_next().is_some() {}
    }

    /// Never waits: a transfer that did would hold its own connection meanwhile.
    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.registry.ahead.permits).try_acquire_owned().ok()
    }

    fn end_of_parts(&self, start: u64, count: u64) -> u64 {
        let bytes = self.registry.options.parts_ahead.part_bytes.saturating_mul(count);
        self.size.min(start.saturating_add(bytes))
    }
}

/// Fetches a part of a blob, once.
async fn fetch(
    registry: &Registry,
    target: &Target,
    digest: &Digest,
    (span, size): (Span, u64),
    bytes: &mut Vec<u8>,
) -> Result<(), Cause> {
    let mut response = registry.ask(target, digest, span.start, Some(span.end)).await?;
    if response.status().as_u16() != 206 {
        // All of the blob comes again, which nobody wants.
        return Ok(());
    }
    super::pull::check_range(&response, span.start, size, target.endpoint.host.as_str())?;
    let length = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
    // As much as any part needs, so that nothing is moved, now or when the buffer is used again; and
    // copied, because a chunk keeps the whole buffer alive that it was read into.
    let whole = usize::try_from(registry.options.parts_ahead.part_bytes).unwrap_or(length);
    bytes.reserve_exact(whole.max(length));
    while let Some(chunk) = response.chunk().await? {
        let left = length.saturating_sub(bytes.len());
        if left == 0 {
            break;
        }
        bytes.extend_from_slice(chunk.get(..left).unwrap_or(&chunk));
    }
    Ok(())
}
