//! One upload session: started, written to, finished or cancelled.
//!
//! The usual way is one `PATCH` without `Content-Range`, then `PUT ?digest=`, as docker and podman
//! do it; the digest is only needed at the end, so a layer can be sent while it is made. Ranged
//! `PATCH`es are for proxies that limit the size of a request, and to go on after a broken one.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use snapshot::Digest;
use url::Url;

use super::endpoint::Target;
use super::error::Cause;
use super::scope::Scopes;
use super::transport::{Call, Transport, drain};
use crate::http::{OutgoingBody, Response, RetryPolicy};
use crate::report::fault::one_line;

/// The bytes of a request's body as they are made.
pub(super) type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// Statuses that say a part was taken. The specification wants 202; ECR answers 201.
const PART_TAKEN: &[u16] = &[202, 201, 204];

/// Statuses that say a blob is complete.
const COMPLETE: &[u16] = &[201, 200, 204];

/// An open upload session. It must be finished or cancelled; a registry keeps the bytes of one that
/// is only dropped until it cleans up.
pub(super) struct Upload {
    transport: Arc<Transport>,
    target: Target,
    scopes: Scopes,
    retry: RetryPolicy,
    location: Url,
    least_chunk: u64,
}

/// How a session began.
pub(super) enum Started {
    /// The registry has the blob already.
    Mounted,
    /// It wants the bytes.
    Open(Box<Upload>),
}

/// What a session is started with.
pub(super) struct Start<'a> {
    pub(super) transport: &'a Arc<Transport>,
    pub(super) target: &'a Target,
    pub(super) retry: RetryPolicy,
    /// A digest, and a repository of the same registry that should have it.
    pub(super) mount: Option<(&'a Digest, &'a str)>,
}

impl Upload {
    /// Starts a session, or mounts a blob of another repository in its place.
    pub(super) async fn start(start: &Start<'_>) -> Result<Started, Cause> {
        let Start { transport, target, retry, mount } = start;
        let mut scopes = Scopes::repository(&target.repository, "pull,push");
        let own_scopes = scopes.clone();
        let mut url = transport.url(target, "blobs/uploads/").await?;
        if let Some((digest, from)) = mount {
            // Only now does the token need more than the target repository.
            scopes = scopes.and(&Scopes::repository(from, "pull"));
            url.query_pairs_mut()
                .append_pair("mount", &digest.to_string())
                .append_pair("from", from);
        }
        let call = Call {
            target,
            method: Method::POST,
            url,
            headers: HeaderMap::new(),
            body: Some(Bytes::new()),
            scopes: &scopes,
        };
        let accepted: &[u16] = if mount.is_some() { &[202, 201] } else { &[202] };
        let response = transport.call(&call, *retry, accepted).await?;
        if response.status().as_u16() == 201 {
            drain(response).await;
            return Ok(Started::Mounted);
        }
        let base = transport.base(&target.endpoint).await?;
        let location = location(&response, base)?.ok_or_else(|| Cause::Location {
            host: target.endpoint.host.to_string(),
            reason: "there is none".to_owned(),
        })?;
        let least_chunk = response
            .header("oci-chunk-min-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        drain(response).await;
        Ok(Started::Open(Box::new(Self {
            transport: Arc::clone(transport),
            target: (*target).clone(),
            scopes: own_scopes,
            retry: *retry,
            location,
            least_chunk,
        })))
    }

    /// Gives the session up, so that the registry can drop what it has of it. Best effort: the
    /// registry does the same by itself after some days.
    pub(super) async fn cancel(self) {
        let call = self.call(Method::DELETE, self.location.clone(), HeaderMap::new());
        match self.transport.exchange(&call, None).await {
            Ok(reply) => drain(reply.response).await,
            Err(error) => tracing::debug!(
                host = %self.target.endpoint.host,
                error = one_line(&error),
                "upload could not be cancelled"
            ),
        }
    }

    /// Returns the least size of all ranged parts but the last, as the registry said.
    pub(super) fn least_chunk(&self) -> u64 {
        self.least_chunk
    }

    /// Sends one part; `first_byte` is its place where it is ranged.
    pub(super) async fn patch(
        &mut self,
        body: OutgoingBody,
        range: Option<(u64, u64)>,
    ) -> Result<(), Cause> {
        let mut headers = octets();
        if let Some((first, last)) = range
            && let Ok(value) = HeaderValue::from_str(&format!("{first}-{last}"))
        {
            headers.insert(CONTENT_RANGE, value);
        }
        let call = self.call(Method::PATCH, self.location.clone(), headers);
        let reply = self.transport.exchange(&call, Some(body)).await?;
        let response = reply.accept(PART_TAKEN).await?;
        let base = self.transport.base(&self.target.endpoint).await?;
        if let Some(next) = location(&response, base)? {
            self.location = next;
        }
        drain(response).await;
        Ok(())
    }

    /// Sends the whole blob with the request that completes it.
    pub(super) async fn put_whole(&self, body: OutgoingBody, digest: &Digest) -> Result<(), Cause> {
        let call = self.call(Method::PUT, self.with_digest(digest), octets());
        let reply = self.transport.exchange(&call, Some(body)).await?;
        drain(reply.accept(COMPLETE).await?).await;
        Ok(())
    }

    /// Completes the blob with what was sent.
    pub(super) async fn complete(&self, digest: &Digest) -> Result<(), Cause> {
        let mut call = self.call(Method::PUT, self.with_digest(digest), octets());
        call.body = Some(Bytes::new());
        let reply = self.transport.exchange(&call, None).await?;
        drain(reply.accept(COMPLETE).await?).await;
        Ok(())
    }

    /// Asks how many bytes the registry has; `None` when it does not say so believably.
    pub(super) async fn received(&mut self) -> Option<u64> {
        let call = self.call(Method::GET, self.location.clone(), HeaderMap::new());
        let response = match self.transport.call(&call, self.retry, &[204]).await {
            Ok(response) => response,
            Err(error) => {
                let error = one_line(&error);
                tracing::debug!(error, "upload session cannot be asked how far it came");
                return None;
            }
        };
        let base = self.transport.base(&self.target.endpoint).await.ok()?;
        // A session without bytes reports `0-0`, the same as one with a single byte.
        let (_, last) = response.header("range")?.trim_start_matches("bytes=").split_once('-')?;
        let last: u64 = last.parse().ok()?;
        if let Ok(Some(next)) = location(&response, base) {
            self.location = next;
        }
        Some(if last == 0 { 0 } else { last.checked_add(1)? })
    }

    fn call(&self, method: Method, url: Url, headers: HeaderMap) -> Call<'_> {
        Call { target: &self.target, method, url, headers, body: None, scopes: &self.scopes }
    }

    fn with_digest(&self, digest: &Digest) -> Url {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        url
    }
}

fn octets() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers
}

/// Returns where a session goes on.
///
/// A registry that does not know that a proxy in front of it speaks https names itself with http:
/// that is put right. Any other way out of https is refused.
pub(super) fn location(response: &Response, base: &Url) -> Result<Option<Url>, Cause> {
    let Some(text) = response.header("location") else { return Ok(None) };
    let refused = |reason: &str| Cause::Location {
        host: response.host().to_owned(),
        reason: reason.to_owned(),
    };
    let Ok(mut url) = response.url().join(text) else {
        return Err(refused("it is not a URL"));
    };
    match (base.scheme(), url.scheme()) {
        (_, "https") | ("http", "http") => Ok(Some(url)),
        ("https", "http") if url.host() == base.host() && same_port(&url, base) => {
            // Both are special schemes, between which a change never fails.
            let _ = url.set_scheme("https");
            Ok(Some(url))
        }
        ("https", "http") => Err(refused("it leaves https")),
        _ => Err(refused("it is neither http nor https")),
    }
}

/// Says whether an http URL means the same port as the https URL `base`, written or not.
fn same_port(url: &Url, base: &Url) -> bool {
    url.port() == base.port() || url.port() == base.port_or_known_default()
}
