//! Writing to registries: blobs by the cheapest way that works, then the manifest.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use snapshot::Digest;

use super::Registry;
use super::endpoint::Target;
use super::error::{Cause, RegistryError};
use super::host::RegistryHost;
use super::manifest;
use super::options::ImmutableTags;
use super::pull::TransferStats;
use super::scope::Scopes;
use super::send::BodySender;
use super::transport::{Call, drain, pause};
use super::upload::{Start, Started, Upload};
use crate::http::Backoff;
use crate::image::{Descriptor, Reference};

/// Repositories that are asked for a mount before the bytes are sent.
const MOUNT_LIMIT: usize = 3;

/// Opens a blob's bytes from an offset on; called again for each try.
pub type OpenBlob = Arc<dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// A blob to push.
#[derive(Clone)]
pub struct BlobUpload {
    /// What it is; digest and size must be right.
    pub descriptor: Descriptor,
    /// Images whose repositories should hold it already. Those of other registries are ignored.
    pub mount_from: Vec<Reference>,
    /// Where its bytes are.
    pub open: OpenBlob,
    /// What to think of a registry that says it has the blob.
    pub presence: Presence,
}

impl fmt::Debug for BlobUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobUpload")
            .field("descriptor", &self.descriptor)
            .field("mount_from", &self.mount_from)
            .field("presence", &self.presence)
            .finish_non_exhaustive()
    }
}

/// What to think of a registry that says it has a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is not uploaded again.
    #[default]
    Believed,
    /// It is uploaded all the same: the registry has refused a manifest for the lack of it.
    Doubted,
}

/// How a blob came to be in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushedBlob {
    /// It was there.
    Existed,
    /// It was taken over from another repository.
    Mounted {
        /// That repository.
        from: String,
    },
    /// Its bytes were sent.
    Uploaded(TransferStats),
}

/// A stored manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// Digest of the manifest that was pushed.
    pub digest: Digest,
    /// What became of the tag.
    pub tag: TagOutcome,
}

/// What became of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagOutcome {
    /// It names the pushed manifest.
    Written,
    /// It may not be overwritten and names what it named before; the options accept that.
    KeptImmutable,
}

impl Registry {
    /// Finds out whether blobs may be pushed to a repository, by starting an upload and cancelling
    /// it.
    ///
    /// # Errors
    /// When they may not.
    pub async fn check_push(&self, reference: &Reference) -> Result<(), RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        let action = format!("push to `{reference}`");
        match self.start(&target, None).await {
            Ok(Started::Open(upload)) => {
                upload.cancel().await;
                Ok(())
            }
            Ok(Started::Mounted) => Ok(()),
            Err(cause) => Err(RegistryError::new(action, cause)),
        }
    }

    /// Starts an upload of a blob whose digest is not known yet.
    ///
    /// # Errors
    /// When the registry does not allow it.
    pub async fn start_upload(&self, reference: &Reference) -> Result<Upload, RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        let action = format!("start an upload to `{reference}`");
        match self.start(&target, None).await {
            Ok(Started::Open(upload)) => Ok(*upload),
            Ok(Started::Mounted) => {
                let host = target.endpoint.host.to_string();
                let reason = "a new upload was answered as if it were a mount".to_owned();
                Err(RegistryError::new(action, Cause::Location { host, reason }))
            }
            Err(cause) => Err(RegistryError::new(action, cause)),
        }
    }

    /// Brings a blob into `reference`'s repository.
    ///
    /// # Errors
    /// When the registry does not take it, or its bytes cannot be read.
    pub async fn push_blob(
        &self,
        reference: &Reference,
        blob: &BlobUpload,
    ) -> Result<PushedBlob, RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        self.push_blob_to(&target, blob).await.map_err(|cause| {
            let digest = &blob.descriptor.digest;
            RegistryError::new(format!("push blob `{digest}` to `{reference}`"), cause)
        })
    }

    /// Stores a manifest under `reference`'s tag (or digest). To be called once all blobs are there.
    ///
    /// # Errors
    /// When the registry does not take it; [`RegistryError::missing_blobs`] says which blobs to push
    /// again, if that is why.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<PushedManifest, RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        let action = format!("push the manifest of `{reference}`");
        let digest = Digest::of(bytes);
        let result = self.put_manifest(&target, reference, media_type, bytes).await;
        match result {
            Ok(()) => Ok(PushedManifest { digest, tag: TagOutcome::Written }),
            Err(Cause::Refused(refusal))
                if refusal.is_immutable_tag()
                    && self.options.immutable_tags == ImmutableTags::Accept =>
            {
                tracing::info!(%reference, "tag is immutable and exists, push accepted as done");
                Ok(PushedManifest { digest, tag: TagOutcome::KeptImmutable })
            }
            Err(cause) => Err(RegistryError::new(action, cause)),
        }
    }

    pub(super) async fn start(
        &self,
        target: &Target,
        mount: Option<(&Digest, &str)>,
    ) -> Result<Started, Cause> {
        let retry = self.options.push_retry;
        Upload::start(&Start { transport: &self.transport, target, retry, mount }).await
    }

    async fn push_blob_to(&self, target: &Target, blob: &BlobUpload) -> Result<PushedBlob, Cause> {
        let host = target.endpoint.host.as_str();
        let (digest, size) = manifest::check_descriptor(host, &blob.descriptor)?;
        if blob.presence == Presence::Believed && self.blob_exists(target, &digest, size).await? {
            return Ok(PushedBlob::Existed);
        }
        let mut session = None;
        if blob.presence == Presence::Believed {
            for from in mount_sources(target, &blob.mount_from) {
                match self.start(target, Some((&digest, &from))).await {
                    Ok(Started::Mounted) => {
                        if let Some(unused) = session.take() {
                            Upload::cancel(unused).await;
                        }
                        return Ok(PushedBlob::Mounted { from });
                    }
                    Ok(Started::Open(upload)) => {
                        if let Some(unused) = session.replace(*upload) {
                            unused.cancel().await;
                        }
                    }
                    // A mount is a favour: its failure must not fail the push.
                    Err(error) => {
                        let error = super::error::one_line(&error);
                        tracing::debug!(%digest, from, error, "blob cannot be mounted");
                    }
                }
            }
        }
        let sender = BodySender {
            registry: self,
            target,
            digest,
            size,
            open: &blob.open,
            backoff: Backoff::new(self.options.push_retry),
            stats: TransferStats::default(),
        };
        sender.send(session).await.map(PushedBlob::Uploaded)
    }

    /// Asks whether a repository has a blob of this size. An answer that is neither yes nor no is
    /// no: the upload will show what is wrong.
    pub(super) async fn blob_exists(
        &self,
        target: &Target,
        digest: &Digest,
        size: u64,
    ) -> Result<bool, Cause> {
        let scopes = Scopes::repository(&target.repository, "pull,push");
        let call = Call {
            target,
            method: Method::HEAD,
            url: self.transport.url(target, &format!("blobs/{digest}")).await?,
            headers: HeaderMap::new(),
            body: None,
            scopes: &scopes,
        };
        match self.transport.call(&call, self.options.push_retry, &[200]).await {
            Ok(response) => {
                let announced =
                    response.header("content-length").and_then(|text| text.parse().ok());
                Ok(announced.is_none_or(|announced: u64| announced == size))
            }
            Err(Cause::Refused(refusal)) if !refusal.is_temporary() => {
                tracing::debug!(%digest, status = refusal.status, "blob is not there");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn put_manifest(
        &self,
        target: &Target,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Cause> {
        let digest = Digest::of(bytes);
        let by_digest = digest.to_string();
        let name = reference.tag().unwrap_or(&by_digest);
        let host = target.endpoint.host.as_str();
        let scopes = Scopes::repository(&target.repository, "pull,push");
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_str(media_type).map_err(|_| Cause::Content {
            host: host.to_owned(),
            what: "a manifest",
            reason: format!("`{media_type}` is not a media type"),
        })?;
        headers.insert(CONTENT_TYPE, kind);
        let call = Call {
            target,
            method: Method::PUT,
            url: self.transport.url(target, &format!("manifests/{name}")).await?,
            headers,
            body: Some(Bytes::copy_from_slice(bytes)),
            scopes: &scopes,
        };
        let mut backoff = Backoff::new(self.options.push_retry);
        loop {
            let attempt = async {
                self.transport.exchange(&call, None).await?.accept(&[201, 200, 202, 204]).await
            };
            let error = match attempt.await {
                Ok(response) => {
                    let stored = response.header("docker-content-digest").map(str::to_owned);
                    drain(response).await;
                    return match stored {
                        Some(stored) if stored.starts_with("sha256:") && stored != by_digest => {
                            Err(Cause::Digest {
                                host: host.to_owned(),
                                what: "the pushed manifest".to_owned(),
                                expected: by_digest,
                                actual: stored,
                            })
                        }
                        _ => Ok(()),
                    };
                }
                Err(Cause::Refused(refusal)) => missing_blobs(host, refusal),
                Err(error) => error,
            };
            // An answer may be lost after the registry has done the work.
            if error.is_temporary()
                && !matches!(error, Cause::MissingBlobs { .. })
                && self.names_manifest(target, name, &by_digest).await
            {
                return Ok(());
            }
            if matches!(error, Cause::MissingBlobs { .. })
                || !pause(&mut backoff, &error, target, &Method::PUT).await
            {
                return Err(error);
            }
        }
    }

    /// Returns whether `name` is known to stand for the manifest with this digest.
    async fn names_manifest(&self, target: &Target, name: &str, digest: &str) -> bool {
        let scopes = Scopes::repository(&target.repository, "pull,push");
        let Ok(url) = self.transport.url(target, &format!("manifests/{name}")).await else {
            return false;
        };
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
        let call = Call { target, method: Method::HEAD, url, headers, body: None, scopes: &scopes };
        match self.transport.exchange(&call, None).await {
            Ok(reply) => {
                reply.response.status().is_success()
                    && reply.response.header("docker-content-digest") == Some(digest)
            }
            // The push itself is tried again, and its error is the one to report.
            Err(_) => false,
        }
    }
}

/// Returns the repositories of the target's registry to ask for a mount, each once.
fn mount_sources(target: &Target, references: &[Reference]) -> Vec<String> {
    let mut sources: Vec<String> = Vec::new();
    for reference in references {
        let host = RegistryHost::new(reference.registry());
        let repository = super::endpoint::repository_of(reference, &host);
        if host == target.endpoint.host
            && repository != target.repository
            && !sources.contains(&repository)
            && sources.len() < MOUNT_LIMIT
        {
            sources.push(repository);
        }
    }
    sources
}

/// Recognises a refusal for the lack of blobs.
fn missing_blobs(host: &str, refusal: Box<super::Refusal>) -> Cause {
    let missing: Vec<Digest> = refusal
        .errors
        .iter()
        .filter(|error| matches!(error.code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
        .filter_map(|error| {
            let text = error.detail.as_str().or_else(|| error.detail.get("digest")?.as_str())?;
            text.parse().ok()
        })
        .collect();
    match missing.first().copied() {
        Some(first) => Cause::MissingBlobs { host: host.to_owned(), first, missing },
        None => Cause::Refused(refusal),
    }
}
