//! From a challenge to an `Authorization` header, and what is never done on the way: credentials in
//! clear text that nobody allowed, or to a token server that the registry had no business naming.

use std::sync::Arc;

use reqwest::header::HeaderValue;
use url::Url;

use super::challenge::Challenge;
use super::credentials::{Credential, CredentialOrigin, Credentials, Freshness};
use super::endpoint::{ClearText, Endpoints, Purpose, Target};
use super::error::Cause;
use super::host::RegistryHost;
use super::scope::Scopes;
use super::token::{TokenRequest, Tokens, basic, bearer};
use super::transport::Route;
use crate::http::{HttpClient, RetryPolicy, redact};
use crate::secret::Secret;

/// Makes `Authorization` headers.
pub(super) struct Authorizer {
    credentials: Arc<Credentials>,
    tokens: Tokens,
    pull_retry: RetryPolicy,
    push_retry: RetryPolicy,
}

/// What a header is wanted for.
pub(super) struct Request<'a> {
    pub(super) target: &'a Target,
    pub(super) base: &'a Url,
    pub(super) scopes: &'a Scopes,
}

/// A header, or the lack of one, and where it came from.
pub(super) struct Authorized {
    pub(super) header: Option<HeaderValue>,
    pub(super) origin: CredentialOrigin,
    token: Option<Secret>,
    fresh: bool,
}

impl Authorized {
    /// Returns whether a refusal of this header stands: it was made just now, and `more` is not
    /// wanted of it than it was made for.
    pub(super) fn is_final(&self, more: bool) -> bool {
        self.header.is_some() && self.fresh && !more
    }
}

impl Authorizer {
    pub(super) fn new(
        http: HttpClient,
        credentials: Credentials,
        pull_retry: RetryPolicy,
        push_retry: RetryPolicy,
    ) -> Self {
        Self {
            credentials: Arc::new(credentials),
            tokens: Tokens::new(http),
            pull_retry,
            push_retry,
        }
    }

    pub(super) fn request<'a>(
        &self,
        target: &'a Target,
        base: &'a Url,
        scopes: &'a Scopes,
    ) -> Request<'a> {
        Request { target, base, scopes }
    }

    /// Returns what requests are authorised with.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Forgets what was refused with a request that cannot be repeated: a token, or else what a helper
    /// or a cloud gave, which is asked for anew.
    pub(super) async fn reject(&self, target: &Target, refused: &Authorized) {
        if let Some(token) = &refused.token {
            self.tokens.reject(token);
        } else if refused.header.is_some() {
            let (host, repository) = (&target.endpoint.host, &target.repository);
            // The next attempt says what is wrong with it.
            let _ = self.credentials.lookup(host, repository, Freshness::New).await;
        }
    }

    /// Parses a realm.
    ///
    /// # Errors
    /// When it is not a URL that a registry at the request's base may name.
    pub(super) fn check_realm(
        &self,
        request: &Request<'_>,
        realm: &str,
        endpoints: &Endpoints,
    ) -> Result<Url, Cause> {
        let refused = |shown: String, reason| Cause::Realm {
            host: request.target.endpoint.host.to_string(),
            realm: shown,
            reason,
        };
        let Ok(url) = request.base.join(realm) else {
            return Err(refused("…".to_owned(), "it is not a URL"));
        };
        match (url.scheme(), request.base.scheme()) {
            ("https", _) => Ok(url),
            ("http", "http") => {
                let host = url.host_str().unwrap_or_default();
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let listed = endpoints.is_listed(&RegistryHost::new(&format!("{host}{port}")));
                if listed || Some(host) == request.base.host_str() {
                    Ok(url)
                } else {
                    Err(refused(redact(&url), "another host is only trusted over https"))
                }
            }
            ("http", _) => Err(refused(redact(&url), "it is not https")),
            _ => Err(refused(redact(&url), "it is neither http nor https")),
        }
    }

    /// Makes the header that answers `challenge`. `refused` is what the registry did not take.
    pub(super) async fn authorize(
        &self,
        request: Request<'_>,
        challenge: &Challenge,
        realm: Option<(Url, Route)>,
        refused: Option<&Authorized>,
    ) -> Result<Authorized, Cause> {
        let endpoint = &request.target.endpoint;
        // A helper is asked again only after what it gave was refused for its own sake.
        let freshness = match refused {
            Some(sent) if sent.header.is_some() && realm.is_none() => Freshness::New,
            _ => Freshness::Remembered,
        };
        let lookup = |freshness| {
            self.credentials.lookup(&endpoint.host, &request.target.repository, freshness)
        };
        let mut found = lookup(freshness).await?;
        if found.credential.is_some()
            && request.base.scheme() == "http"
            && endpoint.clear_text != ClearText::Allowed
        {
            return Err(Cause::CredentialsInClear {
                host: endpoint.host.to_string(),
                origin: found.origin,
            });
        }
        if let Some(Credential::Registry(token)) = &found.credential {
            let (header, token) = (bearer(token), Some(token.clone()));
            return Ok(Authorized { header, origin: found.origin, token, fresh: true });
        }
        let Some((realm, route)) = realm else {
            let header = match &found.credential {
                Some(Credential::Password { username, password }) => basic(username, password),
                // A refresh token means nothing to a registry that has no token server.
                Some(Credential::Identity(_) | Credential::Registry(_)) | None => None,
            };
            let fresh = freshness == Freshness::New || !found.origin.is_renewed();
            return Ok(Authorized { header, origin: found.origin, token: None, fresh });
        };
        let service = match challenge {
            Challenge::Bearer { service, .. } => service.as_deref(),
            Challenge::Basic => None,
        };
        let retry = match endpoint.purpose {
            Purpose::Pull => self.pull_retry,
            Purpose::Push => self.push_retry,
        };
        let refused_token = refused.and_then(|sent| sent.token.as_ref());
        loop {
            let wanted = TokenRequest {
                realm: &realm,
                service,
                scopes: request.scopes,
                credential: found.credential.as_ref(),
                origin: &found.origin,
                trust: &route.trust,
                reach: route.reach,
                retry,
            };
            match self.tokens.get(&wanted, refused_token).await {
                Ok(obtained) => {
                    return Ok(Authorized {
                        header: bearer(&obtained.token),
                        origin: found.origin,
                        token: Some(obtained.token),
                        fresh: obtained.fetched_now,
                    });
                }
                // What a helper gave earlier may have expired during a long RUN.
                Err(Cause::Refused(refusal))
                    if matches!(refusal.status, 400 | 401) && found.origin.is_renewed() =>
                {
                    let again = lookup(Freshness::New).await?;
                    if again.credential == found.credential {
                        return Err(Cause::Refused(refusal));
                    }
                    found = again;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
