//! How registries are to be reached: security, mirrors, credentials, proxies, retries.

use std::path::PathBuf;

use crate::registry::AmbientCredentials;
use crate::secret::{Secret, SecretVariables};

/// How registries are reached. Hosts are `host[:port]`, without scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryAccess {
    /// For pushing (`--insecure`, `--skip-tls-verify`).
    pub push: TransportSecurity,
    /// For pulling (`--insecure-pull`, `--skip-tls-verify`, `--skip-tls-verify-pull`).
    pub pull: TransportSecurity,
    /// Hosts for which plain HTTP is allowed, push and pull (`--insecure-registry`).
    pub plain_http_hosts: Vec<String>,
    /// Hosts whose certificate is not verified, push and pull (`--skip-tls-verify-registry`).
    pub unverified_hosts: Vec<String>,
    /// Extra CA certificates by host (`--registry-certificate`).
    pub certificates: Vec<HostCertificate>,
    /// Client certificates by host (`--registry-client-cert`).
    pub client_certificates: Vec<HostClientCertificate>,
    /// Where pulls go instead, in the order to try (`--registry-map`, `--registry-mirror`).
    pub maps: Vec<RegistryMap>,
    /// What follows when every map of a registry failed (`--skip-default-registry-fallback`).
    pub fallback: RegistryFallback,
    /// Where user names and passwords come from.
    pub credentials: CredentialSource,
    /// Directories that may hold `config.json` (or a Secret's `.dockerconfigjson`), best first; the
    /// first that holds one is used.
    pub credential_directories: Vec<PathBuf>,
    /// Directories searched for credential helper programs (`PATH`).
    pub helper_directories: Vec<PathBuf>,
    /// The whole environment of this process, for helper programs: those of clouds read their
    /// region, role and token files from it.
    pub helper_environment: SecretVariables,
    /// Credentials that are in no file of Docker's (`--credential-helpers` and variables).
    pub ambient: AmbientCredentials,
    /// CA certificates (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// Directories of CA certificates (`SSL_CERT_DIR`, split at `:`).
    pub ca_directories: Vec<PathBuf>,
    /// Proxies (`HTTP_PROXY` and its kin).
    pub proxy: ProxySettings,
    /// What follows the program's name in the User-Agent (`UPSTREAM_CLIENT_TYPE`).
    pub client_type: Option<String>,
    /// Retries of a push after the first try (`--push-retry`).
    pub push_retry_count: RetryCount,
    /// Retries of fetching a manifest or blob after the first try (`--image-download-retry`).
    pub download_retry_count: RetryCount,
    /// What a refused overwrite of an immutable tag means (`--push-ignore-immutable-tag-errors`).
    pub immutable_tags: ImmutableTags,
    /// Whether pushing is tried before the build (`--skip-push-permission-check`).
    pub permission_check: PermissionCheck,
}

/// Where user names and passwords for registries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// Docker's configuration, in the first of the directories that has one.
    Files,
    /// A document of the same form on this open descriptor (`--registry-auth-stdin`,
    /// `--registry-auth-fd`).
    Descriptor(u32),
    /// None here: a broker at this socket has them, and talks to registries (`--registry-broker`).
    Broker(PathBuf),
}

/// Whether plain HTTP and unverified TLS are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSecurity {
    /// Whether plain HTTP may be used.
    pub plain_http: PlainHttp,
    /// Whether certificates are verified.
    pub verification: Verification,
}

/// Whether plain HTTP may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only https.
    Refused,
    /// https first, then http.
    Allowed,
}

/// Whether certificates are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Yes.
    Required,
    /// No.
    Skipped,
}

/// A CA certificate for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The registry's `host[:port]`.
    pub host: String,
    /// A PEM file.
    pub certificate: PathBuf,
}

/// A client certificate for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostClientCertificate {
    /// The registry's `host[:port]`.
    pub host: String,
    /// A PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
}

/// One redirection of pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMap {
    /// The registry named in references, such as `index.docker.io`.
    pub from: String,
    /// `host[:port][/path/prefix]` that is asked instead, perhaps with a scheme.
    pub to: String,
}

/// What follows when every map of a registry failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryFallback {
    /// The registry itself is asked.
    Origin,
    /// The pull fails.
    Fail,
}

/// Proxies from the environment; `None` where the variable is unset or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `http_proxy`, `HTTP_PROXY`.
    pub http: Option<Secret>,
    /// `https_proxy`, `HTTPS_PROXY`.
    pub https: Option<Secret>,
    /// `no_proxy`, `NO_PROXY`: hosts reached directly.
    pub no_proxy: Option<String>,
}

/// How often something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCount {
    /// Not said: the built-in policy.
    Default,
    /// Exactly so often after the first try.
    Exactly(u32),
}

/// What a refused overwrite of an immutable tag means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImmutableTags {
    /// The push fails.
    Fail,
    /// The tag is there already: done.
    Accept,
}

/// Whether pushing is tried before the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionCheck {
    /// An upload is started and cancelled at each destination.
    Checked,
    /// Nothing is asked.
    Skipped,
}
