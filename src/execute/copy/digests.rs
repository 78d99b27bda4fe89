//! Digests of what is in a context's files: by several threads, and of each file once.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use snapshot::{Digest, Digester, Metadata, Rootfs, RootfsPath, Stamp};

use super::source::Source;
use crate::context::{Attributes, Known, KnownFiles};
use crate::execute::ExecuteError;

/// Files that a thread is worth starting for.
const FILES_PER_THREAD: usize = 16;

/// How much of a file is read at once, in bytes.
const BUFFER_BYTES: usize = 128 << 10;

/// What is known of files' contents while a build goes on.
#[derive(Debug)]
pub struct ContentDigests {
    threads: NonZeroUsize,
    known: RefCell<HashMap<Stamp, Digest>>,
    /// What is known only while it is asked for once.
    for_now: RefCell<HashMap<Stamp, Known>>,
    /// How many files were asked for of which that was not so.
    asked_count: Cell<u64>,
    /// Whether what earlier builds have found out is remembered too.
    remembers_all: bool,
}

/// A file to be read.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    path: RootfsPath,
    metadata: Metadata,
    attributes: Attributes,
}

impl Unread {
    pub(super) fn new(path: &RootfsPath, metadata: &Metadata, attributes: Attributes) -> Self {
        Self { path: path.clone(), metadata: *metadata, attributes }
    }

    fn stamp(&self) -> Stamp {
        self.metadata.stamp()
    }
}

impl ContentDigests {
    /// Knows nothing yet, and reads with at most so many threads.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            known: RefCell::default(),
            for_now: RefCell::default(),
            asked_count: Cell::default(),
            remembers_all: false,
        }
    }

    /// Remembers what earlier builds have found out too, for [`ContentDigests::get`].
    pub fn remembering_all(self) -> Self {
        Self { remembers_all: true, ..self }
    }

    /// Takes what a copy has found in the files that it has read, until something else is taken.
    pub fn take_for_now(&self, known: HashMap<Stamp, Known>) {
        self.for_now.replace(known);
    }

    /// Returns what is known for now of a file that looks like this.
    pub(super) fn get_for_now(&self, metadata: &Metadata) -> Option<Known> {
        self.for_now.borrow().get(&metadata.stamp()).copied()
    }

    /// Returns of how many files the content was asked for that was not known for now.
    pub fn asked_count(&self) -> u64 {
        self.asked_count.get()
    }

    /// Returns the digest of a file that looks like this, if somebody has asked for it.
    pub(super) fn get(&self, metadata: &Metadata) -> Option<Digest> {
        self.known.borrow().get(&metadata.stamp()).copied()
    }

    /// Notes what an earlier build has found out.
    pub(super) fn remember(&self, metadata: &Metadata, digest: Digest) {
        if self.remembers_all {
            self.known.borrow_mut().insert(metadata.stamp(), digest);
        }
    }

    /// Returns the digests of files, in their order.
    pub(super) fn of(
        &self,
        source: &Source<'_>,
        files: &[&Unread],
    ) -> Result<Vec<Digest>, ExecuteError> {
        self.asked_count.set(self.asked_count.get() + files.len() as u64);
        let mut known = self.known.borrow_mut();
        let mut wanted = HashSet::new();
        let is_new =
            |file: &&&Unread| !known.contains_key(&file.stamp()) && wanted.insert(file.stamp());
        let new: Vec<&Unread> = files.iter().filter(is_new).copied().collect();
        for (file, digest) in new.iter().zip(self.read(source, &new)?) {
            known.insert(file.stamp(), digest);
        }
        Ok(files.iter().filter_map(|file| known.get(&file.stamp())).copied().collect())
    }

    fn read(&self, source: &Source<'_>, files: &[&Unread]) -> Result<Vec<Digest>, ExecuteError> {
        let (next, rootfs, known) = (AtomicUsize::new(0), source.rootfs(), source.known());
        let work = || {
            let (mut done, mut buffer) = (Vec::new(), vec![0; BUFFER_BYTES]);
            loop {
                let position = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(position) else { return done };
                let digest = read_one(rootfs, known, file, &mut buffer);
                if digest.is_err() {
                    // Nobody needs the others then.
                    next.store(files.len(), Ordering::Relaxed);
                }
                done.push((position, digest));
            }
        };
        let thread_count = self.threads.get().min(files.len().div_ceil(FILES_PER_THREAD));
        let mut done = thread::scope(|scope| {
            let others: Vec<_> = (1..thread_count).map(|_| scope.spawn(work)).collect();
            let mut done = work();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            done
        });
        done.sort_by_key(|(position, _)| *position);
        done.into_iter().map(|(_, digest)| digest).collect()
    }
}

fn read_one(
    rootfs: &Rootfs,
    known: Option<&KnownFiles>,
    unread: &Unread,
    buffer: &mut [u8],
) -> Result<Digest, ExecuteError> {
    let Unread { path, metadata, attributes } = unread;
    let file = rootfs.open_file(path)?;
    let digest = digest(&file, buffer)
        .map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
    if let Some(known) = known {
        known.learn(metadata, &file, Known { digest, attributes: *attributes });
    }
    Ok(digest)
}

fn digest(mut file: impl Read, buffer: &mut [u8]) -> io::Result<Digest> {
    let mut digester = Digester::new();
    loop {
        let count = match file.read(buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digester.update(buffer.get(..count).unwrap_or_default());
    }
}
