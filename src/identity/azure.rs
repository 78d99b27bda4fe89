//! Azure's identities: applications with a federated token or a password, and the machine's own.

mod file;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::error::IdentityError;
use super::exchange::{Exchange, encoded, may_have_secrets};
use super::kept::KeptFile;
use super::metadata::{Question, ask};
use super::{CloudToken, read_needed};
use crate::http::HttpClient;
use crate::secret::Secret;

/// Where a machine of Azure finds its tokens.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// One of Azure's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureCloud {
    /// The public one.
    Public,
    /// China's.
    China,
    /// Germany's, which is closed.
    Germany,
    /// That of the government of the USA.
    Government,
}

impl AzureCloud {
    /// Returns the URL that gives tokens in this cloud, without a slash at its end.
    pub fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::Germany => "https://login.microsoftonline.de",
            Self::Government => "https://login.microsoftonline.us",
        }
    }
}

/// As whom Azure is asked. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AzureSettings {
    /// A file that [`Azure`] reads in the place of all that follows but where tokens are given
    /// (`--azure-container-registry-config`).
    pub file: Option<PathBuf>,
    /// An application (`AZURE_CLIENT_ID`).
    pub client: Option<String>,
    /// Its directory (`AZURE_TENANT_ID`).
    pub tenant: Option<String>,
    /// Its password (`AZURE_CLIENT_SECRET`).
    pub client_secret: Option<Secret>,
    /// A certificate that stands for the application, which cannot be used
    /// (`AZURE_CLIENT_CERTIFICATE_PATH`).
    pub client_certificate: Option<PathBuf>,
    /// The file with a token of the cluster that stands for the application
    /// (`AZURE_FEDERATED_TOKEN_FILE`).
    pub federated_token_file: Option<PathBuf>,
    /// Where tokens are given (`AZURE_AUTHORITY_HOST`).
    pub authority: Option<String>,
    /// Where App Service and Container Apps give the tokens of their identity.
    pub endpoint: Option<IdentityEndpoint>,
}

/// Where a service of Azure gives the tokens of its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityEndpoint {
    /// Its URL (`IDENTITY_ENDPOINT`).
    pub url: String,
    /// What it wants to be shown (`IDENTITY_HEADER`).
    pub header: Secret,
}

/// As whom Azure is asked, so far as settings say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureIdentity<'a> {
    /// An application, for which a token of the cluster stands.
    Federated(&'a PathBuf),
    /// An application with a password.
    Password(&'a Secret),
    /// The machine's, if it has one.
    Machine,
}

impl AzureSettings {
    /// Returns as whom Azure is to be asked.
    pub fn identity(&self) -> AzureIdentity<'_> {
        let is_named = self.client.is_some() && self.tenant.is_some();
        match (&self.federated_token_file, &self.client_secret) {
            (Some(file), _) if is_named => AzureIdentity::Federated(file),
            (_, Some(secret)) if is_named => AzureIdentity::Password(secret),
            _ => AzureIdentity::Machine,
        }
    }

    /// Returns the URL that gives tokens, without a slash at its end.
    pub fn authority(&self, cloud: AzureCloud) -> &str {
        self.authority.as_deref().unwrap_or(cloud.authority()).trim_end_matches('/')
    }
}

/// Azure's identities, with the file that names one as it was when it was made.
#[derive(Clone, Debug)]
pub struct Azure {
    settings: AzureSettings,
    file: Option<KeptFile>,
}

impl Azure {
    /// Reads the file that the settings name.
    pub fn new(settings: &AzureSettings) -> Self {
        let file = settings.file.as_deref().map(KeptFile::read);
        Self { settings: settings.clone(), file }
    }

    /// Returns the settings, those of the file if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or names nobody that can be used.
    pub fn settings(&self) -> Result<Cow<'_, AzureSettings>, IdentityError> {
        match &self.file {
            None => Ok(Cow::Borrowed(&self.settings)),
            Some(file) => Ok(Cow::Owned(file::read(file, &self.settings)?)),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// A number, or a text that is one, as the server likes.
    #[serde(default)]
    expires_in: Value,
}

impl Answer {
    fn token(self, identity: &'static str) -> CloudToken {
        let seconds = match &self.expires_in {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        CloudToken {
            text: Secret::new(self.access_token),
            lifetime: seconds.map(Duration::from_secs),
            identity,
        }
    }
}

/// Returns a token for `resource`, a URL without a slash at its end; `None` when nobody is known
/// here.
///
/// # Errors
/// When who is named gets none.
pub async fn token(
    settings: &AzureSettings,
    cloud: AzureCloud,
    resource: &str,
    http: &HttpClient,
) -> Result<Option<CloudToken>, IdentityError> {
    let proof = match settings.identity() {
        AzureIdentity::Federated(file) => {
            let token = Secret::new(read_needed(file)?.trim());
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let pairs = [("client_assertion_type", kind.to_owned())];
            Some(("workload identity", "client_assertion", token, pairs.to_vec()))
        }
        AzureIdentity::Password(secret) => {
            Some(("client secret", "client_secret", secret.clone(), Vec::new()))
        }
        AzureIdentity::Machine => None,
    };
    if let Some((identity, key, secret, mut pairs)) = proof {
        let tenant = settings.tenant.as_deref().unwrap_or_default();
        let text = format!("{}/{tenant}/oauth2/v2.0/token", settings.authority(cloud));
        let url = secret_url("AZURE_AUTHORITY_HOST", &text)?;
        pairs.extend([
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", settings.client.clone().unwrap_or_default()),
            ("scope", format!("{resource}/.default")),
            (key, secret.expose().to_owned()),
        ]);
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let hidden = [secret.expose()];
        let exchange = Exchange { hidden: &hidden, ..Exchange::form(http, &url, &pairs) };
        return Ok(Some(exchange.json::<Answer>(http).await?.token(identity)));
    }
    if settings.client.is_some()
        && let Some(path) = &settings.client_certificate
    {
        return Err(IdentityError::unusable(
            path,
            "certificates of applications are not supported, use a password or a federated token",
        ));
    }
    machine_token(settings, resource, http).await
}

/// Asks the service around the container, or else the machine's metadata server.
async fn machine_token(
    settings: &AzureSettings,
    resource: &str,
    http: &HttpClient,
) -> Result<Option<CloudToken>, IdentityError> {
    let mut pairs = vec![("resource", resource)];
    pairs.extend(settings.client.as_deref().map(|client| ("client_id", client)));
    let query = encoded(&pairs);
    if let Some(endpoint) = &settings.endpoint {
        let variable = "IDENTITY_ENDPOINT";
        let wrong = |reason: &str| IdentityError::Variable { variable, reason: reason.to_owned() };
        let mut url = Url::parse(&endpoint.url).map_err(|_| wrong("it is not a URL"))?;
        url.set_query(Some(&format!("api-version=2019-08-01&{query}")));
        let mut shown = HeaderValue::from_str(endpoint.header.expose())
            .map_err(|_| wrong("`IDENTITY_HEADER` cannot be sent"))?;
        shown.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("x-identity-header", shown);
        let hidden = [endpoint.header.expose()];
        let exchange = Exchange { hidden: &hidden, ..Exchange::get(http, &url, headers) };
        return Ok(Some(exchange.json::<Answer>(http).await?.token("managed identity")));
    }
    let url = format!("{METADATA}?api-version=2018-02-01&{query}");
    let question = Question { method: Method::GET, url: &url, header: ("metadata", "true") };
    let Some(answer) = ask(http, &question).await else { return Ok(None) };
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| IdentityError::Metadata {
        host: "169.254.169.254".to_owned(),
        reason: "there is no `access_token` in its answer".to_owned(),
    })?;
    Ok(Some(answer.token("managed identity")))
}

fn secret_url(variable: &'static str, text: &str) -> Result<Url, IdentityError> {
    match Url::parse(text) {
        Ok(url) if may_have_secrets(&url) => Ok(url),
        Ok(_) => Err(IdentityError::Variable { variable, reason: "it is not https".to_owned() }),
        Err(error) => Err(IdentityError::Variable { variable, reason: error.to_string() }),
    }
}
