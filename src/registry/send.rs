//! Getting a blob's bytes across: one streamed request if it works, else by another way.
//!
//! The blob may still be made while it is sent. The idea to hold in mind: a request whose length is
//! unknown is always brought to its end, early if need be, and never cut, because some registries
//! cannot cancel a session that lost a request half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use tokio_util::sync::CancellationToken;

use super::Registry;
use super::endpoint::Target;
use super::error::Cause;
use super::growth::{BlobSource, Growth};
use super::pieces::{Part, read_pieces};
use super::pull::TransferStats;
use super::transport::pause;
use super::upload::{Started, Upload};
use super::way::Way;
use crate::http::{Backoff, OutgoingBody};

/// What is left of a broken stream goes as ranges that are at least this long, if more is to come.
const LEAST_REST: u64 = 8 << 20;

/// Bytes still to be sent for which it is worth asking whether the registry has the blob.
const WORTH_ASKING: u64 = 4 << 20;

/// How far one try came without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// The registry has the blob.
    Completed,
    /// It had the blob already; the session is not completed.
    Unneeded,
    /// Nobody wants the blob any more; the session is not completed.
    GivenUp,
}

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was sent.
    Uploaded(TransferStats),
    /// It was found to be there while it was sent.
    Existed,
}

/// A blob on its way out.
pub(super) struct BodySender<'a> {
    pub(super) registry: &'a Registry,
    pub(super) target: &'a Target,
    pub(super) source: BlobSource,
    pub(super) backoff: Backoff,
    pub(super) stats: TransferStats,
    /// Most bytes that go with the request that completes them.
    pub(super) whole_bytes: u64,
}

impl BodySender<'_> {
    /// Sends the blob, into `session` if there is one already. No session is left open.
    pub(super) async fn send(mut self, session: Option<Upload>) -> Result<Sent, Cause> {
        let known = &self.target.endpoint.known_way;
        let mut way = known.now();
        let mut session = session;
        let mut offset = 0;
        let mut renewed_at = None;
        loop {
            let mut upload = match session.take() {
                Some(upload) => upload,
                None => {
                    offset = 0;
                    self.new_session().await?
                }
            };
            let pushes = self.registry.pushes.clone();
            let attempt = tokio::select! {
                attempt = self.attempt(&mut upload, way, &mut offset) => attempt,
                () = pushes.cancelled() => Ok(Attempt::GivenUp),
            };
            let error = match attempt {
                Ok(Attempt::Completed) => {
                    known.learn(way);
                    return Ok(Sent::Uploaded(self.stats));
                }
                Ok(Attempt::Unneeded) => {
                    upload.cancel().await;
                    return Ok(Sent::Existed);
                }
                Ok(Attempt::GivenUp) => {
                    upload.cancel().await;
                    return Err(Cause::GivenUp);
                }
                Err(error) => error,
            };
            // The answer to a completed upload may have been lost.
            if (error.is_temporary() || is_status(&error, &[404])) && self.is_there().await? {
                // Someone else may have sent it, and then the session is still open.
                upload.cancel().await;
                return Ok(Sent::Uploaded(self.stats));
            }
            let is_refused = is_status(&error, &[400, 405]) && !is_digest_refusal(&error);
            if is_refused && self.goes_whole(way, offset) {
                self.whole_bytes = 0;
                upload.cancel().await;
                continue;
            }
            let next = match &error {
                Cause::Refused(refusal) => way.after(refusal.status, self.source.now()),
                _ => None,
            };
            if let Some(next) = next {
                tracing::debug!(host = %self.target.endpoint.host, ?way, ?next, "upload goes on in another way");
                // That a body is too large is so for all blobs. Any other refusal may be of this one
                // alone, until one has arrived in the other way.
                if matches!(next, Way::Ranged(_)) {
                    known.learn(next);
                    way = next.max(known.now());
                } else {
                    way = next;
                }
                upload.cancel().await;
                continue;
            }
            // Once without progress: a token that ended under way (the next request gets a new one, and
            // nothing of this one's body was taken), a session that was lost, damaged bytes.
            let unauthorized = is_status(&error, &[401]);
            let lost = is_status(&error, &[404, 416]) || is_digest_refusal(&error);
            if (unauthorized || lost) && renewed_at != Some(offset) {
                renewed_at = Some(offset);
                if unauthorized {
                    session = Some(upload);
                } else {
                    upload.cancel().await;
                }
                continue;
            }
            if !self.pause(&error).await {
                upload.cancel().await;
                return Err(error);
            }
            match self.resume(&mut upload, offset).await {
                Some(received) => {
                    self.backoff.progressed(received.saturating_sub(offset));
                    offset = received;
                    session = Some(upload);
                }
                None => upload.cancel().await,
            }
        }
    }

    async fn new_session(&self) -> Result<Upload, Cause> {
        if let Some(spare) = self.registry.spares.take(self.target) {
            return Ok(spare);
        }
        match self.registry.start(self.target, None).await? {
            Started::Open(upload) => Ok(*upload),
            Started::Mounted => Err(Cause::Location {
                host: self.target.endpoint.host.to_string(),
                reason: "a new upload was answered as if it were a mount".to_owned(),
            }),
        }
    }

    /// Says whether the registry has the blob, as far as it is known which one it is.
    async fn is_there(&self) -> Result<bool, Cause> {
        match self.source.now() {
            Growth::Complete { digest, size_bytes } => {
                self.registry.blob_exists(self.target, &digest, size_bytes).await
            }
            Growth::Growing { .. } | Growth::GivenUp => Ok(false),
        }
    }

    /// Waits before another try, and returns whether there shall be one.
    async fn pause(&mut self, error: &Cause) -> bool {
        let mut source = self.source.clone();
        tokio::select! {
            again = pause(&mut self.backoff, error, self.target, &Method::PATCH) => again,
            () = source.given_up() => false,
            () = self.registry.pushes.cancelled() => false,
        }
    }

    /// Sends what is missing from `offset` on and completes the blob.
    async fn attempt(
        &mut self,
        upload: &mut Upload,
        way: Way,
        offset: &mut u64,
    ) -> Result<Attempt, Cause> {
        match way {
            Way::Whole => return self.whole(upload).await,
            Way::Streamed if self.goes_whole(way, *offset) => return self.whole(upload).await,
            Way::Streamed if *offset == 0 => {
                if let Some(early) = self.stream(upload).await? {
                    return Ok(early);
                }
            }
            Way::Streamed => self.ranged(upload, offset, LEAST_REST, u64::MAX).await?,
            // What fits into one request needs no range, which some registries do not know.
            Way::Ranged(_) if *offset == 0 && self.is_at_most(way.chunk()) => {
                if let Some(early) = self.stream(upload).await? {
                    return Ok(early);
                }
            }
            Way::Ranged(_) => self.ranged(upload, offset, way.chunk(), way.chunk()).await?,
        }
        let Some((digest, _)) = self.source.end().await else { return Ok(Attempt::GivenUp) };
        upload.complete(&digest).await?;
        Ok(Attempt::Completed)
    }

    /// Sends everything with the request that completes it.
    async fn whole(&mut self, upload: &Upload) -> Result<Attempt, Cause> {
        let Some((digest, size)) = self.source.end().await else {
            return Ok(Attempt::GivenUp);
        };
        self.stats.requests += 1;
        self.stats.bytes += size;
        upload.put_whole(self.part(0, size), &digest).await?;
        Ok(Attempt::Completed)
    }

    /// Returns whether it is so small that a request of its own is not worth it.
    fn goes_whole(&self, way: Way, offset: u64) -> bool {
        way == Way::Streamed && offset == 0 && self.is_at_most(self.whole_bytes)
    }

    /// Returns whether the blob is complete and has no more bytes than these.
    fn is_at_most(&self, most: u64) -> bool {
        matches!(self.source.now(), Growth::Complete { size_bytes, .. } if size_bytes <= most)
    }

    /// Sends everything as one request; returns why the session shall not be completed, if so.
    async fn stream(&mut self, upload: &mut Upload) -> Result<Option<Attempt>, Cause> {
        if let Growth::Complete { size_bytes, .. } = self.source.now() {
            if size_bytes > 0 {
                self.stats.requests += 1;
                self.stats.bytes += size_bytes;
                upload.patch(self.part(0, size_bytes), None).await?;
            }
            return Ok(None);
        }
        let sent = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let part = Part { first: 0, length: None, sent: Arc::clone(&sent), stop: stop.clone() };
        let pieces = read_pieces(self.source.clone(), part);
        self.stats.requests += 1;
        let outcome = {
            let body = OutgoingBody::Stream { length: None, pieces };
            let mut patch = std::pin::pin!(upload.patch(body, None));
            tokio::select! {
                taken = &mut patch => taken.map(|()| None),
                () = self.found(&sent) => {
                    stop.cancel();
                    patch.await.map(|()| Some(Attempt::Unneeded))
                }
            }
        };
        self.stats.bytes += sent.load(Ordering::Relaxed);
        let outcome = outcome?;
        if self.source.now() == Growth::GivenUp {
            return Ok(Some(Attempt::GivenUp));
        }
        Ok(outcome)
    }

    /// Ends once the blob is complete and the registry says that it has it, and else never.
    async fn found(&self, sent: &AtomicU64) {
        let end = self.source.clone().end().await;
        if let Some((digest, size)) = end
            && size.saturating_sub(sent.load(Ordering::Relaxed)) >= WORTH_ASKING
            && matches!(self.registry.blob_exists(self.target, &digest, size).await, Ok(true))
        {
            return;
        }
        std::future::pending().await
    }

    /// Sends the rest in requests of at most `most` bytes, or fewer when another upload finds these
    /// too many, and at least `least` but for the last. Comes back before the end when the blob is
    /// given up.
    async fn ranged(
        &mut self,
        upload: &mut Upload,
        offset: &mut u64,
        least: u64,
        most: u64,
    ) -> Result<(), Cause> {
        loop {
            let known = &self.target.endpoint.known_way;
            let limit = || most.min(known.now().chunk()).max(upload.least_chunk());
            let wanted = offset.saturating_add(least.min(limit()));
            let available = match self.source.grown(wanted).await {
                Growth::Growing { written_bytes } => written_bytes,
                Growth::Complete { size_bytes, .. } => size_bytes,
                Growth::GivenUp => return Ok(()),
            };
            let length = limit().min(available.saturating_sub(*offset));
            if length == 0 {
                return Ok(());
            }
            let last = *offset + length - 1;
            self.stats.requests += 1;
            self.stats.bytes += length;
            upload.patch(self.part(*offset, length), Some((*offset, last))).await?;
            *offset += length;
            self.backoff.progressed(length);
        }
    }

    /// Finds out where a broken upload can go on; `None` when it has to start again.
    async fn resume(&mut self, upload: &mut Upload, offset: u64) -> Option<u64> {
        let received = upload.received().await?;
        let available = match self.source.now() {
            Growth::Growing { written_bytes } => written_bytes,
            Growth::Complete { size_bytes, .. } => size_bytes,
            Growth::GivenUp => return None,
        };
        // Less than what was acknowledged, or more than there is, is not believable.
        if received < offset || received > available || received == 0 {
            return None;
        }
        self.stats.resumed += 1;
        Some(received)
    }

    fn part(&self, first: u64, length: u64) -> OutgoingBody {
        let part = Part {
            first,
            length: Some(length),
            sent: Arc::default(),
            stop: CancellationToken::new(),
        };
        OutgoingBody::Stream {
            length: Some(length),
            pieces: read_pieces(self.source.clone(), part),
        }
    }
}

fn is_status(error: &Cause, statuses: &[u16]) -> bool {
    matches!(error, Cause::Refused(refusal) if statuses.contains(&refusal.status))
}

fn is_digest_refusal(error: &Cause) -> bool {
    matches!(error, Cause::Refused(refusal) if refusal.has_code("DIGEST_INVALID"))
}
