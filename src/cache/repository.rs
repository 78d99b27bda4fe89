//! Entries in a registry's repository: one tag an entry, as kaniko has them.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Document, NO_LAYER, no_layer};
use super::key::Key;
use super::place::CacheError;
use crate::http::RetryPolicy;
use crate::image::{Descriptor, ImageFormat, Reference, digest_of};
use crate::registry::{BlobUpload, Found, OpenBlob, Presence, Registry};
use crate::report::event::{Gauge, LongWork};
use crate::store::Blob;

/// Nothing is tried again for the sake of a cache: who is asked again may be slow for everybody.
const RETRY: RetryPolicy = RetryPolicy {
    retries: 0,
    first_wait: Duration::from_millis(200),
    longest_wait: Duration::from_millis(200),
    longest_retry_after: Duration::from_millis(200),
    progress_bytes: 1 << 20,
};

pub(super) struct Repository {
    registry: Registry,
    reference: Reference,
}

impl Repository {
    pub(super) fn new(registry: &Registry, reference: &Reference) -> Self {
        Self { registry: registry.as_favour(RETRY), reference: reference.clone() }
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.reference
    }

    pub(super) fn name_of(&self, key: &Key) -> String {
        format!("{}/{}:{key}", self.reference.registry(), self.reference.repository())
    }

    pub(super) fn give_up_pushes(&self) {
        self.registry.give_up_pushes();
    }

    fn tagged(&self, key: &Key) -> Reference {
        let (registry, repository) = (self.reference.registry(), self.reference.repository());
        Reference::with_tag(registry.to_owned(), repository.to_owned(), key.hex())
    }

    /// Returns what the repository says of a key's tag.
    pub(super) async fn look(&self, key: &Key) -> Result<Found, CacheError> {
        Ok(self.registry.look(&self.tagged(key)).await?)
    }

    /// Returns a small blob.
    pub(super) async fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, CacheError> {
        let mut bytes = Vec::new();
        self.registry.pull_blob(&self.reference, descriptor, &mut bytes).await?;
        Ok(bytes)
    }

    /// Brings a layer there.
    pub(super) async fn store_layer(
        &self,
        descriptor: &Descriptor,
        blob: &Blob,
        mount_from: Vec<Reference>,
    ) -> Result<(), CacheError> {
        let blob = blob.clone();
        let open: OpenBlob = Arc::new(move |offset| {
            let mut file = blob.open().map_err(io::Error::other)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file))
        });
        self.push(descriptor.clone(), mount_from, open).await
    }

    /// Brings what stands for no layer there.
    pub(super) async fn store_no_layer(&self) -> Result<(), CacheError> {
        self.push(no_layer(), Vec::new(), in_memory(NO_LAYER.to_vec())).await
    }

    /// Stores a document under its key, after its small blobs; layers that it names have to be there.
    pub(super) async fn store(&self, key: &Key, document: &Document) -> Result<(), CacheError> {
        for (descriptor, content) in &document.blobs {
            self.push(descriptor.clone(), Vec::new(), in_memory(content.clone())).await?;
        }
        let (tagged, kind) = (self.tagged(key), ImageFormat::Oci.manifest_type());
        self.registry.push_manifest(&tagged, kind, &document.manifest).await?;
        Ok(())
    }

    async fn push(
        &self,
        descriptor: Descriptor,
        mount_from: Vec<Reference>,
        open: OpenBlob,
    ) -> Result<(), CacheError> {
        let digest = digest_of(&descriptor).map(|digest| digest.to_string()).unwrap_or_default();
        let gauge = Gauge::new(LongWork::Upload, digest, u64::try_from(descriptor.size).ok());
        let presence = Presence::Believed;
        let blob = BlobUpload { descriptor, mount_from, open, presence, gauge };
        self.registry.push_blob(&self.reference, &blob).await?;
        Ok(())
    }
}

fn in_memory(bytes: Vec<u8>) -> OpenBlob {
    Arc::new(move |offset| {
        let mut reader = io::Cursor::new(bytes.clone());
        reader.seek(SeekFrom::Start(offset))?;
        let reader: Box<dyn Read + Send> = Box::new(reader);
        Ok(reader)
    })
}
