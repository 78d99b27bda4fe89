//! Google's identities: files of credentials, federation from elsewhere, and the machine's account.

mod external;
mod service_account;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::CloudToken;
use super::error::IdentityError;
use super::exchange::{Exchange, may_have_secrets};
use super::kept::KeptFile;
use super::metadata::{Question, ask};
use crate::http::HttpClient;
use crate::secret::Secret;

/// What a token may be used for: whatever its owner may do.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where tokens are given, where a file does not say it.
const TOKEN_SERVER: &str = "https://oauth2.googleapis.com/token";

/// As whom Google is asked. What is `None` was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleSettings {
    /// A file with credentials (`GOOGLE_APPLICATION_CREDENTIALS`), which has to be there.
    pub credentials: Option<PathBuf>,
    /// Where gcloud leaves a user's credentials, which may be there.
    pub user_credentials: Option<PathBuf>,
    /// `host[:port]` of the metadata server.
    pub metadata_host: String,
}

impl Default for GoogleSettings {
    fn default() -> Self {
        let metadata_host = "metadata.google.internal".to_owned();
        Self { credentials: None, user_credentials: None, metadata_host }
    }
}

/// As whom Google is asked.
pub enum GoogleIdentity {
    /// A service account with its key, or a user, in a file.
    File(CredentialsFile),
    /// The account of the machine, or of the Pod that asked for it.
    Machine(CloudToken),
}

/// A file with credentials of a kind that can be used.
pub struct CredentialsFile {
    path: PathBuf,
    content: Value,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ServiceAccount,
    User,
    External,
}

impl GoogleIdentity {
    /// Returns what to call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(file) => match file.kind {
                Kind::ServiceAccount => "service account's key",
                Kind::User => "user's credentials",
                Kind::External => "workload identity federation",
            },
            Self::Machine(token) => token.identity,
        }
    }
}

impl CredentialsFile {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether its credentials are exchanged with Google for those of another cloud.
    pub fn is_external(&self) -> bool {
        self.kind == Kind::External
    }

    fn read(path: &Path, text: &str) -> Result<Self, IdentityError> {
        let content: Value = serde_json::from_str(text)
            // The error's text may quote the file.
            .map_err(|error| {
                IdentityError::unusable(path, format!("no JSON at line {}", error.line()))
            })?;
        let kind = match content["type"].as_str() {
            Some("service_account") => Kind::ServiceAccount,
            Some("authorized_user") => Kind::User,
            Some("external_account") => Kind::External,
            Some(kind) => {
                let reason = format!("credentials of type `{kind}` are not supported");
                return Err(IdentityError::unusable(path, reason));
            }
            None => return Err(IdentityError::unusable(path, "it has no `type`")),
        };
        Ok(Self { path: path.to_owned(), content, kind })
    }

    /// Returns a text that the file has to have.
    fn text(&self, key: &str) -> Result<&str, IdentityError> {
        self.content[key]
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.unusable(format!("it has no `{key}`")))
    }

    /// Returns a URL of the file that a secret may be sent to.
    fn url(&self, text: &str, key: &str) -> Result<Url, IdentityError> {
        Url::parse(text)
            .ok()
            .filter(may_have_secrets)
            .ok_or_else(|| self.unusable(format!("`{key}` is not an https URL")))
    }

    fn unusable(&self, reason: impl Into<String>) -> IdentityError {
        IdentityError::unusable(&self.path, reason)
    }

    /// Returns a token for these credentials.
    ///
    /// # Errors
    /// When the file lacks something, or the token server refuses.
    pub async fn token(&self, http: &HttpClient) -> Result<CloudToken, IdentityError> {
        match self.kind {
            Kind::ServiceAccount => self.service_account_token(http).await,
            Kind::User => self.user_token(http).await,
            Kind::External => self.external_token(http).await,
        }
    }

    async fn user_token(&self, http: &HttpClient) -> Result<CloudToken, IdentityError> {
        let (secret, refresh) = (self.text("client_secret")?, self.text("refresh_token")?);
        let pairs = [
            ("grant_type", "refresh_token"),
            ("client_id", self.text("client_id")?),
            ("client_secret", secret),
            ("refresh_token", refresh),
        ];
        self.exchange(http, TOKEN_SERVER, &pairs, &[secret, refresh], "user's credentials").await
    }

    async fn exchange(
        &self,
        http: &HttpClient,
        server: &str,
        pairs: &[(&str, &str)],
        hidden: &[&str],
        identity: &'static str,
    ) -> Result<CloudToken, IdentityError> {
        let url = self.url(server, "token_uri")?;
        let exchange = Exchange { hidden, ..Exchange::form(http, &url, pairs) };
        Ok(exchange.json::<Answer>(http).await?.token(identity))
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Answer {
    fn token(self, identity: &'static str) -> CloudToken {
        CloudToken {
            text: Secret::new(self.access_token),
            lifetime: self.expires_in.map(Duration::from_secs),
            identity,
        }
    }
}

/// Google's identities, with their files as they were when it was made.
#[derive(Clone, Debug)]
pub struct Google {
    metadata_host: String,
    named: Option<KeptFile>,
    usual: Option<KeptFile>,
}

impl Google {
    /// Reads the files that the settings name.
    pub fn new(settings: &GoogleSettings) -> Self {
        let read = |path: &Option<PathBuf>| path.as_deref().map(KeptFile::read);
        Self {
            metadata_host: settings.metadata_host.clone(),
            named: read(&settings.credentials),
            usual: read(&settings.user_credentials),
        }
    }

    /// Finds out as whom Google is to be asked; `None` when nobody is known here.
    ///
    /// # Errors
    /// When a file of credentials is there and cannot be used.
    pub async fn identify(
        &self,
        http: &HttpClient,
    ) -> Result<Option<GoogleIdentity>, IdentityError> {
        if let Some(file) = &self.named {
            let file = CredentialsFile::read(file.path(), file.needed()?)?;
            return Ok(Some(GoogleIdentity::File(file)));
        }
        if let Some(file) = &self.usual
            && let Some(text) = file.text()?
        {
            let file = CredentialsFile::read(file.path(), text)?;
            return Ok(Some(GoogleIdentity::File(file)));
        }
        let host = &self.metadata_host;
        let url =
            format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
        let header = ("metadata-flavor", "Google");
        let question = Question { method: Method::GET, url: &url, header };
        let Some(answer) = ask(http, &question).await else { return Ok(None) };
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|_| IdentityError::Metadata {
                host: host.clone(),
                reason: "there is no `access_token` in its answer".to_owned(),
            })?;
        Ok(Some(GoogleIdentity::Machine(answer.token("machine's service account"))))
    }

    /// Returns a token; `None` when nobody is known here.
    ///
    /// # Errors
    /// As [`Google::identify`], and when who is named gets none.
    pub async fn token(&self, http: &HttpClient) -> Result<Option<CloudToken>, IdentityError> {
        match self.identify(http).await? {
            None => Ok(None),
            Some(GoogleIdentity::Machine(token)) => Ok(Some(token)),
            Some(GoogleIdentity::File(file)) => file.token(http).await.map(Some),
        }
    }
}
