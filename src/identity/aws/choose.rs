//! Which of Amazon's identities is taken.

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::{Host, Url};

use super::super::error::IdentityError;
use super::super::exchange::{Exchange, may_have_secrets};
use super::super::metadata::{Question, ask};
use super::super::program::Call;
use super::profile::{self, Kind, Profile};
use super::role::{AssumedRole, RoleBase};
use super::{Aws, AwsIdentity, AwsKeys, ContainerCredentials, ContainerToken};
use super::{MetadataService, WebIdentity};
use crate::http::HttpClient;
use crate::secret::Secret;

/// Where a machine of EC2 finds its metadata.
const METADATA: &str = "http://169.254.169.254";

/// Roles that are taken on one from another.
const LONGEST_CHAIN: usize = 5;

/// Keys as agents and programs give them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenKeys {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken", default)]
    token: Option<String>,
}

impl GivenKeys {
    fn keys(self) -> AwsKeys {
        AwsKeys {
            id: self.access_key_id,
            secret: Secret::new(self.secret_access_key),
            token: self.token.map(Secret::new),
        }
    }
}

/// A profile, and the file that has most to say of it.
#[derive(Default)]
struct Found {
    name: String,
    settings: Profile,
    file: PathBuf,
}

impl Found {
    fn value(&self, key: &str) -> Option<&String> {
        self.settings.get(key).filter(|text| !text.is_empty())
    }

    fn keys(&self) -> Option<AwsKeys> {
        Some(AwsKeys {
            id: self.value("aws_access_key_id")?.clone(),
            secret: Secret::new(self.value("aws_secret_access_key")?.as_str()),
            token: self.value("aws_session_token").map(|token| Secret::new(token.as_str())),
        })
    }

    fn unusable(&self, reason: impl Into<String>) -> IdentityError {
        IdentityError::unusable(&self.file, reason)
    }
}

impl Aws {
    /// Chooses as Amazon's own libraries do, and nobody where there is nobody.
    ///
    /// # Errors
    /// When who is named cannot be used.
    pub async fn identify(&self, http: &HttpClient) -> Result<AwsIdentity, IdentityError> {
        let settings = &self.settings;
        let name = settings.shared.profile.as_deref().unwrap_or("default");
        let profile = self.profile(name)?;
        if settings.shared.profile.is_some() {
            let Some(profile) = &profile else { return Err(self.no_profile(name)) };
            if let Some(identity) = self.of_profile(profile, 0, http).await? {
                return Ok(identity);
            }
        }
        if let Some(keys) = &settings.keys {
            return Ok(AwsIdentity::Keys(keys.clone()));
        }
        if let Some(web) = &settings.web_identity {
            return Ok(AwsIdentity::Web(web.clone()));
        }
        if let Some(profile) = &profile
            && let Some(identity) = self.of_profile(profile, 0, http).await?
        {
            return Ok(identity);
        }
        match &settings.container {
            Some(container) => container_identity(container, http).await,
            None => self.machine(http).await,
        }
    }

    /// Returns the region of the settings, or of the profile.
    ///
    /// # Errors
    /// When a file of profiles cannot be read.
    pub fn region(&self) -> Result<Option<String>, IdentityError> {
        if let Some(region) = &self.settings.region {
            return Ok(Some(region.clone()));
        }
        let name = self.settings.shared.profile.as_deref().unwrap_or("default");
        Ok(self.profile(name)?.and_then(|profile| profile.value("region").cloned()))
    }

    /// Reads a profile of both files; the credentials' file stands over the other.
    fn profile(&self, name: &str) -> Result<Option<Found>, IdentityError> {
        let mut found: Option<Found> = None;
        let files = [(&self.config, Kind::Config), (&self.credentials, Kind::Credentials)];
        for (file, kind) in files {
            let Some(file) = file else { continue };
            let Some(text) = file.text()? else { continue };
            if let Some(settings) = profile::read(text, kind, name) {
                let found = found.get_or_insert_default();
                found.name = name.to_owned();
                found.settings.extend(settings);
                found.file = file.path().to_owned();
            }
        }
        Ok(found)
    }

    fn no_profile(&self, name: &str) -> IdentityError {
        let files = [&self.credentials, &self.config].into_iter().flatten();
        let path = files.map(|file| file.path().to_owned()).next().unwrap_or_default();
        IdentityError::unusable(&path, format!("no profile `{name}`"))
    }

    /// Returns the identity that a profile gives, if it gives one. `depth` counts the roles that are
    /// taken on with it.
    async fn of_profile(
        &self,
        profile: &Found,
        depth: usize,
        http: &HttpClient,
    ) -> Result<Option<AwsIdentity>, IdentityError> {
        let Some(role) = AssumedRole::of(&profile.settings) else {
            return self.without_role(profile).await;
        };
        if profile.value("mfa_serial").is_some() {
            return Err(profile.unusable("`mfa_serial` is not supported: nobody can be asked"));
        }
        if depth == LONGEST_CHAIN {
            return Err(profile.unusable("more than 5 roles are taken on from each other"));
        }
        let base = match &role.base {
            // A profile may name itself, and then has the keys too.
            RoleBase::Profile(source) if *source == profile.name => {
                profile.keys().map(AwsIdentity::Keys)
            }
            RoleBase::Profile(source) => {
                let found = self.profile(source)?.ok_or_else(|| {
                    profile.unusable(format!("no profile `{source}`, its `source_profile`"))
                })?;
                match found.keys() {
                    Some(keys) => Some(AwsIdentity::Keys(keys)),
                    None => Box::pin(self.of_profile(&found, depth + 1, http)).await?,
                }
            }
            RoleBase::Environment => self.settings.keys.clone().map(AwsIdentity::Keys),
            RoleBase::Container => match &self.settings.container {
                Some(container) => Some(container_identity(container, http).await?),
                None => None,
            },
            RoleBase::Machine => Some(self.machine(http).await?),
            RoleBase::Unknown(text) => {
                let reason = format!("`credential_source = {text}` is not known");
                return Err(profile.unusable(reason));
            }
        };
        let keys = match base {
            Some(base) => self.keys(&base, http).await?,
            None => None,
        };
        let keys = keys
            .ok_or_else(|| profile.unusable("its role has no credentials to be taken on with"))?;
        Ok(Some(AwsIdentity::Role(self.assume(&role, &keys, http).await?)))
    }

    /// Returns the identity that a profile gives by itself.
    async fn without_role(&self, profile: &Found) -> Result<Option<AwsIdentity>, IdentityError> {
        if let (Some(file), Some(role)) =
            (profile.value("web_identity_token_file"), profile.value("role_arn"))
        {
            return Ok(Some(AwsIdentity::Web(WebIdentity {
                token_file: PathBuf::from(file),
                role: role.clone(),
                session: profile.value("role_session_name").cloned(),
            })));
        }
        if let Some(keys) = profile.keys() {
            return Ok(Some(AwsIdentity::Keys(keys)));
        }
        if let Some(command) = profile.value("credential_process") {
            return self.process(profile, command).await.map(Some);
        }
        match ["sso_session", "sso_start_url"].iter().find(|key| profile.value(key).is_some()) {
            Some(key) => Err(profile.unusable(format!(
                "`{key}` is not supported: single sign-on needs a person, use a role or keys"
            ))),
            None => Ok(None),
        }
    }

    /// Runs a profile's program.
    async fn process(&self, profile: &Found, command: &str) -> Result<AwsIdentity, IdentityError> {
        let failed = |reason: String| {
            profile.unusable(format!("its `credential_process` gave none: {reason}"))
        };
        let mut words = profile::words(command).into_iter();
        let name = words.next().unwrap_or_default();
        let program = self.programs.iter().find(|known| known.name == name);
        let program = match program.map(|program| &program.found) {
            Some(Ok(Some(program))) => program.clone(),
            Some(Err(error)) => return Err(failed(error.to_string())),
            Some(Ok(None)) | None => {
                return Err(failed(format!("no program `{name}`, neither by path nor in PATH")));
            }
        };
        let call = Call {
            arguments: words.collect(),
            environment: Arc::new(self.settings.program_environment.clone()),
            input: String::new(),
        };
        let answer = program.run(call).await.map_err(|error| failed(error.to_string()))?;
        if !answer.success {
            return Err(failed(format!("`{name}` failed")));
        }
        // The parser's own message could quote a key.
        let given: GivenKeys = serde_json::from_slice(&answer.text)
            .map_err(|_| failed(format!("the answer of `{name}` is not the expected JSON")))?;
        Ok(AwsIdentity::Process(given.keys()))
    }

    /// Asks the machine whether it has an identity.
    async fn machine(&self, http: &HttpClient) -> Result<AwsIdentity, IdentityError> {
        let endpoint = match &self.settings.metadata {
            MetadataService::Disabled => return Ok(AwsIdentity::Anonymous),
            MetadataService::Usual => METADATA.to_owned(),
            MetadataService::At(url) => url.trim_end_matches('/').to_owned(),
        };
        let url = format!("{endpoint}/latest/api/token");
        let header = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
        match ask(http, &Question { method: Method::PUT, url: &url, header }).await {
            Some(_) => Ok(AwsIdentity::Machine { endpoint }),
            None => Ok(AwsIdentity::Anonymous),
        }
    }
}

/// Takes an agent beside the container as it is where its token is in a file, which may change, and
/// else asks it now.
async fn container_identity(
    container: &ContainerCredentials,
    http: &HttpClient,
) -> Result<AwsIdentity, IdentityError> {
    let ContainerCredentials::Full { url, token } = container else {
        return Ok(AwsIdentity::Container(container.clone()));
    };
    let wrong = |reason: &str| IdentityError::Variable {
        variable: "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        reason: reason.to_owned(),
    };
    let url = Url::parse(url).map_err(|_| wrong("it is not a URL"))?;
    if !may_have_secrets(&url) && !is_agent(&url) {
        return Err(wrong("it is neither https nor on this machine"));
    }
    let shown = match token {
        ContainerToken::File(_) => return Ok(AwsIdentity::Container(container.clone())),
        ContainerToken::Text(token) => Some(token),
        ContainerToken::None => None,
    };
    let mut headers = HeaderMap::new();
    if let Some(token) = shown {
        let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
            let reason = "it cannot be sent".to_owned();
            IdentityError::Variable { variable: "AWS_CONTAINER_AUTHORIZATION_TOKEN", reason }
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let hidden: Vec<&str> = shown.iter().map(|token| token.expose()).collect();
    let exchange = Exchange { hidden: &hidden, ..Exchange::get(http, &url, headers) };
    Ok(AwsIdentity::Agent(exchange.json::<GivenKeys>(http).await?.keys()))
}

/// Tells whether a URL is that of one of Amazon's agents, which speak plain HTTP.
fn is_agent(url: &Url) -> bool {
    let agents = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
    let is_address = matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
    url.scheme() == "http"
        && is_address
        && url.host_str().is_some_and(|host| agents.contains(&host))
}
