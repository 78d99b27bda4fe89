//! What the layers of a base say, for stages whose files are not on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use snapshot::Digest;

use super::bases::{Bases, Keeping};
use super::error::BuildError;
use super::session::Session;
use crate::image::{Image, Layer, digest_of};
use crate::report::event::{Event, Phase};
use crate::store::KeptStore;
use crate::unpack::{HeaderIndex, ImageHeaders, UnpackOptions, read_headers};

/// The headers of all layers that a build has asked for.
pub(super) struct Headers<'a> {
    session: &'a Session<'a>,
    bases: &'a Bases<'a>,
    known: RefCell<BTreeMap<Digest, Arc<HeaderIndex>>>,
    kept: Option<KeptStore>,
    /// Of the layers themselves.
    keeping: Keeping,
}

impl<'a> Headers<'a> {
    pub(super) fn new(session: &'a Session<'a>, bases: &'a Bases<'a>, keeping: Keeping) -> Self {
        let kept = session.options.execution.header_indexes.clone().map(KeptStore::new);
        Self { session, bases, known: RefCell::default(), kept, keeping }
    }

    /// Returns what an image's layers say together, reading those that are not known yet; `None`
    /// where they cannot be put together: who unpacks them will say why.
    pub(super) fn of(&self, image: &Image) -> Result<Option<Arc<ImageHeaders>>, BuildError> {
        let start = Instant::now();
        let mut digests = Vec::with_capacity(image.layers().len());
        let mut missing: Vec<&Layer> = Vec::new();
        for layer in image.layers() {
            let digest = digest_of(&layer.descriptor)?;
            let is_known = self.known.borrow().contains_key(&digest);
            if !is_known && !digests.contains(&digest) {
                match self.kept(layer, &digest) {
                    Some(index) => {
                        self.known.borrow_mut().insert(digest, Arc::new(index));
                    }
                    None => missing.push(layer),
                }
            }
            digests.push(digest);
        }
        let layer_count = missing.len() as u64;
        let read = self.read(missing)?;
        read.iter().for_each(|index| self.keep(index));
        let mut known = self.known.borrow_mut();
        known.extend(read.into_iter().map(|index| (index.digest, Arc::new(index))));
        let layers: Vec<&HeaderIndex> =
            digests.iter().filter_map(|digest| known.get(digest)).map(Arc::as_ref).collect();
        let headers = match ImageHeaders::of(layers) {
            Ok(headers) => headers,
            Err(error) => {
                tracing::debug!(%error, "the base's headers cannot be put together");
                return Ok(None);
            }
        };
        let elapsed = start.elapsed();
        let known_count = digests.len() as u64 - layer_count;
        let entry_count = headers.iter().count() as u64;
        let events = self.session.events;
        events.send(Event::PhaseTimed { phase: Phase::Headers, elapsed });
        events.send(Event::HeadersRead { layer_count, known_count, entry_count, elapsed });
        Ok(Some(Arc::new(headers)))
    }

    /// Returns what an earlier build has kept of a layer, if that is the one that the image means.
    fn kept(&self, layer: &Layer, digest: &Digest) -> Option<HeaderIndex> {
        let stored = self.kept.as_ref()?.get(digest)?;
        let index = HeaderIndex::from_stored(&stored)?;
        // Where the image's config says something else, who reads the layer will say so.
        (index.digest == *digest && index.diff_id == layer.diff_id).then_some(index)
    }

    /// Keeps what a base's layer says; those of this build will hardly be asked for again.
    fn keep(&self, index: &HeaderIndex) {
        let Some(kept) = &self.kept else { return };
        if self.bases.origin_of(&index.digest).is_none() {
            return;
        }
        match index.to_stored() {
            Ok(stored) => kept.put(&index.digest, &stored),
            Err(error) => tracing::debug!(%error, "the headers of a layer are not kept"),
        }
    }

    /// Reads layers to their ends.
    fn read(&self, layers: Vec<&Layer>) -> Result<Vec<HeaderIndex>, BuildError> {
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let (inputs, pulls) = self.bases.layers(layers, self.keeping)?;
        match read_headers(inputs, &UnpackOptions::default()) {
            Ok(read) => {
                pulls.finish()?;
                Ok(read)
            }
            Err(error) => Err(self.bases.blame(pulls.blame(error))),
        }
    }
}
