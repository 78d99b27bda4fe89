//! What `EXPOSE` takes: ports and ranges of them, with a protocol.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a port is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// There is no port in it.
    #[error("no port in `{text}`")]
    Missing {
        /// The whole text.
        text: String,
    },
    /// The protocol is not one of three.
    #[error("invalid protocol `{protocol}` in `{text}`: must be tcp, udp or sctp")]
    Protocol {
        /// The whole text.
        text: String,
        /// The protocol.
        protocol: String,
    },
    /// The address before a host port is none.
    #[error("invalid IP address `{address}` in `{text}`")]
    Address {
        /// The whole text.
        text: String,
        /// The address.
        address: String,
    },
    /// Not a number up to 65535, or a range of such.
    #[error("invalid port `{port}` in `{text}`: must be a number up to 65535 or a range")]
    Port {
        /// The whole text.
        text: String,
        /// The port.
        port: String,
    },
    /// A range of host ports that does not fit the range of ports.
    #[error("the ranges in `{text}` differ in length")]
    Ranges {
        /// The whole text.
        text: String,
    },
}

/// Returns the ports that an expanded word of `EXPOSE` stands for, each as `number/protocol`.
///
/// `[[address:]host port:]port[-port][/protocol]`; what is before the port is checked and dropped.
///
/// # Errors
/// See [`PortError`].
pub fn expand_ports(text: &str) -> Result<Vec<String>, PortError> {
    let owned = || text.to_owned();
    let (before, specification) = text.rsplit_once(':').unwrap_or(("", text));
    let (address, host_port) = before.rsplit_once(':').unwrap_or(("", before));
    let (port, protocol) = specification.split_once('/').unwrap_or((specification, ""));
    if port.is_empty() {
        return Err(PortError::Missing { text: owned() });
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(PortError::Protocol { text: owned(), protocol: protocol.to_owned() }),
    };
    if !is_address(address) {
        return Err(PortError::Address { text: owned(), address: address.to_owned() });
    }
    let range = |port: &str| {
        parse_range(port).ok_or_else(|| PortError::Port { text: owned(), port: port.to_owned() })
    };
    let (first, last) = range(port)?;
    if !host_port.is_empty() {
        let (host_first, host_last) = range(host_port)?;
        // A single port may be bound to any of several host ports.
        if first != last && host_last - host_first != last - first {
            return Err(PortError::Ranges { text: owned() });
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Returns whether the text is empty, an address, or an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match inner.unwrap_or(text) {
        "" => true,
        address => address.parse::<Ipv4Addr>().is_ok() || address.parse::<Ipv6Addr>().is_ok(),
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    match text.split_once('-') {
        None => parse_port(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (parse_port(first)?, parse_port(last)?);
            (first <= last).then_some((first, last))
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    // Rust's own parser takes a plus sign too.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
