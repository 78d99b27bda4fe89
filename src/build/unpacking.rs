//! Base images to root file systems, read while they are downloaded.

use std::time::Instant;

use snapshot::{Index, Rootfs};

use super::bases::{Bases, Keeping};
use super::error::BuildError;
use super::session::Session;
use crate::archive::{Beneath, NotOnDisk, limits_for};
use crate::image::Layer;
use crate::report::event::{Event, Gauge, LongWork, Phase};
use crate::unpack::{LayerInput, UnpackOptions, Unpacked, unpack_onto};

/// An image, or layers of one, that are to be unpacked.
pub(super) struct Unpacking<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) bases: &'a Bases<'a>,
    pub(super) layers: &'a [Layer],
    /// The step that needs files, as text.
    pub(super) because_of: String,
}

impl Unpacking<'_> {
    /// Unpacks the image into `rootfs`, and what cannot be there into `beneath`. On success every
    /// layer was verified; on error nothing of what is in either is to be trusted.
    pub(super) fn run(
        self,
        rootfs: &Rootfs,
        beneath: Option<&Beneath>,
    ) -> Result<Index, BuildError> {
        Ok(self.run_onto(rootfs, Index::default(), beneath)?.index)
    }

    /// The same, onto what is in `rootfs` already, which is as `index` says.
    pub(super) fn run_onto(
        self,
        rootfs: &Rootfs,
        index: Index,
        beneath: Option<&Beneath>,
    ) -> Result<Unpacked, BuildError> {
        if self.layers.is_empty() {
            return Ok(Unpacked::nothing_on(index));
        }
        let events = self.session.events;
        let limits = limits_for(rootfs).map_err(|source| BuildError::FreeSpace { source })?;
        let options = UnpackOptions { limits, beneath: beneath.cloned() };
        let (layers, pulls) = self.bases.layers(self.layers, Keeping::Stored)?;
        let start = Instant::now();
        events.send(Event::UnpackStarted { because_of: self.because_of.clone() });
        let unpacked = match unpack_onto(rootfs, index, self.counted(layers), &options) {
            Ok(unpacked) => unpacked,
            Err(error) => return Err(self.bases.blame(pulls.blame(error))),
        };
        let elapsed = start.elapsed();
        pulls.finish(events)?;
        events.send(Event::PhaseTimed { phase: Phase::Unpack, elapsed });
        events.send(Event::UnpackFinished {
            entry_count: unpacked.stats.entry_count,
            bytes: unpacked.stats.tar_bytes,
            elapsed,
        });
        warn(&unpacked);
        Ok(unpacked)
    }

    /// Returns the layers so that it can be seen how much of them was read.
    fn counted(&self, layers: Vec<LayerInput>) -> Vec<LayerInput> {
        let size_bytes = layers.iter().map(|layer| layer.size_bytes).sum();
        let gauge = Gauge::new(LongWork::Unpack, "", Some(size_bytes));
        self.session.events.send(Event::WorkStarted(gauge.clone()));
        let count = |layer: LayerInput| {
            let (open, gauge) = (layer.open, gauge.clone());
            LayerInput { open: Box::new(move || Ok(Box::new(gauge.counting(open()?)))), ..layer }
        };
        layers.into_iter().map(count).collect()
    }
}

/// Tells of what the image holds and the disk does not.
fn warn(unpacked: &Unpacked) {
    for (path, reason) in &unpacked.not_on_disk {
        match reason {
            // The machine's own is there instead, or it is the executor's; the image keeps its
            // file.
            NotOnDisk::OnMount | NotOnDisk::Protected | NotOnDisk::TargetNotOnDisk => {
                tracing::debug!(%path, ?reason, "in the base image, but not on disk here");
            }
            NotOnDisk::DeviceNotPermitted => {
                tracing::warn!(%path, "a device of the base image cannot be made here");
            }
        }
    }
    for (name, dropped) in &unpacked.dropped_xattrs {
        tracing::warn!(name, ?dropped, "an extended attribute cannot be set here");
    }
}
