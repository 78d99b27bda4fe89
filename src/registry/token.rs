//! Bearer tokens: fetched once, shared, renewed in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::credentials::{Credential, CredentialOrigin};
use super::error::Cause;
use super::refusal::{Party, Refusal};
use super::scope::Scopes;
use crate::http::{
    Backoff, HttpClient, Origin, Outgoing, OutgoingBody, Reach, Response, RetryPolicy, Trust,
    is_redirect, redirect_target,
};
use crate::report::fault::one_line;
use crate::secret::Secret;

/// Largest answer of a token server that is read, in bytes; as in containers/image.
const TOKEN_LIMIT: u64 = 1 << 20;

/// A token that says nothing about its end lives this long (distribution spec).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// How long before its end a token is no longer used: clocks differ and requests take time. A
/// quarter of its life, for tokens that live only seconds.
const MARGIN: Duration = Duration::from_secs(30);

/// How we introduce ourselves to OAuth2 token servers.
const CLIENT_ID: &str = "zuwai";

/// A wanted token.
pub(super) struct TokenRequest<'a> {
    pub(super) realm: &'a Url,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a Scopes,
    pub(super) credential: Option<&'a Credential>,
    /// For error messages.
    pub(super) origin: &'a CredentialOrigin,
    pub(super) trust: &'a Trust,
    pub(super) reach: Reach,
    pub(super) retry: RetryPolicy,
}

/// A token and whether this very call fetched it.
pub(super) struct Obtained {
    pub(super) token: Secret,
    pub(super) fetched_now: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    realm: String,
    service: Option<String>,
    scopes: Scopes,
}

struct Cached {
    token: Secret,
    usable_until: Instant,
}

/// A token, or none yet, under the lock that makes concurrent callers wait for one request.
type Slot = Arc<tokio::sync::Mutex<Option<Cached>>>;

/// All tokens of one build.
pub(super) struct Tokens {
    http: HttpClient,
    slots: Mutex<HashMap<Key, Slot>>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

impl Tokens {
    pub(super) fn new(http: HttpClient) -> Self {
        Self { http, slots: Mutex::new(HashMap::new()) }
    }

    /// Returns a usable token. `refused` is one that the registry no longer takes: if it is still
    /// the newest, a new one is fetched; if another caller has replaced it, that one is used.
    pub(super) async fn get(
        &self,
        request: &TokenRequest<'_>,
        refused: Option<&Secret>,
    ) -> Result<Obtained, Cause> {
        let key = Key {
            realm: request.realm.to_string(),
            service: request.service.map(str::to_owned),
            scopes: request.scopes.clone(),
        };
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        };
        let mut cached = slot.lock().await;
        if let Some(known) = &*cached
            && known.usable_until > Instant::now()
            && refused != Some(&known.token)
        {
            return Ok(Obtained { token: known.token.clone(), fetched_now: false });
        }
        let fresh = self.fetch_with_retries(request).await?;
        let token = fresh.token.clone();
        *cached = Some(fresh);
        Ok(Obtained { token, fetched_now: true })
    }

    /// Forgets `token`, which a registry no longer takes.
    pub(super) fn reject(&self, token: &Secret) {
        let slots: Vec<Slot> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.values().cloned().collect()
        };
        for slot in slots {
            // A slot that is locked is being renewed already.
            if let Ok(mut cached) = slot.try_lock()
                && cached.as_ref().is_some_and(|known| known.token == *token)
            {
                *cached = None;
            }
        }
    }

    async fn fetch_with_retries(&self, request: &TokenRequest<'_>) -> Result<Cached, Cause> {
        let mut backoff = Backoff::new(request.retry);
        loop {
            let error = match self.fetch(request).await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            let asked = match &error {
                Cause::Refused(refusal) => refusal.retry_after,
                _ => None,
            };
            let wait = if error.is_temporary() { backoff.next_wait(asked) } else { None };
            let Some(wait) = wait else { return Err(error) };
            tracing::warn!(
                host = request.realm.host_str(),
                attempt = backoff.failures(),
                limit = backoff.limit(),
                error = one_line(&error),
                "token request failed, trying again"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn fetch(&self, request: &TokenRequest<'_>) -> Result<Cached, Cause> {
        let asked_at = Instant::now();
        let (method, response) = match request.credential {
            Some(Credential::Identity(token)) => (Method::POST, self.post(request, token).await?),
            _ => (Method::GET, self.get_token(request).await?),
        };
        if !response.status().is_success() {
            let refusal = Refusal::read(Party::TokenServer, &method, response).await;
            let refusal = match request.credential {
                Some(Credential::Password { password, .. }) => refusal.without(password.expose()),
                Some(Credential::Identity(token)) => refusal.without(token.expose()),
                Some(Credential::Registry(_)) | None => refusal,
            };
            return Err(refusal.with_credential(Some(request.origin.clone())).into());
        }
        let host = response.host().to_owned();
        let unusable = |reason: &str| Cause::Content {
            host: host.clone(),
            what: "a token answer",
            reason: reason.to_owned(),
        };
        let body = response.bytes(TOKEN_LIMIT).await?;
        // The parser's own message could quote the token.
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| unusable("it is not the expected JSON"))?;
        let text = [answer.token, answer.access_token]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .ok_or_else(|| unusable("it holds no token"))?;
        let lifetime = lifetime(&text, answer.expires_in);
        let usable = lifetime.saturating_sub(MARGIN.min(lifetime / 4));
        // Counted from before the request, on our own clock: no two clocks have to agree.
        let usable_until = asked_at.checked_add(usable).unwrap_or(asked_at);
        Ok(Cached { token: Secret::new(text), usable_until })
    }

    async fn get_token(&self, request: &TokenRequest<'_>) -> Result<Response, Cause> {
        let mut url = request.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = request.service {
                query.append_pair("service", service);
            }
            for scope in request.scopes.texts() {
                query.append_pair("scope", &scope);
            }
            if let Some(Credential::Password { username, .. }) = request.credential {
                query.append_pair("account", username);
            }
        }
        let mut headers = HeaderMap::new();
        if let Some(Credential::Password { username, password }) = request.credential
            && let Some(value) = basic(username, password)
        {
            headers.insert(AUTHORIZATION, value);
        }
        let mut followed = 0;
        loop {
            let outgoing = Outgoing {
                method: Method::GET,
                url: &url,
                headers: headers.clone(),
                body: None,
                trust: request.trust,
                reach: request.reach,
            };
            let response = self.http.send(outgoing).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let next = redirect_target(&url, response.header("location"), followed)?;
            if !Origin::same(&next, request.realm) {
                // Another server would get either our password or a useless request.
                return Err(Cause::Realm {
                    host: response.host().to_owned(),
                    realm: crate::http::redact(&next),
                    reason: "a token server must not redirect to another host",
                });
            }
            followed += 1;
            url = next;
        }
    }

    async fn post(&self, request: &TokenRequest<'_>, token: &Secret) -> Result<Response, Cause> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let outgoing = Outgoing {
            method: Method::POST,
            url: request.realm,
            headers,
            body: Some(OutgoingBody::Bytes(refresh_form(request, token).into())),
            trust: request.trust,
            reach: request.reach,
        };
        Ok(self.http.send(outgoing).await?)
    }
}

/// Returns the form that exchanges a refresh token for an access token.
fn refresh_form(request: &TokenRequest<'_>, token: &Secret) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("client_id", CLIENT_ID);
    form.append_pair("refresh_token", token.expose());
    if let Some(service) = request.service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", &request.scopes.texts().join(" "));
    form.finish()
}

/// Returns a sensitive `Basic` header; `None` only if the name cannot be in a header at all.
pub(super) fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose()))))
}

/// Returns a sensitive `Bearer` header; `None` if the token has characters that no header takes.
pub(super) fn bearer(token: &Secret) -> Option<HeaderValue> {
    sensitive(format!("Bearer {}", token.expose()))
}

fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns how long a token lives: what the server says, and no longer than the token itself says.
fn lifetime(token: &str, expires_in: Option<f64>) -> Duration {
    let said = expires_in
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match (said, claimed_lifetime(token)) {
        (Some(said), Some(claimed)) => said.min(claimed),
        (Some(lifetime), None) | (None, Some(lifetime)) => lifetime,
        (None, None) => DEFAULT_LIFETIME,
    }
}

/// Returns the span between a JWT's own `iat` (or `nbf`) and `exp`.
pub(super) fn claimed_lifetime(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
        iat: Option<f64>,
        nbf: Option<f64>,
    }
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&bytes).ok()?;
    Duration::try_from_secs_f64(claims.exp - claims.iat.or(claims.nbf)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_lives_as_long_as_server_and_token_agree_on() {
        let check = |token: &str, expires_in: Option<f64>, seconds: u64| {
            assert_eq!(lifetime(token, expires_in), Duration::from_secs(seconds), "{token}");
        };
        check("opaque", None, 60);
        check("opaque", Some(300.0), 300);
        check("opaque", Some(0.0), 60);
        check("opaque", Some(f64::NAN), 60);
        check("opaque", Some(-1.0), 60);
        check(&jwt(r#"{"iat":1000,"exp":1300}"#), None, 300);
        check(&jwt(r#"{"nbf":1000,"exp":1300}"#), Some(100.0), 100);
        check(&jwt(r#"{"iat":1000,"exp":1300}"#), Some(3600.0), 300);
        check(&jwt(r#"{"exp":1300}"#), None, 60);
        check(&jwt(r#"{"iat":2000,"exp":1300}"#), None, 60);
        check("a.!!.b", None, 60);
    }

    #[test]
    fn authorization_headers_are_marked_sensitive() {
        let basic = basic("user", &Secret::new("pass")).unwrap();
        assert_eq!(basic.to_str().unwrap(), "Basic dXNlcjpwYXNz");
        assert_eq!(format!("{basic:?}"), "Sensitive");
        assert_eq!(format!("{:?}", bearer(&Secret::new("t")).unwrap()), "Sensitive");
        assert!(bearer(&Secret::new("a\nb")).is_none());
    }
}
