//! The unit that credentials are bound to.

use std::fmt;

use url::{Host, Url};

/// Scheme, host and port of a URL; credentials never leave the origin they are for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of `url`, or `None` when it has no host (such as `data:`).
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: host_text(url)?,
            port: url.port_or_known_default()?,
        })
    }

    /// Returns whether both URLs have one origin. URLs without a host never do.
    pub fn same(a: &Url, b: &Url) -> bool {
        match (Self::of(a), Self::of(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }

    /// Returns the scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the host in lower case, without a trailing dot; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.scheme, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
        }
    }
}

/// Returns a URL's host in lower case, without a trailing dot; IPv6 without brackets.
pub(super) fn host_text(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        Origin::same(&Url::parse(a).unwrap(), &Url::parse(b).unwrap())
    }

    #[test]
    fn origin_is_scheme_host_and_port() {
        assert!(same("https://a.example/x", "https://A.example:443/y?z"));
        assert!(same("https://a.example./x", "https://a.example/y"));
        assert!(!same("https://a.example/", "http://a.example/"));
        assert!(!same("https://a.example/", "https://a.example:5000/"));
        assert!(!same("https://a.example/", "https://b.example/"));
        assert!(!same("https://a.example/", "https://a.example.evil.example/"));
        assert!(!same("data:x", "data:x"));
    }

    #[test]
    fn a_user_name_that_looks_like_a_host_is_not_the_host() {
        let url = Url::parse("https://a.example@evil.example/").unwrap();
        assert_eq!(Origin::of(&url).unwrap().host(), "evil.example");
    }
}
