//! Workload identity federation: a token of another place is exchanged for one of Google's, and
//! that, where the file says so, for one of a service account.

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::IdentityError;
use super::super::exchange::Exchange;
use super::super::{CloudToken, read_needed};
use super::{CredentialsFile, SCOPE};
use crate::http::HttpClient;
use crate::secret::Secret;

/// What the token is called.
const NAME: &str = "workload identity federation";

#[derive(Deserialize)]
struct Impersonated {
    #[serde(rename = "accessToken")]
    access_token: String,
}

impl CredentialsFile {
    pub(super) async fn external_token(
        &self,
        http: &HttpClient,
    ) -> Result<CloudToken, IdentityError> {
        let subject = self.subject_token(http).await?;
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", self.text("audience")?),
            ("scope", SCOPE),
            ("subject_token_type", self.text("subject_token_type")?),
            ("subject_token", subject.expose()),
        ];
        let url = self.url(self.text("token_url")?, "token_url")?;
        let hidden = [subject.expose()];
        let exchange = Exchange { hidden: &hidden, ..Exchange::form(http, &url, &pairs) };
        let federated = exchange.json::<super::Answer>(http).await?.token(NAME);
        match self.content["service_account_impersonation_url"].as_str() {
            None | Some("") => Ok(federated),
            Some(url) => self.impersonate(http, url, &federated).await,
        }
    }

    async fn impersonate(
        &self,
        http: &HttpClient,
        url: &str,
        federated: &CloudToken,
    ) -> Result<CloudToken, IdentityError> {
        let url = self.url(url, "service_account_impersonation_url")?;
        let shown = format!("Bearer {}", federated.text.expose());
        let mut shown = HeaderValue::from_str(&shown)
            .map_err(|_| self.unusable("the token it leads to cannot be sent"))?;
        shown.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, shown);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let hidden = [federated.text.expose()];
        let exchange = Exchange {
            method: Method::POST,
            url: &url,
            headers,
            body: Some(json!({"scope": [SCOPE]}).to_string().into()),
            trust: http.usual_trust(),
            hidden: &hidden,
        };
        let answer: Impersonated = exchange.json(http).await?;
        // An hour, if nothing else was asked for; the earlier token says the same or less.
        Ok(CloudToken { text: Secret::new(answer.access_token), ..federated.clone() })
    }

    /// Returns the token of the other place, from a file or a URL.
    async fn subject_token(&self, http: &HttpClient) -> Result<Secret, IdentityError> {
        let source = &self.content["credential_source"];
        if let Some(file) = source["file"].as_str() {
            let text = read_needed(file.as_ref())?;
            return self.pick(source, text.trim());
        }
        let Some(text) = source["url"].as_str().filter(|_| source["environment_id"].is_null())
        else {
            let kinds = ["environment_id", "executable", "certificate"];
            let reason = match kinds.into_iter().find(|key| !source[*key].is_null()) {
                Some(kind) => format!(
                    "`external_account` with `{kind}` in `credential_source` is not supported, only \
                     with `file` or `url`"
                ),
                None => "it has no `credential_source` with `file` or `url`".to_owned(),
            };
            return Err(self.unusable(reason));
        };
        let url = url::Url::parse(text)
            .map_err(|_| self.unusable("`credential_source.url` is not a URL"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in source["headers"].as_object().into_iter().flatten() {
            let name = HeaderName::try_from(name.as_str());
            let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
            let (Ok(name), Ok(mut value)) = (name, value) else {
                return Err(self.unusable("`credential_source.headers` cannot be sent"));
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let answer = Exchange::get(http, &url, headers).send(http).await?;
        self.pick(source, String::from_utf8_lossy(&answer).trim())
    }

    /// Takes the token out of what was read.
    fn pick(&self, source: &Value, text: &str) -> Result<Secret, IdentityError> {
        let format = &source["format"];
        if format["type"].as_str() != Some("json") {
            return Ok(Secret::new(text));
        }
        let field = format["subject_token_field_name"].as_str().unwrap_or_default();
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        match answer[field].as_str() {
            Some(token) => Ok(Secret::new(token)),
            None => Err(self.unusable("`credential_source` leads to no token")),
        }
    }
}
