//! How registries are reached.

use std::path::{Path, PathBuf};

use super::absolute;
use super::ambient::ambient;
use crate::build::options::{
    CredentialSource, HostCertificate, HostClientCertificate, ImmutableTags, PermissionCheck,
    PlainHttp, ProxySettings, RegistryAccess, RegistryFallback, RegistryMap, RetryCount,
    TransportSecurity, Verification,
};
use crate::cli::args::{
    BrokerArgs, BuildArgs, CredentialArgs, DocumentArgs, HostArgs, KeyValue, PullArgs, WarmerArgs,
};
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::cli::go_values;
use crate::secret::Secret;

/// The registry that mirrors stand in for.
const DOCKER_HUB: &str = "index.docker.io";

/// Lowers the registry flags and the variables beside them.
pub fn access(
    args: &BuildArgs,
    work_directory: &Path,
    environment: &Environment,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<RegistryAccess, Error> {
    let (push, pull, hosts) = (&args.push, &args.pull, &args.pull.hosts);
    warn_of_switches(hosts, warnings);
    let credentials = credentials(&args.credentials, facts)?;
    if let CredentialSource::Broker(_) = credentials
        && (push.insecure
            || push.skip_tls_verify
            || pull.insecure_pull
            || pull.skip_tls_verify_pull
            || !hosts.insecure_registry.is_empty()
            || !hosts.skip_tls_verify_registry.is_empty()
            || !hosts.registry_certificate.is_empty()
            || !hosts.registry_client_cert.is_empty())
    {
        warnings.push(
            "with `--registry-broker` the broker alone reaches registries: flags on plain HTTP and \
             certificates have no effect here, give them to `zuwai broker`"
                .to_owned(),
        );
    }
    Ok(RegistryAccess {
        push: transport(push.insecure, push.skip_tls_verify),
        pull: transport(pull.insecure_pull, push.skip_tls_verify || pull.skip_tls_verify_pull),
        credentials,
        ambient: ambient(
            &args.credentials.document.credential_helpers,
            &pull.azure_container_registry_config,
            environment,
            facts,
        )?,
        push_retry_count: retry("--push-retry", args.output.push_retry)?,
        download_retry_count: retry("--image-download-retry", push.image_download_retry)?,
        immutable_tags: match args.output.push_ignore_immutable_tag_errors {
            true => ImmutableTags::Accept,
            false => ImmutableTags::Fail,
        },
        permission_check: match args.output.skip_push_permission_check {
            true => PermissionCheck::Skipped,
            false => PermissionCheck::Checked,
        },
        ..pulling(pull, work_directory, environment, facts)?
    })
}

/// Lowers the registry flags of the warmer, which pushes nothing.
pub fn warmer(
    args: &WarmerArgs,
    environment: &Environment,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<RegistryAccess, Error> {
    let pull = &args.pull;
    warn_of_switches(&pull.hosts, warnings);
    let kaniko_directory = Path::new(crate::cli::KANIKO_DIRECTORY);
    pulling(pull, kaniko_directory, environment, facts)
}

/// Lowers what pulls need, with nothing to push to and the credentials of files.
fn pulling(
    pull: &PullArgs,
    work_directory: &Path,
    environment: &Environment,
    facts: &Facts,
) -> Result<RegistryAccess, Error> {
    let hosts = &pull.hosts;
    Ok(RegistryAccess {
        push: transport(false, false),
        pull: transport(pull.insecure_pull, pull.skip_tls_verify_pull),
        plain_http_hosts: names(&hosts.insecure_registry),
        unverified_hosts: names(&hosts.skip_tls_verify_registry),
        certificates: certificates(&hosts.registry_certificate, facts),
        client_certificates: client_certificates(hosts, facts)?,
        maps: maps(pull),
        fallback: match pull.skip_default_registry_fallback {
            true => RegistryFallback::Fail,
            false => RegistryFallback::Origin,
        },
        credentials: CredentialSource::Files,
        credential_directories: credential_directories(work_directory, environment, facts),
        helper_directories: environment.paths("PATH"),
        helper_environment: environment.all(),
        ambient: ambient(&[], &pull.azure_container_registry_config, environment, facts)?,
        ca_file: ca_file(environment, facts),
        ca_directories: ca_directories(environment, facts),
        proxy: proxy(environment)?,
        client_type: client_type(environment)?,
        push_retry_count: RetryCount::Default,
        download_retry_count: RetryCount::Default,
        immutable_tags: ImmutableTags::Fail,
        permission_check: PermissionCheck::Skipped,
    })
}

fn transport(plain_http: bool, skip: bool) -> TransportSecurity {
    TransportSecurity {
        plain_http: if plain_http { PlainHttp::Allowed } else { PlainHttp::Refused },
        verification: if skip { Verification::Skipped } else { Verification::Required },
    }
}

/// Warns of registries whose names are those of a switch's values.
fn warn_of_switches(hosts: &HostArgs, warnings: &mut Vec<String>) {
    for (names, flag) in [
        (&hosts.insecure_registry, "--insecure-registry"),
        (&hosts.skip_tls_verify_registry, "--skip-tls-verify-registry"),
    ] {
        if let Some(host) = names.iter().find(|host| go_values::parse_bool(host).is_ok()) {
            warnings
                .push(format!("`{flag}={host}` names a registry called `{host}`, not a switch"));
        }
    }
}

/// Lowers the flags of a broker.
pub fn broker(
    args: &BrokerArgs,
    environment: &Environment,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<RegistryAccess, Error> {
    let hosts = &args.hosts;
    warn_of_switches(hosts, warnings);
    let secure =
        TransportSecurity { plain_http: PlainHttp::Refused, verification: Verification::Required };
    let kaniko_directory = Path::new(crate::cli::KANIKO_DIRECTORY);
    Ok(RegistryAccess {
        push: secure,
        pull: secure,
        plain_http_hosts: names(&hosts.insecure_registry),
        unverified_hosts: names(&hosts.skip_tls_verify_registry),
        certificates: certificates(&hosts.registry_certificate, facts),
        client_certificates: client_certificates(hosts, facts)?,
        maps: Vec::new(),
        fallback: RegistryFallback::Origin,
        credentials: document(&args.document)?,
        credential_directories: credential_directories(kaniko_directory, environment, facts),
        helper_directories: environment.paths("PATH"),
        helper_environment: environment.all(),
        ambient: ambient(&args.document.credential_helpers, "", environment, facts)?,
        ca_file: ca_file(environment, facts),
        ca_directories: ca_directories(environment, facts),
        proxy: proxy(environment)?,
        client_type: client_type(environment)?,
        push_retry_count: RetryCount::Default,
        download_retry_count: RetryCount::Default,
        immutable_tags: ImmutableTags::Fail,
        permission_check: PermissionCheck::Skipped,
    })
}

fn names(hosts: &[String]) -> Vec<String> {
    hosts.iter().map(|host| host_name(host)).collect()
}

fn client_certificates(
    hosts: &HostArgs,
    facts: &Facts,
) -> Result<Vec<HostClientCertificate>, Error> {
    hosts.registry_client_cert.iter().map(|pair| client_certificate(pair, facts)).collect()
}

fn ca_file(environment: &Environment, facts: &Facts) -> Option<PathBuf> {
    environment.path("SSL_CERT_FILE").map(|path| facts.current_directory.join(path))
}

fn ca_directories(environment: &Environment, facts: &Facts) -> Vec<PathBuf> {
    let directories = environment.paths("SSL_CERT_DIR");
    directories.iter().map(|path| facts.current_directory.join(path)).collect()
}

/// Lowers the flags that say where credentials come from.
pub fn credentials(args: &CredentialArgs, facts: &Facts) -> Result<CredentialSource, Error> {
    const FLAG: &str = "--registry-broker";
    let document = self::document(&args.document)?;
    match (args.registry_broker.as_str(), &document) {
        ("", _) => Ok(document),
        (path, CredentialSource::Files) => {
            Ok(CredentialSource::Broker(absolute(path.trim_start_matches("unix://"), facts)))
        }
        (_, CredentialSource::Descriptor(0)) => {
            Err(Error::CredentialsTwice { first: "--registry-auth-stdin", second: FLAG })
        }
        (_, CredentialSource::Descriptor(_) | CredentialSource::Broker(_)) => {
            Err(Error::CredentialsTwice { first: "--registry-auth-fd", second: FLAG })
        }
    }
}

fn document(args: &DocumentArgs) -> Result<CredentialSource, Error> {
    const FLAG: &str = "--registry-auth-fd";
    match (args.registry_auth_stdin, args.registry_auth_fd) {
        (false, None) => Ok(CredentialSource::Files),
        (true, None) => Ok(CredentialSource::Descriptor(0)),
        (true, Some(_)) => {
            Err(Error::CredentialsTwice { first: "--registry-auth-stdin", second: FLAG })
        }
        (false, Some(number)) => {
            let wrong = |reason: &str| Error::WrongValue {
                flag: FLAG,
                value: number.to_string(),
                reason: reason.to_owned(),
            };
            match u32::try_from(number) {
                Ok(1 | 2) => Err(wrong("this descriptor is written to")),
                Ok(descriptor) => Ok(CredentialSource::Descriptor(descriptor)),
                Err(_) => Err(wrong("expected the number of an open descriptor")),
            }
        }
    }
}

/// Returns `host[:port]` of what may be a URL.
fn host_name(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.trim_end_matches('/').to_owned()
}

/// Maps first, then mirrors, as kaniko appends them. `registry` reads a target's scheme.
fn maps(pull: &PullArgs) -> Vec<RegistryMap> {
    let mapped = pull
        .registry_map
        .iter()
        .flat_map(|pairs| &pairs.0)
        .map(|pair| (host_name(&pair.key), pair.value.clone()));
    let mirrors = pull.registry_mirror.iter().map(|mirror| (DOCKER_HUB.to_owned(), mirror.clone()));
    mapped.chain(mirrors).map(|(from, to)| RegistryMap { from, to }).collect()
}

/// One certificate a host: the last given, as in kaniko's map.
fn certificates(pairs: &[KeyValue], facts: &Facts) -> Vec<HostCertificate> {
    let mut certificates: Vec<HostCertificate> = Vec::new();
    for pair in pairs {
        certificates.retain(|earlier| earlier.host != pair.key);
        certificates.push(HostCertificate {
            host: pair.key.clone(),
            certificate: absolute(&pair.value, facts),
        });
    }
    certificates
}

fn client_certificate(pair: &KeyValue, facts: &Facts) -> Result<HostClientCertificate, Error> {
    match pair.value.split_once(',') {
        Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
            Ok(HostClientCertificate {
                host: pair.key.clone(),
                certificate: absolute(certificate, facts),
                key: absolute(key, facts),
            })
        }
        _ => Err(Error::WrongValue {
            flag: "--registry-client-cert",
            value: format!("{}={}", pair.key, pair.value),
            reason: "expected `HOST=CERTIFICATE,KEY`".to_owned(),
        }),
    }
}

/// `DOCKER_CONFIG` first, then where pipelines mount it, then the user's own.
fn credential_directories(
    work_directory: &Path,
    environment: &Environment,
    facts: &Facts,
) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    let candidates = [
        environment.path("DOCKER_CONFIG").map(|path| facts.current_directory.join(path)),
        Some(work_directory.join(".docker")),
        Some(Path::new(crate::cli::KANIKO_DIRECTORY).join(".docker")),
        environment.path("HOME").map(|home| facts.current_directory.join(home).join(".docker")),
    ];
    for directory in candidates.into_iter().flatten() {
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
}

/// Reads the proxy variables; upper case stands over lower case, as in Go.
fn proxy(environment: &Environment) -> Result<ProxySettings, Error> {
    let either = |upper: &str| -> Result<Option<String>, Error> {
        let value = match environment.filled(upper)? {
            Some(value) => Some(value),
            None => environment.filled(&upper.to_ascii_lowercase())?,
        };
        Ok(value.map(str::to_owned))
    };
    Ok(ProxySettings {
        http: either("HTTP_PROXY")?.map(Secret::new),
        https: either("HTTPS_PROXY")?.map(Secret::new),
        no_proxy: either("NO_PROXY")?,
    })
}

fn client_type(environment: &Environment) -> Result<Option<String>, Error> {
    Ok(environment.filled("UPSTREAM_CLIENT_TYPE")?.map(str::to_owned))
}

fn retry(flag: &'static str, count: Option<i64>) -> Result<RetryCount, Error> {
    let Some(count) = count else {
        return Ok(RetryCount::Default);
    };
    u32::try_from(count).map(RetryCount::Exactly).map_err(|_| Error::WrongValue {
        flag,
        value: count.to_string(),
        reason: "expected a count of 0 or more".to_owned(),
    })
}
