//! Which network addresses a URL may lead to; pure.
//!
//! A URL that the user named may lead anywhere, one that a Dockerfile names to anything but metadata,
//! which no image is to hold. A URL that a server named (redirect, token realm,
//! upload location) must not turn the builder into a way to reach what only the Pod can reach:
//! cloud metadata, its own loopback, and, unless the user's registry lives there too, the private
//! network. The check is made on addresses at the moment of dialing, because a name can mean
//! anything by then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a connection may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Any address: the user named this host.
    Anywhere,
    /// Public and private addresses and loopback; not link-local or metadata services.
    AllButMetadata,
    /// Public and private addresses; not loopback, link-local or metadata services.
    PublicAndPrivate,
    /// Public addresses only.
    PublicOnly,
}

/// Names of metadata services that are refused even where a proxy resolves them.
const METADATA_NAMES: &[&str] =
    &["metadata", "metadata.google.internal", "metadata.goog", "instance-data"];

/// Azure's metadata and wire server, a public address that is only reachable from inside.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Alibaba Cloud's metadata service, inside the shared (carrier-grade NAT) range.
const ALIBABA_METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// AWS's metadata service over IPv6, inside the private range.
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Public,
    Private,
    /// This machine's own.
    Loopback,
    /// Link-local, unspecified, multicast, metadata.
    Local,
}

impl Reach {
    /// Returns whether `address` may be dialed.
    pub(super) fn allows(self, address: IpAddr) -> bool {
        match (self, kind(address)) {
            (Self::Anywhere, _) | (_, Kind::Public) => true,
            (Self::AllButMetadata, Kind::Private | Kind::Loopback) => true,
            (Self::PublicAndPrivate, Kind::Private) => true,
            (Self::PublicOnly, Kind::Private) | (_, Kind::Loopback | Kind::Local) => false,
        }
    }

    /// Returns whether a host of this name may be asked for at all; `host` is in lower case.
    pub(super) fn allows_name(self, host: &str) -> bool {
        self == Self::Anywhere || !METADATA_NAMES.contains(&host)
    }
}

/// Returns whether `address` belongs to a private network.
pub(super) fn is_private(address: IpAddr) -> bool {
    kind(address) == Kind::Private
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Kind {
    let [a, b, ..] = address.octets();
    if address.is_loopback() {
        Kind::Loopback
    } else if address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || a == 0
        || address == AZURE_WIRE_SERVER
        || address == ALIBABA_METADATA
    {
        Kind::Local
    } else if address.is_private() || (a == 100 && (64..128).contains(&b)) {
        Kind::Private
    } else {
        Kind::Public
    }
}

fn kind_of_v6(address: Ipv6Addr) -> Kind {
    // Forms that carry an IPv4 address reach that address on many systems and gateways.
    if let Some(inner) = embedded_v4(address) {
        return kind_of_v4(inner);
    }
    if address.is_loopback() {
        Kind::Loopback
    } else if address.is_unspecified()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || address == AWS_METADATA
    {
        Kind::Local
    } else if address.is_unique_local() || address.segments()[0] & 0xffc0 == 0xfec0 {
        Kind::Private
    } else {
        Kind::Public
    }
}

/// Returns the IPv4 address inside a mapped (`::ffff:0:0/96`), compatible (`::/96`), NAT64
/// (`64:ff9b::/96`) or 6to4 (`2002::/16`) address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let [g1, g2] = g.to_be_bytes();
    let [h1, h2] = h.to_be_bytes();
    let last = Ipv4Addr::new(g1, g2, h1, h2);
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(last),
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(last),
        [0x2002, high, low, ..] => {
            let [h1, h2] = high.to_be_bytes();
            let [l1, l2] = low.to_be_bytes();
            Some(Ipv4Addr::new(h1, h2, l1, l2))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, private: bool, public: bool) {
        let address: IpAddr = address.parse().unwrap();
        assert!(Reach::Anywhere.allows(address), "{address}");
        assert_eq!(Reach::PublicAndPrivate.allows(address), private, "{address}");
        assert_eq!(Reach::PublicOnly.allows(address), public, "{address}");
    }

    #[test]
    fn public_addresses_are_always_allowed() {
        for address in ["1.1.1.1", "168.63.129.17", "2606:4700::1111", "64:ff9b::101:101"] {
            check(address, true, true);
        }
    }

    #[test]
    fn private_addresses_need_permission() {
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ] {
            check(address, true, false);
        }
    }

    #[test]
    fn loopback_link_local_and_metadata_are_never_allowed() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            check(address, false, false);
        }
    }

    #[test]
    fn what_a_dockerfile_names_may_be_anything_but_metadata() {
        let reach = Reach::AllButMetadata;
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "fd00::1", "1.1.1.1"] {
            assert!(reach.allows(address.parse().unwrap()), "{address}");
        }
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "0.0.0.0",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            assert!(!reach.allows(address.parse().unwrap()), "{address}");
        }
        assert!(!reach.allows_name("metadata.google.internal"));
    }

    #[test]
    fn metadata_names_are_refused_before_any_lookup() {
        assert!(Reach::Anywhere.allows_name("metadata.google.internal"));
        assert!(!Reach::PublicAndPrivate.allows_name("metadata.google.internal"));
        assert!(Reach::PublicOnly.allows_name("metadata.google.internal.example"));
    }
}
