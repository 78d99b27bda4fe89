//! Where layers of bases and of the layer cache are: on disk, on their way, or in a registry.

use std::io;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use snapshot::Digest;

use super::{Bases, Keeping, Origin, PARALLEL_PULLS};
use crate::build::error::BuildError;
use crate::build::options::{Destination, Push};
use crate::build::pulls::{Pull, PullTarget, Pulls};
use crate::image::{Descriptor, Layer, Reference, digest_of, is_foreign_layer, size_of};
use crate::report::event::{Event, Gauge, LongWork};
use crate::report::fault::{Class, Fault};
use crate::store::{Blob, StoreError, passing_blob};
use crate::unpack::{LayerInput, OpenLayer};

/// Where a layer can be read.
enum Place {
    Disk(Blob),
    Registry(Reference),
}

impl<'a> Bases<'a> {
    /// Begins to fetch layers that are not here.
    pub(in crate::build) fn begin(
        &self,
        reference: &Reference,
        layers: &[Descriptor],
    ) -> Result<(), BuildError> {
        let mut pulls: Vec<Pull> = Vec::new();
        for layer in layers {
            // What is wrong with one is said when it is needed.
            let Ok(digest) = digest_of(layer) else { continue };
            let is_begun = pulls.iter().any(|pull| pull.digest == digest)
                || self.begun.borrow().iter().any(|begun| begun.arriving(&digest).is_some());
            if !is_begun && self.blob_here(layer)?.is_none() && !is_foreign_layer(&layer.media_type)
            {
                let target = PullTarget::Stored(self.session.store.expect_blob());
                pulls.push(self.pull(reference.clone(), layer, digest, target));
            }
        }
        if !pulls.is_empty() {
            let runtime = self.session.runtime.handle();
            self.begun.borrow_mut().push(Pulls::start(runtime, pulls));
        }
        Ok(())
    }

    /// Takes over what was begun together with any of these layers.
    fn take_begun(&self, digests: &[Digest]) -> Vec<Pulls> {
        self.begun.borrow_mut().extract_if(.., |begun| begun.have_any_of(digests)).collect()
    }

    /// Returns layers of an image to be read, lowest first. Those that are not on disk are on their
    /// way, and what is made of them counts only when [`Pulls::finish`] has said so.
    pub(in crate::build) fn layers<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l Layer>,
        keeping: Keeping,
    ) -> Result<(Vec<LayerInput>, Pulls), BuildError> {
        let layers: Vec<&Layer> = layers.into_iter().collect();
        let digests: Vec<_> =
            layers.iter().map(|layer| digest_of(&layer.descriptor)).collect::<Result<_, _>>()?;
        let begun = self.take_begun(&digests);
        let mut inputs = Vec::new();
        let mut pulls: Vec<Pull> = Vec::new();
        for (layer, digest) in layers.into_iter().zip(digests) {
            let descriptor = &layer.descriptor;
            let arriving = begun.iter().find_map(|begun| begun.arriving(&digest));
            let open: OpenLayer = if let Some(arriving) = arriving {
                Box::new(move || Ok(Box::new(arriving.open()?)))
            } else {
                match self.place_of(descriptor)? {
                    Place::Disk(blob) => {
                        Box::new(move || Ok(Box::new(blob.open().map_err(io::Error::other)?)))
                    }
                    Place::Registry(reference)
                        if keeping == Keeping::WhereWanted && !self.leaves(&reference) =>
                    {
                        let (writer, reader) = passing_blob();
                        let target = PullTarget::Passing(writer);
                        pulls.push(self.pull(reference, descriptor, digest, target));
                        Box::new(move || Ok(Box::new(reader)))
                    }
                    Place::Registry(reference) => {
                        // An image may hold a layer twice.
                        let known = pulls.iter().find(|pull| pull.digest == digest);
                        let arriving = known.and_then(Pull::arriving).unwrap_or_else(|| {
                            let blob = self.session.store.expect_blob();
                            let arriving = blob.arriving();
                            let target = PullTarget::Stored(blob);
                            pulls.push(self.pull(reference, descriptor, digest, target));
                            arriving
                        });
                        Box::new(move || Ok(Box::new(arriving.open()?)))
                    }
                }
            };
            let (size_bytes, diff_id) = (size_of(descriptor)?, layer.diff_id);
            inputs.push(LayerInput { digest, size_bytes, diff_id, open });
        }
        let runtime = self.session.runtime.handle();
        let pulls = Pulls::start(runtime, pulls);
        Ok((inputs, begun.into_iter().fold(pulls, Pulls::with)))
    }

    /// Returns whether the layers of an image go elsewhere than to the registry that has them: there
    /// they are mounted.
    fn leaves(&self, reference: &Reference) -> bool {
        let output = &self.session.options.output;
        let is_its_own = |to: &Destination| to.reference.registry() == reference.registry();
        output.tar_path.is_some()
            || output.oci_layout_path.is_some()
            || output.push == Push::Yes && !output.destinations.iter().all(is_its_own)
    }

    /// Returns the blobs of layers, downloading those that are not on disk.
    pub(in crate::build) fn blobs<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l Descriptor>,
    ) -> Result<Vec<Blob>, BuildError> {
        let work = layers.into_iter().map(|layer| self.blob(layer));
        self.session.runtime.block_on(stream::iter(work).buffered(PARALLEL_PULLS).try_collect())
    }

    pub(in crate::build) async fn blob(&self, layer: &Descriptor) -> Result<Blob, BuildError> {
        let digest = digest_of(layer)?;
        loop {
            match self.place_of(layer)? {
                Place::Disk(blob) => match self.checked(blob) {
                    Err(error) if self.distrust(&error) => {}
                    checked => return checked,
                },
                Place::Registry(reference) => {
                    let target = PullTarget::Stored(self.session.store.expect_blob());
                    let pulled = self.pull(reference, layer, digest, target).run().await?;
                    self.session.events.send(pulled.event);
                    return Ok(self.session.store.stored(&digest)?);
                }
            }
        }
    }

    /// Checks the bytes of a layer that is in a directory of the layer cache, which others write to.
    fn checked(&self, blob: Blob) -> Result<Blob, BuildError> {
        let digest = blob.digest;
        if !self.is_doubtful(&digest) || self.session.store.blob(&digest)?.is_some() {
            return Ok(blob);
        }
        let copied = blob.open().and_then(|mut file| {
            let mut writer = self.session.store.spool()?;
            io::copy(&mut file, &mut writer).map_err(|source| StoreError::Io {
                action: "read",
                path: blob.path().to_path_buf(),
                source,
            })?;
            writer.commit(Some((&digest, blob.size_bytes)))
        });
        copied.map_err(|error| match error.class() {
            Class::Disk => error.into(),
            _ => BuildError::CachedLayer(digest, Box::new(error.into())),
        })
    }

    /// Finds out where a layer is, and whether it can be had.
    fn place_of(&self, layer: &Descriptor) -> Result<Place, BuildError> {
        if let Some(blob) = self.blob_here(layer)? {
            return Ok(Place::Disk(blob));
        }
        let digest = digest_of(layer)?;
        if is_foreign_layer(&layer.media_type) {
            return Err(BuildError::ForeignLayer { digest: layer.digest.clone() });
        }
        match self.origin_of(&digest) {
            Some(Origin::Layout(layout)) => {
                layout.blob(&digest).map(Place::Disk).map_err(|source| {
                    let error = BuildError::BaseLayout { name: layer.digest.clone(), source };
                    match self.is_cached(&digest) {
                        true => BuildError::CachedLayer(digest, Box::new(error)),
                        false => error,
                    }
                })
            }
            Some(Origin::Registry(reference)) => Ok(Place::Registry(reference)),
            None => Ok(Place::Disk(self.session.store.stored(&digest)?)),
        }
    }

    /// Returns the blob of a layer that is on disk.
    fn blob_here(&self, layer: &Descriptor) -> Result<Option<Blob>, BuildError> {
        let digest = digest_of(layer)?;
        if let Some(blob) = self.session.store.blob(&digest)? {
            return Ok(Some(blob));
        }
        Ok(self.session.kept.blob(&self.session.store, &digest, size_of(layer)?))
    }

    fn pull(
        &self,
        reference: Reference,
        layer: &Descriptor,
        digest: Digest,
        target: PullTarget,
    ) -> Pull {
        let (registry, layer) = (self.session.registry.clone(), layer.clone());
        let size_bytes = u64::try_from(layer.size).ok();
        let gauge = Gauge::new(LongWork::Download, &layer.digest, size_bytes);
        self.session.events.send(Event::WorkStarted(gauge.clone()));
        let is_cached = self.is_cached(&digest);
        Pull { registry, reference, layer, digest, is_cached, target, gauge }
    }
}
