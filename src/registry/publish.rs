//! Storing manifests, the last act of a push.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use snapshot::Digest;

use super::Registry;
use super::endpoint::Target;
use super::error::{Cause, RegistryError};
use super::manifest;
use super::options::ImmutableTags;
use super::scope::Scopes;
use super::transport::{Call, drain, pause};
use crate::http::Backoff;
use crate::image::{Descriptor, LayerCompression, Manifest, Reference};

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
            Err(Cause::Refused(refusal))
                if refusal.is_unknown_manifest() && has_zstd_layers(bytes) =>
            {
                Err(RegistryError::new(action, Cause::ZstdRefused(refusal)))
            }
            Err(cause) => Err(RegistryError::new(action, cause)),
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

fn has_zstd_layers(manifest: &[u8]) -> bool {
    let is_zstd = |layer: &Descriptor| {
        matches!(LayerCompression::of_layer(&layer.media_type), Ok(LayerCompression::Zstd))
    };
    serde_json::from_slice(manifest).is_ok_and(|Manifest { layers, .. }| layers.iter().any(is_zstd))
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
