//! What the layers of a base say, for stages whose files are not on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use snapshot::Digest;

use super::bases::{Bases, Keeping, Origin};
use super::error::BuildError;
use super::session::Session;
use crate::cache::LayerCache;
use crate::image::{Descriptor, Image, Layer, digest_of, size_of};
use crate::registry::RegistryError;
use crate::report::event::{Event, Phase};
use crate::store::{Documents, KeptStore};
use crate::unpack::{
    ContentsTable, HeaderIndex, ImageHeaders, TableError, TablePlace, UnpackOptions, read_headers,
};

/// Least size of a layer whose table of contents is asked for, in bytes: a smaller one is there as
/// soon.
const WORTH_A_TABLE: i64 = 256 << 10;

/// Tables that are fetched at once.
const PARALLEL_TABLES: usize = 4;

/// Why a table of contents is not used; the layer is read then.
#[derive(Debug, thiserror::Error)]
enum TableFailure {
    #[error(transparent)]
    Fetch(#[from] RegistryError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Layer(#[from] BuildError),
}

/// What the layer cache says of the headers of its layers.
#[derive(Default)]
pub(super) struct CachedHeaders {
    blobs: RefCell<BTreeMap<Digest, (Arc<LayerCache>, Descriptor)>>,
}

impl CachedHeaders {
    /// Notes which blob of which cache it is for a layer.
    pub(super) fn add(&self, layer: Digest, cache: &Arc<LayerCache>, blob: Descriptor) {
        self.blobs.borrow_mut().insert(layer, (Arc::clone(cache), blob));
    }

    fn get(&self, layer: &Digest) -> Option<(Arc<LayerCache>, Descriptor)> {
        self.blobs.borrow().get(layer).cloned()
    }
}

/// Returns what a cache says of the headers of a layer in its blob; `None` where it cannot be asked, or
/// says it of another layer.
///
/// The blob is kept for later builds by its own digest, not by the layer's: whoever can write to a
/// cache does not decide what builds without it believe of a layer.
pub(super) async fn cached_headers(
    kept: Documents,
    layer: &Layer,
    cache: &LayerCache,
    blob: &Descriptor,
) -> Option<HeaderIndex> {
    let (digest, name) = (digest_of(&layer.descriptor).ok()?, digest_of(blob).ok()?);
    // What is in a directory is as near there.
    let kept = cache.repository().map(|_| kept);
    let known = kept.as_ref().and_then(|kept| kept.get(&name));
    let stored = match known.filter(|stored| Digest::of(stored) == name) {
        Some(stored) => stored,
        None => {
            let fetched = cache.small_blob(blob).await;
            let fetched = fetched.inspect_err(|error| {
                tracing::debug!(%digest, %error, "a cached layer's headers are not used");
            });
            let fetched = fetched.ok()?;
            kept.iter().for_each(|kept| kept.put(&name, &fetched));
            fetched
        }
    };
    let index = HeaderIndex::from_stored(&stored)?;
    (index.digest == digest && index.diff_id == layer.diff_id).then_some(index)
}

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
        let is_among = |layer: &&Layer, found: &[HeaderIndex]| {
            found.iter().any(|index| digest_of(&layer.descriptor).ok() == Some(index.digest))
        };
        let mut tables = self.read_stored(&missing);
        missing.retain(|layer| !is_among(layer, &tables));
        tables.extend(self.read_tables(&missing));
        missing.retain(|layer| !is_among(layer, &tables));
        let layer_count = missing.len() as u64;
        let read = self.read(missing)?;
        read.iter().for_each(|index| self.keep(index));
        let mut known = self.known.borrow_mut();
        known.extend(tables.into_iter().chain(read).map(|index| (index.digest, Arc::new(index))));
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
        let shared = || self.session.kept.headers().get(digest);
        let own = || self.kept.as_ref()?.get(digest);
        // Where the image's config says something else, who reads the layer will say so.
        let fits = |index: &HeaderIndex| index.digest == *digest && index.diff_id == layer.diff_id;
        let read = |stored: Vec<u8>| HeaderIndex::from_stored(&stored).filter(fits);
        shared().and_then(read).or_else(|| own().and_then(read))
    }

    /// Keeps what a base's layer says; those of this build will hardly be asked for again.
    fn keep(&self, index: &HeaderIndex) {
        let shared = self.session.kept.store();
        if self.kept.is_none() && !shared.is_writable() {
            return;
        }
        if self.bases.origin_of(&index.digest).is_none() {
            return;
        }
        match index.to_stored() {
            Ok(stored) if shared.is_writable() => shared.headers().put(&index.digest, &stored),
            Ok(stored) => self.kept.iter().for_each(|kept| kept.put(&index.digest, &stored)),
            Err(error) => tracing::debug!(%error, "the headers of a layer are not kept"),
        }
    }

    /// Returns what the layer cache says of the headers of its layers.
    fn read_stored(&self, layers: &[&Layer]) -> Vec<HeaderIndex> {
        let with_headers = layers.iter().filter_map(|layer| {
            let digest = digest_of(&layer.descriptor).ok()?;
            Some((layer, self.bases.headers.get(&digest)?))
        });
        let work = with_headers.map(|(layer, (cache, blob))| async move {
            cached_headers(self.session.kept.headers(), layer, &cache, &blob).await
        });
        let found = stream::iter(work).buffered(PARALLEL_TABLES).collect::<Vec<_>>();
        self.session.runtime.block_on(found).into_iter().flatten().collect()
    }

    /// Returns what layers say that have a table of contents, where it can be used.
    fn read_tables(&self, layers: &[&Layer]) -> Vec<HeaderIndex> {
        let with_table = layers.iter().filter_map(|layer| {
            let place = TablePlace::of(&layer.descriptor)?;
            (layer.descriptor.size >= WORTH_A_TABLE).then_some((*layer, place))
        });
        let work = with_table.map(|(layer, place)| async move {
            match self.read_table(layer, &place).await {
                Ok(index) => index,
                Err(error) => {
                    let digest = &layer.descriptor.digest;
                    tracing::debug!(digest, %error, "a layer's table of contents is not used");
                    None
                }
            }
        });
        let found = stream::iter(work).buffered(PARALLEL_TABLES).collect::<Vec<_>>();
        self.session.runtime.block_on(found).into_iter().flatten().collect()
    }

    async fn read_table(
        &self,
        layer: &Layer,
        place: &TablePlace,
    ) -> Result<Option<HeaderIndex>, TableFailure> {
        let digest = digest_of(&layer.descriptor).map_err(BuildError::from)?;
        // What is on disk is read as quickly.
        if self.session.kept.has(&digest, size_of(&layer.descriptor).map_err(BuildError::from)?) {
            return Ok(None);
        }
        let Some(Origin::Registry(reference)) = self.bases.origin_of(&digest) else {
            return Ok(None);
        };
        let registry = &self.session.registry;
        let part = async |span| registry.pull_part(&reference, &layer.descriptor, span).await;
        let table = ContentsTable::read(place, &part(place.span.clone()).await?)?;
        let mut contents = Vec::new();
        for wanted in table.wanted() {
            contents.push(part(wanted.span.clone()).await?);
        }
        Ok(Some(table.into_index(digest, layer.diff_id, &contents)?))
    }

    /// Reads layers to their ends.
    fn read(&self, layers: Vec<&Layer>) -> Result<Vec<HeaderIndex>, BuildError> {
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let (inputs, pulls) = self.bases.layers(layers, self.keeping)?;
        match read_headers(inputs, &UnpackOptions::default()) {
            Ok(read) => {
                pulls.finish(self.session.events)?;
                Ok(read)
            }
            Err(error) => Err(self.bases.blame(pulls.blame(error))),
        }
    }
}
