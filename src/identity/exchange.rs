//! One request to a server that gives credentials for others.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::error::IdentityError;
use super::refusal::Refusal;
use crate::http::{Backoff, HttpClient, Outgoing, OutgoingBody, Reach, RetryPolicy, Trust};

/// Most bytes of an answer.
const ANSWER_BYTES: u64 = 1 << 20;

/// How often it is tried again.
const RETRY: RetryPolicy = RetryPolicy {
    retries: 3,
    first_wait: Duration::from_millis(250),
    longest_wait: Duration::from_secs(5),
    longest_retry_after: Duration::from_secs(10),
    progress_bytes: u64::MAX,
};

/// A request whose answer is a credential.
pub(super) struct Exchange<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) trust: &'a Trust,
    /// What a refusal must not repeat.
    pub(super) hidden: &'a [&'a str],
}

impl<'a> Exchange<'a> {
    /// Asks with nothing but headers.
    pub(super) fn get(http: &'a HttpClient, url: &'a Url, headers: HeaderMap) -> Self {
        let trust = http.usual_trust();
        Self { method: Method::GET, url, headers, body: None, trust, hidden: &[] }
    }

    /// Makes a form.
    pub(super) fn form(http: &'a HttpClient, url: &'a Url, pairs: &[(&str, &str)]) -> Self {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, kind);
        Self {
            method: Method::POST,
            url,
            headers,
            body: Some(encoded(pairs).into()),
            trust: http.usual_trust(),
            hidden: &[],
        }
    }

    /// Sends it, again where that can help, and returns the body of a successful answer.
    pub(super) async fn send(&self, http: &HttpClient) -> Result<Bytes, IdentityError> {
        let mut backoff = Backoff::new(RETRY);
        loop {
            let error = match self.once(http).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = if error.is_temporary() { backoff.next_wait(None) } else { None };
            let Some(wait) = wait else { return Err(error) };
            tracing::debug!(host = self.url.host_str(), %error, "asking for a credential again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, http: &HttpClient) -> Result<Bytes, IdentityError> {
        let response = http
            .send(Outgoing {
                method: self.method.clone(),
                url: self.url,
                headers: self.headers.clone(),
                body: self.body.clone().map(OutgoingBody::Bytes),
                trust: self.trust,
                // The user named it, or it is the cloud's own.
                reach: Reach::Anywhere,
            })
            .await?;
        let (status, host) = (response.status(), response.host().to_owned());
        let body = response.bytes(ANSWER_BYTES).await?;
        // No redirect is followed: what is sent is a secret.
        if status.is_success() {
            return Ok(body);
        }
        let refusal = Refusal::read(host, status, &body);
        let refusal = self.hidden.iter().fold(refusal, |refusal, secret| refusal.without(secret));
        Err(IdentityError::Refused(refusal))
    }

    /// Sends it, and reads the answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        http: &HttpClient,
    ) -> Result<T, IdentityError> {
        let answer = self.send(http).await?;
        // The parser's own message could quote a token.
        serde_json::from_slice(&answer).map_err(|_| self.unusable("it is not the expected JSON"))
    }

    /// Says what is wrong with the answer.
    pub(super) fn unusable(&self, reason: &'static str) -> IdentityError {
        let host = self.url.host_str().unwrap_or_default().to_owned();
        IdentityError::Answer { host, reason }
    }
}

/// Writes a form, which is a query too.
pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

/// Tells whether a secret may be sent there: by https, or without leaving this machine.
pub(super) fn may_have_secrets(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}
