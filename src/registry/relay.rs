//! Requests of somebody who has no credentials, made with ours.
//!
//! Whoever relays decides what may be asked; here it gets its authorisation, and redirects of reads
//! are followed. Nothing is tried again: who asked does that.

use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use reqwest::Method;
use reqwest::header::HeaderMap;
use snapshot::Digest;
use url::Url;

use super::Registry;
use super::endpoint::{Purpose, Target, repository_of};
use super::error::{Cause, RegistryError};
use super::host::RegistryHost;
use super::scope::Scopes;
use super::transport::Call;
use super::upload;
use crate::http::{OutgoingBody, Response};
use crate::image::Reference;

/// A repository of a registry, by the names that requests have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// The registry.
    pub host: RegistryHost,
    /// The name there; on Docker Hub with `library/`.
    pub name: String,
}

impl Repository {
    /// Returns the repository that a reference is in.
    pub fn of(reference: &Reference) -> Self {
        let host = RegistryHost::new(reference.registry());
        let name = repository_of(reference, &host);
        Self { host, name }
    }
}

/// One request to pass on.
pub struct Relay<'a> {
    /// Where to.
    pub repository: &'a Repository,
    /// Its method; one that writes is made with the right to push.
    pub method: Method,
    /// What of the repository.
    pub place: RelayPlace<'a>,
    /// Headers to pass on.
    pub headers: HeaderMap,
    /// The body.
    pub body: RelayBody,
}

/// What of a repository a request is for.
pub enum RelayPlace<'a> {
    /// A manifest by tag or digest.
    Manifest(&'a str),
    /// A blob.
    Blob(&'a Digest),
    /// A new upload; with a mount, a digest and another repository of the same registry.
    NewUpload(Option<(&'a Digest, &'a str)>),
    /// An upload that goes on at this location; with a digest it is completed.
    Upload(&'a Url, Option<&'a Digest>),
}

/// What is sent along.
pub enum RelayBody {
    /// Nothing.
    None,
    /// Bytes that can be sent again, after a challenge.
    Bytes(Bytes),
    /// Bytes as they come, with their number if it is known.
    Stream(Option<u64>, BoxStream<'static, io::Result<Bytes>>),
}

/// The answer to a request that was passed on; its status says that it was done.
pub struct Relayed {
    /// The answer.
    pub response: Response,
    /// Where an upload goes on, which may be a secret.
    pub location: Option<Url>,
}

impl Registry {
    /// Passes a request on.
    ///
    /// # Errors
    /// When there is no answer, or it is not that of a request that was done; then the cause is
    /// [`Cause::Refused`], without what was shown for it.
    pub async fn relay(&self, relay: Relay<'_>) -> Result<Relayed, RegistryError> {
        let what = format!("pass {} on to `{}`", relay.method, relay.repository.host);
        self.relay_on(relay).await.map_err(|cause| RegistryError::new(what, cause))
    }

    async fn relay_on(&self, relay: Relay<'_>) -> Result<Relayed, Cause> {
        let reads = matches!(relay.method, Method::GET | Method::HEAD)
            && !matches!(relay.place, RelayPlace::Upload(..));
        let (purpose, actions) =
            if reads { (Purpose::Pull, "pull") } else { (Purpose::Push, "pull,push") };
        let name = &relay.repository.name;
        let target = Target {
            endpoint: self.transport.endpoints.get(&relay.repository.host, purpose),
            repository: name.clone(),
        };
        let mut scopes = Scopes::repository(name, actions);
        let url = match relay.place {
            RelayPlace::Manifest(name) => {
                self.transport.url(&target, &format!("manifests/{name}")).await?
            }
            RelayPlace::Blob(digest) => {
                self.transport.url(&target, &format!("blobs/{digest}")).await?
            }
            RelayPlace::NewUpload(mount) => {
                let mut url = self.transport.url(&target, "blobs/uploads/").await?;
                if let Some((digest, from)) = mount {
                    scopes = scopes.and(&Scopes::repository(from, "pull"));
                    url.query_pairs_mut()
                        .append_pair("mount", &digest.to_string())
                        .append_pair("from", from);
                }
                url
            }
            RelayPlace::Upload(location, digest) => {
                let mut url = location.clone();
                if let Some(digest) = digest {
                    url.query_pairs_mut().append_pair("digest", &digest.to_string());
                }
                url
            }
        };
        let (bytes, stream) = match relay.body {
            RelayBody::None => (None, None),
            RelayBody::Bytes(bytes) => (Some(bytes), None),
            RelayBody::Stream(length, pieces) => {
                (None, Some(OutgoingBody::Stream { length, pieces }))
            }
        };
        let (method, headers) = (relay.method, relay.headers);
        let call = Call { target: &target, method, url, headers, body: bytes, scopes: &scopes };
        let reply = self.transport.exchange(&call, stream).await?;
        if !reply.response.status().is_success() {
            return Err(reply.refusal().await.into());
        }
        let base = self.transport.base(&target.endpoint).await?;
        let location = match reads {
            true => None,
            false => upload::location(&reply.response, base)?,
        };
        Ok(Relayed { response: reply.response, location })
    }
}
