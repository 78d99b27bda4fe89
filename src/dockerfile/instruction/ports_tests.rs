use super::ports::{PortError, expand_ports};

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
    let port = |whole: &str, port: &str| PortError::Port { text: text(whole), port: text(port) };
    for (whole, expected) in [
        ("", PortError::Missing { text: text("") }),
        ("80:", PortError::Missing { text: text("80:") }),
        ("/tcp", PortError::Missing { text: text("/tcp") }),
        ("80/x", PortError::Protocol { text: text("80/x"), protocol: text("x") }),
        ("80/tcp/udp", PortError::Protocol { text: text("80/tcp/udp"), protocol: text("tcp/udp") }),
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
