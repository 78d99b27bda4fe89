//! One image into the shared directory.

use std::collections::BTreeSet;
use std::io;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use snapshot::Digest;

use super::WarmError;
use crate::cache::{BaseImages, Sought};
use crate::image::{
    Descriptor, Image, ImageConfig, ImageFormat, Layer, Platform, Reference, digest_of,
    is_foreign_layer, size_of,
};
use crate::registry::{Registry, ResolvedImage};
use crate::report::event::{Event, EventSink, Gauge, LongWork};
use crate::report::fault::{Class, Fault, one_line};
use crate::store::{Blob, SharedStore};
use crate::unpack::{LayerInput, UnpackOptions, read_headers};

/// Layers of one image that are downloaded at once.
const PARALLEL_LAYERS: usize = 4;

/// Whether blobs that are there are downloaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    Yes,
    No,
}

/// A layer that is in the directory.
struct Brought<'l> {
    layer: &'l Layer,
    /// Readable until this is dropped, whoever prunes meanwhile; `None` of a layer that may not be fetched.
    blob: Option<Blob>,
    was_downloaded: bool,
}

/// Fetches images.
pub(super) struct Fetcher<'f> {
    pub(super) registry: Registry,
    pub(super) images: BaseImages,
    pub(super) events: &'f dyn EventSink,
    pub(super) force: Force,
}

impl Fetcher<'_> {
    /// Brings an image into the directory, and returns its config.
    pub(super) async fn fetch(
        &self,
        typed: &str,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ImageConfig, WarmError> {
        self.events.send(Event::ResolvingImage { reference: typed.to_owned() });
        let found = match self.registry.resolve(reference, platform).await {
            Ok(found) => found,
            Err(error) => return self.remembered(typed, reference, platform, error.into()),
        };
        let image = image_of(typed, &found)?;
        let mut downloaded = 0_usize;
        let layers = distinct(image.layers())?;
        let work = layers.iter().map(|layer| self.bring(reference, layer));
        let mut work = stream::iter(work).buffer_unordered(PARALLEL_LAYERS);
        let mut brought = Vec::with_capacity(layers.len());
        while let Some(layer) = work.try_next().await? {
            downloaded += usize::from(layer.was_downloaded);
            brought.push(layer);
        }
        drop(work);
        self.read_headers(brought).await?;
        // Last, so that it is found only when it is whole.
        self.images.keep(&found, platform, Timestamp::now());
        self.events.send(Event::ImageKept {
            reference: typed.to_owned(),
            digest: found.digest.to_string(),
            downloaded_count: downloaded as u64,
        });
        Ok(found.config)
    }

    /// Makes do with what is there of an image whose registry does not answer.
    fn remembered(
        &self,
        typed: &str,
        reference: &Reference,
        platform: &Platform,
        error: WarmError,
    ) -> Result<ImageConfig, WarmError> {
        if self.force == Force::Yes || error.class() == Class::User {
            return Err(error);
        }
        let Sought::Found(image) = self.images.find(reference, platform, Timestamp::now()) else {
            return Err(error);
        };
        let is_there = |layer: &Descriptor| match (digest_of(layer), size_of(layer)) {
            (Ok(digest), Ok(size)) => self.store().has_blob(&digest, size),
            _ => false,
        };
        if !image.manifest.layers.iter().all(is_there) {
            return Err(error);
        }
        let text = format!(
            "`{typed}` stays what it was, because its registry does not answer: {}",
            one_line(&error)
        );
        self.events.send(Event::Warning { text });
        Ok(image.config)
    }

    /// Brings a layer into the directory.
    async fn bring<'l>(
        &self,
        reference: &Reference,
        layer: &'l Layer,
    ) -> Result<Brought<'l>, WarmError> {
        let descriptor = &layer.descriptor;
        let (digest, size_bytes) = (digest_of(descriptor)?, size_of(descriptor)?);
        let brought = |blob, was_downloaded| Brought { layer, blob, was_downloaded };
        if is_foreign_layer(&descriptor.media_type) {
            return Ok(brought(None, false));
        }
        let there = || match self.force {
            Force::No => self.store().blob(&digest, size_bytes),
            Force::Yes => None,
        };
        if let Some(blob) = there() {
            return Ok(brought(Some(blob), false));
        }
        // Of two warmers one downloads it, the other waits and then has it.
        let store = self.store().clone();
        let lock = tokio::task::spawn_blocking(move || store.lock(&digest)).await;
        let _lock = lock.map_err(|_| WarmError::Thread)?;
        if let Some(blob) = there() {
            return Ok(brought(Some(blob), false));
        }
        let not_kept = || WarmError::NotKept { digest: digest.to_string() };
        // The registry's client checks the digest.
        let mut writer = self.store().write_checked_blob().ok_or_else(not_kept)?;
        let gauge = Gauge::new(LongWork::Download, &descriptor.digest, Some(size_bytes));
        self.events.send(Event::WorkStarted(gauge.clone()));
        let mut counted = gauge.counting(&mut writer);
        self.registry.pull_blob(reference, descriptor, &mut counted).await?;
        let named = move || writer.commit_held(&digest, size_bytes);
        let named = tokio::task::spawn_blocking(named).await.map_err(|_| WarmError::Thread)?;
        Ok(brought(Some(named.ok_or_else(not_kept)?), true))
    }

    /// Reads what layers say in their headers, where that is not known, and keeps it. Each layer is
    /// read to its end, so that an image whose layers are not what it says is found out.
    async fn read_headers(&self, layers: Vec<Brought<'_>>) -> Result<(), WarmError> {
        let store = self.store().clone();
        let blobs = layers
            .into_iter()
            .filter_map(|Brought { layer, blob, .. }| blob.map(|blob| (layer.diff_id, blob)));
        let blobs = blobs.collect();
        let read = tokio::task::spawn_blocking(move || read_missing(&store, blobs)).await;
        read.map_err(|_| WarmError::Thread)?
    }

    fn store(&self) -> &SharedStore {
        self.images.store()
    }
}

fn read_missing(store: &SharedStore, blobs: Vec<(Digest, Blob)>) -> Result<(), WarmError> {
    let headers = store.headers();
    let unread = blobs.into_iter().filter(|(_, blob)| !headers.contains(&blob.digest));
    let input = |(diff_id, blob): (Digest, Blob)| {
        let (digest, size_bytes) = (blob.digest, blob.size_bytes);
        let open = Box::new(move || {
            let file: Box<dyn io::Read + Send> = Box::new(blob.open().map_err(io::Error::other)?);
            Ok(file)
        });
        LayerInput { digest, size_bytes, diff_id, open }
    };
    let inputs = unread.map(input).collect();
    for index in read_headers(inputs, &UnpackOptions::default())? {
        match index.to_stored() {
            Ok(stored) => headers.put(&index.digest, &stored),
            Err(error) => tracing::debug!(%error, "the headers of a layer are not kept"),
        }
    }
    Ok(())
}

fn image_of(typed: &str, found: &ResolvedImage) -> Result<Image, WarmError> {
    let image = || typed.to_owned();
    let format = ImageFormat::of_manifest(&found.media_type)
        .map_err(|source| WarmError::ImageType { image: image(), source })?;
    Image::from_parts(&found.manifest, found.config.clone(), format)
        .map_err(|source| WarmError::Image { image: image(), source })
}

/// Returns each layer once: an image may hold one twice.
fn distinct(layers: &[Layer]) -> Result<Vec<Layer>, WarmError> {
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    let mut distinct = Vec::with_capacity(layers.len());
    for layer in layers {
        if seen.insert(digest_of(&layer.descriptor)?) {
            distinct.push(layer.clone());
        }
    }
    Ok(distinct)
}
