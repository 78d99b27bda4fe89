//! A blob as an upload sees it: where its bytes are, and how many of them there are so far.

use std::fmt;

use snapshot::Digest;
use tokio::sync::watch;

use super::push::{BlobUpload, OpenBlob};
use crate::image::Reference;
use crate::report::event::Gauge;

/// How far a blob has come that is made while it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// So many of its bytes can be read; more will follow, or its end.
    Growing {
        /// Bytes from the blob's start; never fewer than before.
        written_bytes: u64,
    },
    /// All of it can be read.
    Complete {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
    },
    /// Nobody wants it any more: its upload is to be cancelled.
    GivenUp,
}

/// A blob to push that may still be growing.
///
/// A sender of `growth` that is dropped before the blob is complete has given it up.
#[derive(Clone)]
pub struct GrowingBlob {
    /// Images whose repositories should hold it already, if it is complete when its turn comes.
    pub mount_from: Vec<Reference>,
    /// Where its bytes are: opened from an offset on, gives at least what `growth` says is there.
    pub open: OpenBlob,
    /// How far it has come.
    pub growth: watch::Receiver<Growth>,
    /// Counts what was sent of it.
    pub gauge: Gauge,
}

impl fmt::Debug for GrowingBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrowingBlob")
            .field("mount_from", &self.mount_from)
            .field("growth", &self.growth)
            .finish_non_exhaustive()
    }
}

/// Where a blob's bytes come from, complete or not.
#[derive(Clone)]
pub(super) struct BlobSource {
    pub(super) open: OpenBlob,
    pub(super) gauge: Gauge,
    growth: watch::Receiver<Growth>,
}

impl BlobSource {
    pub(super) fn growing(blob: &GrowingBlob) -> Self {
        let GrowingBlob { open, growth, gauge, .. } = blob.clone();
        Self { open, gauge, growth }
    }

    /// A blob that is complete and cannot be given up.
    pub(super) fn complete(blob: &BlobUpload, digest: Digest, size_bytes: u64) -> Self {
        let growth = watch::channel(Growth::Complete { digest, size_bytes }).1;
        Self { open: blob.open.clone(), gauge: blob.gauge.clone(), growth }
    }

    /// Returns how far the blob is.
    pub(super) fn now(&self) -> Growth {
        // In this order: a sender may complete the blob and go between the two.
        let closed = self.growth.has_changed().is_err();
        match *self.growth.borrow() {
            Growth::Growing { .. } if closed => Growth::GivenUp,
            growth => growth,
        }
    }

    /// Waits until `wanted` bytes can be read, or there will be no more.
    pub(super) async fn grown(&mut self, wanted: u64) -> Growth {
        let enough = |growth: &Growth| match growth {
            Growth::Growing { written_bytes } => *written_bytes >= wanted,
            Growth::Complete { .. } | Growth::GivenUp => true,
        };
        self.growth.wait_for(enough).await.map_or(Growth::GivenUp, |growth| *growth)
    }

    /// Waits until the blob is complete; `None` when it never will be.
    pub(super) async fn end(&mut self) -> Option<(Digest, u64)> {
        match self.grown(u64::MAX).await {
            Growth::Complete { digest, size_bytes } => Some((digest, size_bytes)),
            Growth::Growing { .. } | Growth::GivenUp => None,
        }
    }

    /// Waits until the blob is given up; for ever, when it cannot be any more.
    pub(super) async fn given_up(&mut self) {
        let given_up = self.growth.wait_for(|growth| *growth == Growth::GivenUp).await.is_ok();
        if !given_up && self.now() != Growth::GivenUp {
            std::future::pending().await
        }
    }
}
