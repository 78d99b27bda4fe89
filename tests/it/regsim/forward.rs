//! Requests passed on to a real registry, so that faults happen on the way to it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::protocol::{Answer, Request};

/// Headers that are of one connection, or that are written anew.
const OWN: [&str; 4] = ["connection", "content-length", "transfer-encoding", "expect"];

/// Passes a request on to `to` (`address:port`, plain HTTP) and returns its answer.
///
/// HTTP 1.0 has answers that end with the connection, and no chunks. The host stays the one that
/// the client named.
pub async fn forward(to: &str, request: &Request) -> Answer {
    let mut server = TcpStream::connect(to).await.unwrap();
    let target = match request.query.as_str() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    };
    let mut head = format!("{} {target} HTTP/1.0\r\n", request.method);
    for (name, value) in request.headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
    server.write_all(head.as_bytes()).await.unwrap();
    server.write_all(&request.body).await.unwrap();
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer::new(status);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "content-length" => answer.length = value.parse().ok(),
            name if OWN.contains(&name) => {}
            name => answer.set(name, value),
        }
    }
    answer.body = bytes[end + 4..].to_vec();
    answer
}
