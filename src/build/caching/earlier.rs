//! Layers that the last build made of a COPY, for one that goes on from them.

use super::Caching;
use crate::build::bases::{Bases, Origin};
use crate::build::headers::cached_headers;
use crate::build::options::CopyDeltas;
use crate::cache::{Entry, LayerCache, StoredLayer};
use crate::execute::ContentDigests;
use crate::image::{digest_of, size_of};
use crate::plan::{CopySource, Footing, Step, StepKind};
use crate::unpack::{HeaderIndex, LayersAlone};

/// Most layers that one is put on top of.
const LAYER_COUNT: usize = 8;

/// As large a part of the first layer, in bytes, the others together may be: one in so many.
const SHARE: u64 = 4;

/// What the last build made of a step.
pub(in crate::build) struct Earlier {
    /// Its layers, lowest first.
    pub(in crate::build) layers: Vec<StoredLayer>,
    /// What these say.
    pub(in crate::build) said: LayersAlone,
}

impl Caching<'_> {
    /// Tells whether layers go on from earlier ones.
    pub(super) fn writes_deltas(&self) -> bool {
        self.options.copy_deltas == CopyDeltas::Written && !self.has_given_up.get()
    }

    /// Returns what is known of the content of a context's files, where somebody asks where it went.
    pub(in crate::build) fn content_digests(&self) -> Option<&ContentDigests> {
        self.writes_deltas().then(|| self.keys.digests())
    }

    /// Notes where the layers of the last build are: only those are mentioned in images that are used.
    pub(super) fn place_earlier(&self, bases: &Bases<'_>) {
        let last = self.last.borrow();
        let (Some((0, record)), true) = (&*last, self.writes_deltas()) else { return };
        let Some(cache) = self.caches.first() else { return };
        let Some(origin) = self.origin(0, cache) else { return };
        for stored in record.entries.iter().flat_map(Entry::layers) {
            self.place(bases, cache, &origin, &stored);
        }
    }

    /// Notes where a layer is, and what says what its headers say.
    pub(super) fn place(
        &self,
        bases: &Bases<'_>,
        cache: &std::sync::Arc<LayerCache>,
        origin: &Origin,
        stored: &StoredLayer,
    ) {
        let Ok(digest) = digest_of(&stored.layer.descriptor) else { return };
        bases.add_cached(digest, origin.clone());
        if let Some(headers) = stored.headers.clone() {
            bases.headers.add(digest, cache, headers);
        }
    }

    /// Returns what the last build made of the same COPY of other files, upon the same; `None` where
    /// there is nothing to go on from.
    pub(in crate::build) fn earlier(
        &self,
        position: usize,
        number: usize,
        step: &Step,
    ) -> Option<Earlier> {
        let StepKind::Copy(copy) = &step.kind else { return None };
        let is_of_context = matches!(copy.from, CopySource::Context | CopySource::NamedContext(_));
        if !self.writes_deltas() || !is_of_context || copy.footing == Footing::Nothing {
            return None;
        }
        if self.has_seen_changes() {
            return None;
        }
        let ground = self.keys.ground(position, number)?.hex();
        let before = self.last_parts()?;
        let mut steps = before.stages.iter().flat_map(|stage| &stage.steps).flatten();
        let before = steps.find(|step| step.ground.as_ref() == Some(&ground))?;
        let last = self.last.borrow();
        let (0, record) = last.as_ref()? else { return None };
        let entry = record.entries.iter().find(|entry| entry.key.hex() == before.key)?;
        // Files that were as they are below it are in none of its layers.
        if self.lineage.borrow().of(position) != Some(&entry.parent) {
            return None;
        }
        let layers = entry.layers();
        if !is_worth_it(&layers) {
            return None;
        }
        let said: Option<Vec<HeaderIndex>> =
            layers.iter().map(|stored| self.headers_of(stored)).collect();
        let said = LayersAlone::of(&said?)?;
        Some(Earlier { layers, said })
    }

    fn headers_of(&self, stored: &StoredLayer) -> Option<HeaderIndex> {
        let (cache, blob) = (self.caches.first()?, stored.headers.as_ref()?);
        self.waited(cached_headers(self.session.kept.headers(), &stored.layer, cache, blob))?
    }
}

/// Tells whether there are few enough layers, and small ones, to put one on top of them.
fn is_worth_it(layers: &[StoredLayer]) -> bool {
    let sizes: Option<Vec<u64>> =
        layers.iter().map(|stored| size_of(&stored.layer.descriptor).ok()).collect();
    match sizes.as_deref() {
        Some([first, others @ ..]) => {
            let others_bytes = others.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
            layers.len() <= LAYER_COUNT && others_bytes <= first / SHARE
        }
        Some([]) | None => false,
    }
}
