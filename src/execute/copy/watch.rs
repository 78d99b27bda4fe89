//! Whether a context is read as it was read before.
//!
//! Owns what is remembered of a reading, which is one number, made of what tells every file, as it is
//! then, from all others. Must not know what a reading is for. The idea to hold in mind: whoever
//! changes a file moves its ctime, so that two readings of one number have read the same, and not one
//! byte has to be compared for that.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use snapshot::layer::{Changed, Expected};
use snapshot::{Digest, FileKind, Metadata, RootfsPath, Stamp, Timestamp, Xattrs};

use crate::context::{Attributes, Known};

/// Sees what is read of a context.
#[derive(Debug)]
pub struct Watch {
    /// One of the process' own: nobody can choose files whose numbers add up.
    hasher: RandomState,
    changed: Changed,
    sum: Cell<u64>,
    newest: Cell<Timestamp>,
    /// `None`: nobody asks where files go.
    followed: Option<RefCell<Followed>>,
}

/// Where the files went that a copy has read, and what is in them, once somebody has seen it there.
#[derive(Debug, Default)]
pub struct Followed {
    /// What the file was like that went to a path; the last one, where there were several.
    went: HashMap<RootfsPath, (Stamp, Attributes)>,
    known: HashMap<Stamp, Known>,
}

impl Followed {
    /// Learns what is in a file where it went.
    pub fn learn(&mut self, path: &RootfsPath, digest: &Digest) {
        if let Some(&(stamp, attributes)) = self.went.get(path) {
            self.known.insert(stamp, Known { digest: *digest, attributes });
        }
    }

    /// Returns what is in files that look like this.
    pub fn into_known(self) -> HashMap<Stamp, Known> {
        self.known
    }
}

/// What was seen of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Stands for all entries with their states, in whatever order they came.
    pub sum: u64,
    /// When the entry changed that changed last; [`Timestamp::EPOCH`] where there was none.
    pub newest: Timestamp,
}

impl Watch {
    /// Begins a reading. Only those with the same hasher can be compared; `changed` hears of each
    /// file that changes within it.
    pub fn new(hasher: &RandomState, changed: &Changed) -> Self {
        let (hasher, changed) = (hasher.clone(), changed.clone());
        let (sum, newest) = (Cell::default(), Cell::new(Timestamp::EPOCH));
        Self { hasher, changed, sum, newest, followed: None }
    }

    /// Asks where files go.
    pub fn following(self) -> Self {
        Self { followed: Some(RefCell::default()), ..self }
    }

    /// Returns where files went so far.
    pub fn take_followed(&self) -> Followed {
        self.followed.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Sees what was put to a path: a regular file like this, or `None` for anything else.
    pub(super) fn put(&self, path: &RootfsPath, file: Option<(&Metadata, Attributes)>) {
        let Some(followed) = &self.followed else { return };
        let went = &mut followed.borrow_mut().went;
        match file {
            Some((metadata, attributes)) => {
                went.insert(path.clone(), (metadata.stamp(), attributes));
            }
            None => {
                went.remove(path);
            }
        }
    }

    /// Sees that nobody knows what was put where.
    pub(super) fn lose_track(&self) {
        self.take_followed();
    }

    /// Ends a reading; the next one begins.
    pub fn take(&self) -> Seen {
        Seen { sum: self.sum.take(), newest: self.newest.replace(Timestamp::EPOCH) }
    }

    /// Sees an entry, before anything of it is read.
    pub(super) fn saw(&self, path: &RootfsPath, metadata: &Metadata) {
        let Metadata { kind, mode, .. } = *metadata;
        match kind {
            // What comes and goes in it is seen by itself, and moves its times also where that is
            // ignored.
            FileKind::Directory => self.add((path.as_bytes(), mode)),
            _ => {
                self.add((path.as_bytes(), kind, mode, metadata.stamp()));
                self.newest.set(self.newest.get().max(metadata.ctime));
            }
        }
    }

    /// Sees the attributes of a directory, for which nothing else tells that they changed.
    pub(super) fn saw_attributes(&self, path: &RootfsPath, xattrs: &Xattrs) {
        if !xattrs.is_empty() {
            self.add((path.as_bytes(), xattrs));
        }
    }

    /// Expects an entry to be the same when it has been read.
    pub(in crate::execute) fn expect(&self, metadata: &Metadata) -> Expected {
        Expected::new(metadata, &self.changed)
    }

    fn add(&self, entry: impl Hash) {
        self.sum.set(self.sum.get().wrapping_add(self.hasher.hash_one(entry)));
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
