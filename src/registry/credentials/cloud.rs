//! Logging in to clouds' registries without their helper programs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;

use super::Credential;
use super::cloud_host::{CloudRegistry, EcrRegistry};
use super::{CredentialOrigin, Freshness};
use crate::http::HttpClient;
use crate::identity::aws::{Aws, AwsCall};
use crate::identity::azure::{self, Azure, AzureCloud};
use crate::identity::google::Google;
use crate::identity::{IdentityError, post_form};
use crate::registry::host::RegistryHost;
use crate::registry::options::{AmbientCredentials, AmbientSource};
use crate::registry::token::claimed_lifetime;
use crate::secret::Secret;

/// How long a failure is remembered, since each request to a registry asks anew.
const FAILURE: Duration = Duration::from_secs(60);

/// The user name that goes with Google's tokens.
const GOOGLE_USER: &str = "oauth2accesstoken";

/// Where tokens for Amazon's public registry are given.
const ECR_PUBLIC: &str = "https://api.ecr-public.us-east-1.amazonaws.com/";

/// How long a credential of Amazon's or Azure's is used that does not say it: 12 and 3 hours are what
/// they live.
const USUAL: Duration = Duration::from_secs(2 * 3600);

/// A credential, and as whom it was given.
#[derive(Clone, Debug)]
pub(super) struct CloudCredential {
    pub(super) credential: Credential,
    pub(super) identity: &'static str,
    lifetime: Duration,
}

type Outcome = Result<Option<CloudCredential>, Arc<IdentityError>>;

struct Given {
    outcome: Outcome,
    /// Until when it is used; `None` as long as the build lasts.
    until: Option<Instant>,
}

/// The clouds' identities that a build may use.
pub(super) struct Clouds {
    http: HttpClient,
    aws: Aws,
    google: Google,
    azure: Azure,
    ecr_endpoint: Option<String>,
    ecr_public_endpoint: Option<String>,
    /// What was given, by what it is for. Locked while a cloud is asked, so that it is asked once.
    given: tokio::sync::Mutex<HashMap<String, Given>>,
}

impl Clouds {
    /// Reads the files of identities.
    pub(super) fn new(http: &HttpClient, ambient: &AmbientCredentials) -> Self {
        Self {
            http: http.clone(),
            aws: Aws::new(&ambient.aws),
            google: Google::new(&ambient.google),
            azure: Azure::new(&ambient.azure),
            ecr_endpoint: ambient.ecr_endpoint.clone(),
            ecr_public_endpoint: ambient.ecr_public_endpoint.clone(),
            given: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the credential for a cloud's registry; `None` when the cloud knows nobody here.
    pub(super) async fn ask(
        &self,
        registry: &CloudRegistry,
        host: &RegistryHost,
        freshness: Freshness,
    ) -> Outcome {
        let key = match registry {
            // One token is for all registries of a region, or of Google's.
            CloudRegistry::Ecr(registry) => registry.api.clone(),
            CloudRegistry::EcrPublic => "public".to_owned(),
            CloudRegistry::Google => "google".to_owned(),
            CloudRegistry::Acr(_) => host.to_string(),
        };
        let mut given = self.given.lock().await;
        if let Some(known) = given.get(&key)
            && known.until.is_none_or(|until| until > Instant::now())
            && (freshness == Freshness::Remembered || matches!(known.outcome, Ok(None)))
        {
            return known.outcome.clone();
        }
        let asked_at = Instant::now();
        let outcome = match registry {
            CloudRegistry::Ecr(registry) => self.ecr(registry).await,
            CloudRegistry::EcrPublic => self.ecr_public().await,
            CloudRegistry::Google => self.google().await,
            CloudRegistry::Acr(cloud) => self.acr(host, *cloud).await,
        };
        let outcome = outcome.map_err(Arc::new);
        let life = match &outcome {
            Ok(Some(given)) => {
                let life = given.lifetime;
                Some(life.saturating_sub(Duration::from_secs(60).min(life / 4)))
            }
            Ok(None) => None,
            Err(_) => Some(FAILURE),
        };
        let until = life.and_then(|life| asked_at.checked_add(life));
        given.insert(key, Given { outcome: outcome.clone(), until });
        outcome
    }

    async fn ecr(&self, registry: &EcrRegistry) -> Result<Option<CloudCredential>, IdentityError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            authorization_data: Vec<EcrToken>,
        }
        let usual = format!("https://{}/", registry.api);
        let url = self.ecr_endpoint.as_deref().unwrap_or(&usual);
        let call = EcrCall {
            service: "ecr",
            region: &registry.region,
            variable: "AWS_ENDPOINT_URL_ECR",
            url,
            target: "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
        };
        self.ecr_token(&call, |answer| {
            let answer: Answer = serde_json::from_slice(answer).ok()?;
            answer.authorization_data.into_iter().next()
        })
        .await
    }

    async fn ecr_public(&self) -> Result<Option<CloudCredential>, IdentityError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            authorization_data: EcrToken,
        }
        let call = EcrCall {
            service: "ecr-public",
            region: "us-east-1",
            variable: "AWS_ENDPOINT_URL_ECR_PUBLIC",
            url: self.ecr_public_endpoint.as_deref().unwrap_or(ECR_PUBLIC),
            target: "SpencerFrontendService.GetAuthorizationToken",
        };
        self.ecr_token(&call, |answer| {
            let answer: Answer = serde_json::from_slice(answer).ok()?;
            Some(answer.authorization_data)
        })
        .await
    }

    async fn ecr_token(
        &self,
        call: &EcrCall<'_>,
        read: impl FnOnce(&[u8]) -> Option<EcrToken>,
    ) -> Result<Option<CloudCredential>, IdentityError> {
        let url = Url::parse(call.url).map_err(|error| IdentityError::Variable {
            variable: call.variable,
            reason: error.to_string(),
        })?;
        let identity = self.aws.identify(&self.http).await?;
        let Some(keys) = self.aws.keys(&identity, &self.http).await? else { return Ok(None) };
        let signed = AwsCall {
            service: call.service,
            region: call.region,
            url: &url,
            content_type: "application/x-amz-json-1.1",
            target: Some(call.target),
            body: "{}".to_owned(),
        };
        let answer = signed.send(&keys, &self.http).await?;
        let credential = read(&answer).and_then(|token| token.credential(identity.name()));
        match credential {
            Some(credential) => Ok(Some(credential)),
            None => Err(IdentityError::Answer {
                host: url.host_str().unwrap_or_default().to_owned(),
                reason: "it holds no token for a registry",
            }),
        }
    }

    async fn google(&self) -> Result<Option<CloudCredential>, IdentityError> {
        let token = self.google.token(&self.http).await?;
        Ok(token.map(|token| CloudCredential {
            credential: Credential::Password {
                username: GOOGLE_USER.to_owned(),
                password: token.text,
            },
            identity: token.identity,
            lifetime: token.lifetime.unwrap_or(FAILURE),
        }))
    }

    /// Exchanges a token of the directory for one that the registry itself gives tokens for.
    async fn acr(
        &self,
        host: &RegistryHost,
        cloud: AzureCloud,
    ) -> Result<Option<CloudCredential>, IdentityError> {
        #[derive(Deserialize)]
        struct Answer {
            refresh_token: String,
        }
        let settings = self.azure.settings()?;
        let given = azure::token(&settings, cloud, audience(cloud), &self.http).await?;
        let Some(given) = given else { return Ok(None) };
        let unusable = |reason| IdentityError::Answer { host: host.to_string(), reason };
        let url = Url::parse(&format!("https://{host}/oauth2/exchange"))
            .map_err(|_| unusable("its name is no host"))?;
        let token = given.text.expose();
        let mut pairs =
            vec![("grant_type", "access_token"), ("service", host.name()), ("access_token", token)];
        if let Some(tenant) = &settings.tenant {
            pairs.push(("tenant", tenant));
        }
        let answer = post_form(&self.http, &url, &pairs, &[token]).await?;
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|_| unusable("it holds no refresh token"))?;
        let lifetime = claimed_lifetime(&answer.refresh_token).unwrap_or(USUAL);
        Ok(Some(CloudCredential {
            credential: Credential::Identity(Secret::new(answer.refresh_token)),
            identity: given.identity,
            lifetime,
        }))
    }
}

/// What a token has to be for that registries of a cloud exchange.
fn audience(cloud: AzureCloud) -> &'static str {
    match cloud {
        AzureCloud::Public => "https://containerregistry.azure.net",
        AzureCloud::China => "https://management.chinacloudapi.cn",
        AzureCloud::Germany => "https://management.microsoftazure.de",
        AzureCloud::Government => "https://management.usgovcloudapi.net",
    }
}

struct EcrCall<'a> {
    service: &'a str,
    region: &'a str,
    /// What `url` may have been said with.
    variable: &'static str,
    url: &'a str,
    target: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EcrToken {
    authorization_token: String,
    /// Seconds since 1970.
    #[serde(default)]
    expires_at: Option<f64>,
}

impl EcrToken {
    fn credential(self, identity: &'static str) -> Option<CloudCredential> {
        let text = String::from_utf8(STANDARD.decode(self.authorization_token).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let lifetime = self.expires_at.and_then(|at| Duration::try_from_secs_f64(at).ok());
        Some(CloudCredential {
            credential: Credential::Password {
                username: username.to_owned(),
                password: Secret::new(password),
            },
            identity,
            lifetime: lifetime.map_or(USUAL, |at| at.saturating_sub(now)),
        })
    }
}

impl AmbientSource {
    /// Returns the source that a helper program's name stands for.
    pub(super) fn of_helper(name: &str) -> Option<Self> {
        match name {
            "ecr-login" => Some(Self::Ecr),
            "gcr" | "gcloud" => Some(Self::Google),
            "acr-env" | "acr" | "acr-linux" => Some(Self::Acr),
            "gitlabci" => Some(Self::GitLab),
            _ => None,
        }
    }

    /// Returns whose identities it takes.
    pub(super) fn owner(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Ecr => "Amazon",
            Self::Acr => "Azure",
            Self::GitLab => "GitLab",
        }
    }
}

impl CloudCredential {
    pub(super) fn origin(&self, source: AmbientSource, host: &RegistryHost) -> CredentialOrigin {
        CredentialOrigin::Cloud {
            owner: source.owner(),
            identity: self.identity,
            host: host.to_string(),
        }
    }
}
