//! Reads small files on threads, ahead of the one that writes the tar, and keeps their order.
//!
//! Fifty thousand small files are fifty thousand waits for a disk when one thread does them in
//! turn. Here entries are dealt out in batches, and at most [`BATCHES_PER_THREAD`] of them per
//! thread are under way or waiting to be written, so that what is held has a bound whatever the
//! size of the layer.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::content::{BUFFERED_SIZE, ContentReader, Contents, Loaded};
use super::error::LayerError;
use super::plan::Planned;

/// A batch is closed at this many entries …
const BATCH_ENTRIES: usize = 64;
/// … or when the files in it have this many bytes together; the last one may be of up to
/// [`BUFFERED_SIZE`].
const BATCH_BYTES: u64 = 512 << 10;
const BATCHES_PER_THREAD: usize = 2;
/// Waiting for a disk takes no processor, so that there are always two; more than eight hold
/// more memory (3 MiB each) than they save time.
const MIN_THREADS: usize = 2;
const MAX_THREADS: usize = 8;

type Batch = Vec<Result<Loaded, LayerError>>;

/// The order of things read ahead.
pub(super) struct ReadAhead<'a> {
    planned: &'a [Planned<'a>],
    /// The first entry not dealt out.
    next: usize,
    jobs: Sender<Job>,
    depth: usize,
    under_way: VecDeque<Receiver<Batch>>,
    current: std::vec::IntoIter<Result<Loaded, LayerError>>,
}

struct Job {
    entries: Range<usize>,
    reply: Sender<Batch>,
}

impl<'a> ReadAhead<'a> {
    /// Starts the threads; they end when the value is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        planned: &'a [Planned<'a>],
        contents: &'a Contents,
        threads: NonZeroUsize,
    ) -> Self
    where
        'a: 'scope,
    {
        let threads = threads.get().clamp(MIN_THREADS, MAX_THREADS);
        let threads = threads.min(planned.len().div_ceil(BATCH_ENTRIES)).max(1);
        let depth = threads * BATCHES_PER_THREAD;
        let (jobs, jobs_rx) = bounded::<Job>(depth);
        for _ in 0..threads {
            let jobs = jobs_rx.clone();
            scope.spawn(move || {
                let mut reader = ContentReader::new(contents);
                for Job { entries, reply } in jobs {
                    let entries = planned.get(entries).unwrap_or_default();
                    let batch = entries.iter().map(|entry| reader.load(entry)).collect();
                    // Nobody waits any more: the layer failed.
                    let _ = reply.send(batch);
                }
            });
        }
        let current = Vec::new().into_iter();
        Self { planned, next: 0, jobs, depth, under_way: VecDeque::new(), current }
    }

    /// Returns what the next entry needs; asked once for each entry, in order.
    pub(super) fn next(&mut self) -> Result<Loaded, LayerError> {
        loop {
            if let Some(loaded) = self.current.next() {
                return loaded;
            }
            self.deal();
            let batch = self.under_way.pop_front().expect("asked once for each entry");
            // A reader that panicked has closed the channel; its panic goes on at the scope's end.
            self.current = batch.recv().expect("a reader answers every job").into_iter();
        }
    }

    fn deal(&mut self) {
        while self.under_way.len() < self.depth && self.next < self.planned.len() {
            let entries = self.next..self.batch_end();
            self.next = entries.end;
            let (reply, batch) = bounded(1);
            self.jobs.send(Job { entries, reply }).expect("readers live as long as this sender");
            self.under_way.push_back(batch);
        }
    }

    fn batch_end(&self) -> usize {
        let mut bytes = 0;
        let mut end = self.next;
        for entry in self.planned.iter().skip(self.next).take(BATCH_ENTRIES) {
            end += 1;
            if let Planned::Node(node) = entry {
                // Larger ones are not read here.
                let size = node.content_size();
                bytes += if size > BUFFERED_SIZE { 0 } else { size };
            }
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        end
    }
}
