//! Names of registries; pure.

use std::fmt;

/// The host that stands for Docker Hub in this module, as in kaniko: firewalls that let kaniko
/// through know this one.
const DOCKER_HUB: &str = "index.docker.io";

/// All names of Docker Hub's registry. One account, one origin.
const DOCKER_HUB_ALIASES: &[&str] = &["docker.io", DOCKER_HUB, "registry-1.docker.io"];

/// The server name under which credential helpers and `docker login` know Docker Hub.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A registry's `host[:port]`, in lower case; all names of Docker Hub are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// Takes a host as users and references write it: any case, perhaps with a scheme or slashes.
    pub fn new(text: &str) -> Self {
        let text = without_scheme(text);
        let host = text.split('/').next().unwrap_or_default().to_ascii_lowercase();
        if DOCKER_HUB_ALIASES.contains(&host.as_str()) {
            Self(DOCKER_HUB.to_owned())
        } else {
            Self(host)
        }
    }

    /// Returns `host[:port]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// Returns the host without its port.
    pub fn name(&self) -> &str {
        match self.0.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.0,
        }
    }

    /// Returns the server name to ask a credential helper for.
    pub(super) fn helper_server(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB_SERVER } else { &self.0 }
    }

    /// Returns whether the registry is on this machine: plain HTTP never leaves it.
    pub(super) fn is_loopback(&self) -> bool {
        let name = self.name();
        name == "localhost"
            || name.ends_with(".localhost")
            || bare_address(name).is_some_and(|address| address.is_loopback())
    }

    /// Returns whether the registry is one for which kaniko speaks plain HTTP unasked: an address
    /// of a private network, or a name under `.local`.
    pub(super) fn is_local_network(&self) -> bool {
        let name = self.name();
        name.ends_with(".local")
            || matches!(bare_address(name), Some(std::net::IpAddr::V4(v4)) if v4.is_private())
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns `text` without a leading `http://` or `https://`.
pub(super) fn without_scheme(text: &str) -> &str {
    text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text)
}

fn bare_address(name: &str) -> Option<std::net::IpAddr> {
    name.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_docker_hub_are_one() {
        for text in
            ["docker.io", "index.docker.io", "registry-1.docker.io", "https://Index.Docker.IO/v1/"]
        {
            assert!(RegistryHost::new(text).is_docker_hub(), "{text}");
        }
        for text in
            ["docker.io.evil", "xdocker.io", "docker.io:5000", "hub.docker.io", "docker.io."]
        {
            assert!(!RegistryHost::new(text).is_docker_hub(), "{text}");
        }
    }

    #[test]
    fn hosts_keep_their_port_and_lose_case_scheme_and_path() {
        assert_eq!(RegistryHost::new("Reg.Example:5000").as_str(), "reg.example:5000");
        assert_eq!(RegistryHost::new("https://reg.example/v2/").as_str(), "reg.example");
        assert_eq!(RegistryHost::new("reg.example:5000").name(), "reg.example");
        assert_eq!(RegistryHost::new("reg.example").name(), "reg.example");
        assert_eq!(RegistryHost::new("[::1]:5000").name(), "[::1]");
    }

    #[test]
    fn loopback_and_local_networks_are_told_apart() {
        for (text, loopback, local) in [
            ("localhost:5000", true, false),
            ("a.localhost", true, false),
            ("127.0.0.9:80", true, false),
            ("[::1]:5000", true, false),
            ("10.0.0.1", false, true),
            ("192.168.1.1:5000", false, true),
            ("registry.local:5000", false, true),
            ("11.0.0.1", false, false),
            ("localhost.example", false, false),
            ("registry.example", false, false),
        ] {
            let host = RegistryHost::new(text);
            assert_eq!((host.is_loopback(), host.is_local_network()), (loopback, local), "{text}");
        }
    }
}
