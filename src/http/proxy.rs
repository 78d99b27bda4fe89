//! Which proxy a URL goes through, with the meaning that Go's HTTP client gives to
//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`; pure.
//!
//! Own code instead of reqwest's: reqwest follows curl, where a port in `NO_PROXY` is unknown and
//! loopback is proxied, and it goes direct without a word when a proxy's URL cannot be parsed.

use std::net::IpAddr;

use url::Url;

use super::error::HttpError;
use super::options::ProxyOptions;
use super::origin::host_text;

/// The proxies of one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    bypass: Vec<Bypass>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bypass {
    host: BypassHost,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum BypassHost {
    Any,
    Address(IpAddr),
    Network {
        address: IpAddr,
        prefix: u32,
    },
    /// The name itself and everything under it.
    Domain(String),
    /// Only what is under it (written with a leading dot or `*.`).
    Subdomains(String),
}

impl Proxies {
    /// Parses the proxies' URLs; a URL without scheme is an `http://` one.
    ///
    /// # Errors
    /// When a URL cannot be parsed or is of a kind other than `http` and `https` (SOCKS): going
    /// direct instead would send the traffic where the user did not want it.
    pub(super) fn new(options: &ProxyOptions) -> Result<Self, HttpError> {
        Ok(Self {
            http: options
                .http
                .as_ref()
                .map(|url| parse("HTTP_PROXY", url.expose()))
                .transpose()?
                .flatten(),
            https: options
                .https
                .as_ref()
                .map(|url| parse("HTTPS_PROXY", url.expose()))
                .transpose()?
                .flatten(),
            bypass: options
                .no_proxy
                .as_deref()
                .unwrap_or_default()
                .split(',')
                .filter_map(bypass)
                .collect(),
        })
    }

    /// Returns the proxy for `target`, or `None` when it is reached directly.
    pub(super) fn for_url(&self, target: &Url) -> Option<&Url> {
        let proxy = match target.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let host = host_text(target)?;
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let port = target.port_or_known_default();
        let bypassed = self.bypass.iter().any(|entry| {
            entry.port.is_none_or(|only| Some(only) == port) && entry.matches(&host, address)
        });
        (!bypassed).then_some(proxy)
    }

    /// Returns the host names of the proxies, which a filtered connection may always dial.
    pub(super) fn hosts(&self) -> Vec<String> {
        [&self.http, &self.https].into_iter().flatten().filter_map(host_text).collect()
    }
}

impl Bypass {
    fn matches(&self, host: &str, address: Option<IpAddr>) -> bool {
        match &self.host {
            BypassHost::Any => true,
            BypassHost::Address(own) => address == Some(*own),
            BypassHost::Network { address: network, prefix } => {
                address.is_some_and(|address| in_network(address, *network, *prefix))
            }
            BypassHost::Domain(name) => {
                host == name
                    || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            BypassHost::Subdomains(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
        }
    }
}

fn parse(variable: &'static str, text: &str) -> Result<Option<Url>, HttpError> {
    if text.is_empty() {
        return Ok(None);
    }
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url =
        Url::parse(&with_scheme).map_err(|source| HttpError::ProxyUrl { variable, source })?;
    match (url.scheme(), host_text(&url)) {
        ("http" | "https", Some(_)) => Ok(Some(url)),
        _ => Err(HttpError::ProxyKind { variable, scheme: url.scheme().to_owned() }),
    }
}

fn bypass(entry: &str) -> Option<Bypass> {
    let entry = entry.trim().to_ascii_lowercase();
    if entry.is_empty() {
        return None;
    }
    if entry == "*" {
        return Some(Bypass { host: BypassHost::Any, port: None });
    }
    if let Some((address, prefix)) = entry.split_once('/') {
        let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse::<u32>().ok()?);
        return Some(Bypass { host: BypassHost::Network { address, prefix }, port: None });
    }
    let (host, port) = split_port(&entry);
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Bypass { host: BypassHost::Address(address), port });
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    let host = match host.strip_prefix('.') {
        Some(rest) => BypassHost::Subdomains(rest.to_owned()),
        None => BypassHost::Domain(host.to_owned()),
    };
    Some(Bypass { host, port })
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    // An IPv6 address without brackets has several colons and no port.
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (entry, None),
    }
}

fn in_network(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn proxies(no_proxy: &str) -> Proxies {
        Proxies::new(&ProxyOptions {
            http: Some(Secret::new("plain.example:3128")),
            https: Some(Secret::new("http://user:word@tls.example")),
            no_proxy: Some(no_proxy.to_owned()),
        })
        .unwrap()
    }

    fn proxied(no_proxy: &str, url: &str) -> bool {
        proxies(no_proxy).for_url(&Url::parse(url).unwrap()).is_some()
    }

    #[test]
    fn the_scheme_of_the_target_chooses_the_proxy() {
        let proxies = proxies("");
        let host = |url: &str| {
            proxies.for_url(&Url::parse(url).unwrap()).and_then(|proxy| proxy.host_str())
        };
        assert_eq!(host("http://r.example/"), Some("plain.example"));
        assert_eq!(host("https://r.example/"), Some("tls.example"));
        assert_eq!(proxies.hosts(), ["plain.example", "tls.example"]);
    }

    #[test]
    fn loopback_is_never_proxied() {
        for url in ["http://localhost:5000/", "http://127.0.0.1/", "https://[::1]:5000/"] {
            assert!(!proxied("", url), "{url}");
        }
    }

    #[test]
    fn no_proxy_means_what_it_means_in_go() {
        for (no_proxy, url, expected) in [
            ("r.example", "https://r.example/", false),
            ("r.example", "https://a.r.example/", false),
            ("r.example", "https://ar.example/", true),
            (".r.example", "https://a.r.example/", false),
            (".r.example", "https://r.example/", true),
            ("*.r.example", "https://a.r.example/", false),
            ("r.example:5000", "https://r.example:5000/", false),
            ("r.example:5000", "https://r.example/", true),
            ("r.example:443", "https://r.example/", false),
            ("10.0.0.0/8, x", "https://10.9.8.7/", false),
            ("10.0.0.0/8", "https://11.0.0.1/", true),
            ("10.0.0.0/99", "https://10.0.0.1/", true),
            ("0.0.0.0/0", "https://11.0.0.1/", false),
            ("fd00::/8", "https://[fd00::5]:5000/", false),
            ("fd00::5", "https://[fd00::5]/", false),
            ("[fd00::5]:80", "https://[fd00::5]/", true),
            ("10.0.0.1", "https://10.0.0.1/", false),
            ("10.0.0.1:80", "https://10.0.0.1/", true),
            ("R.EXAMPLE", "https://r.example/", false),
            ("*", "https://r.example/", false),
            (" , ,", "https://r.example/", true),
        ] {
            assert_eq!(proxied(no_proxy, url), expected, "{no_proxy} {url}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_an_empty_one_is_none() {
        let with = |url: &str| {
            Proxies::new(&ProxyOptions { https: Some(Secret::new(url)), ..Default::default() })
        };
        assert!(with("").unwrap().https.is_none());
        assert_eq!(
            with("socks5://s.example:1080").unwrap_err().to_string(),
            "proxy in `HTTPS_PROXY` is of kind `socks5`, not http or https"
        );
        assert_eq!(
            with("http://user:word@").unwrap_err().to_string(),
            "cannot parse the proxy in `HTTPS_PROXY`"
        );
    }
}
