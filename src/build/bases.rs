//! Images that a build starts from or copies from: their configs first, their blobs when needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use snapshot::Digest;

use super::error::BuildError;
use super::headers::CachedHeaders;
use super::kept::image_of;
use super::options::{Destination, Push};
use super::pulls::{Pull, PullTarget, Pulls};
use super::session::Session;
use super::timed;
use crate::image::{
    Descriptor, Image, ImageConfig, Layer, Manifest, Platform, Reference, digest_of,
    is_foreign_layer, size_of,
};
use crate::plan::{ImageName, ImageRequest};
use crate::report::event::{Event, Gauge, LongWork, Phase};
use crate::report::fault::{Class, Fault};
use crate::store::{Blob, Layout, LayoutError, StoreError, passing_blob};
use crate::unpack::{LayerInput, OpenLayer, UnpackError};

/// Images that are resolved at once, and layers that are fetched at once where nobody reads them as
/// they come.
const PARALLEL_PULLS: usize = 4;

/// Where an image's blobs are.
#[derive(Clone)]
pub(super) enum Origin {
    /// In a registry's repository.
    Registry(Reference),
    /// In an OCI layout on disk.
    Layout(Layout),
}

/// What becomes of layers that are downloaded to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// All are kept.
    Stored,
    /// Those are kept that the image's way out will ask for.
    WhereWanted,
}

/// A resolved image.
struct Resolved {
    image: Image,
    origin: Origin,
}

/// All images of a build that are not built by it.
pub(super) struct Bases<'a> {
    session: &'a Session<'a>,
    images: RefCell<BTreeMap<ImageRequest, Resolved>>,
    /// Layers of the layer cache, and where they are.
    cached: RefCell<BTreeMap<Digest, Origin>>,
    /// What the layer cache says of the headers of its layers.
    pub(super) headers: CachedHeaders,
}

impl<'a> Bases<'a> {
    pub(super) fn new(session: &'a Session<'a>) -> Self {
        let (images, cached, headers) =
            (RefCell::default(), RefCell::default(), CachedHeaders::default());
        Self { session, images, cached, headers }
    }

    /// Resolves images to their configs, all at once.
    pub(super) fn resolve(
        &self,
        requests: &[ImageRequest],
    ) -> Result<BTreeMap<ImageRequest, ImageConfig>, BuildError> {
        timed(self.session.events, Phase::Resolve, || self.resolve_untimed(requests))
    }

    fn resolve_untimed(
        &self,
        requests: &[ImageRequest],
    ) -> Result<BTreeMap<ImageRequest, ImageConfig>, BuildError> {
        let work = requests.iter().map(|request| async move {
            self.session
                .events
                .send(Event::ResolvingImage { reference: name_of(request).to_owned() });
            let resolved = match &request.image {
                ImageName::Reference(text) => {
                    self.resolve_in_registry(text, &request.platform).await?
                }
                ImageName::Layout(name) => self.find_in_layout(name, &request.platform)?,
            };
            Ok::<_, BuildError>((request.clone(), resolved))
        });
        let resolved: Vec<_> = self
            .session
            .runtime
            .block_on(stream::iter(work).buffered(PARALLEL_PULLS).try_collect())?;
        let configs = resolved
            .iter()
            .map(|(request, resolved)| (request.clone(), resolved.image.config().clone()))
            .collect();
        self.images.borrow_mut().extend(resolved);
        Ok(configs)
    }

    async fn resolve_in_registry(
        &self,
        text: &str,
        platform: &Platform,
    ) -> Result<Resolved, BuildError> {
        let reference: Reference = text
            .parse()
            .map_err(|source| BuildError::Reference { text: text.to_owned(), source })?;
        if let Some(kept) = self.session.kept.find(self.session.events, &reference, platform) {
            match image_of(text, &kept.manifest, kept.config, &kept.media_type) {
                Ok(image) => {
                    let origin = Origin::Registry(reference);
                    return Ok(Resolved { image: self.in_format(image), origin });
                }
                Err(error) => tracing::debug!(text, %error, "what is kept of it is not used"),
            }
        }
        let found = self.session.registry.resolve(&reference, platform).await?;
        self.session.kept.resolved(&found, platform);
        let image = image_of(text, &found.manifest, found.config, &found.media_type)?;
        Ok(Resolved { image: self.in_format(image), origin: Origin::Registry(reference) })
    }

    fn find_in_layout(&self, name: &str, platform: &Platform) -> Result<Resolved, BuildError> {
        let base = |source| BuildError::BaseLayout { name: name.to_owned(), source };
        let (path, tag) = self.session.named_layout(name)?;
        let layout = Layout::open(path).map_err(base)?;
        let accepts = |value: &serde_json::Value| {
            let field = |name: &str| value.get(name).and_then(serde_json::Value::as_str);
            let offered = Platform::new(
                field("os").unwrap_or_default(),
                field("architecture").unwrap_or_default(),
                field("variant"),
            );
            platform.accepts(&offered)
        };
        let found = layout.manifest(tag, &platform.to_string(), &accepts).map_err(base)?;
        let invalid = |what: &str, error: &dyn std::fmt::Display| {
            base(LayoutError::Document {
                path: path.to_path_buf(),
                why: format!("{what}: {error}"),
            })
        };
        let manifest: Manifest =
            serde_json::from_slice(&found.bytes).map_err(|error| invalid("manifest", &error))?;
        let config = digest_of(&manifest.config).map_err(|error| invalid("config", &error))?;
        let config = layout.document(&config).map_err(base)?;
        let config: ImageConfig =
            serde_json::from_slice(&config).map_err(|error| invalid("config", &error))?;
        let image = image_of(name, &manifest, config, &found.media_type)?;
        Ok(Resolved { image: self.in_format(image), origin: Origin::Layout(layout) })
    }

    /// Returns the image in the media types that the build's own layers need.
    fn in_format(&self, image: Image) -> Image {
        match self.session.forced_format() {
            Some(format) => image.with_format(format),
            None => image,
        }
    }

    /// Returns the image of a request that was resolved.
    pub(super) fn image(&self, request: &ImageRequest) -> Image {
        let images = self.images.borrow();
        images.get(request).expect("the plan asks for resolved images only").image.clone()
    }

    /// Notes where a layer of the layer cache is.
    pub(super) fn add_cached(&self, digest: Digest, origin: Origin) {
        if self.origin_of(&digest).is_none() {
            self.cached.borrow_mut().insert(digest, origin);
        }
    }

    /// Tells whether a layer comes from the layer cache.
    pub(super) fn is_cached(&self, digest: &Digest) -> bool {
        self.cached.borrow().contains_key(digest)
    }

    /// Returns an error that is about a layer of the layer cache as one without which the build can
    /// do.
    pub(super) fn blame(&self, error: BuildError) -> BuildError {
        match &error {
            BuildError::Unpack(UnpackError::Layer { digest, .. })
                if self.is_doubtful(digest) && error.class() != Class::Disk =>
            {
                BuildError::CachedLayer(*digest, Box::new(error))
            }
            _ => error,
        }
    }

    /// Tells whether a layer comes from a place that others write to.
    fn is_doubtful(&self, digest: &Digest) -> bool {
        self.is_cached(digest) || self.session.kept.is_used(digest)
    }

    /// Tells whether an error is about a layer of the shared directory, which is not used again.
    pub(super) fn distrust(&self, error: &BuildError) -> bool {
        error.cached_layer().is_some_and(|digest| self.session.kept.distrust(digest))
    }

    /// Returns the layers that were downloaded, of bases and of the layer cache.
    pub(super) fn pulled(&self) -> Vec<Blob> {
        let images = self.images.borrow();
        let layers = images.values().flat_map(|resolved| resolved.image.layers());
        let digests = layers.filter_map(|layer| digest_of(&layer.descriptor).ok());
        let cached = self.cached.borrow();
        // What cannot be read is not kept.
        let blobs =
            digests.chain(cached.keys().copied()).map(|digest| self.session.store.blob(&digest));
        blobs.filter_map(|blob| blob.ok().flatten()).collect()
    }

    /// Returns where the layer of a base or of the layer cache comes from; `None` for layers that
    /// this build made.
    pub(super) fn origin_of(&self, digest: &Digest) -> Option<Origin> {
        let images = self.images.borrow();
        let holds = |resolved: &&Resolved| {
            resolved
                .image
                .layers()
                .iter()
                .any(|layer| digest_of(&layer.descriptor).is_ok_and(|its| its == *digest))
        };
        let origin = images.values().find(holds).map(|resolved| resolved.origin.clone());
        origin.or_else(|| self.cached.borrow().get(digest).cloned())
    }

    /// Returns layers of an image to be read, lowest first. Those that are not on disk are on their
    /// way, and what is made of them counts only when [`Pulls::finish`] has said so.
    pub(super) fn layers<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l Layer>,
        keeping: Keeping,
    ) -> Result<(Vec<LayerInput>, Pulls<'a>), BuildError> {
        let mut inputs = Vec::new();
        let mut pulls: Vec<Pull> = Vec::new();
        for layer in layers {
            let descriptor = &layer.descriptor;
            let digest = digest_of(descriptor)?;
            let open: OpenLayer = match self.place_of(descriptor)? {
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
            };
            let (size_bytes, diff_id) = (size_of(descriptor)?, layer.diff_id);
            inputs.push(LayerInput { digest, size_bytes, diff_id, open });
        }
        let Session { runtime, events, .. } = self.session;
        Ok((inputs, Pulls::start(runtime.handle(), *events, pulls)))
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
    pub(super) fn blobs<'l>(
        &self,
        layers: impl IntoIterator<Item = &'l Descriptor>,
    ) -> Result<Vec<Blob>, BuildError> {
        let work = layers.into_iter().map(|layer| self.blob(layer));
        self.session.runtime.block_on(stream::iter(work).buffered(PARALLEL_PULLS).try_collect())
    }

    pub(super) async fn blob(&self, layer: &Descriptor) -> Result<Blob, BuildError> {
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
        let digest = digest_of(layer)?;
        if let Some(blob) = self.session.store.blob(&digest)? {
            return Ok(Place::Disk(blob));
        }
        let size_bytes = size_of(layer)?;
        if let Some(blob) = self.session.kept.blob(&self.session.store, &digest, size_bytes) {
            return Ok(Place::Disk(blob));
        }
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

/// Where a layer can be read.
enum Place {
    Disk(Blob),
    Registry(Reference),
}

/// Returns how a request's image is called in messages.
pub(super) fn name_of(request: &ImageRequest) -> &str {
    match &request.image {
        ImageName::Reference(name) | ImageName::Layout(name) => name,
    }
}
