//! Base images that a warmer has fetched: which tag named which, and their documents.
//!
//! An image is blobs of the shared store; what makes it findable is a record, written last, which
//! says what a reference named for a platform, and when a registry was asked. What a digest names
//! never ages; what a tag named does.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snapshot::Digest;

use crate::image::{ImageConfig, ImageFormat, Manifest, Platform, Reference, digest_of};
use crate::registry::ResolvedImage;
use crate::store::SharedStore;

/// Largest manifest or config, in bytes; as from registries.
const DOCUMENT_LIMIT_BYTES: u64 = 4 << 20;

/// Changing what is in a record changes this, and old ones are not read.
const VERSION: u32 = 1;

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Images in a shared store; cheap to clone.
#[derive(Clone, Debug)]
pub struct BaseImages {
    store: SharedStore,
    time_to_live: Duration,
}

/// An image whose documents are kept.
#[derive(Clone, Debug)]
pub struct KeptImage {
    /// Digest of its manifest.
    pub digest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
}

/// What is known of a reference.
#[derive(Clone, Debug)]
pub enum Sought {
    /// What it named when a registry was asked last.
    Found(Box<KeptImage>),
    /// Nothing.
    Absent,
    /// What it named too long ago.
    Expired {
        /// When a registry was asked.
        checked: Timestamp,
    },
}

/// What a reference named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    reference: String,
    platform: String,
    digest: Digest,
    media_type: String,
    checked: Timestamp,
}

impl BaseImages {
    /// Takes the images of a store; what tags named counts for `time_to_live`.
    pub fn new(store: SharedStore, time_to_live: Duration) -> Self {
        Self { store, time_to_live }
    }

    /// Returns the store.
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Returns the image that a reference named for a platform.
    pub fn find(&self, reference: &Reference, platform: &Platform, now: Timestamp) -> Sought {
        let Some(record) = self.record(reference, platform) else { return Sought::Absent };
        let age = Duration::try_from(now.duration_since(record.checked));
        // Clocks differ: what is from the future is new.
        if reference.digest().is_none() && age.is_ok_and(|age| age > self.time_to_live) {
            return Sought::Expired { checked: record.checked };
        }
        match self.image(&record) {
            Some(image) => Sought::Found(Box::new(image)),
            None => Sought::Absent,
        }
    }

    fn record(&self, reference: &Reference, platform: &Platform) -> Option<Record> {
        let (reference, platform) = (reference.whole(), platform.to_string());
        let bytes = self.store.tags().get(&name_of(&reference, &platform))?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        let fits = record.version == VERSION
            && record.reference == reference
            && record.platform == platform;
        fits.then_some(record)
    }

    fn image(&self, record: &Record) -> Option<KeptImage> {
        let Record { digest, media_type, .. } = record.clone();
        let manifest = self.store.document(&digest, DOCUMENT_LIMIT_BYTES)?;
        let manifest: Manifest = serde_json::from_slice(&manifest).ok()?;
        let config = digest_of(&manifest.config).ok()?;
        let config = self.store.document(&config, DOCUMENT_LIMIT_BYTES)?;
        let config: ImageConfig = serde_json::from_slice(&config).ok()?;
        Some(KeptImage { digest, media_type, manifest, config })
    }

    /// Keeps what a registry says a reference names. The image's layers must be there by now, or be
    /// to be had from the registry.
    pub fn keep(&self, image: &ResolvedImage, platform: &Platform, now: Timestamp) {
        self.store.put_bytes(&image.config_bytes);
        self.store.put_bytes(&image.manifest_bytes);
        let record = Record {
            version: VERSION,
            reference: image.reference.whole(),
            platform: platform.to_string(),
            digest: image.digest,
            media_type: image.media_type.clone(),
            checked: now,
        };
        let Ok(bytes) = serde_json::to_vec(&record) else { return };
        self.store.tags().put(&name_of(&record.reference, &record.platform), &bytes);
    }

    /// Writes the index by which other tools find the images: made of all records, so that one that
    /// was lost in a race is there after the next time.
    pub fn write_index(&self) {
        let mut manifests: Vec<Value> = Vec::new();
        for (_, bytes) in self.store.tags().all() {
            let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { continue };
            let Some(document) = self.store.document(&record.digest, DOCUMENT_LIMIT_BYTES) else {
                continue;
            };
            let mut entry = json!({
                "mediaType": record.media_type,
                "digest": record.digest,
                "size": document.len(),
                "annotations": { REF_NAME: record.reference },
            });
            if let Ok(platform) = record.platform.parse::<Platform>() {
                entry["platform"] = json!({
                    "os": platform.os,
                    "architecture": platform.architecture,
                });
                if let Some(variant) = platform.variant {
                    entry["platform"]["variant"] = variant.into();
                }
            }
            manifests.push(entry);
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        self.store.put_index(index.to_string().as_bytes());
    }
}

impl KeptImage {
    /// Reads an image from its documents.
    pub(super) fn of_documents(digest: Digest, manifest: &[u8], config: &[u8]) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(manifest).ok()?;
        let config: ImageConfig = serde_json::from_slice(config).ok()?;
        let oci = || ImageFormat::Oci.manifest_type().to_owned();
        let media_type = manifest.media_type.clone().unwrap_or_else(oci);
        Some(Self { digest, media_type, manifest, config })
    }
}

/// Returns what a record is called. No reference has a line break.
fn name_of(reference: &str, platform: &str) -> Digest {
    Digest::of(format!("tag {VERSION}\n{reference}\n{platform}").as_bytes())
}
