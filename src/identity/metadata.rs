//! Asking a cloud's metadata server, which may not be there at all.
//!
//! Off-cloud nothing answers at its address, or something that knows nothing of it, so there is a
//! short limit on every try and a small number of tries; then the answer is that there is none.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::http::{HttpClient, HttpError, Outgoing, OutgoingBody, Reach};

/// How long one try may take. A metadata server is on the same machine.
const TRY: Duration = Duration::from_millis(1000);

/// Tries. A server that is there but slow, as when many Pods start, gets a second one.
const TRIES: u32 = 2;

/// Most bytes of an answer.
const ANSWER_BYTES: u64 = 64 << 10;

/// A question to a metadata server.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) header: (&'static str, &'static str),
}

/// Returns the body of a successful answer; `None` when nobody answers, or with anything else.
pub(super) async fn ask(http: &HttpClient, question: &Question<'_>) -> Option<Bytes> {
    let url = match Url::parse(question.url) {
        Ok(url) => url,
        Err(error) => {
            tracing::warn!(%error, "the address of the metadata server is no URL");
            return None;
        }
    };
    for _ in 0..TRIES {
        match tokio::time::timeout(TRY, once(http, question, &url)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => {
                tracing::debug!(%error, "no metadata server");
                return None;
            }
            Err(_) => tracing::debug!("the metadata server takes its time"),
        }
    }
    None
}

async fn once(
    http: &HttpClient,
    question: &Question<'_>,
    url: &Url,
) -> Result<Option<Bytes>, HttpError> {
    let (name, value) = question.header;
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    let outgoing = Outgoing {
        method: question.method.clone(),
        url,
        headers,
        // Its length counts, even of nothing.
        body: (question.method == Method::PUT).then(|| OutgoingBody::Bytes(Bytes::new())),
        trust: http.usual_trust(),
        reach: Reach::Anywhere,
    };
    let response = http.send(outgoing).await?;
    if !response.status().is_success() {
        tracing::debug!(status = response.status().as_u16(), "no identity at the metadata server");
        return Ok(None);
    }
    response.bytes(ANSWER_BYTES).await.map(Some)
}
