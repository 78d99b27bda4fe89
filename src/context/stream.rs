//! An archive that is unpacked while it is downloaded.
//!
//! The idea to hold in mind: the network side runs on the runtime, the archive's on the thread that
//! asked, and between them are a few pieces and no more. Which side an error is of is told by both:
//! a reader that gives up closes the queue, and a download that fails ends it early.

use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use snapshot::Rootfs;
use tokio::runtime::Handle;

use super::error::ContextError;
use super::source::unpack;
use crate::http::HttpClient;
use crate::interrupt::Interrupt;
use crate::report::event::{Event, EventSink, Gauge, LongWork};

/// Pieces that wait to be unpacked. One is what the connection gave at once, at most a few hundred
/// KiB.
const QUEUED_PIECES: usize = 16;

/// What getting a context from elsewhere takes.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Connections.
    pub http: &'a HttpClient,
    /// Where they run.
    pub runtime: &'a Handle,
    /// Who is told how far it has come.
    pub events: &'a dyn EventSink,
    /// Ends a download early.
    pub interrupt: &'a Interrupt,
}

impl Means<'_> {
    /// Tells that the work on a context begins; `name` is for messages.
    pub(super) fn begin(&self, name: &str) -> Gauge {
        self.begin_work(LongWork::Context, name)
    }

    /// The same for what is not the context.
    pub(super) fn begin_download(&self, name: &str) -> Gauge {
        self.begin_work(LongWork::Download, name)
    }

    fn begin_work(&self, work: LongWork, name: &str) -> Gauge {
        let gauge = Gauge::new(work, name, None);
        self.events.send(Event::WorkStarted(gauge.clone()));
        gauge
    }
}

/// Why a download ended before the end of the archive.
pub(super) enum Ended {
    /// Nobody reads on; why is the reader's to say.
    Unread,
    /// The download failed.
    Failed(ContextError),
}

impl From<ContextError> for Ended {
    fn from(error: ContextError) -> Self {
        Self::Failed(error)
    }
}

/// Downloads an archive and unpacks it into `room` meanwhile.
///
/// # Errors
/// Those of the download, and of [`unpack`].
pub(super) fn unpack_download<F>(
    means: &Means<'_>,
    name: &str,
    room: &Rootfs,
    download: impl FnOnce(PieceSink, Gauge) -> F,
) -> Result<(), ContextError>
where
    F: Future<Output = Result<(), Ended>> + Send + 'static,
{
    let (sender, receiver) = sync_channel(QUEUED_PIECES);
    let download = download(PieceSink { sender }, means.begin(name));
    let interrupt = means.interrupt.clone();
    let task = means.runtime.spawn(async move {
        tokio::select! {
            outcome = download => outcome,
            signal = interrupt.raised() => Err(ContextError::interrupted(signal).into()),
        }
    });
    let mut pieces = Pieces { receiver, piece: Vec::new(), taken: 0 };
    let mut unpacked = unpack(&mut pieces, name, room).map(|_| ());
    if unpacked.is_ok() {
        // What follows the archive's end is nothing, but the download has to come to its own.
        let rest = io::copy(&mut pieces, &mut io::sink());
        unpacked = rest.map(|_| ()).map_err(|source| {
            let name = name.to_owned();
            ContextError::ReadArchive { name, source }
        });
    }
    drop(pieces);
    match means.runtime.block_on(task) {
        Ok(Ok(()) | Err(Ended::Unread)) => unpacked,
        Ok(Err(Ended::Failed(error))) => Err(error),
        Err(source) => Err(ContextError::Task { name: name.to_owned(), source }),
    }
}

/// The download's end of the queue: a writer that waits while the queue is full.
#[derive(Debug)]
pub(super) struct PieceSink {
    sender: SyncSender<Vec<u8>>,
}

impl Write for PieceSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sender.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The archive's end of the queue; it ends where the download does, whatever the reason.
struct Pieces {
    receiver: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.piece.len() {
            let Ok(piece) = self.receiver.recv() else { return Ok(0) };
            (self.piece, self.taken) = (piece, 0);
        }
        let mut left = self.piece.get(self.taken..).unwrap_or_default();
        let count = left.read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
pub(super) use tests::with_means;

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
