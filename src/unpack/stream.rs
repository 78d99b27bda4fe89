//! A layer's archive, read, decompressed and hashed on a thread of its own.
//!
//! The thread fills buffers, the reader empties them, and a fixed number of them goes round: memory
//! does not grow with the layer, and a layer before its turn waits when they are full.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use snapshot::{Digest, Digester};

use super::LAYER_COUNT;
use super::error::{LayerError, SizeError, UnpackError};
use super::layer::{Identity, LayerInput};
use crate::archive::{Format, Limits, decompress};

/// How many layers are read and decompressed before their turn. Each costs a thread and the
/// buffers of its channel.
const LAYERS_AHEAD: usize = 2;

const BUFFER_BYTES: usize = 256 << 10;
const BUFFER_COUNT: usize = 8;

/// What a layer turned out to be, known when all of it was read.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    pub(super) format: Format,
    pub(super) diff_id: Digest,
    pub(super) tar_bytes: u64,
    pub(super) compressed_bytes: u64,
}

impl Summary {
    /// Returns what the layer was, all of it read, if that is what it should be.
    pub(super) fn of<'a>(
        stream: &'a LayerStream,
        identity: &Identity,
    ) -> Result<&'a Self, LayerError> {
        let summary = stream.summary.as_ref().ok_or(LayerError::ReaderStopped)?;
        if summary.diff_id == identity.diff_id {
            return Ok(summary);
        }
        Err(LayerError::DiffId { expected: identity.diff_id, found: summary.diff_id })
    }
}

/// Hands `layers` to `apply`, lowest first, each being read by a thread of its own.
pub(super) fn in_turn(
    layers: Vec<LayerInput>,
    limits: Limits,
    mut apply: impl FnMut(&Identity, LayerStream) -> Result<(), LayerError>,
) -> Result<(), UnpackError> {
    if layers.len() > LAYER_COUNT {
        return Err(UnpackError::LayerCount { count: layers.len(), limit: LAYER_COUNT });
    }
    let mut layers = layers.into_iter();
    std::thread::scope(|scope| {
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() <= LAYERS_AHEAD
                && let Some(layer) = layers.next()
            {
                ahead.push_back(LayerStream::start(scope, layer, limits));
            }
            let Some((identity, stream)) = ahead.pop_front() else { return Ok(()) };
            apply(&identity, stream).map_err(|source| UnpackError::Layer {
                digest: identity.digest,
                source: Box::new(source),
            })?;
        }
    })
}

enum Message {
    /// So many bytes at the start of a buffer.
    Data(Vec<u8>, usize),
    End(Summary),
    Failed(io::Error),
}

/// The reader's end.
pub(super) struct LayerStream {
    full: Receiver<Message>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    /// What of `current` is still to be read.
    unread: Range<usize>,
    summary: Option<Summary>,
}

impl LayerStream {
    /// Starts to read `layer`.
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        layer: LayerInput,
        limits: Limits,
    ) -> (Identity, Self) {
        let identity = Identity { digest: layer.digest, diff_id: layer.diff_id };
        let (full_sender, full) = sync_channel(BUFFER_COUNT);
        let (empty, empty_receiver) = channel();
        scope.spawn(move || {
            let end = match read(layer, &limits, &full_sender, &empty_receiver) {
                Ok(Some(summary)) => Message::End(summary),
                // Nobody listens any more.
                Ok(None) => return,
                Err(error) => Message::Failed(error),
            };
            // If nobody takes it, nobody needs it.
            _ = full_sender.send(end);
        });
        let stream = Self { full, empty, current: Vec::new(), unread: 0..0, summary: None };
        (identity, stream)
    }
}

impl Read for LayerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for LayerStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() && self.summary.is_none() {
            // The thread may have ended; then it takes nothing back.
            _ = self.empty.send(std::mem::take(&mut self.current));
            match self.full.recv() {
                Ok(Message::Data(buffer, length)) => {
                    self.current = buffer;
                    self.unread = 0..length;
                }
                Ok(Message::End(summary)) => self.summary = Some(summary),
                Ok(Message::Failed(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(self.current.get(self.unread.clone()).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.unread.start = self.unread.end.min(self.unread.start.saturating_add(length));
    }
}

/// Reads a layer to its end; returns `None` when the reader is gone.
fn read(
    layer: LayerInput,
    limits: &Limits,
    full: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<Option<Summary>> {
    let mut source = Sized { source: (layer.open)()?, taken: 0, expected: layer.size_bytes };
    let (format, mut stream) = decompress(&mut source, limits)?;
    let mut digester = Digester::new();
    loop {
        let mut buffer = empty.try_recv().unwrap_or_default();
        // One that comes back is as large already.
        buffer.resize(BUFFER_BYTES, 0);
        let length = fill(&mut stream, &mut buffer)?;
        let Some(data) = buffer.get(..length).filter(|data| !data.is_empty()) else { break };
        digester.update(data);
        if full.send(Message::Data(buffer, length)).is_err() {
            return Ok(None);
        }
    }
    drop(stream);
    let tar_bytes = digester.count();
    let compressed_bytes = source.taken;
    Ok(Some(Summary { format, diff_id: digester.finish(), tar_bytes, compressed_bytes }))
}

/// Fills `buffer`: a decoder gives a few KiB at a time. Returns less than its size at the end only.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A blob that must have exactly `expected` bytes.
struct Sized<R> {
    source: R,
    taken: u64,
    expected: u64,
}

impl<R: Read> Read for Sized<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.taken += length as u64;
        if self.taken > self.expected {
            return Err(SizeError::More { expected: self.expected }.into());
        }
        if length == 0 && !buffer.is_empty() && self.taken < self.expected {
            return Err(SizeError::Fewer { found: self.taken, expected: self.expected }.into());
        }
        Ok(length)
    }
}
