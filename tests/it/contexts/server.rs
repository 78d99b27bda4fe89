//! A web server whose answers a test writes, and a proxy that leads any name to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::regsim::listener::FaultListener;

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// The host of the URL or of the header.
    pub host: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Bytes after which the connection breaks.
    pub cut: Option<usize>,
    /// The length is not told.
    pub chunked: bool,
    /// There never is an answer.
    pub silent: bool,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

struct Inner {
    handler: Box<Handler>,
    asked: Mutex<Vec<Asked>>,
}

/// A running server; it ends with the test's runtime.
pub struct Web {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

impl Web {
    pub async fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::launch(None, handler).await
    }

    /// Starts one with TLS; certificate and key are PEM.
    pub async fn start_tls(
        tls: (&str, &str),
        handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::launch(Some(tls), handler).await
    }

    async fn launch(
        tls: Option<(&str, &str)>,
        handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = FaultListener::bind("127.0.0.1", tls).await;
        let address = listener.address();
        let inner = Arc::new(Inner { handler: Box::new(handler), asked: Mutex::default() });
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inner }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().unwrap().clone()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers: BTreeMap<String, String> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let host = parts.uri.host().map(str::to_owned);
    let asked = Asked {
        method: parts.method.to_string(),
        host: host.unwrap_or_else(|| headers.get("host").cloned().unwrap_or_default()),
        path: percent_decode_str(parts.uri.path()).decode_utf8().unwrap().into_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    };
    let answer = (inner.handler)(&asked);
    inner.asked.lock().unwrap().push(asked);
    if answer.silent {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let body = match answer.cut {
        None if answer.chunked => {
            let pieces = [Ok::<_, std::io::Error>(Bytes::from(answer.body))];
            Body::from_stream(futures_util::stream::iter(pieces))
        }
        None => Body::from(answer.body),
        Some(cut) => {
            response = response.header("content-length", answer.body.len());
            let sent = Bytes::copy_from_slice(&answer.body[..cut]);
            Body::from_stream(futures_util::stream::unfold(Some(sent), async |sent| match sent {
                Some(sent) if !sent.is_empty() => Some((Ok(sent), Some(Bytes::new()))),
                _ => {
                    // What was sent goes out while there is nothing to send.
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    Some((Err(std::io::Error::other("cut by the test")), None))
                }
            }))
        }
    };
    response.body(body).unwrap()
}

/// Starts a proxy that leads every tunnel to `target`, whatever name was asked for.
pub async fn tunnel_to(target: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    head.push(byte);
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                // Whoever hangs up first ends it.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("http://{address}")
}
