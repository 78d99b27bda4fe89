//! Tar bytes in, compressed blob out: digests, compression and the sink, on threads of their own.
//!
//! Owns the pipeline behind the tar writer; knows nothing of files or tar. The idea to hold in
//! mind: the tar stream is cut into chunks at fixed offsets, whatever the writer's calls and the
//! number of threads, and every stage handles whole chunks in order, so that nothing about timing
//! can reach the bytes. Every queue is bounded; a slow sink stops the writer.
//!
//! ```text
//! writer ─► chunk ─┬─► DiffId digest                      (one thread)
//!                  └─► gzip members (threads) ─► in order ─► digest, sink (one thread)
//!                      or zstd (its own threads) ─┘
//! ```

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use libdeflater::{CompressionLvl, Compressor};
use zstd::zstd_safe::CParameter;

use super::compression::{Compression, GzipLevel, ZstdLevel};
use super::sink::BlobSink;
use crate::digest::{Digest, Digester, HashingWriter};

/// Tar bytes in one chunk, and so in one gzip member. Part of the format: another size gives every
/// gzip layer another digest. At 1 MiB the members cost less than 0.2 % in size against one stream
/// and libdeflate works on a whole member at a time.
const CHUNK_SIZE: usize = 1 << 20;

/// Tar bytes in one zstd job, for the same reason fixed. zstd's own choice at level 3 is 8 MiB,
/// of which a worker holds two and more; this costs 0.4 % in size and half the memory.
const ZSTD_JOB_SIZE: u32 = 4 << 20;

/// Each worker holds 5 MiB with gzip and 10 with zstd; one reader cannot feed many more.
const MAX_WORKERS: usize = 8;

type Chunk = Arc<Vec<u8>>;

/// The pipeline is gone because its sink failed; [`Encoder::finish`] says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// Why content did not get into the pipeline whole.
#[derive(Debug)]
pub(super) enum CopyError {
    /// As [`Stopped`].
    Stopped,
    /// The reader failed.
    Read(io::Error),
}

/// What a finished pipeline has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) diff_id: Digest,
    pub(super) tar_bytes: u64,
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
}

/// The way in: takes tar bytes, cuts them into chunks and sends those on.
pub(super) struct Encoder<'scope, S> {
    chunk: Vec<u8>,
    free: Receiver<Vec<u8>>,
    diff: Sender<Chunk>,
    feed: Feed,
    hasher: ScopedJoinHandle<'scope, Digester>,
    writer: ScopedJoinHandle<'scope, io::Result<(S, Digester)>>,
}

/// The compression's end of the pipeline. The writer takes `End` for a whole blob; a channel
/// that closes before it means that the blob is given up.
enum Feed {
    Chunks(Sender<Item<Chunk>>),
    Members { jobs: Sender<Member>, order: Sender<Item<Receiver<Vec<u8>>>> },
}

enum Item<T> {
    Next(T),
    End,
}

/// A chunk to make a gzip member of, and where to send it.
struct Member {
    chunk: Chunk,
    reply: Sender<Vec<u8>>,
}

impl<'scope, S: BlobSink + 'scope> Encoder<'scope, S> {
    /// Starts the threads of a pipeline that ends in `sink`, `workers` of them for compression.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        compression: Compression,
        workers: NonZeroUsize,
        sink: S,
    ) -> Self {
        let workers = workers.get().min(MAX_WORKERS);
        // Enough in flight that each worker has its next chunk waiting.
        let depth = workers * 2;
        let (free_tx, free) = bounded::<Vec<u8>>(depth);
        let (diff, diff_rx) = bounded::<Chunk>(depth);
        let diff_free = free_tx.clone();
        let hasher = scope.spawn(move || {
            let mut digester = Digester::new();
            for chunk in diff_rx {
                digester.update(&chunk);
                recycle(chunk, &diff_free);
            }
            digester
        });
        let (feed, writer) = match compression {
            Compression::None => {
                let (tx, rx) = bounded(depth);
                (Feed::Chunks(tx), scope.spawn(move || store(rx, sink, &free_tx)))
            }
            Compression::Zstd { level } => {
                let (tx, rx) = bounded(depth);
                let writer = scope.spawn(move || zstd(rx, level, workers, sink, &free_tx));
                (Feed::Chunks(tx), writer)
            }
            Compression::Gzip { level } => {
                let (jobs, jobs_rx) = bounded::<Member>(workers);
                for _ in 0..workers {
                    let (jobs_rx, free_tx) = (jobs_rx.clone(), free_tx.clone());
                    scope.spawn(move || gzip_members(jobs_rx, level, &free_tx));
                }
                let (order, order_rx) = bounded(depth);
                (Feed::Members { jobs, order }, scope.spawn(move || join_members(order_rx, sink)))
            }
        };
        Self { chunk: Vec::with_capacity(CHUNK_SIZE), free, diff, feed, hasher, writer }
    }

    /// Appends `bytes` to the tar stream.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.space()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            self.send_full()?;
        }
        Ok(())
    }

    /// Appends up to `limit` bytes read from `reader`, shown to `seen` as they come; returns how
    /// many, less than `limit` only at the reader's end.
    pub(super) fn write_from(
        &mut self,
        reader: &mut impl Read,
        limit: u64,
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, CopyError> {
        let mut count = 0;
        while count < limit {
            let start = self.chunk.len();
            let take = (limit - count).min(self.space() as u64);
            let read =
                reader.by_ref().take(take).read_to_end(&mut self.chunk).map_err(CopyError::Read)?;
            seen(self.chunk.get(start..).unwrap_or_default());
            count += read as u64;
            self.send_full().map_err(|Stopped| CopyError::Stopped)?;
            if (read as u64) < take {
                break;
            }
        }
        Ok(count)
    }

    /// Ends the blob, waits for the sink to have it all and returns the sink.
    ///
    /// # Errors
    /// The sink's or the compressor's error, wherever in the blob it was.
    pub(super) fn finish(mut self) -> io::Result<(Encoded, S)> {
        let sent = self.send().and_then(|()| match &self.feed {
            Feed::Chunks(chunks) => chunks.send(Item::End).map_err(|_| Stopped),
            Feed::Members { order, .. } => order.send(Item::End).map_err(|_| Stopped),
        });
        let (diff, written) = self.join();
        let (sink, digester) = written?;
        sent.map_err(|Stopped| io::Error::other("the layer's writer thread ended early"))?;
        let encoded = Encoded {
            tar_bytes: diff.count(),
            diff_id: diff.finish(),
            size_bytes: digester.count(),
            digest: digester.finish(),
        };
        Ok((encoded, sink))
    }

    /// Gives the blob up and returns the sink, which has some part of it.
    ///
    /// # Errors
    /// The sink's or the compressor's error so far.
    pub(super) fn abandon(self) -> io::Result<S> {
        self.join().1.map(|(sink, _)| sink)
    }

    fn join(self) -> (Digester, io::Result<(S, Digester)>) {
        let Self { diff, feed, hasher, writer, .. } = self;
        drop((diff, feed));
        (joined(hasher), joined(writer))
    }

    fn space(&self) -> usize {
        CHUNK_SIZE - self.chunk.len()
    }

    fn send_full(&mut self) -> Result<(), Stopped> {
        if self.space() == 0 { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Stopped> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let next = self.free.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK_SIZE));
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, next));
        self.diff.send(Arc::clone(&chunk)).map_err(|_| Stopped)?;
        match &self.feed {
            Feed::Chunks(chunks) => chunks.send(Item::Next(chunk)).map_err(|_| Stopped),
            Feed::Members { jobs, order } => {
                let (reply, member) = bounded(1);
                order.send(Item::Next(member)).map_err(|_| Stopped)?;
                jobs.send(Member { chunk, reply }).map_err(|_| Stopped)
            }
        }
    }
}

/// Gives the buffer back for the next chunk, when no other stage still reads it.
fn recycle(chunk: Chunk, free: &Sender<Vec<u8>>) {
    if let Some(mut buffer) = Arc::into_inner(chunk) {
        buffer.clear();
        // Full: there are buffers enough, and this one is freed.
        let _ = free.try_send(buffer);
    }
}

/// Returns what a thread returned, or goes on with its panic.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn store<S: Write>(
    chunks: Receiver<Item<Chunk>>,
    sink: S,
    free: &Sender<Vec<u8>>,
) -> io::Result<(S, Digester)> {
    let mut out = HashingWriter::new(sink);
    while let Ok(Item::Next(chunk)) = chunks.recv() {
        out.write_all(&chunk)?;
        recycle(chunk, free);
    }
    out.flush()?;
    Ok(out.into_parts())
}

fn zstd<S: Write>(
    chunks: Receiver<Item<Chunk>>,
    level: ZstdLevel,
    workers: usize,
    sink: S,
    free: &Sender<Vec<u8>>,
) -> io::Result<(S, Digester)> {
    let mut out = HashingWriter::new(sink);
    let mut encoder = zstd::stream::write::Encoder::new(&mut out, level.get())?;
    // Bytes differ between no workers and any number of them, never between numbers above none.
    encoder.multithread(u32::try_from(workers).expect("at most MAX_WORKERS"))?;
    encoder.set_parameter(CParameter::JobSize(ZSTD_JOB_SIZE))?;
    loop {
        match chunks.recv() {
            Ok(Item::Next(chunk)) => {
                encoder.write_all(&chunk)?;
                recycle(chunk, free);
            }
            Ok(Item::End) => {
                encoder.finish()?;
                break;
            }
            Err(_) => {
                drop(encoder);
                break;
            }
        }
    }
    out.flush()?;
    Ok(out.into_parts())
}

fn gzip_members(jobs: Receiver<Member>, level: GzipLevel, free: &Sender<Vec<u8>>) {
    let level = CompressionLvl::new(level.get()).expect("a `GzipLevel` is one of libdeflate's");
    let mut compressor = Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(CHUNK_SIZE)];
    for Member { chunk, reply } in jobs {
        let length = compressor
            .gzip_compress(&chunk, &mut out)
            .expect("the buffer has the size that libdeflate asks for");
        recycle(chunk, free);
        // Nobody waits: the sink failed, and the writer will find out with its next chunk.
        let _ = reply.send(out.get(..length).unwrap_or_default().to_vec());
    }
}

fn join_members<S: Write>(
    order: Receiver<Item<Receiver<Vec<u8>>>>,
    sink: S,
) -> io::Result<(S, Digester)> {
    let mut out = HashingWriter::new(sink);
    while let Ok(Item::Next(member)) = order.recv() {
        match member.recv() {
            Ok(bytes) => out.write_all(&bytes)?,
            Err(_) => return Err(io::Error::other("a compression thread ended early")),
        }
    }
    out.flush()?;
    Ok(out.into_parts())
}

#[cfg(test)]
mod tests;
