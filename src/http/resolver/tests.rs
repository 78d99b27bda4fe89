use std::net::{Ipv4Addr, UdpSocket};
use std::str::FromStr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

use super::*;

/// Serves `registry.internal` and `evil.internal`; knows no other name.
fn name_server() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let question = query.queries.first().unwrap().clone();
            let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
            answer.add_query(question.clone());
            let name = question.name().to_lowercase().to_ascii();
            let address = match name.as_str() {
                "registry.internal." => Some(Ipv4Addr::new(10, 0, 0, 7)),
                "evil.internal." => Some(Ipv4Addr::new(169, 254, 169, 254)),
                _ => None,
            };
            match (address, question.query_type()) {
                (Some(address), RecordType::A) => {
                    let data = RData::A(A(address));
                    answer.add_answer(Record::from_rdata(question.name().clone(), 60, data));
                }
                (Some(_), _) => {}
                (None, _) => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    });
    port
}

fn served(hosts: &[u8]) -> NameLookup {
    let mut udp = ConnectionConfig::udp();
    udp.port = name_server();
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
    let search = vec![hickory_resolver::proto::rr::Name::from_str("internal.").unwrap()];
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    let servers = with_config(config, ResolverOpts::default()).map_err(|error| error.to_string());
    NameLookup { hosts: Hosts::parse(hosts), servers }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn names_come_from_literals_then_the_hosts_file_then_the_servers() {
    let names = served(b"10.9.9.9 registry.static");
    assert_eq!(names.lookup("192.0.2.1").await.unwrap(), [ip("192.0.2.1")]);
    assert_eq!(names.lookup("Registry.STATIC.").await.unwrap(), [ip("10.9.9.9")]);
    assert_eq!(names.lookup("registry.internal").await.unwrap(), [ip("10.0.0.7")]);
    assert_eq!(names.lookup("registry").await.unwrap(), [ip("10.0.0.7")], "search domain");
    let error = names.lookup("nothing.internal").await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_temporary()), ("no such name", false));
}

#[tokio::test]
async fn without_name_servers_only_the_hosts_file_answers() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, "10.0.0.1 registry").unwrap();
    let resolv_conf = directory.path().join("resolv.conf");
    let missing =
        NameLookup::new(&NameResolution { resolv_conf: resolv_conf.clone(), hosts: hosts.clone() });
    assert_eq!(missing.lookup("registry").await.unwrap(), [ip("10.0.0.1")]);
    let error = missing.lookup("example.com").await.unwrap_err();
    assert!(!error.is_temporary());
    let expected = format!("no name server: cannot read `{}`", resolv_conf.display());
    assert!(error.to_string().starts_with(&expected), "{error}");

    std::fs::write(&resolv_conf, "search example.com\n").unwrap();
    let empty = NameLookup::new(&NameResolution { resolv_conf: resolv_conf.clone(), hosts });
    let error = empty.lookup("example.com").await.unwrap_err();
    let expected = format!("no name server: `{}` is not usable", resolv_conf.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

async fn filtered(reach: Reach, exempt: &[&str], name: &str) -> Result<Vec<SocketAddr>, String> {
    let names = Arc::new(served(b"127.0.0.1 mixed\n192.0.2.1 mixed\n"));
    let exempt = exempt.iter().map(|&name| name.to_owned()).collect();
    let lookup = FilteredLookup::new(names, reach, exempt);
    let found = lookup.resolve(name.parse().unwrap()).await.map_err(|error| error.to_string())?;
    Ok(found.collect())
}

#[tokio::test]
async fn addresses_are_filtered_after_the_lookup() {
    let address = |text: &str| Ok(vec![SocketAddr::new(ip(text), 0)]);
    let refused = |name: &str, ip: &str| Err(format!("address {ip} of `{name}` is refused"));
    let evil = "evil.internal";
    assert_eq!(filtered(Reach::Anywhere, &[], evil).await, address("169.254.169.254"));
    assert_eq!(
        filtered(Reach::PublicAndPrivate, &[], evil).await,
        refused(evil, "169.254.169.254")
    );
    assert_eq!(filtered(Reach::PublicOnly, &[evil], evil).await, address("169.254.169.254"));
    let private = "registry.internal";
    assert_eq!(filtered(Reach::PublicAndPrivate, &[], private).await, address("10.0.0.7"));
    assert_eq!(filtered(Reach::PublicOnly, &[], private).await, refused(private, "10.0.0.7"));
    assert_eq!(filtered(Reach::PublicOnly, &[], "mixed").await, refused("mixed", "127.0.0.1"));
}

#[test]
fn the_resolver_is_made_before_there_is_a_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let resolv_conf = directory.path().join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 192.0.2.53\nsearch a.example\noptions ndots:5\n")
        .unwrap();
    let names = NameLookup::new(&NameResolution { resolv_conf, hosts: "/nonexistent".into() });
    assert!(names.servers.is_ok());
}
