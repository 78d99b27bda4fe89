//! One file from a URL into a sink: redirects, retries, resumption. For contexts and ADD.

use std::io::{self, Write};
use std::time::SystemTime;

use reqwest::Method;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use url::Url;

use super::address::Reach;
use super::client::{HttpClient, Outgoing};
use super::error::HttpError;
use super::origin::Origin;
use super::redact::redact;
use super::redirect::{RedirectError, is_redirect, redirect_target};
use super::response::Response;
use super::retry::{Backoff, RetryPolicy, is_temporary_status, retry_after};
use super::sink::write_blocking;
use crate::report::event::Gauge;

/// What to download, and within which bounds.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// Where it is.
    pub url: &'a Url,
    /// Shown to the URL's own server, and to none that it leads to.
    pub authorization: Option<&'a HeaderValue>,
    /// Which addresses the URL itself may lead to; redirects elsewhere never lead further than to
    /// private addresses, and only if the URL itself is private.
    pub reach: Reach,
    /// Most bytes to take.
    pub limit: u64,
    /// How often to try again.
    pub retry: RetryPolicy,
    /// Who is told how far it has come.
    pub gauge: Option<&'a Gauge>,
}

/// What was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The URL that served it, after redirects; may hold secrets, so show it only redacted.
    pub url: Url,
    /// Its size in bytes.
    pub bytes: u64,
    /// When the server says it was last changed.
    pub last_modified: Option<SystemTime>,
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No response.
    #[error("cannot download `{url}`")]
    Http {
        /// The redacted URL.
        url: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// A redirect that is not followed.
    #[error("cannot download `{url}`")]
    Redirect {
        /// The redacted URL.
        url: String,
        /// Why.
        #[source]
        source: RedirectError,
    },
    /// The server refused.
    #[error("cannot download `{url}`: the answer is {status}")]
    Status {
        /// The redacted URL.
        url: String,
        /// The status.
        status: reqwest::StatusCode,
    },
    /// The file is larger than allowed.
    #[error("`{url}` has more than {limit} bytes")]
    TooLarge {
        /// The redacted URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file changed between two parts of it.
    #[error("`{url}` changed while it was downloaded")]
    Changed {
        /// The redacted URL.
        url: String,
    },
    /// The sink failed.
    #[error("cannot write what `{url}` holds")]
    Sink {
        /// The redacted URL.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DownloadError {
    /// Returns whether trying again can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Http { source, .. } => source.is_temporary(),
            Self::Status { status, .. } => is_temporary_status(*status),
            Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Changed { .. }
            | Self::Sink { .. } => false,
        }
    }
}

impl HttpClient {
    /// Downloads a file. When this returns, all of it was written; on error, what was written must
    /// be thrown away. A broken transfer goes on where it broke if the server names versions of the
    /// file (a strong `ETag`); otherwise it is only tried again while nothing was written.
    ///
    /// # Errors
    /// When the file cannot be had within the bounds, or the sink fails.
    pub async fn download(
        &self,
        download: &Download<'_>,
        sink: &mut (dyn Write + Send),
    ) -> Result<Downloaded, DownloadError> {
        let mut transfer = Transfer { download, sink, received: 0, version: None };
        let mut backoff = Backoff::new(download.retry);
        loop {
            let before = transfer.received;
            let (error, asked) = match self.attempt(&mut transfer).await {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            backoff.progressed(transfer.received.saturating_sub(before));
            let resumable = transfer.received == 0 || transfer.version.is_some();
            if !error.is_temporary() || !resumable {
                return Err(error);
            }
            let Some(wait) = backoff.next_wait(asked) else { return Err(error) };
            tracing::warn!(
                url = redact(download.url),
                attempt = backoff.failures(),
                limit = backoff.limit(),
                wait_ms = wait.as_millis(),
                %error,
                "download failed, trying again"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, transfer: &mut Transfer<'_>) -> Result<Downloaded, Failed> {
        let mut response = self.follow(transfer).await?;
        let status = response.status();
        if !status.is_success() {
            let asked = retry_after(response.headers(), SystemTime::now());
            return Err((DownloadError::Status { url: transfer.shown(), status }, asked));
        }
        let mut skip = transfer.begin(&response)?;
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Err(transfer.http(error)),
            };
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip = skip.saturating_sub(u64::try_from(passed).unwrap_or(u64::MAX));
            transfer.take(chunk.get(passed..).unwrap_or_default())?;
        }
        if skip > 0 {
            return Err((DownloadError::Changed { url: transfer.shown() }, None));
        }
        let modified = response.headers().get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
        Ok(Downloaded {
            url: response.url().clone(),
            bytes: transfer.received,
            last_modified: modified.and_then(|text| httpdate::parse_http_date(text).ok()),
        })
    }

    /// Asks for what is missing, wherever the URL leads.
    async fn follow(&self, transfer: &mut Transfer<'_>) -> Result<Response, Failed> {
        let first = transfer.download.url;
        let mut url = first.clone();
        let mut followed = 0;
        loop {
            let reach = if Origin::same(&url, first) {
                transfer.download.reach
            } else if self.is_private(first).await && transfer.download.reach != Reach::PublicOnly {
                Reach::PublicAndPrivate
            } else {
                Reach::PublicOnly
            };
            let mut headers = transfer.headers();
            if let Some(authorization) = transfer.download.authorization
                && Origin::same(&url, first)
            {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let outgoing = Outgoing {
                method: Method::GET,
                url: &url,
                headers,
                body: None,
                trust: self.usual_trust(),
                reach,
            };
            let response = match self.send(outgoing).await {
                Ok(response) => response,
                Err(error) => return Err(transfer.http(error)),
            };
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            url =
                redirect_target(&url, response.header("location"), followed).map_err(|source| {
                    (DownloadError::Redirect { url: transfer.shown(), source }, None)
                })?;
            followed += 1;
        }
    }
}

/// An error, and how long the server asked to wait.
type Failed = (DownloadError, Option<std::time::Duration>);

struct Transfer<'a> {
    download: &'a Download<'a>,
    sink: &'a mut (dyn Write + Send),
    received: u64,
    /// The file's version, if the server names it so that parts can be put together.
    version: Option<HeaderValue>,
}

impl Transfer<'_> {
    fn shown(&self) -> String {
        redact(self.download.url)
    }

    fn http(&self, source: HttpError) -> Failed {
        (DownloadError::Http { url: self.shown(), source }, None)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(version) = &self.version
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.received))
            && self.received > 0
        {
            headers.insert(RANGE, range);
            headers.insert(IF_RANGE, version.clone());
        }
        headers
    }

    /// Takes note of a response's head; returns how many bytes of its body are known already.
    fn begin(&mut self, response: &Response) -> Result<u64, Failed> {
        let version = response
            .headers()
            .get(ETAG)
            .filter(|value| value.as_bytes().starts_with(b"\""))
            .cloned();
        if self.received > 0 && version != self.version {
            return Err((DownloadError::Changed { url: self.shown() }, None));
        }
        self.version = version;
        let announced = response.content_length().unwrap_or_default();
        if let (Some(gauge), Some(bytes)) = (self.download.gauge, response.content_length()) {
            gauge.set_total(self.received.saturating_add(bytes));
        }
        if response.status() == reqwest::StatusCode::PARTIAL_CONTENT {
            let expected = format!("bytes {}-", self.received);
            let range = response.headers().get(CONTENT_RANGE).map(HeaderValue::as_bytes);
            if !range.is_some_and(|range| range.starts_with(expected.as_bytes())) {
                return Err((DownloadError::Changed { url: self.shown() }, None));
            }
            self.check_limit(self.received.saturating_add(announced))?;
            return Ok(0);
        }
        self.check_limit(announced)?;
        Ok(self.received)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let total = self.received.saturating_add(length);
        self.check_limit(total)?;
        write_blocking(self.sink, bytes)
            .map_err(|source| (DownloadError::Sink { url: self.shown(), source }, None))?;
        self.received = total;
        if let Some(gauge) = self.download.gauge {
            gauge.set(total);
        }
        Ok(())
    }

    fn check_limit(&self, bytes: u64) -> Result<(), Failed> {
        let limit = self.download.limit;
        if bytes > limit {
            return Err((DownloadError::TooLarge { url: self.shown(), limit }, None));
        }
        Ok(())
    }
}
