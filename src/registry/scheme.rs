//! Whether a registry is spoken to by https or in clear text.

use futures_util::future::{Either, ready, select};
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::pin::pin;
use url::Url;

use super::challenge;
use super::endpoint::{ClearText, Endpoint};
use super::error::Cause;
use super::host::RegistryHost;
use super::transport::{drain, invalid_host};
use crate::http::{HttpClient, HttpError, Outgoing, Reach, Response};
use crate::report::fault::one_line;

/// What is asked to find out the scheme: a read, for which nothing is shown.
pub(super) struct Question<'a> {
    /// Where, from the API's root.
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
}

/// Returns the root of a registry's API, finding out the scheme where that is open.
///
/// # Errors
/// When it answers neither way, or shows a certificate that is not accepted.
pub(super) async fn negotiate(http: &HttpClient, endpoint: &Endpoint) -> Result<Url, Cause> {
    if let Some(known) = known_root(http, endpoint)? {
        return Ok(known);
    }
    let ping = Question { path: "", headers: &HeaderMap::new() };
    let (base, response) = find_out(http, endpoint, &ping).await?;
    if let Some(wanted) = challenge::wanted(&response) {
        endpoint.manners.learn(&wanted);
    }
    drain(response).await;
    Ok(base)
}

/// Asks for a registry's root for the sake of the connection that is left, whatever the answer.
///
/// # Errors
/// When there is no connection.
pub(super) async fn knock(http: &HttpClient, endpoint: &Endpoint) -> Result<(), Cause> {
    let ping = Question { path: "", headers: &HeaderMap::new() };
    let response = match known_root(http, endpoint)? {
        Some(root) => ask(http, endpoint, &root, &ping).await?,
        None => find_out(http, endpoint, &ping).await?.1,
    };
    drain(response).await;
    Ok(())
}

/// Returns the root of a registry's API where there is nothing to find out.
fn known_root(http: &HttpClient, endpoint: &Endpoint) -> Result<Option<Url>, Cause> {
    if http.has_gateway() {
        return root("http", &endpoint.host).map(Some);
    }
    match endpoint.clear_text {
        ClearText::Refused => root("https", &endpoint.host).map(Some),
        ClearText::Anonymous | ClearText::Allowed => Ok(endpoint.manners.base.get().cloned()),
    }
}

/// Asks both ways at once; returns the root of the API, and the answer of the way that counts.
///
/// # Errors
/// As [`negotiate`].
pub(super) async fn find_out(
    http: &HttpClient,
    endpoint: &Endpoint,
    question: &Question<'_>,
) -> Result<(Url, Response), Cause> {
    let (https, plain) = (root("https", &endpoint.host)?, root("http", &endpoint.host)?);
    let at = |root: &Url| root.join(question.path).map_err(|_| invalid_host(&endpoint.host));
    let (https_url, plain_url) = (at(&https)?, at(&plain)?);
    // At once, since one without TLS would cost the round trips of a handshake that fails; but what
    // is said in clear text counts only after that failure.
    let secured = pin!(ask(http, endpoint, &https_url, question));
    let in_clear = pin!(ask(http, endpoint, &plain_url, question));
    let (secured, in_clear) = match select(secured, in_clear).await {
        Either::Left((secured, in_clear)) => (secured, Either::Left(in_clear)),
        Either::Right((in_clear, secured)) => (secured.await, Either::Right(ready(in_clear))),
    };
    let error = match secured {
        Ok(response) => return Ok((https, response)),
        Err(error) => error,
    };
    // On one and the same port, a server that showed a certificate will not speak plain HTTP.
    let speaks_tls = error.is_certificate_failure() && https.port().is_some();
    if !error.is_connection_failure() || speaks_tls {
        return Err(error.into());
    }
    match in_clear.await {
        Ok(response) => {
            tracing::debug!(host = %endpoint.host, "registry speaks plain HTTP");
            Ok((plain, response))
        }
        // Nothing listens at all: one message is enough.
        Err(_) if matches!(error, HttpError::Connect { .. } | HttpError::Resolve { .. }) => {
            Err(error.into())
        }
        Err(second) => Err(Cause::BothSchemes { https: one_line(&error), http: second }),
    }
}

async fn ask(
    http: &HttpClient,
    endpoint: &Endpoint,
    url: &Url,
    question: &Question<'_>,
) -> Result<Response, HttpError> {
    let outgoing = Outgoing {
        method: Method::GET,
        url,
        headers: question.headers.clone(),
        body: None,
        trust: &endpoint.trust,
        reach: Reach::Anywhere,
    };
    http.send(outgoing).await
}

fn root(scheme: &str, host: &RegistryHost) -> Result<Url, Cause> {
    Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|_| invalid_host(host))
}
