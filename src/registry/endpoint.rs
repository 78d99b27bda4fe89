//! Registries as places to send requests to: scheme, trust, mirrors.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::host::RegistryHost;
use super::manners::Manners;
use super::options::{Fallback, PlainHttp, RegistryOptions, TransportSecurity};
use super::way::KnownWay;
use crate::http::{HttpClient, HttpError, Trust, TrustRequest, Verification};
use crate::image::Reference;

/// What a registry is used for; the flags tell the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Pull,
    Push,
}

/// How far plain HTTP is allowed with a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClearText {
    /// Never.
    Refused,
    /// When https does not work, and without credentials: kaniko does it for private addresses
    /// unasked, but would also send passwords.
    Anonymous,
    /// When https does not work: the user said so, or nothing leaves this machine.
    Allowed,
}

/// A registry for one purpose.
pub(super) struct Endpoint {
    pub(super) host: RegistryHost,
    pub(super) purpose: Purpose,
    pub(super) clear_text: ClearText,
    /// For the registry itself.
    pub(super) trust: Trust,
    /// For other hosts that the registry sends us to: its authorities, but not its client
    /// certificate nor its exemption from verification.
    pub(super) secondary_trust: Trust,
    /// What was found out about the registry, for whatever purpose.
    pub(super) manners: Arc<Manners>,
    /// How blobs get there, as far as uploads have found out.
    pub(super) known_way: KnownWay,
}

/// A repository at an endpoint.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) repository: String,
}

/// Makes and remembers endpoints. All files are read in [`Endpoints::new`].
pub(super) struct Endpoints {
    options: RegistryOptions,
    push: SideTrust,
    pull: SideTrust,
    named: HashMap<RegistryHost, NamedHost>,
    /// Hosts that the user wrote down somewhere, and that servers may thus send us to.
    listed: HashSet<RegistryHost>,
    made: Mutex<HashMap<(RegistryHost, Purpose), Arc<Endpoint>>>,
    /// What is found out for one purpose is so for the other, unless clear text is allowed for one
    /// of them only.
    manners: Mutex<HashMap<(RegistryHost, ClearText), Arc<Manners>>>,
}

/// The trust in hosts without settings of their own.
struct SideTrust {
    trust: Trust,
}

struct NamedHost {
    push: Trust,
    pull: Trust,
    secondary_push: Trust,
    secondary_pull: Trust,
}

impl Endpoints {
    /// Reads the certificates that the options name.
    ///
    /// # Errors
    /// When a named file cannot be used.
    pub(super) fn new(http: &HttpClient, options: RegistryOptions) -> Result<Self, HttpError> {
        let side = |security: TransportSecurity| -> Result<SideTrust, HttpError> {
            let request =
                TrustRequest { verification: security.verification, ..TrustRequest::default() };
            Ok(SideTrust { trust: http.trust(&request)? })
        };
        let (push, pull) = (side(options.push)?, side(options.pull)?);
        let mut requests: HashMap<RegistryHost, TrustRequest> = HashMap::new();
        for host in &options.unverified_hosts {
            let request = requests.entry(RegistryHost::new(host)).or_default();
            request.verification = Verification::Skipped;
        }
        for authority in &options.certificates {
            let request = requests.entry(RegistryHost::new(&authority.host)).or_default();
            request.authorities.push(authority.certificate.clone());
        }
        for own in &options.client_certificates {
            let request = requests.entry(RegistryHost::new(&own.host)).or_default();
            request.client_certificate = Some(own.files.clone());
        }
        let mut named = HashMap::new();
        for (host, request) in requests {
            let with = |security: TransportSecurity| {
                let mut request = request.clone();
                if security.verification == Verification::Skipped {
                    request.verification = Verification::Skipped;
                }
                http.trust(&request)
            };
            let secondary = |security: TransportSecurity| {
                http.trust(&TrustRequest {
                    verification: security.verification,
                    authorities: request.authorities.clone(),
                    client_certificate: None,
                })
            };
            let trusts = NamedHost {
                push: with(options.push)?,
                pull: with(options.pull)?,
                secondary_push: secondary(options.push)?,
                secondary_pull: secondary(options.pull)?,
            };
            named.insert(host, trusts);
        }
        let mut listed: HashSet<RegistryHost> = named.keys().cloned().collect();
        listed.extend(options.plain_http_hosts.iter().map(|host| RegistryHost::new(host)));
        listed.extend(options.maps.iter().map(|map| RegistryHost::new(&map.to)));
        Ok(Self {
            options,
            push,
            pull,
            named,
            listed,
            made: Mutex::default(),
            manners: Mutex::default(),
        })
    }

    /// Returns whether the user wrote this host down.
    pub(super) fn is_listed(&self, host: &RegistryHost) -> bool {
        self.listed.contains(host)
    }

    /// Returns the endpoint of `host`.
    pub(super) fn get(&self, host: &RegistryHost, purpose: Purpose) -> Arc<Endpoint> {
        let mut made = locked(&self.made);
        let endpoint = made
            .entry((host.clone(), purpose))
            .or_insert_with(|| Arc::new(self.make(host, purpose)));
        Arc::clone(endpoint)
    }

    /// Returns where a reference is pushed to.
    pub(super) fn push_target(&self, reference: &Reference) -> Target {
        let host = RegistryHost::new(reference.registry());
        Target {
            endpoint: self.get(&host, Purpose::Push),
            repository: repository_of(reference, &host),
        }
    }

    /// Returns where a reference is pulled from, in the order to try: maps and mirrors, then the
    /// registry itself, unless that is forbidden.
    pub(super) fn pull_targets(&self, reference: &Reference) -> Vec<Target> {
        let origin = RegistryHost::new(reference.registry());
        let repository = repository_of(reference, &origin);
        let mut targets: Vec<Target> = Vec::new();
        for map in self.options.maps.iter().filter(|map| RegistryHost::new(&map.from) == origin) {
            let to = super::host::without_scheme(&map.to);
            let (host, prefix) = to.split_once('/').unwrap_or((to, ""));
            let prefix = prefix.trim_matches('/');
            let repository = if prefix.is_empty() {
                repository.clone()
            } else {
                format!("{prefix}/{repository}")
            };
            targets.push(Target {
                endpoint: self.get(&RegistryHost::new(host), Purpose::Pull),
                repository,
            });
        }
        if targets.is_empty() || self.options.fallback == Fallback::Origin {
            targets.push(Target { endpoint: self.get(&origin, Purpose::Pull), repository });
        }
        targets
    }

    fn make(&self, host: &RegistryHost, purpose: Purpose) -> Endpoint {
        let (side, security) = match purpose {
            Purpose::Push => (&self.push, self.options.push),
            Purpose::Pull => (&self.pull, self.options.pull),
        };
        let (trust, secondary_trust) = match (self.named.get(host), purpose) {
            (Some(named), Purpose::Push) => (&named.push, &named.secondary_push),
            (Some(named), Purpose::Pull) => (&named.pull, &named.secondary_pull),
            (None, _) => (&side.trust, &side.trust),
        };
        let allowed = security.plain_http == PlainHttp::Allowed
            || self.options.plain_http_hosts.iter().any(|named| RegistryHost::new(named) == *host)
            || self
                .options
                .maps
                .iter()
                .any(|map| map.to.starts_with("http://") && RegistryHost::new(&map.to) == *host)
            || host.is_loopback();
        let clear_text = if allowed {
            ClearText::Allowed
        } else if host.is_local_network() {
            ClearText::Anonymous
        } else {
            ClearText::Refused
        };
        let manners = {
            let mut manners = locked(&self.manners);
            Arc::clone(manners.entry((host.clone(), clear_text)).or_default())
        };
        Endpoint {
            host: host.clone(),
            purpose,
            clear_text,
            trust: trust.clone(),
            secondary_trust: secondary_trust.clone(),
            manners,
            known_way: KnownWay::default(),
        }
    }
}

/// Returns the repository as the registry knows it; Docker Hub's official images are in `library/`.
pub(super) fn repository_of(reference: &Reference, host: &RegistryHost) -> String {
    let repository = reference.repository();
    if host.is_docker_hub() && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half-done while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
