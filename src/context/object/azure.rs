//! Blobs of Azure.

use std::path::PathBuf;

use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};
use reqwest::Method;

use super::bridge::Bridge;
use super::error::ObjectError;
use super::metadata::{Question, ask};
use super::{Found, get as get_object, log_identity, retries};
use crate::http::HttpClient;
use crate::secret::Secret;

const LOOKED: &str = "`AZURE_STORAGE_ACCESS_KEY`, `AZURE_FEDERATED_TOKEN_FILE`, \
                      `AZURE_CLIENT_SECRET`, and on the metadata server";

/// Where a machine of Azure finds its tokens.
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Azure's clouds: the ends of their hosts' names and where they give tokens.
const CLOUDS: [(&str, &str); 4] = [
    (".blob.core.windows.net", "https://login.microsoftonline.com"),
    (".blob.core.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    (".blob.core.cloudapi.de", "https://login.microsoftonline.de"),
    (".blob.core.usgovcloudapi.net", "https://login.microsoftonline.us"),
];

/// One of Azure's clouds, by its place in the list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AzureCloud(usize);

impl AzureCloud {
    /// Returns the account and the cloud that a host belongs to; `None` when it is not Azure's.
    pub fn of_host(host: &str) -> Option<(&str, Self)> {
        CLOUDS.iter().enumerate().find_map(|(place, (suffix, _))| {
            let account = host.strip_suffix(suffix)?;
            // A further label would be another host.
            (!account.is_empty() && !account.contains('.')).then_some((account, Self(place)))
        })
    }

    fn suffix(self) -> &'static str {
        CLOUDS.get(self.0).map_or("", |(suffix, _)| suffix)
    }

    fn authority(self) -> &'static str {
        CLOUDS.get(self.0).map_or("", |(_, authority)| authority)
    }
}

/// A blob of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureBlob {
    /// The storage account.
    pub account: String,
    /// The cloud that it is in.
    pub cloud: AzureCloud,
    /// The container.
    pub container: String,
    /// The blob's name.
    pub name: String,
}

impl AzureBlob {
    fn endpoint(&self) -> String {
        format!("https://{}{}", self.account, self.cloud.suffix())
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("{}/{}/{}", self.endpoint(), self.container, self.name)
    }
}

/// As whom Azure is asked. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AzureSettings {
    /// A key of the account (`AZURE_STORAGE_ACCESS_KEY`).
    pub access_key: Option<Secret>,
    /// An application (`AZURE_CLIENT_ID`).
    pub client: Option<String>,
    /// Its directory (`AZURE_TENANT_ID`).
    pub tenant: Option<String>,
    /// Its password (`AZURE_CLIENT_SECRET`).
    pub client_secret: Option<Secret>,
    /// The file with a token of the cluster that stands for the application
    /// (`AZURE_FEDERATED_TOKEN_FILE`).
    pub federated_token_file: Option<PathBuf>,
    /// Where tokens are given (`AZURE_AUTHORITY_HOST`).
    pub authority: Option<String>,
}

/// Asks for a blob.
pub(super) async fn get(
    blob: &AzureBlob,
    settings: &AzureSettings,
    http: &HttpClient,
) -> Result<Found, ObjectError> {
    let bridge = Bridge::new(http);
    let authority = settings.authority.as_deref().unwrap_or(blob.cloud.authority());
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&blob.account)
        .with_container_name(&blob.container)
        .with_endpoint(blob.endpoint())
        .with_authority_host(authority.trim_end_matches('/'))
        .with_retry(retries())
        .with_http_connector(bridge.clone());
    for (key, value) in [(Key::ClientId, &settings.client), (Key::AuthorityId, &settings.tenant)] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    let has_application = settings.client.is_some() && settings.tenant.is_some();
    let identity = if let Some(key) = &settings.access_key {
        builder = builder.with_access_key(key.expose());
        "access_key"
    } else if let Some(file) = settings.federated_token_file.as_ref().filter(|_| has_application) {
        let text = file.to_str().ok_or_else(|| ObjectError::Credentials {
            path: file.clone(),
            reason: "its path is not valid UTF-8".to_owned(),
        })?;
        builder = builder.with_federated_token_file(text);
        "workload_identity"
    } else if let Some(secret) = settings.client_secret.as_ref().filter(|_| has_application) {
        builder = builder.with_client_secret(secret.expose());
        "client_secret"
    } else if has_managed_identity(settings, http).await {
        "managed_identity"
    } else {
        builder = builder.with_skip_signature(true);
        "anonymous"
    };
    log_identity("Azure", identity);
    builder = builder.with_credential_type(match identity {
        "anonymous" => "managed_identity",
        named => named,
    });
    let store = builder.build().map_err(|error| bridge.explain(&error))?;
    let found = get_object(&store, bridge, &blob.name).await;
    match identity {
        "anonymous" => found.map_err(|error| error.anonymous(LOOKED)),
        _ => found,
    }
}

/// Asks the machine whether it has an identity, by the request that is made for it later.
async fn has_managed_identity(settings: &AzureSettings, http: &HttpClient) -> bool {
    let resource = "api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com";
    let client = settings.client.as_ref().map(|id| format!("&client_id={id}")).unwrap_or_default();
    let url = format!("{METADATA}?{resource}{client}");
    let question = Question { method: Method::GET, url: &url, header: ("metadata", "true") };
    ask(http, &question).await.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_azures_by_whole_labels() {
        let account = |host| {
            AzureCloud::of_host(host)
                .map(|(account, cloud)| (account.to_owned(), cloud.authority()))
        };
        let check = |host, authority| {
            assert_eq!(account(host), Some(("acme".to_owned(), authority)), "{host}");
        };
        check("acme.blob.core.windows.net", "https://login.microsoftonline.com");
        check("acme.blob.core.chinacloudapi.cn", "https://login.chinacloudapi.cn");
        check("acme.blob.core.cloudapi.de", "https://login.microsoftonline.de");
        check("acme.blob.core.usgovcloudapi.net", "https://login.microsoftonline.us");
        for other in [
            "blob.core.windows.net",
            ".blob.core.windows.net",
            "a.b.blob.core.windows.net",
            "acme.blob.core.windows.net.evil.example",
            "acmeblob.core.windows.net",
        ] {
            assert_eq!(account(other), None, "{other}");
        }
    }
}
