//! A request that is signed with Amazon's keys.

use bytes::Bytes;
use hyper::Request;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::super::error::IdentityError;
use super::super::exchange::Exchange;
use super::AwsKeys;
use crate::http::HttpClient;

/// A POST to one of Amazon's services.
pub struct AwsCall<'a> {
    /// The service, as signatures name it.
    pub service: &'a str,
    /// The region, as signatures name it.
    pub region: &'a str,
    /// Where to.
    pub url: &'a Url,
    /// The body's type.
    pub content_type: &'static str,
    /// The operation, where the protocol has it in a header (`X-Amz-Target`).
    pub target: Option<&'static str>,
    /// The body.
    pub body: String,
}

impl AwsCall<'_> {
    /// Signs and sends it, and returns the body of a successful answer.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached.
    pub async fn send(&self, keys: &AwsKeys, http: &HttpClient) -> Result<Bytes, IdentityError> {
        let headers = self.headers(keys)?;
        let mut hidden = vec![keys.secret.expose()];
        hidden.extend(keys.token.as_ref().map(|token| token.expose()));
        let exchange = Exchange {
            method: Method::POST,
            url: self.url,
            headers,
            body: Some(Bytes::from(self.body.clone())),
            trust: http.usual_trust(),
            hidden: &hidden,
        };
        exchange.send(http).await
    }

    fn headers(&self, keys: &AwsKeys) -> Result<HeaderMap, IdentityError> {
        let client = |reason: &str| IdentityError::Client { reason: reason.to_owned() };
        // The crate takes for granted that these can be in a header.
        let token = keys.token.as_ref().map_or("", |token| token.expose());
        if HeaderValue::from_str(&keys.id).is_err() || HeaderValue::from_str(token).is_err() {
            return Err(client("the key of Amazon has characters that cannot be sent"));
        }
        let mut request: HttpRequest = Request::builder()
            .method(Method::POST)
            .uri(self.url.as_str())
            .body(HttpRequestBody::from(self.body.clone()))
            .map_err(|_| client("the address of Amazon's service is not usable"))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(target) = self.target {
            headers.insert("x-amz-target", HeaderValue::from_static(target));
        }
        let credential = AwsCredential {
            key_id: keys.id.clone(),
            secret_key: keys.secret.expose().to_owned(),
            token: keys.token.as_ref().map(|token| token.expose().to_owned()),
        };
        AwsAuthorizer::new(&credential, self.service, self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| IdentityError::Client { reason: error.to_string() })?;
        Ok(std::mem::take(request.headers_mut()))
    }
}
