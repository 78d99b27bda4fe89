//! What is sent along with a request, watched while it goes out.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use reqwest::Body;

use super::options::Timeouts;

/// The body of a request.
pub enum OutgoingBody {
    /// Bytes in memory, sent with their length.
    Bytes(Bytes),
    /// Bytes that are made while they are sent.
    Stream {
        /// Their number, if it is known; without it they go out in chunks.
        length: Option<u64>,
        /// The pieces. An error ends the request and comes back as `HttpError::Source`.
        pieces: BoxStream<'static, io::Result<Bytes>>,
    },
}

impl fmt::Debug for OutgoingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// An error of whoever makes a body, carried through reqwest.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct SourceError {
    pub(super) kind: io::ErrorKind,
    pub(super) text: String,
}

const WAITING_FOR_US: u8 = 0;
const WAITING_FOR_THEM: u8 = 1;
const SENT: u8 = 2;

/// How far the sending of a body has come.
pub(super) struct Progress {
    state: Arc<ProgressState>,
}

struct ProgressState {
    phase: AtomicU8,
    pieces: AtomicU64,
}

impl Progress {
    /// The state of a request whose body is small or absent.
    pub(super) fn finished() -> Self {
        Self::at(SENT)
    }

    fn at(phase: u8) -> Self {
        let state = ProgressState { phase: AtomicU8::new(phase), pieces: AtomicU64::new(0) };
        Self { state: Arc::new(state) }
    }

    /// Ends when the other side was silent for too long, and returns that time.
    pub(super) async fn silence(&self, timeouts: Timeouts) -> Duration {
        loop {
            let before = self.now();
            let patience = if before.0 == SENT { timeouts.first_byte } else { timeouts.stall };
            tokio::time::sleep(patience).await;
            if before.0 != WAITING_FOR_US && self.now() == before {
                return patience;
            }
        }
    }

    fn now(&self) -> (u8, u64) {
        (self.state.phase.load(Ordering::Acquire), self.state.pieces.load(Ordering::Acquire))
    }
}

/// Makes a body whose sending can be watched.
pub(super) fn watch(pieces: BoxStream<'static, io::Result<Bytes>>) -> (Body, Progress) {
    let progress = Progress::at(WAITING_FOR_THEM);
    let watched = Watched { pieces, state: Arc::clone(&progress.state) };
    (Body::wrap_stream(watched), progress)
}

struct Watched {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    state: Arc<ProgressState>,
}

impl Stream for Watched {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SourceError>>> {
        self.state.pieces.fetch_add(1, Ordering::AcqRel);
        let polled = self.pieces.as_mut().poll_next(context);
        let phase = match &polled {
            Poll::Pending => WAITING_FOR_US,
            Poll::Ready(Some(_)) => WAITING_FOR_THEM,
            Poll::Ready(None) => SENT,
        };
        self.state.phase.store(phase, Ordering::Release);
        polled.map(|item| {
            item.map(|result| {
                result.map_err(|error| SourceError { kind: error.kind(), text: error.to_string() })
            })
        })
    }
}
