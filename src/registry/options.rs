//! What the user said about registries, as values. Hosts are `host[:port]`, without scheme.

use std::path::{Path, PathBuf};

use super::ahead::PartsAhead;
use crate::http::{ClientCertificate, RetryPolicy, Verification};
use crate::identity::aws::{AwsSettings, ContainerCredentials, ContainerToken};
use crate::identity::azure::AzureSettings;
use crate::identity::google::GoogleSettings;
use crate::secret::{Secret, SecretVariables};

/// Everything that decides how registries are reached.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// For pushing (`--insecure`, `--skip-tls-verify`).
    pub push: TransportSecurity,
    /// For pulling (`--insecure-pull`, `--skip-tls-verify`, `--skip-tls-verify-pull`).
    pub pull: TransportSecurity,
    /// Hosts for which plain HTTP is allowed, either way (`--insecure-registry`).
    pub plain_http_hosts: Vec<String>,
    /// Hosts whose certificate is not checked, either way (`--skip-tls-verify-registry`).
    pub unverified_hosts: Vec<String>,
    /// Certificate authorities by host (`--registry-certificate`).
    pub certificates: Vec<HostAuthority>,
    /// Client certificates by host (`--registry-client-cert`).
    pub client_certificates: Vec<HostClientCertificate>,
    /// Where pulls go instead, in the order to try (`--registry-map`, `--registry-mirror`).
    pub maps: Vec<RegistryMap>,
    /// What follows when every map of a registry failed (`--skip-default-registry-fallback`).
    pub fallback: Fallback,
    /// Where user names and passwords come from.
    pub credentials: CredentialOptions,
    /// How often pulls are tried again (`--image-download-retry`).
    pub pull_retry: RetryPolicy,
    /// How often pushes are tried again (`--push-retry`).
    pub push_retry: RetryPolicy,
    /// How large blobs are pulled.
    pub parts_ahead: PartsAhead,
    /// Most bytes of a blob that is complete which go with the request that completes its upload.
    pub whole_upload_bytes: u64,
    /// What a refused overwrite means (`--push-ignore-immutable-tag-errors`).
    pub immutable_tags: ImmutableTags,
}

/// Whether plain HTTP and unverified TLS are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportSecurity {
    /// Whether plain HTTP may be used.
    pub plain_http: PlainHttp,
    /// Whether certificates are checked.
    pub verification: Verification,
}

/// Whether plain HTTP may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only https.
    #[default]
    Refused,
    /// https first, then http.
    Allowed,
}

/// A certificate authority for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAuthority {
    /// The registry.
    pub host: String,
    /// A PEM file.
    pub certificate: PathBuf,
}

/// A client certificate for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostClientCertificate {
    /// The registry.
    pub host: String,
    /// The certificate and its key.
    pub files: ClientCertificate,
}

/// One redirection of pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMap {
    /// The registry named in references.
    pub from: String,
    /// `host[:port][/path/prefix]` that is asked instead; a leading `https://` is ignored, a
    /// leading `http://` allows plain HTTP for this target.
    pub to: String,
}

/// What follows when every map of a registry failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The registry itself is asked.
    #[default]
    Origin,
    /// The pull fails.
    Fail,
}

/// What a refused overwrite of an immutable tag means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImmutableTags {
    /// The push fails.
    #[default]
    Fail,
    /// The tag is there already: done.
    Accept,
}

/// Where user names and passwords come from.
#[derive(Clone, Debug, Default)]
pub struct CredentialOptions {
    /// Directories that may hold `config.json`, a mounted Secret's `.dockerconfigjson` or the old
    /// `.dockercfg`, best first; the first file found is the only one used, as Docker does it.
    pub directories: Vec<PathBuf>,
    /// An open descriptor that gives such a document, in place of any file.
    pub descriptor: Option<u32>,
    /// Directories searched for helper programs (`PATH`); relative ones are skipped.
    pub helper_directories: Vec<PathBuf>,
    /// The whole environment of helper programs.
    pub helper_environment: SecretVariables,
    /// Credentials that are in no file of Docker's.
    pub ambient: AmbientCredentials,
}

/// Credentials that are in no file of Docker's, but in variables or with a cloud.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AmbientCredentials {
    /// What is used without being named in a file (`--credential-helpers`).
    pub sources: Vec<AmbientSource>,
    /// As whom Amazon is asked.
    pub aws: AwsSettings,
    /// As whom Google is asked.
    pub google: GoogleSettings,
    /// As whom Azure is asked.
    pub azure: AzureSettings,
    /// The URL that gives tokens for Amazon's registries (`AWS_ENDPOINT_URL_ECR`).
    pub ecr_endpoint: Option<String>,
    /// The URL that gives tokens for Amazon's public registry (`AWS_ENDPOINT_URL_ECR_PUBLIC`).
    pub ecr_public_endpoint: Option<String>,
    /// A document of the form of `config.json` (`DOCKER_AUTH_CONFIG`).
    pub document: Option<Secret>,
    /// Passwords that variables hold (`CI_REGISTRY` and its kin).
    pub passwords: Vec<HostPassword>,
}

impl AmbientCredentials {
    /// Returns the files that say who the container is to a cloud, there or not.
    pub fn files(&self) -> Vec<&Path> {
        let in_container = match &self.aws.container {
            Some(ContainerCredentials::Full { token: ContainerToken::File(file), .. }) => {
                Some(file)
            }
            _ => None,
        };
        let files = [
            self.aws.shared.credentials.as_ref(),
            self.aws.web_identity.as_ref().map(|identity| &identity.token_file),
            in_container,
            self.google.credentials.as_ref(),
            self.google.user_credentials.as_ref(),
            self.azure.federated_token_file.as_ref(),
            self.azure.file.as_ref(),
        ];
        files.into_iter().flatten().map(PathBuf::as_path).collect()
    }
}

/// A source of credentials that no file has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AmbientSource {
    /// Google's identities, for its registries.
    Google,
    /// Amazon's.
    Ecr,
    /// Azure's.
    Acr,
    /// The variables of a job of GitLab's.
    GitLab,
}

/// A password that variables hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPassword {
    /// The registry.
    pub host: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The variable of the password, for people.
    pub variable: &'static str,
}
