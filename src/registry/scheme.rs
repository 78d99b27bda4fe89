//! Whether a registry is spoken to by https or in clear text.

use futures_util::future::{Either, ready, select};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use std::pin::pin;
use url::Url;

use super::challenge::{self, Challenge};
use super::endpoint::{ClearText, Endpoint};
use super::error::Cause;
use super::host::RegistryHost;
use super::transport::{drain, invalid_host};
use crate::http::{HttpClient, HttpError, Outgoing, Reach};
use crate::report::fault::one_line;

/// Returns the root of a registry's API, finding out the scheme where that is open.
///
/// # Errors
/// When it answers neither way, or shows a certificate that is not accepted.
pub(super) async fn negotiate(http: &HttpClient, endpoint: &Endpoint) -> Result<Url, Cause> {
    if http.has_gateway() {
        return root("http", &endpoint.host);
    }
    let https = root("https", &endpoint.host)?;
    if endpoint.clear_text == ClearText::Refused {
        return Ok(https);
    }
    // Both are asked at once, since one without TLS would cost the round trips of a handshake that
    // fails; but what is said in clear text counts only after that failure.
    let plain = root("http", &endpoint.host)?;
    let secured = pin!(ping(http, endpoint, &https));
    let in_clear = pin!(ping(http, endpoint, &plain));
    let (secured, in_clear) = match select(secured, in_clear).await {
        Either::Left((secured, in_clear)) => (secured, Either::Left(in_clear)),
        Either::Right((in_clear, secured)) => (secured.await, Either::Right(ready(in_clear))),
    };
    let error = match secured {
        Ok(challenge) => {
            learn(endpoint, challenge);
            return Ok(https.clone());
        }
        Err(error) => error,
    };
    // On one and the same port, a server that showed a certificate will not speak plain HTTP.
    let speaks_tls = error.is_certificate_failure() && https.port().is_some();
    if !error.is_connection_failure() || speaks_tls {
        return Err(error.into());
    }
    match in_clear.await {
        Ok(challenge) => {
            learn(endpoint, challenge);
            tracing::debug!(host = %endpoint.host, "registry speaks plain HTTP");
            Ok(plain.clone())
        }
        // Nothing listens at all: one message is enough.
        Err(_) if matches!(error, HttpError::Connect { .. } | HttpError::Resolve { .. }) => {
            Err(error.into())
        }
        Err(second) => Err(Cause::BothSchemes { https: one_line(&error), http: second }),
    }
}

/// Asks for the root of the API, and returns what it wants to be shown.
async fn ping(
    http: &HttpClient,
    endpoint: &Endpoint,
    root: &Url,
) -> Result<Option<Challenge>, HttpError> {
    let outgoing = Outgoing {
        method: Method::GET,
        url: root,
        headers: HeaderMap::new(),
        body: None,
        trust: &endpoint.trust,
        reach: Reach::Anywhere,
    };
    let response = http.send(outgoing).await?;
    let challenge = (response.status() == StatusCode::UNAUTHORIZED)
        .then(|| challenge::choose(response.headers()))
        .flatten();
    drain(response).await;
    Ok(challenge)
}

fn learn(endpoint: &Endpoint, challenge: Option<Challenge>) {
    if let Some(challenge) = challenge {
        endpoint.learn(&challenge);
    }
}

fn root(scheme: &str, host: &RegistryHost) -> Result<Url, Cause> {
    Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|_| invalid_host(host))
}
