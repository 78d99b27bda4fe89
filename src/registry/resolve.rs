//! Reading an image's documents: manifest or index, then the config.

use std::time::Instant;

use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
use snapshot::Digest;

use super::Registry;
use super::endpoint::Target;
use super::error::{Cause, RegistryError, Unsupported};
use super::manifest::{self, Claims, Document};
use super::pull::{Transfer, check_encoding};
use super::scope::Scopes;
use super::sources::Sources;
use super::transport::{Call, drain, pause};
use crate::http::Backoff;
use crate::image::{ImageConfig, Manifest, Platform, Reference};

/// Indexes inside indexes that are followed.
const INDEX_DEPTH: u32 = 3;

/// An image's documents, verified against their digests.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// What was asked for.
    pub reference: Reference,
    /// Digest of `manifest_bytes`: of the image itself, not of an index it was chosen from.
    pub digest: Digest,
    /// Digest of what the reference names: an index, or the image.
    pub root_digest: Digest,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest as served.
    pub manifest_bytes: Vec<u8>,
    /// The image's config.
    pub config: ImageConfig,
    /// The config as served.
    pub config_bytes: Vec<u8>,
}

/// What a repository says of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An image's manifest, whatever it says.
    Manifest(Vec<u8>),
    /// There is none.
    Absent,
    /// The registry does not tell.
    Denied,
}

/// An image whose manifest is here, and whose config is not.
pub struct FoundImage {
    /// What was asked for.
    pub reference: Reference,
    /// The manifest.
    pub manifest: Manifest,
    digest: Digest,
    root_digest: Digest,
    media_type: String,
    manifest_bytes: Vec<u8>,
    /// Where it was found, and where else it may be.
    target: Target,
    others: Sources,
}

impl Registry {
    /// Looks whether an image's manifest is there, in one request a source, tried once.
    ///
    /// # Errors
    /// When no source has answered with yes or no.
    pub async fn look(&self, reference: &Reference) -> Result<Found, RegistryError> {
        let mut sources = self.sources(reference, format!("look for `{reference}`"));
        let name = reference.tag().unwrap_or("latest").to_owned();
        let wanted = Wanted { name: &name, digest: None, media_type: None };
        let mut found = None;
        while let Some(target) = sources.next() {
            match self.manifest_once(&target, &wanted).await {
                Ok(fetched) => return Ok(Found::Manifest(fetched.bytes)),
                Err(Cause::Refused(refusal)) if refusal.status == 404 => {
                    found = Some(Found::Absent);
                }
                Err(Cause::Refused(refusal)) if matches!(refusal.status, 401 | 403) => {
                    found = found.or(Some(Found::Denied));
                }
                Err(cause) => sources.failed(&target, cause),
            }
        }
        found.map_or_else(|| Err(sources.into_error()), Ok)
    }

    /// Fetches the manifest and config of an image, choosing from an index by `platform`.
    ///
    /// # Errors
    /// When no source has it, or what it has is not a Linux image that can be built upon.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, RegistryError> {
        let found = self.find_manifest(reference, platform).await?;
        self.complete(found, platform).await
    }

    /// Fetches the manifest of an image, choosing from an index by `platform`.
    ///
    /// # Errors
    /// As [`Registry::resolve`].
    pub async fn find_manifest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<FoundImage, RegistryError> {
        let sources = self.sources(reference, format!("fetch the manifest of `{reference}`"));
        self.find_in(sources, reference, platform).await
    }

    /// Fetches the config of an image that was found, which may turn out to be one that another source
    /// has, where this one fails.
    ///
    /// # Errors
    /// As [`Registry::resolve`].
    pub async fn complete(
        &self,
        found: FoundImage,
        platform: &Platform,
    ) -> Result<ResolvedImage, RegistryError> {
        let mut found = found;
        loop {
            let target = &found.target;
            match self.config(target, &found.manifest).await {
                Ok((config, config_bytes)) => {
                    return Ok(ResolvedImage {
                        reference: found.reference,
                        digest: found.digest,
                        root_digest: found.root_digest,
                        media_type: found.media_type,
                        manifest: found.manifest,
                        manifest_bytes: found.manifest_bytes,
                        config,
                        config_bytes,
                    });
                }
                Err(cause) => {
                    found.others.failed(target, cause);
                    found = self.find_in(found.others, &found.reference, platform).await?;
                }
            }
        }
    }

    async fn find_in(
        &self,
        mut sources: Sources,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<FoundImage, RegistryError> {
        while let Some(target) = sources.next() {
            match self.find_at(&target, reference, platform).await {
                Ok(image) => {
                    return Ok(FoundImage {
                        reference: reference.clone(),
                        manifest: *image.manifest,
                        digest: image.digest,
                        root_digest: image.root_digest,
                        media_type: image.media_type,
                        manifest_bytes: image.bytes,
                        target,
                        others: sources,
                    });
                }
                Err(cause) => sources.failed(&target, cause),
            }
        }
        Err(sources.into_error())
    }

    async fn find_at(
        &self,
        target: &Target,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ImageDocument, Cause> {
        let host = target.endpoint.host.as_str();
        let pinned = reference.digest().map(manifest::sha256).transpose()?;
        let first = match (&pinned, reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => "latest".to_owned(),
        };
        let wanted = Wanted { name: &first, digest: pinned.as_ref(), media_type: None };
        let mut document = self.manifest(target, &wanted).await?;
        let root_digest = document.digest;
        for _ in 0..INDEX_DEPTH {
            match document.parsed {
                Document::Index(index) => {
                    let entry = manifest::choose(&index, platform)?;
                    let digest = manifest::sha256(&entry.digest)?;
                    tracing::debug!(%digest, %platform, "image chosen from index");
                    let wanted = Wanted {
                        name: &entry.digest,
                        digest: Some(&digest),
                        media_type: Some(&entry.media_type).filter(|kind| !kind.is_empty()),
                    };
                    document = self.manifest(target, &wanted).await?;
                }
                Document::Image { media_type, manifest } => {
                    manifest::check_image(host, &manifest)?;
                    let (digest, bytes) = (document.digest, document.bytes);
                    return Ok(ImageDocument { digest, root_digest, media_type, manifest, bytes });
                }
            }
        }
        Err(Cause::Content {
            host: host.to_owned(),
            what: "an index",
            reason: "indexes are nested too deeply".to_owned(),
        })
    }

    async fn manifest(&self, target: &Target, wanted: &Wanted<'_>) -> Result<Fetched, Cause> {
        let mut backoff = Backoff::new(self.options.pull_retry);
        loop {
            match self.manifest_once(target, wanted).await {
                Ok(document) => return Ok(document),
                Err(error) => {
                    if !pause(&mut backoff, &error, target, &Method::GET).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn manifest_once(&self, target: &Target, wanted: &Wanted<'_>) -> Result<Fetched, Cause> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let tail = format!("manifests/{}", wanted.name);
        let asked = Instant::now();
        let first = self.transport.ask_first(target, &tail, &headers).await?;
        let call = Call {
            target,
            method: Method::GET,
            url: self.transport.url(target, &tail).await?,
            headers,
            body: None,
            scopes: &Scopes::repository(&target.repository, "pull"),
        };
        let mut reply = match first {
            Some(reply) => reply,
            None => self.transport.exchange(&call, None).await?,
        };
        target.endpoint.manners.has_answered(asked.elapsed());
        if reply.response.status().as_u16() == 404 && self.transport.asked_as_stranger(target).await
        {
            drain(reply.response).await;
            reply = self.transport.exchange(&call, None).await?;
        }
        let host = target.endpoint.host.as_str();
        if reply.response.status().as_u16() == 404 {
            let refusal = reply.refusal().await;
            let spoke = refusal.errors.iter().any(|error| !error.code.is_empty());
            if !spoke && !self.transport.speaks_version_two(target).await? {
                return Err(Unsupported::VersionOne(host.to_owned()).into());
            }
            return Err(refusal.into());
        }
        let response = reply.accept(&[200]).await?;
        check_encoding(&response, host)?;
        let kind = response.header("content-type").map(str::to_owned);
        let claimed = response.header("docker-content-digest").map(str::to_owned);
        let bytes = response.bytes(manifest::MANIFEST_LIMIT).await?;
        let digest = Digest::of(&bytes);
        let wrong = |expected: String| Cause::Digest {
            host: host.to_owned(),
            what: format!("manifest `{}`", wanted.name),
            expected,
            actual: digest.to_string(),
        };
        if let Some(expected) = wanted.digest.filter(|expected| **expected != digest) {
            return Err(wrong(expected.to_string()));
        }
        if let Some(claimed) = claimed.filter(|text| text.starts_with("sha256:"))
            && claimed != digest.to_string()
        {
            return Err(wrong(claimed));
        }
        let parsed = manifest::parse(
            host,
            &Claims { header: kind.as_deref(), descriptor: wanted.media_type.map(String::as_str) },
            &bytes,
        )?;
        Ok(Fetched { digest, parsed, bytes: bytes.into() })
    }

    async fn config(
        &self,
        target: &Target,
        manifest: &Manifest,
    ) -> Result<(ImageConfig, Vec<u8>), Cause> {
        let host = target.endpoint.host.as_str();
        let (digest, size) = manifest::check_descriptor(host, &manifest.config)?;
        if size > manifest::CONFIG_LIMIT {
            return Err(Cause::Content {
                host: host.to_owned(),
                what: "a manifest",
                reason: format!("its config has {size} bytes"),
            });
        }
        let mut bytes = Vec::new();
        let mut transfer = Transfer::new(&mut bytes, digest, size);
        self.transfer(target, &mut transfer).await?;
        Ok((manifest::parse_config(host, &bytes)?, bytes))
    }
}

/// An image's manifest, and how it was come by.
struct ImageDocument {
    digest: Digest,
    root_digest: Digest,
    media_type: String,
    manifest: Box<Manifest>,
    bytes: Vec<u8>,
}

/// A document to fetch.
struct Wanted<'a> {
    /// Its tag or digest.
    name: &'a str,
    /// The digest it must have.
    digest: Option<&'a Digest>,
    /// The media type it must have.
    media_type: Option<&'a String>,
}

struct Fetched {
    digest: Digest,
    parsed: Document,
    bytes: Vec<u8>,
}
