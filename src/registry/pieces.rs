//! A blob's bytes as the body of a request, read on a thread of their own a little ahead.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::growth::{BlobSource, Growth};
use super::upload::Pieces;

/// Bytes read at once from a blob.
const PIECE: usize = 256 << 10;

/// Pieces read ahead of the network.
const AHEAD: usize = 4;

/// Which bytes of a blob one request sends.
pub(super) struct Part {
    /// The first one's place in the blob.
    pub(super) first: u64,
    /// How many; `None` for all until the blob's end, wherever that will be.
    pub(super) length: Option<u64>,
    /// Counts the bytes that the network took.
    pub(super) sent: Arc<AtomicU64>,
    /// Ends a body of no announced length before its time.
    pub(super) stop: CancellationToken,
}

/// Returns a part of a blob, waiting for what is still to be written. A blob that is given up just
/// ends.
pub(super) fn read_pieces(source: BlobSource, part: Part) -> Pieces {
    let Part { first, length, sent, stop } = part;
    let (pieces, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let runtime = Handle::current();
    let gauge = source.gauge.clone();
    gauge.set(first);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(source, first, length, &pieces, &runtime) {
            // The request is over; nobody wants to know.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    let state = (receiver, stop, sent, gauge);
    futures_util::stream::unfold(state, async |(mut receiver, stop, sent, gauge)| {
        let piece = tokio::select! {
            piece = receiver.recv() => piece,
            () = stop.cancelled() => None,
        }?;
        let count = u64::try_from(piece.as_ref().map_or(0, Bytes::len)).unwrap_or(u64::MAX);
        sent.fetch_add(count, Ordering::Relaxed);
        gauge.add(count);
        Some((piece, (receiver, stop, sent, gauge)))
    })
    .boxed()
}

fn read(
    mut source: BlobSource,
    first: u64,
    length: Option<u64>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    runtime: &Handle,
) -> io::Result<()> {
    let end = length.map_or(u64::MAX, |length| first.saturating_add(length));
    let mut reader = (source.open)(first)?;
    let mut position = first;
    while position < end {
        let available = match source.now() {
            Growth::Growing { written_bytes } => written_bytes,
            Growth::Complete { size_bytes, .. } => size_bytes,
            // A body whose length was announced must not end early.
            Growth::GivenUp => length.map_or(0, |_| end),
        };
        let ready = available.min(end).saturating_sub(position);
        if ready == 0 {
            let more = runtime.block_on(async {
                tokio::select! {
                    growth = source.grown(position.saturating_add(1)) => Some(growth),
                    () = pieces.closed() => None,
                }
            });
            match more {
                Some(Growth::Growing { .. }) => continue,
                Some(Growth::Complete { size_bytes, .. }) if size_bytes > position => continue,
                Some(Growth::Complete { .. } | Growth::GivenUp) | None => return Ok(()),
            }
        }
        let mut piece = vec![0; usize::try_from(ready).map_or(PIECE, |ready| ready.min(PIECE))];
        if fill(&mut reader, &mut piece)? < piece.len() {
            let short = "the blob is shorter than its descriptor says";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
        }
        position = position.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if pieces.blocking_send(Ok(piece.into())).is_err() {
            // The request is over; nobody wants the rest.
            return Ok(());
        }
    }
    Ok(())
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
