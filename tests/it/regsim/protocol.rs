//! The distribution protocol, and the faults on top of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use snapshot::Digest;

use super::faults::Fault;
use super::forward::forward;
use super::listener::Connection;
use super::state::{Recorded, State};
use super::tokens;

pub fn router(state: Arc<State>) -> Router {
    Router::new().fallback(serve).with_state(state)
}

/// A request with the part of its body that was read.
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// An answer before faults.
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What `Content-Length` says where there is no body (HEAD).
    pub length: Option<usize>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn query_value(&self, key: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned())
    }

    /// Splits `/v2/<repository>/<kind>/<rest>`.
    pub fn repository(&self) -> Option<(&str, &str)> {
        let path = self.path.strip_prefix("/v2/")?;
        ["/blobs/uploads/", "/blobs/", "/manifests/"].iter().find_map(|kind| {
            let (repository, _) = path.split_once(kind)?;
            Some((repository, path.get(repository.len()..)?))
        })
    }
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), length: None }
    }

    pub fn json(status: u16, body: &str) -> Self {
        let mut answer = Self::new(status);
        answer.set("content-type", "application/json");
        answer.body = body.as_bytes().to_vec();
        answer
    }

    fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": "so it is"}]});
        Self::json(status, &body.to_string())
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
    }
}

async fn serve(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: axum::extract::Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let mut request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: Vec::new(),
    };
    let fault = state.lock().fault(&request.method, &request.path);
    let limit = match &fault {
        Some(Fault::CutRequestAfter(limit)) => *limit,
        Some(Fault::Limit(limit)) => *limit + 1,
        Some(Fault::Cut | Fault::Early(_)) => 0,
        _ => usize::MAX,
    };
    if let Some(Fault::Hold(gate)) = &fault {
        state.held.send_modify(|count| *count += 1);
        gate.clone().wait_for(|open| *open).await.unwrap();
    }
    if let Some(Fault::Meet(all)) = &fault {
        all.wait().await;
    }
    if let Some(Fault::After(path, count)) = &fault {
        let enough = |_: &()| {
            let answered = &state.lock().requests;
            answered.iter().filter(|one| one.path.contains(path)).count() >= *count
        };
        state.answered.subscribe().wait_for(enough).await.unwrap();
    }
    if request.path == "/received" {
        // Answered once some bytes of some layer are here.
        state.received.subscribe().wait_for(|bytes| *bytes > 0).await.unwrap();
        return Response::new(Body::from("some"));
    }
    let is_part = request.method == "PATCH";
    let mut pieces = body.into_data_stream();
    while request.body.len() < limit {
        match pieces.next().await {
            Some(Ok(piece)) => {
                request.body.extend_from_slice(&piece);
                if is_part {
                    state.received.send_modify(|bytes| *bytes += piece.len());
                }
            }
            Some(Err(_)) | None => break,
        }
    }
    request.body.truncate(limit);
    let too_large = matches!(fault, Some(Fault::Limit(most)) if request.body.len() > most);
    if too_large {
        // What is still sent is read, so that the answer is heard.
        tokio::spawn(async move { while pieces.next().await.is_some() {} });
    }
    if matches!(fault, Some(Fault::IgnoreRange)) {
        request.headers.remove("range");
    }
    let answer = match &fault {
        Some(Fault::Answer { status, headers, body }) => {
            let mut answer = Answer::new(*status);
            answer.body = body.clone().into_bytes();
            for (name, value) in headers {
                answer.set(name, value.clone());
            }
            answer
        }
        Some(Fault::Early(status)) => Answer::new(*status),
        Some(Fault::Limit(_)) if too_large => Answer::new(413),
        Some(Fault::Echo) => {
            let said = request.header("authorization").unwrap_or_default();
            let message = format!("you said {said}");
            let body = serde_json::json!({"errors": [{"code": "DENIED", "message": message}]});
            Answer::json(403, &body.to_string())
        }
        Some(Fault::Cut) => Answer::new(500),
        _ => match &state.upstream {
            Some(to) => forward(to, &request).await,
            None => answer(&state, &request),
        },
    };
    let cut = matches!(fault, Some(Fault::Cut | Fault::LoseResponse | Fault::CutRequestAfter(_)));
    if cut {
        connection.cut();
    }
    state.lock().requests.push(Recorded {
        method: request.method.clone(),
        path: request.path,
        query: request.query,
        headers: request.headers,
        body: request.body.len() as u64,
        status: if cut { 0 } else { answer.status },
    });
    state.answered.send_replace(());
    respond(answer, fault, &connection, request.method == "HEAD")
}

fn answer(state: &State, request: &Request) -> Answer {
    if request.path == "/token" {
        return tokens::give(state, request);
    }
    if !request.path.starts_with("/v2/") {
        return Answer::new(404);
    }
    if let Some(refused) = tokens::challenge(state, request) {
        return refused;
    }
    let mut answer = match request.repository() {
        None if request.path == "/v2/" => Answer::json(200, "{}"),
        None => Answer::error(404, "NAME_INVALID"),
        Some((repository, rest)) => {
            let repository = repository.to_owned();
            if let Some(name) = rest.strip_prefix("/manifests/") {
                manifests(state, request, &repository, name)
            } else if let Some(id) = rest.strip_prefix("/blobs/uploads/") {
                uploads(state, request, &repository, id)
            } else {
                blobs(state, request, &repository, rest.trim_start_matches("/blobs/"))
            }
        }
    };
    answer.set("docker-distribution-api-version", "registry/2.0");
    answer
}

fn manifests(state: &State, request: &Request, repository: &str, name: &str) -> Answer {
    let mut inner = state.lock();
    match request.method.as_str() {
        "GET" | "HEAD" => match inner.manifest(repository, name) {
            None => Answer::error(404, "MANIFEST_UNKNOWN"),
            Some((digest, kind, bytes)) => {
                let mut answer = Answer::new(200);
                answer.set("content-type", kind);
                answer.set("docker-content-digest", digest.to_string());
                answer.length = Some(bytes.len());
                answer.body = bytes;
                answer
            }
        },
        "PUT" => {
            let parsed: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let blobs =
                parsed["layers"].as_array().into_iter().flatten().chain([&parsed["config"]]);
            let missing = blobs
                .filter_map(|blob| blob["digest"].as_str())
                .find(|digest| inner.blob(repository, &digest.parse().unwrap()).is_none());
            if let Some(missing) = missing {
                let body = serde_json::json!({"errors": [{
                    "code": "MANIFEST_BLOB_UNKNOWN",
                    "message": "blob unknown to registry",
                    "detail": {"digest": missing},
                }]});
                return Answer::json(404, &body.to_string());
            }
            let kind = request.header("content-type").unwrap_or_default().to_owned();
            let digest = inner.put_manifest(repository, name, &kind, request.body.clone());
            let mut answer = Answer::new(201);
            answer.set("docker-content-digest", digest.to_string());
            answer.set("location", format!("/v2/{repository}/manifests/{digest}"));
            answer
        }
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

fn blobs(state: &State, request: &Request, repository: &str, name: &str) -> Answer {
    let Ok(digest) = name.parse::<Digest>() else { return Answer::error(400, "DIGEST_INVALID") };
    let Some(bytes) = state.lock().blob(repository, &digest) else {
        return Answer::error(404, "BLOB_UNKNOWN");
    };
    let mut answer = Answer::new(200);
    answer.set("content-type", "application/octet-stream");
    answer.length = Some(bytes.len());
    let range = request.header("range").and_then(|range| {
        let (from, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = if last.is_empty() { usize::MAX } else { last.parse::<usize>().ok()? };
        Some((from.parse::<usize>().ok()?, last.min(bytes.len() - 1)))
    });
    match range {
        Some((from, last)) if from <= last => {
            answer.status = 206;
            answer.set("content-range", format!("bytes {from}-{last}/{}", bytes.len()));
            answer.body = bytes[from..=last].to_vec();
        }
        Some(_) => return Answer::new(416),
        None => answer.body = bytes,
    }
    answer
}

fn uploads(state: &State, request: &Request, repository: &str, id: &str) -> Answer {
    let mut inner = state.lock();
    if request.method == "POST" {
        if let (Some(digest), Some(from)) =
            (request.query_value("mount"), request.query_value("from"))
        {
            let digest: Digest = digest.parse().unwrap();
            if let Some(bytes) = inner.blob(&from, &digest) {
                inner.put_blob(repository, digest, bytes);
                return Answer::new(201);
            }
        }
        let id = inner.session(repository);
        return accepted(repository, &id, 0);
    }
    let Some(session) = inner.sessions.get_mut(id).filter(|s| s.repository == repository) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    match request.method.as_str() {
        "GET" => {
            let mut answer = accepted(repository, id, session.bytes.len());
            answer.status = 204;
            answer
        }
        "PATCH" => {
            if let Some(range) = request.header("content-range") {
                let first = range.split('-').next().and_then(|text| text.parse::<usize>().ok());
                if first != Some(session.bytes.len()) {
                    return Answer::error(416, "RANGE_INVALID");
                }
            }
            session.bytes.extend_from_slice(&request.body);
            let length = session.bytes.len();
            accepted(repository, id, length)
        }
        "PUT" => {
            let digest: Digest = request.query_value("digest").unwrap().parse().unwrap();
            let mut bytes = session.bytes.clone();
            bytes.extend_from_slice(&request.body);
            if Digest::of(&bytes) != digest {
                return Answer::error(400, "DIGEST_INVALID");
            }
            inner.sessions.remove(id);
            inner.put_blob(repository, digest, bytes);
            let mut answer = Answer::new(201);
            answer.set("docker-content-digest", digest.to_string());
            answer
        }
        "DELETE" => {
            inner.sessions.remove(id);
            Answer::new(204)
        }
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

fn accepted(repository: &str, id: &str, length: usize) -> Answer {
    let mut answer = Answer::new(202);
    answer.set("location", format!("/v2/{repository}/blobs/uploads/{id}?_state=of-{id}"));
    answer.set("range", format!("0-{}", length.saturating_sub(1)));
    answer
}

fn respond(
    mut answer: Answer,
    fault: Option<Fault>,
    connection: &Connection,
    is_head: bool,
) -> Response<Body> {
    let faults = match fault {
        Some(Fault::Several(faults)) => faults,
        one => one.into_iter().collect(),
    };
    for fault in &faults {
        change(&mut answer, fault);
    }
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap());
    let headers = response.headers_mut().unwrap();
    for (name, value) in &answer.headers {
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    if is_head {
        if let Some(length) = answer.length {
            headers.insert("content-length", length.into());
        }
        return response.body(Body::empty()).unwrap();
    }
    let length = answer.body.len();
    let (body, announced) = match faults.last().cloned() {
        Some(Fault::CutResponseAfter(count)) => {
            (cut_after(answer.body, count, Some(connection.clone())), true)
        }
        Some(Fault::Stall(count)) => (cut_after(answer.body, count, None), true),
        Some(Fault::Append(more)) => {
            let pieces = [Ok::<_, std::io::Error>(Bytes::from(answer.body)), Ok(more.into())];
            (Body::from_stream(futures_util::stream::iter(pieces)), false)
        }
        Some(Fault::Endless) => {
            let piece = Bytes::from(vec![b' '; 1 << 16]);
            (
                Body::from_stream(futures_util::stream::repeat(piece).map(Ok::<_, std::io::Error>)),
                false,
            )
        }
        _ => (Body::from(answer.body), false),
    };
    if announced {
        headers.insert("content-length", length.into());
    }
    response.body(body).unwrap()
}

fn change(answer: &mut Answer, fault: &Fault) {
    match fault {
        Fault::Status(status) => answer.status = *status,
        Fault::Headers(headers) => {
            for (name, value) in headers {
                answer.set(name, value.clone());
            }
        }
        Fault::Corrupt(at) => answer.body[*at] ^= 1,
        Fault::Shorten(to) => {
            answer.body.truncate(*to);
            answer.length = None;
        }
        _ => {}
    }
}

/// Sends the first `count` bytes; then cuts the connection, or without one is silent for ever.
fn cut_after(mut bytes: Vec<u8>, count: usize, connection: Option<Connection>) -> Body {
    bytes.truncate(count);
    let first = futures_util::stream::iter([Ok(Bytes::from(bytes))]);
    let rest = futures_util::stream::once(async move {
        let Some(connection) = connection else { return std::future::pending().await };
        // What was sent so far leaves the buffers while this waits.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        connection.cut();
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(first.chain(rest))
}
