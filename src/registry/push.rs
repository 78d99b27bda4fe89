//! Writing to registries: blobs by the cheapest way that works, then the manifest.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::HeaderMap;
use snapshot::Digest;

use super::Registry;
use super::endpoint::Target;
use super::error::{Cause, RegistryError};
use super::growth::{BlobSource, GrowingBlob, Growth};
use super::host::RegistryHost;
use super::manifest;
use super::pull::TransferStats;
use super::scope::Scopes;
use super::send::{BodySender, Sent};
use super::transport::Call;
use super::upload::{Start, Started, Upload};
use crate::http::Backoff;
use crate::image::{Descriptor, Reference};
use crate::report::event::Gauge;
use crate::report::fault::one_line;

/// Repositories that are asked for a mount before the bytes are sent.
const MOUNT_LIMIT: usize = 3;

/// Bytes of a growing blob with which its upload begins. A smaller one is complete at almost the
/// same time, and asking for it first costs one request where it is there already instead of three;
/// of a larger one, the registry gets its first bytes some 10 ms later than it could.
const EARLY_BYTES: u64 = 1 << 20;

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
    /// Counts what was sent of it.
    pub gauge: Gauge,
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
    /// It is uploaded all the same: the registry has refused a manifest for the lack of it, or was
    /// asked already, or cannot have it.
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

/// What was found before an upload.
enum Found {
    /// The blob is in the repository.
    There(PushedBlob),
    /// It is not; a refused mount may have opened a session for it.
    Missing(Option<Upload>),
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

    /// Looks whether a repository has a blob, or can take it over from another one. Sessions that
    /// are opened by that are for the uploads that follow; [`Registry::close_unused`] is to be called
    /// in the end.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn find_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        mount_from: &[Reference],
    ) -> Result<Option<PushedBlob>, RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        let failed = |cause| {
            let digest = &descriptor.digest;
            RegistryError::new(format!("push blob `{digest}` to `{reference}`"), cause)
        };
        let host = target.endpoint.host.as_str();
        let (digest, size) = manifest::check_descriptor(host, descriptor).map_err(failed)?;
        match self.find(&target, &digest, size, mount_from).await.map_err(failed)? {
            Found::There(pushed) => Ok(Some(pushed)),
            Found::Missing(session) => {
                if let Some(unused) = session {
                    self.spares.keep(&target, unused);
                }
                Ok(None)
            }
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

    /// Brings a blob into `reference`'s repository while it is made: its upload begins when a
    /// mebibyte of it is there, or with its end, and then the registry is asked for it first.
    ///
    /// # Errors
    /// When the registry does not take it, its bytes cannot be read, or it is given up. No upload
    /// session is left open, whatever comes back.
    pub async fn push_growing(
        &self,
        reference: &Reference,
        blob: &GrowingBlob,
    ) -> Result<PushedBlob, RegistryError> {
        let target = self.transport.endpoints.push_target(reference);
        self.push_growing_to(&target, blob)
            .await
            .map_err(|cause| RegistryError::new(format!("push a layer to `{reference}`"), cause))
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
        let source = BlobSource::complete(blob, digest, size);
        let session = match blob.presence {
            Presence::Doubted => None,
            Presence::Believed => match self.find(target, &digest, size, &blob.mount_from).await? {
                Found::There(pushed) => return Ok(pushed),
                Found::Missing(session) => session,
            },
        };
        self.send(target, source, session, self.options.whole_upload_bytes).await
    }

    async fn push_growing_to(
        &self,
        target: &Target,
        blob: &GrowingBlob,
    ) -> Result<PushedBlob, Cause> {
        let mut source = BlobSource::growing(blob);
        let session = match source.grown(EARLY_BYTES).await {
            Growth::GivenUp => return Err(Cause::GivenUp),
            Growth::Growing { .. } => None,
            Growth::Complete { digest, size_bytes } => {
                match self.find(target, &digest, size_bytes, &blob.mount_from).await? {
                    Found::There(pushed) => return Ok(pushed),
                    Found::Missing(session) => session,
                }
            }
        };
        // Nobody waits for one that is sent while the build goes on.
        self.send(target, source, session, 0).await
    }

    async fn send(
        &self,
        target: &Target,
        source: BlobSource,
        session: Option<Upload>,
        whole_bytes: u64,
    ) -> Result<PushedBlob, Cause> {
        let sender = BodySender {
            registry: self,
            target,
            source,
            backoff: Backoff::new(self.options.push_retry),
            stats: TransferStats::default(),
            whole_bytes,
        };
        match sender.send(session).await? {
            Sent::Uploaded(stats) => Ok(PushedBlob::Uploaded(stats)),
            Sent::Existed => Ok(PushedBlob::Existed),
        }
    }

    /// Looks for a blob in the target repository, then in those it may be mounted from.
    async fn find(
        &self,
        target: &Target,
        digest: &Digest,
        size: u64,
        mount_from: &[Reference],
    ) -> Result<Found, Cause> {
        if self.blob_exists(target, digest, size).await? {
            return Ok(Found::There(PushedBlob::Existed));
        }
        let mut session = None;
        for from in mount_sources(target, mount_from) {
            match self.start(target, Some((digest, &from))).await {
                Ok(Started::Mounted) => {
                    if let Some(unused) = session.take() {
                        Upload::cancel(unused).await;
                    }
                    return Ok(Found::There(PushedBlob::Mounted { from }));
                }
                Ok(Started::Open(upload)) => {
                    if let Some(unused) = session.replace(*upload) {
                        unused.cancel().await;
                    }
                }
                // A mount is a favour: its failure must not fail the push.
                Err(error) => {
                    let error = one_line(&error);
                    tracing::debug!(%digest, from, error, "blob cannot be mounted");
                }
            }
        }
        Ok(Found::Missing(session))
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
