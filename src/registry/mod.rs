//! Endpoints, authentication, pulls and uploads as streams, on the one HTTP client.
//!
//! Must not touch a root file system. References and manifest types are `oci-client`'s; its client
//! is not used, because it takes no HTTP client of ours (own resolver, client certificates, an
//! authority per registry, retries and resumption need one).
//!
//! The idea to hold in mind: a registry is a stranger. It may name other servers (redirects, token
//! realms, upload locations), but credentials stay with the origin they are for, and what it serves
//! is believed only once digest, size and media type agree with what was asked for.

mod ahead;
mod authorize;
mod challenge;
mod credentials;
mod endpoint;
mod error;
mod examine;
mod growth;
mod host;
mod knock;
mod manifest;
mod manners;
mod options;
mod pieces;
mod publish;
mod pull;
mod push;
mod refusal;
mod relay;
mod resolve;
mod scheme;
mod scope;
mod send;
mod sources;
mod spare;
mod token;
mod transport;
mod upload;
mod way;

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::http::{HttpClient, RetryPolicy};

pub use ahead::PartsAhead;
pub use credentials::{CredentialError, CredentialOrigin, HelperError, Look, credential_file};
pub use error::{Cause, RegistryError, Unsupported};
pub use examine::{Answer, Credential, Examined, Pullable, Wants};
pub use growth::{GrowingBlob, Growth};
pub use host::RegistryHost;
pub use knock::Knocking;
pub use options::{
    AmbientCredentials, AmbientSource, CredentialOptions, Fallback, HostAuthority,
    HostClientCertificate, HostPassword, ImmutableTags, PlainHttp, RegistryMap, RegistryOptions,
    TransportSecurity,
};
pub use publish::{PushedManifest, TagOutcome};
pub use pull::TransferStats;
pub use push::{BlobUpload, OpenBlob, Presence, PushedBlob};
pub use refusal::{Party, Refusal, ReportedError, ShownCredential};
pub use relay::{Relay, RelayBody, RelayPlace, Relayed, Repository};
pub use resolve::{Found, FoundImage, ResolvedImage};

use authorize::Authorizer;
use credentials::Credentials;
use endpoint::Endpoints;
use transport::Transport;

/// All registries of one build; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    transport: Arc<Transport>,
    options: Arc<RegistryOptions>,
    /// For parts of blobs that are fetched before their turn.
    ahead: Arc<ahead::Shared>,
    /// Sessions for the next uploads.
    spares: Arc<spare::Spares>,
    /// Cancelled when nothing is to be pushed any more.
    pushes: CancellationToken,
}

impl Registry {
    /// Reads every file that `options` names: certificates, credentials, helper programs.
    ///
    /// # Errors
    /// When a file that the user named cannot be used.
    pub fn new(http: &HttpClient, options: RegistryOptions) -> Result<Self, RegistryError> {
        let prepared = |cause: Cause| RegistryError::new("prepare access to registries", cause);
        let credentials = Credentials::load(http, &options.credentials)
            .map_err(|error| prepared(error.into()))?;
        let endpoints =
            Endpoints::new(http, options.clone()).map_err(|error| prepared(error.into()))?;
        let authorizer =
            Authorizer::new(http.clone(), credentials, options.pull_retry, options.push_retry);
        let transport = Transport { http: http.clone(), endpoints, authorizer };
        let ahead = Arc::new(ahead::Shared::new(options.parts_ahead));
        Ok(Self {
            transport: Arc::new(transport),
            options: Arc::new(options),
            ahead,
            spares: Arc::default(),
            pushes: CancellationToken::new(),
        })
    }

    /// Gives up what is being pushed, through this or any clone of it: its sessions are cancelled, and
    /// each push ends with an error.
    pub fn give_up_pushes(&self) {
        self.pushes.cancel();
    }

    /// Returns the same, reached by another client.
    ///
    /// # Errors
    /// As [`Registry::new`].
    pub fn through(&self, http: &HttpClient) -> Result<Self, RegistryError> {
        Self::new(http, RegistryOptions::clone(&self.options))
    }

    /// Returns the same registries for what may fail: tried again as `retry` says and no more, and
    /// where a tag may not be overwritten, it stays what it is.
    pub fn as_favour(&self, retry: RetryPolicy) -> Self {
        let options = RegistryOptions {
            pull_retry: retry,
            push_retry: retry,
            immutable_tags: ImmutableTags::Accept,
            ..RegistryOptions::clone(&self.options)
        };
        Self { options: Arc::new(options), ..self.clone() }
    }
}
