//! Amazon's identities: keys, roles and the machine's own, chosen as Amazon's own libraries do.

mod choose;
mod profile;
mod role;
mod sign;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

use super::bridge::Bridge;
use super::error::IdentityError;
use super::kept::KeptFile;
use super::program::{Program, ProgramError};
use super::store_retries;
use crate::http::HttpClient;
use crate::secret::{Secret, SecretVariables};

pub use sign::AwsCall;

/// Where identities are looked for, for people.
pub const LOOKED: &str = "`AWS_ACCESS_KEY_ID`, `AWS_WEB_IDENTITY_TOKEN_FILE`, the files of \
                          `~/.aws`, `AWS_CONTAINER_CREDENTIALS_FULL_URI`, and on the metadata \
                          server";

/// The region of what nothing is known of.
pub const FIRST_REGION: &str = "us-east-1";

/// As whom Amazon is asked. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AwsSettings {
    /// The region (`AWS_REGION`, `AWS_DEFAULT_REGION`).
    pub region: Option<String>,
    /// Keys (`AWS_ACCESS_KEY_ID` and its kin).
    pub keys: Option<AwsKeys>,
    /// A role that a token of the cluster gives (`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`).
    pub web_identity: Option<WebIdentity>,
    /// The URL of the service that gives roles (`AWS_ENDPOINT_URL_STS`).
    pub sts_endpoint: Option<String>,
    /// Files with profiles.
    pub shared: SharedFiles,
    /// Credentials from beside the container: EKS Pod Identity, ECS.
    pub container: Option<ContainerCredentials>,
    /// Credentials from the machine.
    pub metadata: MetadataService,
    /// Directories searched for a profile's `credential_process` (`PATH`).
    pub program_directories: Vec<PathBuf>,
    /// The whole environment of such a program.
    pub program_environment: SecretVariables,
}

/// Keys of Amazon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    /// The key's id.
    pub id: String,
    /// The key.
    pub secret: Secret,
    /// The token that goes with temporary keys.
    pub token: Option<Secret>,
}

/// A role that a token gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// The file with the token.
    pub token_file: PathBuf,
    /// The role.
    pub role: String,
    /// What the session is called.
    pub session: Option<String>,
}

/// Files with profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedFiles {
    /// `~/.aws/credentials` (`AWS_SHARED_CREDENTIALS_FILE`).
    pub credentials: Option<PathBuf>,
    /// `~/.aws/config` (`AWS_CONFIG_FILE`).
    pub config: Option<PathBuf>,
    /// The profile that was asked for by name (`AWS_PROFILE`), which then stands before everything.
    pub profile: Option<String>,
}

/// Credentials from beside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerCredentials {
    /// A path on the agent of ECS (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`).
    Relative(String),
    /// An agent (`AWS_CONTAINER_CREDENTIALS_FULL_URI`).
    Full {
        /// Its URL.
        url: String,
        /// What it wants to be shown.
        token: ContainerToken,
    },
}

/// What an agent beside the container wants to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerToken {
    /// What is in this file, which changes (`AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`).
    File(PathBuf),
    /// This (`AWS_CONTAINER_AUTHORIZATION_TOKEN`).
    Text(Secret),
    /// Nothing.
    None,
}

/// Credentials from the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MetadataService {
    /// Not asked for (`AWS_EC2_METADATA_DISABLED`).
    Disabled,
    /// At its usual address.
    #[default]
    Usual,
    /// At this URL (`AWS_EC2_METADATA_SERVICE_ENDPOINT`).
    At(String),
}

/// As whom Amazon is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsIdentity {
    /// Keys of a variable or file.
    Keys(AwsKeys),
    /// Temporary keys of a role that another identity took on.
    Role(AwsKeys),
    /// Keys that a program gave.
    Process(AwsKeys),
    /// Temporary keys that an agent beside the container gave.
    Agent(AwsKeys),
    /// A role that a token of the cluster gives.
    Web(WebIdentity),
    /// A role from beside the container.
    Container(ContainerCredentials),
    /// The machine's role.
    Machine {
        /// The metadata server's URL.
        endpoint: String,
    },
    /// Nobody.
    Anonymous,
}

impl AwsIdentity {
    /// Returns what to call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keys(_) => "access key",
            Self::Role(_) => "assumed role",
            Self::Process(_) => "credential process",
            Self::Web(_) => "web identity",
            Self::Container(ContainerCredentials::Relative(_)) => "ECS task role",
            Self::Agent(_) | Self::Container(ContainerCredentials::Full { .. }) => {
                "EKS Pod Identity"
            }
            Self::Machine { .. } => "machine's role",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Amazon's identities, with their files and programs as they were when it was made.
#[derive(Clone, Debug)]
pub struct Aws {
    settings: AwsSettings,
    config: Option<KeptFile>,
    credentials: Option<KeptFile>,
    programs: Arc<Vec<NamedProgram>>,
}

/// What profiles name as `credential_process`.
#[derive(Debug)]
struct NamedProgram {
    name: String,
    /// `None` when there is none.
    found: Result<Option<Program>, ProgramError>,
}

impl Aws {
    /// Reads the files that the settings name.
    pub fn new(settings: &AwsSettings) -> Self {
        let read = |path: &Option<PathBuf>| path.as_deref().map(KeptFile::read);
        let (config, credentials) =
            (read(&settings.shared.config), read(&settings.shared.credentials));
        let mut programs = Vec::new();
        for file in [&config, &credentials].into_iter().flatten() {
            // What cannot be read is told when it is needed.
            let Ok(Some(text)) = file.text() else { continue };
            for name in profile::programs(text) {
                let found = Program::find(&name, &settings.program_directories);
                programs.push(NamedProgram { name, found });
            }
        }
        Self { settings: settings.clone(), config, credentials, programs: Arc::new(programs) }
    }

    /// Returns the keys of an identity; `None` of nobody.
    ///
    /// # Errors
    /// When what gives them refuses.
    pub async fn keys(
        &self,
        identity: &AwsIdentity,
        http: &HttpClient,
    ) -> Result<Option<AwsKeys>, IdentityError> {
        match identity {
            AwsIdentity::Keys(keys)
            | AwsIdentity::Role(keys)
            | AwsIdentity::Process(keys)
            | AwsIdentity::Agent(keys) => {
                return Ok(Some(keys.clone()));
            }
            AwsIdentity::Anonymous => return Ok(None),
            AwsIdentity::Web(_) | AwsIdentity::Container(_) | AwsIdentity::Machine { .. } => {}
        }
        let bridge = Bridge::new(http);
        let builder = AmazonS3Builder::new()
            // Nothing is asked of a bucket.
            .with_bucket_name("none")
            .with_region(self.region()?.as_deref().unwrap_or(FIRST_REGION))
            .with_allow_http(true)
            .with_retry(store_retries())
            .with_http_connector(bridge.clone());
        let builder = self.apply(identity, builder)?;
        let store = builder.build().map_err(|error| bridge.explain(&error))?;
        let given = store.credentials().get_credential().await;
        let given = given.map_err(|error| bridge.explain(&error))?;
        Ok(Some(AwsKeys {
            id: given.key_id.clone(),
            secret: Secret::new(given.secret_key.as_str()),
            token: given.token.as_deref().map(Secret::new),
        }))
    }

    /// Lets a store be asked as `identity`.
    ///
    /// # Errors
    /// A path that is not text.
    pub fn apply(
        &self,
        identity: &AwsIdentity,
        builder: AmazonS3Builder,
    ) -> Result<AmazonS3Builder, IdentityError> {
        let builder = match &self.settings.sts_endpoint {
            Some(endpoint) => builder.with_config(Key::StsEndpoint, endpoint),
            None => builder,
        };
        Ok(match identity {
            AwsIdentity::Keys(keys)
            | AwsIdentity::Role(keys)
            | AwsIdentity::Process(keys)
            | AwsIdentity::Agent(keys) => {
                let builder = builder
                    .with_access_key_id(&keys.id)
                    .with_secret_access_key(keys.secret.expose());
                match &keys.token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            AwsIdentity::Web(identity) => {
                let builder = builder
                    .with_config(Key::WebIdentityTokenFile, text(&identity.token_file)?)
                    .with_config(Key::RoleArn, &identity.role);
                match &identity.session {
                    Some(session) => builder.with_config(Key::RoleSessionName, session),
                    None => builder,
                }
            }
            AwsIdentity::Container(ContainerCredentials::Relative(path)) => {
                builder.with_config(Key::ContainerCredentialsRelativeUri, path)
            }
            AwsIdentity::Container(ContainerCredentials::Full { url, token }) => {
                let builder = builder.with_config(Key::ContainerCredentialsFullUri, url);
                match token {
                    ContainerToken::File(file) => {
                        builder.with_config(Key::ContainerAuthorizationTokenFile, text(file)?)
                    }
                    // Those are turned into keys when they are chosen.
                    ContainerToken::Text(_) | ContainerToken::None => builder,
                }
            }
            AwsIdentity::Machine { endpoint } => builder.with_metadata_endpoint(endpoint),
            AwsIdentity::Anonymous => builder.with_skip_signature(true),
        })
    }
}

fn text(path: &Path) -> Result<&str, IdentityError> {
    path.to_str().ok_or_else(|| IdentityError::unusable(path, "its path is not valid UTF-8"))
}

#[cfg(test)]
mod tests;
