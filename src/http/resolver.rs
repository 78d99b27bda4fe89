//! Names to addresses without the system's resolver.
//!
//! `getaddrinfo` would load NSS modules named by the image under `/` once a base is unpacked there.
//! Files are read once; where they name no server, names outside the hosts file do not resolve
//! (reqwest's own adapter would ask a public server instead, and tell it every internal name).

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::Reach;
use super::hosts::Hosts;
use super::options::NameResolution;

/// Why a name has no address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ResolveError {
    pub(super) host: String,
    reason: String,
    temporary: bool,
}

impl ResolveError {
    /// Returns whether trying again can help.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

/// An address that the connection may not reach.
#[derive(Clone, Debug, thiserror::Error)]
#[error("address {address} of `{host}` is refused")]
pub(super) struct Refused {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

/// Answers from the files read at construction and the name servers they named.
pub(super) struct NameLookup {
    hosts: Hosts,
    servers: Result<TokioResolver, String>,
}

impl NameLookup {
    /// Reads the files of `options`.
    pub(super) fn new(options: &NameResolution) -> Self {
        let hosts = match std::fs::read(&options.hosts) {
            Ok(text) => Hosts::parse(&text),
            Err(error) => {
                tracing::debug!(path = %options.hosts.display(), %error, "no hosts file");
                Hosts::default()
            }
        };
        let path = options.resolv_conf.display();
        let servers = match std::fs::read(&options.resolv_conf) {
            Ok(text) => parse_resolv_conf(text)
                .map_err(|error| format!("no name server: `{path}` is not usable: {error}"))
                .and_then(|(config, opts)| {
                    with_config(config, opts).map_err(|error| format!("no name server: {error}"))
                }),
            Err(error) => Err(format!("no name server: cannot read `{path}`: {error}")),
        };
        if let Err(reason) = &servers {
            tracing::debug!(reason, "only names of the hosts file can be resolved");
        }
        Self { hosts, servers }
    }

    /// Returns the addresses of `host`, at least one.
    pub(super) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        if let Some(addresses) = self.hosts.lookup(&name) {
            return Ok(addresses);
        }
        let failed =
            |reason: String, temporary| ResolveError { host: host.to_owned(), reason, temporary };
        let servers = self.servers.as_ref().map_err(|reason| failed(reason.clone(), false))?;
        match servers.lookup_ip(host).await {
            Ok(found) => {
                let addresses: Vec<IpAddr> = found.iter().collect();
                if addresses.is_empty() {
                    return Err(failed("the name has no address".to_owned(), false));
                }
                Ok(addresses)
            }
            Err(error) if error.is_nx_domain() => Err(failed("no such name".to_owned(), false)),
            Err(error) if error.is_no_records_found() => {
                Err(failed("the name has no address".to_owned(), false))
            }
            Err(error) => Err(failed(error.to_string(), true)),
        }
    }
}

fn with_config(
    config: ResolverConfig,
    mut options: ResolverOpts,
) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    // As resolv.conf(5) has it: servers in the order written, the next one only after a failure.
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.num_concurrent_reqs = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

/// reqwest's view: the addresses of a name that this connection may reach.
pub(super) struct FilteredLookup {
    names: Arc<NameLookup>,
    reach: Reach,
    exempt: HashSet<String>,
}

impl FilteredLookup {
    /// Filters by `reach`; hosts in `exempt` (proxies, which the user named) pass.
    pub(super) fn new(names: Arc<NameLookup>, reach: Reach, exempt: Vec<String>) -> Self {
        Self { names, reach, exempt: exempt.into_iter().collect() }
    }
}

impl Resolve for FilteredLookup {
    fn resolve(&self, name: Name) -> Resolving {
        let names = Arc::clone(&self.names);
        let host = name.as_str().to_ascii_lowercase();
        let reach = if self.exempt.contains(&host) { Reach::Anywhere } else { self.reach };
        Box::pin(async move {
            let addresses = names.lookup(&host).await?;
            // One bad address refuses the name: a server that answers with both kinds is trying
            // to win a race.
            if let Some(&address) = addresses.iter().find(|&&address| !reach.allows(address)) {
                return Err(Refused { host, address }.into());
            }
            let sockets = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
