//! What was looked at before it is read: whether it is still the same then.
//!
//! Owns the comparison; must not know why somebody asks for it. The idea to hold in mind: the kernel
//! moves the ctime of a file with whatever changes it, and nobody can set that.

use std::sync::{Arc, OnceLock};

use crate::metadata::{Metadata, Stamp};
use crate::path::RootfsPath;

/// The first file that was found to have changed, of all that share this value.
#[derive(Debug, Clone, Default)]
pub struct Changed(Arc<OnceLock<RootfsPath>>);

impl Changed {
    /// Notes a file, unless there was one before.
    pub fn note(&self, path: &RootfsPath) {
        self.0.get_or_init(|| path.clone());
    }

    /// Returns the first file that was noted.
    pub fn first(&self) -> Option<&RootfsPath> {
        self.0.get()
    }
}

/// A file as it was when it was looked at, and who is to hear that it is read as another.
#[derive(Debug, Clone)]
pub struct Expected {
    stamp: Stamp,
    changed: Changed,
}

impl Expected {
    /// Expects the file that `metadata` are of.
    pub fn new(metadata: &Metadata, changed: &Changed) -> Self {
        Self { stamp: metadata.stamp(), changed: changed.clone() }
    }

    /// Compares it with what is at `path`, `None` where nothing can be said to be.
    pub fn check(&self, path: &RootfsPath, now: Option<&Metadata>) {
        if now.map(Metadata::stamp) != Some(self.stamp) {
            self.changed.note(path);
        }
    }
}
