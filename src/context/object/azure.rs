//! Blobs of Azure.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::azure::{AzureConfigKey as Key, AzureCredential, MicrosoftAzureBuilder};

use super::error::ObjectError;
use super::{Found, get as get_object, log_identity};
use crate::http::HttpClient;
use crate::identity::azure::{self, AzureCloud, AzureIdentity, AzureSettings};
use crate::identity::{Bridge, IdentityError, store_retries};
use crate::secret::Secret;

const LOOKED: &str = "`AZURE_STORAGE_ACCESS_KEY`, `AZURE_FEDERATED_TOKEN_FILE`, \
                      `AZURE_CLIENT_SECRET`, and on the metadata server";

/// The ends of the names of Azure's stores.
const STORES: [(&str, AzureCloud); 4] = [
    (".blob.core.windows.net", AzureCloud::Public),
    (".blob.core.chinacloudapi.cn", AzureCloud::China),
    (".blob.core.cloudapi.de", AzureCloud::Germany),
    (".blob.core.usgovcloudapi.net", AzureCloud::Government),
];

/// What tokens for stores are for.
const RESOURCE: &str = "https://storage.azure.com";

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
    /// Returns the account and the cloud that a host belongs to; `None` when it is not Azure's.
    pub fn account_of(host: &str) -> Option<(&str, AzureCloud)> {
        STORES.iter().find_map(|(suffix, cloud)| {
            let account = host.strip_suffix(suffix)?;
            // A further label would be another host.
            (!account.is_empty() && !account.contains('.')).then_some((account, *cloud))
        })
    }

    fn endpoint(&self) -> String {
        let suffix = STORES.iter().find(|(_, cloud)| *cloud == self.cloud);
        format!("https://{}{}", self.account, suffix.map_or("", |(suffix, _)| suffix))
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("{}/{}/{}", self.endpoint(), self.container, self.name)
    }
}

/// As whom a store of Azure is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AzureStoreSettings {
    /// A key of the account (`AZURE_STORAGE_ACCESS_KEY`).
    pub access_key: Option<Secret>,
    /// As whom else.
    pub azure: AzureSettings,
}

/// Asks for a blob.
pub(super) async fn get(
    blob: &AzureBlob,
    settings: &AzureStoreSettings,
    http: &HttpClient,
) -> Result<Found, ObjectError> {
    let bridge = Bridge::new(http);
    let azure = &settings.azure;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&blob.account)
        .with_container_name(&blob.container)
        .with_endpoint(blob.endpoint())
        .with_authority_host(azure.authority(blob.cloud))
        .with_retry(store_retries())
        .with_http_connector(bridge.clone());
    for (key, value) in [(Key::ClientId, &azure.client), (Key::AuthorityId, &azure.tenant)] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    let identity = match (&settings.access_key, azure.identity()) {
        (Some(key), _) => {
            builder = builder.with_access_key(key.expose());
            "access_key"
        }
        (None, AzureIdentity::Federated(file)) => {
            let text = file.to_str().ok_or_else(|| IdentityError::Credentials {
                path: file.clone(),
                reason: "its path is not valid UTF-8".to_owned(),
            })?;
            builder = builder.with_federated_token_file(text);
            "workload_identity"
        }
        (None, AzureIdentity::Password(secret)) => {
            builder = builder.with_client_secret(secret.expose());
            "client_secret"
        }
        (None, AzureIdentity::Machine) => {
            match azure::token(azure, blob.cloud, RESOURCE, http).await? {
                Some(token) => {
                    let credential = AzureCredential::BearerToken(token.text.expose().to_owned());
                    let provider = StaticCredentialProvider::new(credential);
                    builder = builder.with_credentials(Arc::new(provider));
                    "managed_identity"
                }
                None => {
                    builder = builder.with_skip_signature(true);
                    "anonymous"
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_azures_by_whole_labels() {
        let account = |host| {
            AzureBlob::account_of(host)
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
