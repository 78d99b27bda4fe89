//! Objects of S3 and of whatever speaks its protocol.

use std::path::{Path, PathBuf};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use reqwest::Method;

use super::bridge::Bridge;
use super::error::ObjectError;
use super::metadata::{Question, ask};
use super::profile::{self, Kind, Profile};
use super::{Found, get as get_object, log_identity, retries};
use crate::http::HttpClient;
use crate::secret::Secret;

/// The region of a bucket of which nothing is known; S3 then says the right one.
const FIRST_REGION: &str = "us-east-1";

/// Where a machine of EC2 finds its metadata.
const METADATA: &str = "http://169.254.169.254";

const LOOKED: &str = "`AWS_ACCESS_KEY_ID`, `AWS_WEB_IDENTITY_TOKEN_FILE`, the files of `~/.aws`, \
                      `AWS_CONTAINER_CREDENTIALS_FULL_URI`, and on the metadata server";

/// An object of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Object {
    /// The bucket.
    pub bucket: String,
    /// The object's key, without a slash at its start.
    pub key: String,
}

/// How S3 is reached, and as whom. What is `None` was not said.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Settings {
    /// The URL of a store that is not Amazon's (`S3_ENDPOINT`).
    pub endpoint: Option<String>,
    /// Where the bucket's name goes (`S3_FORCE_PATH_STYLE`).
    pub path_style: PathStyle,
    /// The bucket's region (`AWS_REGION`, `AWS_DEFAULT_REGION`).
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
}

/// Where the name of a bucket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStyle {
    /// Into the host's name, as Amazon wants it.
    VirtualHost,
    /// Into the path.
    Forced,
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
    /// The agent of EKS (`AWS_CONTAINER_CREDENTIALS_FULL_URI`).
    Full {
        /// Its URL.
        url: String,
        /// The file with the token that it wants (`AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`).
        token_file: PathBuf,
    },
}

/// Credentials from the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataService {
    /// Not asked for (`AWS_EC2_METADATA_DISABLED`).
    Disabled,
    /// At its usual address.
    Usual,
    /// At this URL (`AWS_EC2_METADATA_SERVICE_ENDPOINT`).
    At(String),
}

/// As whom S3 is asked.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    Keys(AwsKeys),
    Web(WebIdentity),
    Container(ContainerCredentials),
    Machine { endpoint: String },
    Anonymous,
}

impl Identity {
    fn name(&self) -> &'static str {
        match self {
            Self::Keys(_) => "access key",
            Self::Web(_) => "web identity",
            Self::Container(ContainerCredentials::Relative(_)) => "ECS task role",
            Self::Container(ContainerCredentials::Full { .. }) => "EKS Pod Identity",
            Self::Machine { .. } => "machine's role",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Asks for an object; in the bucket's own region when the first one was another.
pub(super) async fn get(
    object: &S3Object,
    settings: &S3Settings,
    http: &HttpClient,
) -> Result<Found, ObjectError> {
    let profile = read_profile(&settings.shared)?;
    let identity = identity(settings, &profile, http).await?;
    log_identity("S3", identity.name());
    let known = settings.region.clone().or_else(|| profile.settings.get("region").cloned());
    let first = known.unwrap_or_else(|| FIRST_REGION.to_owned());
    let store = Store { object, settings, identity: &identity };
    let bridge = Bridge::new(http);
    let failed = match store.get(&first, &bridge).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let failed = match bridge.region() {
        Some(region) if region != first => {
            tracing::info!(bucket = object.bucket, region, "the bucket is in another region");
            match store.get(&region, &bridge).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            }
        }
        _ => failed,
    };
    Err(match identity {
        Identity::Anonymous => failed.anonymous(LOOKED),
        _ => failed,
    })
}

struct Store<'a> {
    object: &'a S3Object,
    settings: &'a S3Settings,
    identity: &'a Identity,
}

impl Store<'_> {
    async fn get(&self, region: &str, bridge: &Bridge) -> Result<Found, ObjectError> {
        let bucket = &self.object.bucket;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_allow_http(true)
            .with_retry(retries())
            .with_http_connector(bridge.clone());
        let in_host = is_virtual_host(bucket, self.settings);
        builder = builder.with_virtual_hosted_style_request(in_host);
        if let Some(endpoint) = &self.settings.endpoint {
            builder = builder.with_endpoint(match in_host {
                true => with_bucket(endpoint, bucket),
                false => endpoint.clone(),
            });
        }
        if let Some(endpoint) = &self.settings.sts_endpoint {
            builder = builder.with_config(Key::StsEndpoint, endpoint);
        }
        builder = match self.identity {
            Identity::Keys(keys) => {
                let builder = builder
                    .with_access_key_id(&keys.id)
                    .with_secret_access_key(keys.secret.expose());
                match &keys.token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            Identity::Web(identity) => {
                let builder = builder
                    .with_config(Key::WebIdentityTokenFile, text(&identity.token_file)?)
                    .with_config(Key::RoleArn, &identity.role);
                match &identity.session {
                    Some(session) => builder.with_config(Key::RoleSessionName, session),
                    None => builder,
                }
            }
            Identity::Container(ContainerCredentials::Relative(path)) => {
                builder.with_config(Key::ContainerCredentialsRelativeUri, path)
            }
            Identity::Container(ContainerCredentials::Full { url, token_file }) => builder
                .with_config(Key::ContainerCredentialsFullUri, url)
                .with_config(Key::ContainerAuthorizationTokenFile, text(token_file)?),
            Identity::Machine { endpoint } => builder.with_metadata_endpoint(endpoint),
            Identity::Anonymous => builder.with_skip_signature(true),
        };
        let store = builder.build().map_err(|error| bridge.explain(&error))?;
        get_object(&store, bridge.clone(), &self.object.key).await
    }
}

/// Tells whether the bucket's name goes into the host's: not where it is asked otherwise, where the
/// host is an address, or where no certificate could fit.
fn is_virtual_host(bucket: &str, settings: &S3Settings) -> bool {
    let endpoint = settings.endpoint.as_deref().map(url::Url::parse);
    let has_name = match &endpoint {
        None => true,
        Some(Ok(url)) => matches!(url.host(), Some(url::Host::Domain(name)) if name.contains('.')),
        Some(Err(_)) => false,
    };
    settings.path_style == PathStyle::VirtualHost && has_name && !bucket.contains('.')
}

/// Puts a bucket's name before the host of an endpoint.
fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{bucket}.{}", rest.trim_end_matches('/')),
        None => endpoint.to_owned(),
    }
}

/// Chooses as Amazon's own libraries do, and nobody where there is nobody.
async fn identity(
    settings: &S3Settings,
    profile: &Shared,
    http: &HttpClient,
) -> Result<Identity, ObjectError> {
    let of_profile = || profile_identity(profile);
    if settings.shared.profile.is_some()
        && let Some(identity) = of_profile()?
    {
        return Ok(identity);
    }
    if let Some(keys) = &settings.keys {
        return Ok(Identity::Keys(keys.clone()));
    }
    if let Some(web) = &settings.web_identity {
        return Ok(Identity::Web(web.clone()));
    }
    if let Some(identity) = of_profile()? {
        return Ok(identity);
    }
    if let Some(container) = &settings.container {
        return Ok(Identity::Container(container.clone()));
    }
    let endpoint = match &settings.metadata {
        MetadataService::Disabled => return Ok(Identity::Anonymous),
        MetadataService::Usual => METADATA.to_owned(),
        MetadataService::At(url) => url.trim_end_matches('/').to_owned(),
    };
    let url = format!("{endpoint}/latest/api/token");
    let header = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
    match ask(http, &Question { method: Method::PUT, url: &url, header }).await {
        Some(_) => Ok(Identity::Machine { endpoint }),
        None => Ok(Identity::Anonymous),
    }
}

/// A profile and the file that has its credentials.
#[derive(Default)]
struct Shared {
    settings: Profile,
    file: PathBuf,
}

/// Reads a profile from both files; the credentials' file stands over the other.
fn read_profile(files: &SharedFiles) -> Result<Shared, ObjectError> {
    let name = files.profile.as_deref().unwrap_or("default");
    let mut found = Shared::default();
    let mut is_there = false;
    for (path, kind) in [(&files.config, Kind::Config), (&files.credentials, Kind::Credentials)] {
        let Some(path) = path else { continue };
        let Some(text) = read_file(path)? else { continue };
        if let Some(settings) = profile::read(&text, kind, name) {
            found.settings.extend(settings);
            found.file = path.clone();
            is_there = true;
        }
    }
    match &files.profile {
        Some(profile) if !is_there => {
            let path = files.credentials.clone().or(files.config.clone()).unwrap_or_default();
            Err(ObjectError::Credentials { path, reason: format!("no profile `{profile}`") })
        }
        _ => Ok(found),
    }
}

/// Reads a file of credentials; `None` when there is none.
pub(super) fn read_file(path: &Path) -> Result<Option<String>, ObjectError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ObjectError::ReadCredentials { path: path.to_owned(), source }),
    }
}

/// Returns the identity that a profile gives, if it gives one.
fn profile_identity(profile: &Shared) -> Result<Option<Identity>, ObjectError> {
    let value = |key: &str| profile.settings.get(key).filter(|text| !text.is_empty());
    if let (Some(id), Some(secret)) = (value("aws_access_key_id"), value("aws_secret_access_key")) {
        return Ok(Some(Identity::Keys(AwsKeys {
            id: id.clone(),
            secret: Secret::new(secret.as_str()),
            token: value("aws_session_token").map(|token| Secret::new(token.as_str())),
        })));
    }
    if let (Some(file), Some(role)) = (value("web_identity_token_file"), value("role_arn")) {
        return Ok(Some(Identity::Web(WebIdentity {
            token_file: PathBuf::from(file),
            role: role.clone(),
            session: value("role_session_name").cloned(),
        })));
    }
    let unsupported = ["credential_process", "source_profile", "credential_source", "sso_session"];
    match unsupported.into_iter().find(|key| value(key).is_some()) {
        Some(key) => Err(ObjectError::Credentials {
            path: profile.file.clone(),
            reason: format!("`{key}` is not supported"),
        }),
        None => Ok(None),
    }
}

fn text(path: &Path) -> Result<&str, ObjectError> {
    path.to_str().ok_or_else(|| ObjectError::Credentials {
        path: path.to_owned(),
        reason: "its path is not valid UTF-8".to_owned(),
    })
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
