//! Static names (`/etc/hosts`), parsed; pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names in lower case and their addresses, in the file's order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    addresses: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    /// Parses a hosts file. Lines that do not start with an address are skipped, as every resolver
    /// does, so that one odd line does not cut a Pod off.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut addresses: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.split(|&byte| byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                let known = addresses.entry(name).or_default();
                if !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        Self { addresses }
    }

    /// Returns the addresses of `name` (lower case, no trailing dot). `localhost` and names under
    /// it are loopback even if the file does not say so (RFC 6761).
    pub(super) fn lookup(&self, name: &str) -> Option<Vec<IpAddr>> {
        if let Some(addresses) = self.addresses.get(name) {
            return Some(addresses.clone());
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_collect_their_addresses_and_odd_lines_are_skipped() {
        let hosts = Hosts::parse(
            b"# comment\n10.0.0.1 Registry.Example registry # alias\nnonsense x\n\xff\xfe bad\n\
              ::1 registry\n10.0.0.1 registry\n\t10.0.0.2\tpod.\n10.0.0.3",
        );
        let addresses = |name: &str| hosts.lookup(name).unwrap_or_default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(addresses("registry.example"), [ip("10.0.0.1")]);
        assert_eq!(addresses("registry"), [ip("10.0.0.1"), ip("::1")]);
        assert_eq!(addresses("pod"), [ip("10.0.0.2")]);
        assert_eq!(hosts.lookup("x"), None);
        assert_eq!(hosts.lookup("other"), None);
    }

    #[test]
    fn localhost_is_loopback_unless_the_file_says_otherwise() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let none = Hosts::default();
        assert_eq!(none.lookup("a.localhost"), Some(vec![ip("127.0.0.1"), ip("::1")]));
        assert_eq!(none.lookup("localhost.example"), None);
        let own = Hosts::parse(b"127.0.0.5 localhost");
        assert_eq!(own.lookup("localhost"), Some(vec![ip("127.0.0.5")]));
    }
}
