//! The network side of a build, made from its options before anything is unpacked.

use std::path::PathBuf;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::runtime::Runtime;
use url::Url;

use super::error::BuildError;
use super::options::{
    self, BuildOptions, CacheOptions, CachePlace, CredentialSource, ImmutableTags, PlainHttp,
    RegistryFallback, RetryCount,
};
use crate::http::{
    ClientCertificate, Download, DownloadError, HttpClient, HttpOptions, NameResolution, Outgoing,
    OutgoingBody, ProxyOptions, Reach, RetryPolicy, RootSources, Timeouts, Verification, redact,
};
use crate::registry::{
    AmbientCredentials, CredentialOptions, Fallback, HostAuthority, HostClientCertificate,
    PartsAhead, Registry, RegistryMap, RegistryOptions, TransportSecurity,
};
use crate::sandbox::HostFiles;

/// Where distributions keep their certificate authorities; the first that exists is read.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a build uses of the network, read from the machine's files once.
pub(super) struct Network {
    pub(super) http: HttpClient,
    pub(super) registry: Registry,
    pub(super) host_files: HostFiles,
}

/// Reads certificates, resolver configuration and credentials.
pub(super) fn open(options: &BuildOptions) -> Result<Network, BuildError> {
    let (http, registry) = prepare(options)?;
    Ok(Network { http, registry, host_files: HostFiles::read()? })
}

/// Reads certificates and credentials.
pub(super) fn prepare(options: &BuildOptions) -> Result<(HttpClient, Registry), BuildError> {
    connect(&options.registry, with_cache(options))
}

/// Returns the way to registries, for who builds nothing.
///
/// # Errors
/// When certificates or credentials cannot be read.
pub fn registry(access: &options::RegistryAccess) -> Result<Registry, BuildError> {
    connect_for(access).map(|(_, registry)| registry)
}

/// Less than what a connection takes in a round trip, which a request of their own would be.
const WHOLE_UPLOAD_BYTES: u64 = 64 << 10;

/// Returns the HTTP client and the way to registries, for who builds nothing.
///
/// # Errors
/// When certificates or credentials cannot be read.
pub fn connect_for(access: &options::RegistryAccess) -> Result<(HttpClient, Registry), BuildError> {
    connect(access, registry_options(access))
}

/// Returns the registries of a build: through its broker, which is claimed now, where it has one.
pub(super) fn reach(
    options: &BuildOptions,
    http: &HttpClient,
    registry: &Registry,
    runtime: &Runtime,
) -> Result<Registry, BuildError> {
    match &options.registry.credentials {
        CredentialSource::Files | CredentialSource::Descriptor(_) => Ok(registry.clone()),
        CredentialSource::Broker(socket) => {
            let retry = RetryPolicy::default();
            let http = runtime.block_on(http.through(socket, retry))?;
            Ok(registry.through(&http)?)
        }
    }
}

fn connect(
    access: &options::RegistryAccess,
    options: RegistryOptions,
) -> Result<(HttpClient, Registry), BuildError> {
    let http = HttpClient::new(&HttpOptions {
        user_agent: user_agent(access.client_type.as_deref()),
        roots: RootSources {
            file: access.ca_file.clone(),
            directories: access.ca_directories.clone(),
            system_bundles: SYSTEM_BUNDLES.iter().map(PathBuf::from).collect(),
        },
        proxies: ProxyOptions {
            http: access.proxy.http.clone(),
            https: access.proxy.https.clone(),
            no_proxy: access.proxy.no_proxy.clone(),
        },
        name_resolution: NameResolution {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
        },
        timeouts: Timeouts::default(),
    })?;
    let registry = Registry::new(&http, options)?;
    Ok((http, registry))
}

/// Returns what every request says of who sends it, as kaniko does.
fn user_agent(client_type: Option<&str>) -> String {
    let program = concat!("zuwai/", env!("CARGO_PKG_VERSION"));
    // What cannot be in a header would end every request.
    let shown: String =
        client_type.unwrap_or_default().chars().filter(|c| matches!(c, ' '..='~')).collect();
    match shown.as_str() {
        "" => program.to_owned(),
        shown => format!("{program},{shown}"),
    }
}

/// What is allowed for pushing to the cache is allowed for looking at what was pushed, as in kaniko.
fn with_cache(options: &BuildOptions) -> RegistryOptions {
    let access = &options.registry;
    let mut registry_options = registry_options(access);
    if let Some(CacheOptions { place: CachePlace::Repository(cache), .. }) = &options.cache {
        let host = cache.registry().to_owned();
        if access.push.plain_http == PlainHttp::Allowed {
            registry_options.plain_http_hosts.push(host.clone());
        }
        if access.push.verification == options::Verification::Skipped {
            registry_options.unverified_hosts.push(host);
        }
    }
    registry_options
}

fn registry_options(access: &options::RegistryAccess) -> RegistryOptions {
    let authorities = access
        .certificates
        .iter()
        .map(|one| HostAuthority { host: one.host.clone(), certificate: one.certificate.clone() });
    let clients = access.client_certificates.iter().map(|one| HostClientCertificate {
        host: one.host.clone(),
        files: ClientCertificate { certificate: one.certificate.clone(), key: one.key.clone() },
    });
    let maps =
        access.maps.iter().map(|one| RegistryMap { from: one.from.clone(), to: one.to.clone() });
    RegistryOptions {
        push: security(access.push),
        pull: security(access.pull),
        plain_http_hosts: access.plain_http_hosts.clone(),
        unverified_hosts: access.unverified_hosts.clone(),
        certificates: authorities.collect(),
        client_certificates: clients.collect(),
        maps: maps.collect(),
        fallback: match access.fallback {
            RegistryFallback::Origin => Fallback::Origin,
            RegistryFallback::Fail => Fallback::Fail,
        },
        credentials: CredentialOptions {
            directories: match access.credentials {
                CredentialSource::Files => access.credential_directories.clone(),
                CredentialSource::Descriptor(_) | CredentialSource::Broker(_) => Vec::new(),
            },
            descriptor: match access.credentials {
                CredentialSource::Files | CredentialSource::Broker(_) => None,
                CredentialSource::Descriptor(descriptor) => Some(descriptor),
            },
            helper_directories: access.helper_directories.clone(),
            helper_environment: access.helper_environment.clone(),
            ambient: match access.credentials {
                CredentialSource::Files => access.ambient.clone(),
                CredentialSource::Descriptor(_) | CredentialSource::Broker(_) => {
                    AmbientCredentials::default()
                }
            },
        },
        parts_ahead: PartsAhead::default(),
        whole_upload_bytes: WHOLE_UPLOAD_BYTES,
        pull_retry: retry(access.download_retry_count),
        push_retry: retry(access.push_retry_count),
        immutable_tags: match access.immutable_tags {
            ImmutableTags::Fail => crate::registry::ImmutableTags::Fail,
            ImmutableTags::Accept => crate::registry::ImmutableTags::Accept,
        },
    }
}

fn security(access: options::TransportSecurity) -> TransportSecurity {
    TransportSecurity {
        plain_http: match access.plain_http {
            PlainHttp::Refused => crate::registry::PlainHttp::Refused,
            PlainHttp::Allowed => crate::registry::PlainHttp::Allowed,
        },
        verification: match access.verification {
            options::Verification::Required => Verification::Required,
            options::Verification::Skipped => Verification::Skipped,
        },
    }
}

fn retry(count: RetryCount) -> RetryPolicy {
    match count {
        RetryCount::Default => RetryPolicy::default(),
        RetryCount::Exactly(retries) => RetryPolicy { retries, ..RetryPolicy::default() },
    }
}

/// Downloads a small file.
///
/// # Errors
/// [`DownloadError`], also for a file of more than `limit` bytes.
pub async fn fetch(http: &HttpClient, url: &Url, limit: u64) -> Result<Vec<u8>, DownloadError> {
    // What the user named may be anywhere.
    let (reach, retry) = (Reach::Anywhere, RetryPolicy::default());
    let wanted = Download { url, authorization: None, reach, limit, retry, gauge: None };
    let mut text = Vec::new();
    http.download(&wanted, &mut text).await?;
    Ok(text)
}

/// Sends a digest file's text to where `--digest-file=https://…` says.
pub(super) async fn put_text(http: &HttpClient, url: &Url, text: String) -> Result<(), BuildError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let body = Some(OutgoingBody::Bytes(Bytes::from(text)));
    let (method, trust, reach) = (Method::PUT, http.usual_trust(), Reach::Anywhere);
    let response = http.send(Outgoing { method, url, headers, body, trust, reach }).await?;
    match response.status().is_success() {
        true => Ok(()),
        false => Err(BuildError::Status { url: redact(url), status: response.status().as_u16() }),
    }
}
