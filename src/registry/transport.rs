//! One request to a registry, with everything around it: scheme, authorisation, redirects, retries.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::authorize::{Authorized, Authorizer};
use super::challenge;
use super::credentials::{CredentialOrigin, Freshness};
use super::endpoint::{ClearText, Endpoint, Endpoints, Target};
use super::error::Cause;
use super::host::RegistryHost;
use super::refusal::{Party, Refusal};
use super::scheme::{self, Question};
use super::scope::Scopes;
use crate::http::{
    Backoff, HttpClient, Origin, Outgoing, OutgoingBody, Reach, Response, RetryPolicy, Trust,
    is_redirect, redact, redirect_target,
};
use crate::report::fault::one_line;

/// Largest body that is read only to keep a connection usable, in bytes.
const DRAIN_LIMIT: u64 = 64 << 10;

/// Times that one request is repeated with other authorisation: once with what was remembered,
/// once with what was fetched anew, once for a challenge that wanted more.
const AUTHORIZATION_LIMIT: u32 = 3;

/// One request.
pub(super) struct Call<'a> {
    pub(super) target: &'a Target,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) scopes: &'a Scopes,
}

/// A response of any status, and the credentials that were shown for it.
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) origin: Option<CredentialOrigin>,
    method: Method,
    shown: Option<HeaderValue>,
}

/// Sends requests to registries.
pub(super) struct Transport {
    pub(super) http: HttpClient,
    pub(super) endpoints: Endpoints,
    pub(super) authorizer: Authorizer,
}

/// How to reach a URL that belongs to an exchange with a registry.
pub(super) struct Route {
    pub(super) trust: Trust,
    pub(super) reach: Reach,
    /// Whether the URL is the registry's own, so that credentials may go there.
    pub(super) own: bool,
}

impl Reply {
    /// Returns the response if its status is one of `accepted`.
    ///
    /// # Errors
    /// The registry's refusal, read from the body.
    pub(super) async fn accept(self, accepted: &[u16]) -> Result<Response, Cause> {
        if accepted.contains(&self.response.status().as_u16()) {
            return Ok(self.response);
        }
        Err(self.refusal().await.into())
    }

    /// Reads the response as a refusal.
    pub(super) async fn refusal(self) -> Refusal {
        let refusal = Refusal::read(Party::Registry, &self.method, self.response).await;
        let shown = self.shown.as_ref().and_then(|value| value.to_str().ok());
        let refusal = match shown.and_then(|value| value.split_once(' ')) {
            Some((_, secret)) => refusal.without(secret),
            None => refusal,
        };
        if matches!(refusal.status, 401 | 403 | 404) {
            refusal.with_credential(self.origin)
        } else {
            refusal
        }
    }
}

impl Transport {
    /// Returns the URL of something in a repository, such as `manifests/latest`.
    pub(super) async fn url(&self, target: &Target, tail: &str) -> Result<Url, Cause> {
        let base = self.base(&target.endpoint).await?;
        let path = format!("{}/{tail}", target.repository);
        base.join(&path).map_err(|_| invalid_host(&target.endpoint.host))
    }

    /// Sends `call` until it is answered with one of `accepted`, or cannot be.
    pub(super) async fn call(
        &self,
        call: &Call<'_>,
        retry: RetryPolicy,
        accepted: &[u16],
    ) -> Result<Response, Cause> {
        let mut backoff = Backoff::new(retry);
        loop {
            let error = match self.exchange(call, None).await {
                Ok(reply) => match reply.accept(accepted).await {
                    Ok(response) => return Ok(response),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !pause(&mut backoff, &error, call.target, &call.method).await {
                return Err(error);
            }
        }
    }

    /// Sends `call` once, answering challenges and following redirects. `stream` is sent in place
    /// of the call's body, and cannot be sent again: then a challenge or redirect is the answer.
    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        stream: Option<OutgoingBody>,
    ) -> Result<Reply, Cause> {
        let endpoint = &call.target.endpoint;
        let base = self.base(endpoint).await?.clone();
        let replayable = stream.is_none();
        let mut stream = stream;
        let mut url = call.url.clone();
        let mut scopes = call.scopes.clone();
        let mut authorized: Option<Authorized> = None;
        let (mut redirects, mut challenges) = (0, 0);
        loop {
            let route = self.route(endpoint, &base, &url).await;
            let mut headers = call.headers.clone();
            if route.own {
                if authorized.is_none()
                    && let Some(known) = endpoint.manners.known_challenge()
                {
                    let request = self.authorizer.request(call.target, &base, &scopes);
                    authorized = Some(self.authorize(request, &known, None).await?);
                }
                if let Some(header) = authorized.as_ref().and_then(|sent| sent.header.clone()) {
                    headers.insert(AUTHORIZATION, header);
                }
            }
            let body = match stream.take() {
                Some(stream) => Some(stream),
                None => call.body.clone().map(OutgoingBody::Bytes),
            };
            let response = self
                .http
                .send(Outgoing {
                    method: call.method.clone(),
                    url: &url,
                    headers,
                    body,
                    trust: &route.trust,
                    reach: route.reach,
                })
                .await?;
            let status = response.status();
            tracing::trace!(
                method = %call.method, url = redact(&url), status = status.as_u16(), "answer"
            );
            let origin = authorized.as_ref().map(|sent| sent.origin.clone());
            let shown = authorized.as_ref().and_then(|sent| sent.header.clone());
            let reply = Reply { response, origin, method: call.method.clone(), shown };
            if status == StatusCode::UNAUTHORIZED && route.own && challenges < AUTHORIZATION_LIMIT {
                let Some(wanted) = challenge::choose(reply.response.headers()) else {
                    return Ok(reply);
                };
                endpoint.manners.learn(&wanted);
                challenges += 1;
                let merged = call.scopes.clone().and_challenge(wanted.scope());
                let more = merged != scopes;
                scopes = merged;
                let refused = authorized.take();
                if !replayable {
                    // The next attempt of whoever can make the stream again gets a new token.
                    if let Some(refused) = refused {
                        self.authorizer.reject(call.target, &refused).await;
                    }
                    return Ok(reply);
                }
                if let Some(refused) = &refused
                    && refused.is_final(more)
                {
                    return Ok(reply);
                }
                let request = self.authorizer.request(call.target, &base, &scopes);
                let next = self.authorize(request, &wanted, refused.as_ref()).await?;
                if next.header.is_none()
                    || refused.as_ref().is_some_and(|old| old.header == next.header)
                {
                    // Nothing new to show: the answer stands, with where we looked.
                    return Ok(Reply { origin: Some(next.origin), ..reply });
                }
                authorized = Some(next);
                drain(reply.response).await;
                continue;
            }
            if is_redirect(status) && replayable && can_redirect(&call.method, status) {
                let next = redirect_target(&url, reply.response.header("location"), redirects)?;
                tracing::debug!(from = redact(&url), to = redact(&next), "following redirect");
                redirects += 1;
                url = next;
                drain(reply.response).await;
                continue;
            }
            return Ok(reply);
        }
    }

    async fn authorize(
        &self,
        request: super::authorize::Request<'_>,
        challenge: &challenge::Challenge,
        refused: Option<&Authorized>,
    ) -> Result<Authorized, Cause> {
        let realm = match challenge {
            challenge::Challenge::Basic => None,
            challenge::Challenge::Bearer { realm, .. } => {
                let realm = self.authorizer.check_realm(&request, realm, &self.endpoints)?;
                let route = self.route(&request.target.endpoint, request.base, &realm).await;
                Some((realm, route))
            }
        };
        self.authorizer.authorize(request, challenge, realm, refused).await
    }

    /// Sends a read of something in a repository as the first request to a registry whose scheme is
    /// open, which the answer tells; `None` where there is nothing to find out, or more to show than
    /// a first request has.
    ///
    /// # Errors
    /// As [`Transport::base`].
    pub(super) async fn ask_first(
        &self,
        target: &Target,
        tail: &str,
        headers: &HeaderMap,
    ) -> Result<Option<Reply>, Cause> {
        let endpoint = &target.endpoint;
        // Elsewhere the name of what is asked for is not for everybody on the way to read.
        let may_be_clear = endpoint.clear_text == ClearText::Allowed && !self.http.has_gateway();
        if !may_be_clear || !endpoint.manners.is_for_me_to_try() {
            return Ok(None);
        }
        let path = format!("{}/{tail}", target.repository);
        let question = Question { path: &path, headers };
        let (base, response) = scheme::find_out(&self.http, endpoint, &question).await?;
        // Somebody else may have found the same meanwhile.
        let _ = endpoint.manners.base.set(base);
        if let Some(wanted) = challenge::wanted(&response) {
            endpoint.manners.learn(&wanted);
        }
        if response.status() == StatusCode::UNAUTHORIZED || is_redirect(response.status()) {
            drain(response).await;
            return Ok(None);
        }
        Ok(Some(Reply { response, origin: None, method: Method::GET, shown: None }))
    }

    /// Tells whether a registry that has not asked for credentials so far does so for its root, and
    /// there are some: Artifactory, for one, can be told to answer strangers 404 for what is not
    /// theirs to see.
    pub(super) async fn asked_as_stranger(&self, target: &Target) -> bool {
        let is_unknown = || target.endpoint.manners.known_challenge().is_none();
        let (host, repository) = (&target.endpoint.host, &target.repository);
        let credentials = self.authorizer.credentials();
        // Whatever fails here is no reason to doubt the answer that is there.
        is_unknown()
            && credentials
                .lookup(host, repository, Freshness::Remembered)
                .await
                .is_ok_and(|found| found.credential.is_some())
            && self.speaks_version_two(target).await.is_ok()
            && !is_unknown()
    }

    /// Decides how `url` is reached, which a registry at `base` sent us to.
    pub(super) async fn route(&self, endpoint: &Endpoint, base: &Url, url: &Url) -> Route {
        let host = RegistryHost::new(&authority(url));
        let docker_hub = endpoint.host.is_docker_hub() && host.is_docker_hub();
        if Origin::same(base, url) || (docker_hub && url.scheme() == "https") {
            return Route { trust: endpoint.trust.clone(), reach: Reach::Anywhere, own: true };
        }
        if self.endpoints.is_listed(&host) {
            let other = self.endpoints.get(&host, endpoint.purpose);
            return Route { trust: other.trust.clone(), reach: Reach::Anywhere, own: false };
        }
        let reach = if self.http.is_private(base).await {
            Reach::PublicAndPrivate
        } else {
            Reach::PublicOnly
        };
        let same_machine = host.name() == endpoint.host.name();
        let trust = if same_machine { &endpoint.trust } else { &endpoint.secondary_trust };
        Route { trust: trust.clone(), reach, own: false }
    }

    /// Returns the root of a registry's API, finding out the scheme first where that is open.
    pub(super) async fn base<'e>(&self, endpoint: &'e Endpoint) -> Result<&'e Url, Cause> {
        endpoint.manners.base.get_or_try_init(|| scheme::negotiate(&self.http, endpoint)).await
    }

    /// Returns whether the registry speaks version 2 of the protocol, as far as it can be told.
    pub(super) async fn speaks_version_two(&self, target: &Target) -> Result<bool, Cause> {
        let call = Call {
            target,
            method: Method::GET,
            url: self.base(&target.endpoint).await?.clone(),
            headers: HeaderMap::new(),
            body: None,
            scopes: &Scopes::default(),
        };
        let reply = self.exchange(&call, None).await?;
        let named = reply.response.header("docker-distribution-api-version").is_some();
        Ok(named || reply.response.status() != StatusCode::NOT_FOUND)
    }
}

/// Waits before another try, and returns whether there shall be one.
pub(super) async fn pause(
    backoff: &mut Backoff,
    error: &Cause,
    target: &Target,
    method: &Method,
) -> bool {
    if !error.is_temporary() {
        return false;
    }
    let asked = match error {
        Cause::Refused(refusal) => refusal.retry_after,
        _ => None,
    };
    let Some(wait) = backoff.next_wait(asked) else { return false };
    tracing::warn!(
        host = %target.endpoint.host,
        repository = target.repository,
        %method,
        attempt = backoff.failures(),
        limit = backoff.limit(),
        wait_ms = wait.as_millis(),
        error = one_line(error),
        "registry request failed, trying again"
    );
    tokio::time::sleep(wait).await;
    true
}

/// Reads a short body to its end, so that the connection can be used again.
pub(super) async fn drain(response: Response) {
    // If it cannot be read, the connection is simply closed.
    let _ = response.bytes(DRAIN_LIMIT).await;
}

/// 303 asks to go on with GET, which only reads understand; other methods keep theirs on 307, 308.
fn can_redirect(method: &Method, status: StatusCode) -> bool {
    matches!(*method, Method::GET | Method::HEAD) || matches!(status.as_u16(), 307 | 308)
}

pub(super) fn invalid_host(host: &RegistryHost) -> Cause {
    Cause::Host { host: host.to_string() }
}

/// Returns a URL's `host[:port]`, without the scheme's own port.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
