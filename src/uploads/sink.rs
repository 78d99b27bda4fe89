//! Where a layer's bytes go: into the store, followed by its uploads.

use std::io::{self, Write};
use std::sync::Arc;

use snapshot::Digest;
use snapshot::layer::BlobSink;
use tokio::sync::watch;

use super::Uploads;
use crate::registry::Growth;
use crate::report::event::Gauge;
use crate::store::{Blob, BlobWriter, Store, StoreError};

/// A layer while it is written; dropped without a commit, it and its uploads are given up.
pub struct LayerSink {
    store: Store,
    spool: BlobWriter,
    written_bytes: u64,
    follower: Option<Follower>,
}

/// The uploads that follow a layer.
struct Follower {
    uploads: Uploads,
    announced: Announced,
    /// One for each repository.
    gauges: Vec<Gauge>,
}

/// Tells uploads how far the layer has come.
struct Announced(Arc<watch::Sender<Growth>>);

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.send_if_modified(|growth| match growth {
            Growth::Growing { .. } => {
                *growth = Growth::GivenUp;
                true
            }
            Growth::Complete { .. } | Growth::GivenUp => false,
        });
    }
}

impl Follower {
    fn start(
        uploads: &Uploads,
        spool: &BlobWriter,
        gauges: Vec<Gauge>,
    ) -> Result<Self, StoreError> {
        let announced = Announced(uploads.begin(spool.reader()?, &gauges));
        Ok(Self { uploads: uploads.clone(), announced, gauges })
    }
}

impl LayerSink {
    /// Starts a layer that is only kept in the store.
    ///
    /// # Errors
    /// [`StoreError::Io`] when its spool file cannot be made.
    pub fn kept(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { store: store.clone(), spool: store.spool()?, written_bytes: 0, follower: None })
    }

    pub(super) fn pushed(
        store: &Store,
        uploads: &Uploads,
        gauges: Vec<Gauge>,
    ) -> Result<Self, StoreError> {
        let spool = store.spool()?;
        let follower = Some(Follower::start(uploads, &spool, gauges)?);
        Ok(Self { store: store.clone(), spool, written_bytes: 0, follower })
    }

    /// Names the layer by its digest, after checking it against what was `promised`; its uploads
    /// go on.
    ///
    /// # Errors
    /// As [`BlobWriter::commit`].
    pub fn commit(self, promised: Option<(&Digest, u64)>) -> Result<Blob, StoreError> {
        let blob = self.spool.commit(promised)?;
        if let Some(Follower { announced, gauges, .. }) = &self.follower {
            let Blob { digest, size_bytes, .. } = blob;
            gauges.iter().for_each(|gauge| gauge.set_total(size_bytes));
            announced
                .0
                .send_if_modified(|growth| grow(growth, Growth::Complete { digest, size_bytes }));
        }
        Ok(blob)
    }
}

/// Goes on to `next`, unless the layer's uploads were given up.
fn grow(growth: &mut Growth, next: Growth) -> bool {
    let wanted = *growth != Growth::GivenUp;
    if wanted {
        *growth = next;
    }
    wanted
}

impl Write for LayerSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.spool.write(bytes)?;
        self.written_bytes += u64::try_from(count).unwrap_or_default();
        if let Some(Follower { announced, .. }) = &self.follower {
            let written_bytes = self.written_bytes;
            announced.0.send_if_modified(|growth| grow(growth, Growth::Growing { written_bytes }));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spool.flush()
    }
}

impl BlobSink for LayerSink {
    /// Goes on in another file, so that uploads of the old one read nothing of the new one before
    /// they end.
    fn restart(&mut self) -> io::Result<()> {
        let old = self.follower.take().map(|Follower { uploads, gauges, .. }| (uploads, gauges));
        self.spool = self.store.spool().map_err(io::Error::other)?;
        self.written_bytes = 0;
        let spool = &self.spool;
        self.follower = old
            .map(|(uploads, gauges)| Follower::start(&uploads, spool, gauges))
            .transpose()
            .map_err(io::Error::other)?;
        Ok(())
    }
}
