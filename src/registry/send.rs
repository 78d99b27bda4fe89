//! Getting a blob's bytes across: one streamed request if it works, else by another way.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Method;
use snapshot::Digest;

use super::Registry;
use super::endpoint::Target;
use super::error::Cause;
use super::pull::TransferStats;
use super::push::OpenBlob;
use super::transport::pause;
use super::upload::{Pieces, Started, Upload};
use crate::http::{Backoff, OutgoingBody};

/// Bytes read at once from a blob.
const PIECE: usize = 256 << 10;

/// Pieces read ahead of the network.
const AHEAD: usize = 4;

/// Sizes of ranged requests, tried one after the other while a proxy finds them too large.
/// Cloudflare takes 100 MB, GitHub's registry 4 MiB, nginx without settings 1 MiB.
const CHUNKS: [u64; 3] = [32 << 20, 4 << 20, 512 << 10];

/// Ways to send a blob's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One `PATCH`, then `PUT`.
    Streamed,
    /// One `PUT` with everything.
    Whole,
    /// Several `PATCH`es with `Content-Range`, of the size at this place of [`CHUNKS`].
    Ranged(usize),
}

/// A blob on its way out.
pub(super) struct BodySender<'a> {
    pub(super) registry: &'a Registry,
    pub(super) target: &'a Target,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) open: &'a OpenBlob,
    pub(super) backoff: Backoff,
    pub(super) stats: TransferStats,
}

impl BodySender<'_> {
    /// Sends the blob, into `session` if there is one already.
    pub(super) async fn send(mut self, session: Option<Upload>) -> Result<TransferStats, Cause> {
        let mut way = Way::Streamed;
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
            let error = match self.attempt(&mut upload, way, &mut offset).await {
                Ok(()) => return Ok(self.stats),
                Err(error) => error,
            };
            // The answer to a completed upload may have been lost.
            if (error.is_temporary() || is_status(&error, &[404]))
                && self.registry.blob_exists(self.target, &self.digest, self.size).await?
            {
                return Ok(self.stats);
            }
            let next = match &error {
                Cause::Refused(refusal) => other_way(way, refusal.status, self.size),
                _ => None,
            };
            if let Some(next) = next {
                tracing::debug!(host = %self.target.endpoint.host, ?way, ?next, "upload goes on in another way");
                way = next;
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
            if !pause(&mut self.backoff, &error, self.target, &Method::PATCH).await {
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
        match self.registry.start(self.target, None).await? {
            Started::Open(upload) => Ok(*upload),
            Started::Mounted => Err(Cause::Location {
                host: self.target.endpoint.host.to_string(),
                reason: "a new upload was answered as if it were a mount".to_owned(),
            }),
        }
    }

    /// Sends what is missing from `offset` on and completes the blob.
    async fn attempt(
        &mut self,
        upload: &mut Upload,
        way: Way,
        offset: &mut u64,
    ) -> Result<(), Cause> {
        match way {
            Way::Whole => {
                self.stats.requests += 1;
                self.stats.bytes += self.size;
                return upload.put_whole(self.body(0, self.size), &self.digest).await;
            }
            Way::Streamed if *offset == 0 => {
                if self.size > 0 {
                    self.stats.requests += 1;
                    self.stats.bytes += self.size;
                    upload.patch(self.body(0, self.size), None).await?;
                }
            }
            // What is left of a broken stream goes as one range.
            Way::Streamed => self.ranged(upload, offset, u64::MAX).await?,
            Way::Ranged(step) => {
                let chunk = CHUNKS.get(step).copied().unwrap_or(u64::MAX);
                let chunk = chunk.max(upload.least_chunk());
                self.ranged(upload, offset, chunk).await?;
            }
        }
        upload.complete(&self.digest).await
    }

    async fn ranged(
        &mut self,
        upload: &mut Upload,
        offset: &mut u64,
        chunk: u64,
    ) -> Result<(), Cause> {
        while *offset < self.size {
            let length = chunk.min(self.size - *offset);
            let last = *offset + length - 1;
            self.stats.requests += 1;
            self.stats.bytes += length;
            upload.patch(self.body(*offset, length), Some((*offset, last))).await?;
            *offset += length;
            self.backoff.progressed(length);
        }
        Ok(())
    }

    /// Finds out where a broken upload can go on; `None` when it has to start again.
    async fn resume(&mut self, upload: &mut Upload, offset: u64) -> Option<u64> {
        let received = upload.received().await?;
        // Less than what was acknowledged, or more than there is, is not believable.
        if received < offset || received > self.size || received == 0 {
            return None;
        }
        self.stats.resumed += 1;
        Some(received)
    }

    fn body(&self, offset: u64, length: u64) -> OutgoingBody {
        OutgoingBody::Stream {
            length: Some(length),
            pieces: read_pieces(self.open.clone(), offset, length),
        }
    }
}

/// Returns the way to try after `way` was refused with `status`, if another may be taken.
fn other_way(way: Way, status: u16, size: u64) -> Option<Way> {
    match (way, status) {
        // No length, no streams, no PATCH at all: what a store behind a simple gateway says.
        (Way::Streamed, 405 | 411 | 501) => Some(Way::Whole),
        (Way::Streamed | Way::Whole, 413) => {
            let step = CHUNKS.iter().position(|chunk| *chunk < size)?;
            Some(Way::Ranged(step))
        }
        (Way::Ranged(step), 413) if step + 1 < CHUNKS.len() => Some(Way::Ranged(step + 1)),
        _ => None,
    }
}

fn is_status(error: &Cause, statuses: &[u16]) -> bool {
    matches!(error, Cause::Refused(refusal) if statuses.contains(&refusal.status))
}

fn is_digest_refusal(error: &Cause) -> bool {
    matches!(error, Cause::Refused(refusal) if refusal.has_code("DIGEST_INVALID"))
}

/// Reads `length` bytes from `offset` on, on a thread of its own, a few pieces ahead.
fn read_pieces(open: OpenBlob, offset: u64, length: u64) -> Pieces {
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut left = length;
        let mut read = || -> io::Result<()> {
            let mut reader = open(offset)?.take(length);
            while left > 0 {
                let mut piece = vec![0; PIECE];
                let count = fill(&mut reader, &mut piece)?;
                if count == 0 {
                    let short = "the blob is shorter than its descriptor says";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
                }
                piece.truncate(count);
                left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                if sender.blocking_send(Ok(piece.into())).is_err() {
                    // The request is over; nobody wants the rest.
                    return Ok(());
                }
            }
            Ok(())
        };
        if let Err(error) = read() {
            // Likewise.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures_util::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
    .boxed()
}

/// Fills `buffer` as far as the reader goes.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
