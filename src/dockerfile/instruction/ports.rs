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

#[cfg(test)]
mod tests {
    use super::{PortError, expand_ports};

    #[test]
    fn ports_and_ranges_expand() {
        for (text, expected) in [
            ("80", &["80/tcp"][..]),
            ("080", &["80/tcp"]),
            ("0", &["0/tcp"]),
            ("65535/UDP", &["65535/udp"]),
            ("80/", &["80/tcp"]),
            ("8-10/sctp", &["8/sctp", "9/sctp", "10/sctp"]),
            ("8-8", &["8/tcp"]),
            ("8080:80", &["80/tcp"]),
            (":80", &["80/tcp"]),
            ("::80", &["80/tcp"]),
            ("1-2:3-4", &["3/tcp", "4/tcp"]),
            ("1-9:3", &["3/tcp"]),
            ("127.0.0.1::53/udp", &["53/udp"]),
            ("[::1]:1:2", &["2/tcp"]),
            ("::1:1:2", &["2/tcp"]),
            ("[]:1:2", &["2/tcp"]),
        ] {
            let ports = expand_ports(text).expect(text);
            assert_eq!(ports, expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let text = |text: &str| text.to_owned();
        let port =
            |whole: &str, port: &str| PortError::Port { text: text(whole), port: text(port) };
        for (whole, expected) in [
            ("", PortError::Missing { text: text("") }),
            ("80:", PortError::Missing { text: text("80:") }),
            ("/tcp", PortError::Missing { text: text("/tcp") }),
            ("80/x", PortError::Protocol { text: text("80/x"), protocol: text("x") }),
            (
                "80/tcp/udp",
                PortError::Protocol { text: text("80/tcp/udp"), protocol: text("tcp/udp") },
            ),
            ("h:1:2", PortError::Address { text: text("h:1:2"), address: text("h") }),
            ("[::1:1:2", PortError::Address { text: text("[::1:1:2"), address: text("[::1") }),
            ("65536", port("65536", "65536")),
            ("-1", port("-1", "-1")),
            ("1-", port("1-", "1-")),
            ("2-1", port("2-1", "2-1")),
            ("1-2-3", port("1-2-3", "1-2-3")),
            ("+1", port("+1", "+1")),
            (" 1", port(" 1", " 1")),
            ("x:1", port("x:1", "x")),
            ("1-3:4-5", PortError::Ranges { text: text("1-3:4-5") }),
        ] {
            assert_eq!(expand_ports(whole), Err(expected), "{whole}");
        }
    }
}
