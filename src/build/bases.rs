//! Images that a build starts from or copies from: their configs first, their blobs when needed.

mod layers;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use snapshot::Digest;

use super::error::BuildError;
use super::headers::CachedHeaders;
use super::kept::image_of;
use super::pulls::Pulls;
use super::session::Session;
use super::timed;
use crate::image::{Image, ImageConfig, Manifest, Platform, Reference, digest_of};
use crate::plan::{ImageName, ImageRequest};
use crate::report::event::{Event, Phase};
use crate::report::fault::{Class, Fault};
use crate::store::{Blob, Layout, LayoutError};
use crate::unpack::UnpackError;

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

/// When the layers of an image that is resolved are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layers {
    /// As soon as the manifest has named them.
    Wanted,
    /// When a step needs files.
    WhereNeeded,
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
    /// Layers that were asked for as soon as a manifest named them.
    begun: RefCell<Vec<Pulls>>,
}

impl<'a> Bases<'a> {
    pub(super) fn new(session: &'a Session<'a>) -> Self {
        let (images, cached, headers) =
            (RefCell::default(), RefCell::default(), CachedHeaders::default());
        Self { session, images, cached, headers, begun: RefCell::default() }
    }

    /// Resolves images to their configs, all at once, and begins to fetch the layers of those that are
    /// `wanted` whole.
    pub(super) fn resolve(
        &self,
        requests: &[ImageRequest],
        wanted: &BTreeSet<ImageRequest>,
    ) -> Result<BTreeMap<ImageRequest, ImageConfig>, BuildError> {
        timed(self.session.events, Phase::Resolve, || self.resolve_untimed(requests, wanted))
    }

    fn resolve_untimed(
        &self,
        requests: &[ImageRequest],
        wanted: &BTreeSet<ImageRequest>,
    ) -> Result<BTreeMap<ImageRequest, ImageConfig>, BuildError> {
        let work = requests.iter().map(|request| async move {
            self.session
                .events
                .send(Event::ResolvingImage { reference: name_of(request).to_owned() });
            let resolved = match &request.image {
                ImageName::Reference(text) => {
                    let layers = match wanted.contains(request) {
                        true => Layers::Wanted,
                        false => Layers::WhereNeeded,
                    };
                    self.resolve_in_registry(text, &request.platform, layers).await?
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
        layers: Layers,
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
        let registry = &self.session.registry;
        let found = match layers {
            Layers::WhereNeeded => registry.resolve(&reference, platform).await?,
            Layers::Wanted => {
                let mut knocking = registry.knock(&reference);
                let found = registry.find_manifest(&reference, platform).await?;
                let descriptors = found.manifest.layers.clone();
                // The config first: it is waited for.
                let begin = async {
                    if let Some(knocking) = &mut knocking {
                        knocking.wait().await;
                    }
                    self.begin(&reference, &descriptors)
                };
                let (found, begun) = join(registry.complete(found, platform), begin).await;
                begun?;
                found?
            }
        };
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
}

/// Returns how a request's image is called in messages.
pub(super) fn name_of(request: &ImageRequest) -> &str {
    match &request.image {
        ImageName::Reference(name) | ImageName::Layout(name) => name,
    }
}
