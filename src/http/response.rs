//! What comes back: heads as they are, bodies piece by piece, watched for silence.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use url::Url;

use super::client::silent;
use super::error::HttpError;

/// A response whose body has not been read.
pub struct Response {
    inner: reqwest::Response,
    host: String,
    stall: Duration,
}

impl Response {
    pub(super) fn new(inner: reqwest::Response, host: String, stall: Duration) -> Self {
        Self { inner, host, stall }
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns a header's value if it is there once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// Returns the body's length if the server announced it.
    pub fn content_length(&self) -> Option<u64> {
        self.inner.content_length()
    }

    /// Returns the URL that answered; it may hold secrets, so show it only redacted.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// Returns `host[:port]` of the server.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the next piece of the body, or `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks, ends early, or is silent for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        match tokio::time::timeout(self.stall, self.inner.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(HttpError::from_reqwest(&self.host, error)),
            Err(_) => Err(silent(self.host.clone(), self.stall)),
        }
    }

    /// Reads the whole body into memory, at most `limit` bytes.
    ///
    /// # Errors
    /// [`HttpError::TooLarge`] as soon as more than `limit` bytes are announced or arrive, and
    /// those of [`Response::chunk`].
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes, HttpError> {
        let too_large = |host: &str| HttpError::TooLarge { host: host.to_owned(), limit };
        if self.inner.content_length().is_some_and(|length| length > limit) {
            return Err(too_large(&self.host));
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            let total = body.len().saturating_add(chunk.len());
            if u64::try_from(total).map_or(true, |total| total > limit) {
                return Err(too_large(&self.host));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}
