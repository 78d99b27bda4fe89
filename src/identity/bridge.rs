//! `object_store`'s requests on our own connections, and what the servers had to say.
//!
//! So roots, proxies, resolver and time limits are those of every other request, and an error shows
//! the server's own words instead of a crate's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient as StoreClient, HttpConnector, HttpError as StoreError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use tokio::sync::mpsc;
use url::Url;

use super::error::IdentityError;
use super::refusal::Refusal;
use crate::http::{HttpClient, HttpError, Outgoing, OutgoingBody, Reach, Response};

/// Most bytes of an error's text that are read.
const ERROR_BYTES: u64 = 64 << 10;

/// Pieces of a body that wait for their reader.
const QUEUED_PIECES: usize = 4;

/// Makes connections for one object, and remembers what went wrong last.
#[derive(Clone)]
pub struct Bridge {
    http: HttpClient,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    trouble: Option<IdentityError>,
    region: Option<String>,
    answers: u64,
}

impl Bridge {
    /// Makes one on these connections.
    pub fn new(http: &HttpClient) -> Self {
        Self { http: http.clone(), seen: Arc::default() }
    }

    /// Returns the region that a server of S3 named as the bucket's.
    pub fn region(&self) -> Option<String> {
        self.seen().region.clone()
    }

    /// Says why `error` came about: what the network or a server said last, or else its own words.
    pub fn explain(&self, error: &object_store::Error) -> IdentityError {
        if let Some(trouble) = self.seen().trouble.take() {
            return trouble;
        }
        let mut innermost: &dyn std::error::Error = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        IdentityError::Client { reason: innermost.to_string() }
    }

    /// Nothing is half-done while it is locked.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: HttpError) -> StoreError {
        let kind = match error.is_temporary() {
            true => HttpErrorKind::Connect,
            false => HttpErrorKind::Unknown,
        };
        let told = Told(error.to_string());
        self.seen().trouble = Some(IdentityError::Http(error));
        StoreError::new(kind, told)
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, StoreError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())
            .map_err(|error| StoreError::new(HttpErrorKind::Unknown, error))?;
        let body = match parts.method {
            Method::GET | Method::HEAD => None,
            _ => Some(OutgoingBody::Bytes(body.as_bytes().cloned().unwrap_or_default())),
        };
        let outgoing = Outgoing {
            method: parts.method,
            url: &url,
            headers: parts.headers,
            body,
            trust: self.http.usual_trust(),
            // The user named the bucket, its endpoint, or the place of the credentials.
            reach: Reach::Anywhere,
        };
        let response = self.http.send(outgoing).await.map_err(|error| self.failed(error))?;
        let (status, mut headers) = (response.status(), response.headers().clone());
        let body = if status.is_success() {
            let mut seen = self.seen();
            seen.trouble = None;
            seen.answers += 1;
            complete(&mut headers, seen.answers);
            drop(seen);
            self.stream(response)
        } else {
            let region = response.header("x-amz-bucket-region").map(str::to_owned);
            let host = response.host().to_owned();
            let text = response.bytes(ERROR_BYTES).await.unwrap_or_else(|error| {
                // The status says enough.
                tracing::debug!(%error, "the text of a refusal cannot be read");
                Bytes::new()
            });
            let mut seen = self.seen();
            seen.region = region.or(seen.region.take());
            seen.trouble = Some(IdentityError::Refused(Refusal::read(host, status, &text)));
            HttpResponseBody::from(text)
        };
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Makes a body of a response; it ends the transfer when it is dropped.
    fn stream(&self, mut response: Response) -> HttpResponseBody {
        let (sender, receiver) = mpsc::channel(QUEUED_PIECES);
        let bridge = self.clone();
        tokio::spawn(async move {
            loop {
                let piece = match response.chunk().await {
                    Ok(Some(piece)) => Ok(piece),
                    Ok(None) => return,
                    Err(error) => Err(bridge.failed(error)),
                };
                let is_last = piece.is_err();
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        HttpResponseBody::new(Pieces(receiver))
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Bridge")
    }
}

impl HttpConnector for Bridge {
    /// The options say nothing that counts here: the client has its own.
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<StoreClient> {
        Ok(StoreClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Bridge {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, StoreError> {
        self.send(request).await
    }
}

/// The size of an object whose server does not say it, as where it is decompressed on the way.
pub const UNKNOWN_BYTES: u64 = i64::MAX as u64;

/// Adds what is asked of every answer, and what stand-ins and stores in front of stores leave out.
/// A version that no other answer has makes parts of two answers never one object.
fn complete(headers: &mut HeaderMap, answer: u64) {
    let mut add = |name, value: String| {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
    };
    add(LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT".to_owned());
    add(ETAG, format!("\"unknown-{answer}\""));
    add(CONTENT_LENGTH, UNKNOWN_BYTES.to_string());
}

/// What was told of an error that is kept as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

/// The pieces of a body, as they come.
struct Pieces(mpsc::Receiver<Result<Bytes, StoreError>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
