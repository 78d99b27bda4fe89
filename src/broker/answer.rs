//! From a request to its answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Allowed;
use super::ask::{Ask, Thing};
use super::door::Door;
use super::refusal::{Refused, errors};
use super::uploads::{Upload, Uploads};
use crate::registry::{
    Cause, Registry, RegistryError, Relay, RelayBody, RelayPlace, Relayed, Repository,
};
use crate::report::fault::{Fault, one_line};

/// Largest manifest that is passed on, in bytes, as registries have it.
const LARGEST_MANIFEST: usize = 4 << 20;

/// Headers of a request that are passed on.
const ASKED: [HeaderName; 4] = [ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE];

/// Headers of an answer that are passed back. None of them tells where a registry keeps what.
const ANSWERED: [&str; 8] = [
    "accept-ranges",
    "content-length",
    "content-range",
    "content-type",
    "docker-content-digest",
    "docker-distribution-api-version",
    "oci-chunk-min-length",
    "range",
];

/// The body of an answer.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What all requests share.
pub(super) struct Broker {
    registry: Registry,
    allowed: Allowed,
    door: Arc<Door>,
    uploads: Uploads,
    end: CancellationToken,
}

impl Broker {
    pub(super) fn new(registry: Registry, allowed: Allowed) -> Self {
        Self {
            registry,
            allowed,
            door: Arc::default(),
            uploads: Uploads::default(),
            end: CancellationToken::new(),
        }
    }

    /// Ends the claim of the build that is served.
    pub(super) fn stop(&self) {
        self.end.cancel();
    }

    /// Answers one request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let answer = match (head.method.as_str(), head.uri.path()) {
            ("GET", "/claim") => self.claim(),
            _ if !self.is_admitted(&head) => Err(Refused::stranger()),
            ("GET", "/v2/") => Ok(respond(StatusCode::OK, Bytes::from_static(b"{}"))),
            _ => self.pass(&head, body).await,
        };
        answer.unwrap_or_else(|refused| {
            let (method, path, status) = (&head.method, head.uri.path(), refused.status.as_u16());
            tracing::warn!(%method, path, status, "request refused");
            respond(refused.status, refused.body())
        })
    }

    fn is_admitted(&self, head: &Parts) -> bool {
        head.headers.get(AUTHORIZATION).is_some_and(|shown| self.door.admits(shown.as_bytes()))
    }

    /// Lets a build in. The answer goes on for as long as the build wants it to.
    fn claim(self: &Arc<Self>) -> Result<Response<Body>, Refused> {
        let Some(lease) = self.door.claim().map_err(no_random)? else {
            let message = "the broker serves another build";
            return Err(Refused::new(StatusCode::CONFLICT, "DENIED", message));
        };
        tracing::info!("a build has claimed the broker");
        // What the one before has left.
        let broker = Arc::clone(self);
        tokio::spawn(async move { broker.cancel_uploads().await });
        let ticket = Bytes::copy_from_slice(lease.ticket().as_bytes());
        let end = self.end.clone();
        let rest = async move {
            // Dropped with the body, when the connection ends.
            let _lease = lease;
            end.cancelled().await;
            Ok(Frame::data(Bytes::new()))
        };
        let frames = stream::once(async { Ok(Frame::data(ticket)) }).chain(stream::once(rest));
        Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
    }

    /// Passes a request on, if it may be.
    async fn pass(&self, head: &Parts, body: Incoming) -> Result<Response<Body>, Refused> {
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let ask = Ask::read(&head.method, head.uri.path(), head.uri.query())?;
        let repository = self.allowed.check(host, &ask)?;
        let location = match &ask.thing {
            Thing::Upload(name, _) => {
                Some(self.uploads.find(name, &repository).ok_or_else(Refused::no_upload)?)
            }
            Thing::Manifest(_) | Thing::Blob(_) | Thing::NewUpload(_) => None,
        };
        let place = match (&ask.thing, &location) {
            (Thing::Manifest(name), _) => RelayPlace::Manifest(name),
            (Thing::Blob(digest), _) => RelayPlace::Blob(digest),
            (Thing::NewUpload(mount), _) => {
                RelayPlace::NewUpload(mount.as_ref().map(|(digest, from)| (digest, from.as_str())))
            }
            (Thing::Upload(_, digest), Some(location)) => {
                RelayPlace::Upload(location, digest.as_ref())
            }
            (Thing::Upload(..), None) => return Err(Refused::no_upload()),
        };
        let relay = Relay {
            repository: &repository,
            method: ask.method.clone(),
            place,
            headers: asked(&head.headers),
            body: sent(&ask, body).await?,
        };
        match self.registry.relay(relay).await {
            Ok(relayed) => self.pass_back(&ask, repository, relayed),
            Err(error) => {
                self.note_end(&ask, &error);
                Ok(failed(&ask, &error))
            }
        }
    }

    /// Answers as the registry did, but for where uploads go on.
    fn pass_back(
        &self,
        ask: &Ask,
        repository: Repository,
        relayed: Relayed,
    ) -> Result<Response<Body>, Refused> {
        let Relayed { response, location } = relayed;
        let status = response.status();
        tracing::debug!(method = %ask.method, repository = ask.repository, status = status.as_u16(), "passed on");
        let path = |name: &str| format!("/v2/{}/blobs/uploads/{name}", ask.repository);
        let location = match (&ask.thing, location) {
            (Thing::NewUpload(_), Some(location)) if status == StatusCode::ACCEPTED => {
                let upload = Upload { repository, location };
                let name = self.uploads.add(upload).map_err(no_random)?.ok_or_else(|| {
                    let message = "the broker has too many uploads under way";
                    Refused::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message)
                })?;
                Some(path(&name))
            }
            (Thing::Upload(name, None), moved) if ask.method != Method::DELETE => {
                if let Some(location) = moved {
                    self.uploads.moved(name, location);
                }
                Some(path(name))
            }
            (Thing::Upload(name, _), _) => {
                self.uploads.remove(name);
                None
            }
            (Thing::NewUpload(_) | Thing::Manifest(_) | Thing::Blob(_), _) => None,
        };
        let mut headers = HeaderMap::new();
        for name in ANSWERED {
            if let Some(value) = response.headers().get(name) {
                headers.insert(HeaderName::from_static(name), value.clone());
            }
        }
        if let Some(location) = location {
            // Names of repositories and of uploads are plain ASCII.
            let location = HeaderValue::from_str(&location).map_err(|_| Refused::unsupported())?;
            headers.insert(LOCATION, location);
        }
        let pieces = stream::try_unfold(response, |mut response| async move {
            match response.chunk().await {
                Ok(piece) => Ok(piece.map(|piece| (Frame::data(piece), response))),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        let body = match ask.method == Method::HEAD {
            true => whole(Bytes::new()),
            false => StreamBody::new(pieces).boxed_unsync(),
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Forgets an upload that the registry does not know any more.
    fn note_end(&self, ask: &Ask, error: &RegistryError) {
        if let (Thing::Upload(name, _), Some(404)) = (&ask.thing, error.status()) {
            self.uploads.remove(name);
        }
    }

    /// Cancels the uploads that nobody will go on with.
    pub(super) async fn cancel_uploads(&self) {
        let left = self.uploads.take();
        let cancelled = left.iter().map(|upload| {
            self.registry.relay(Relay {
                repository: &upload.repository,
                method: Method::DELETE,
                place: RelayPlace::Upload(&upload.location, None),
                headers: HeaderMap::new(),
                body: RelayBody::None,
            })
        });
        for outcome in futures_util::future::join_all(cancelled).await {
            // The registry does it by itself after some days.
            if let Err(error) = outcome {
                tracing::debug!(error = one_line(&error), "upload could not be cancelled");
            }
        }
    }
}

/// Picks the headers that are passed on.
fn asked(headers: &HeaderMap) -> HeaderMap {
    let known =
        ASKED.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    known.collect()
}

/// Returns the body to pass on: manifests whole, since they may have to be sent again, bytes of
/// uploads as they come.
async fn sent(ask: &Ask, body: Incoming) -> Result<RelayBody, Refused> {
    match (&ask.thing, ask.method.as_str()) {
        (Thing::Manifest(_), "PUT") => {
            let whole = Limited::new(body, LARGEST_MANIFEST).collect().await.map_err(|_| {
                let message = "the manifest is too large, or did not arrive";
                Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", message)
            })?;
            Ok(RelayBody::Bytes(whole.to_bytes()))
        }
        (Thing::NewUpload(_), _) => Ok(RelayBody::Bytes(Bytes::new())),
        (Thing::Upload(..), "PATCH" | "PUT") if body.is_end_stream() => {
            Ok(RelayBody::Bytes(Bytes::new()))
        }
        (Thing::Upload(..), "PATCH" | "PUT") => {
            let length = body.size_hint().exact();
            let pieces = body.into_data_stream().map_err(io::Error::other);
            Ok(RelayBody::Stream(length, pieces.boxed()))
        }
        _ => Ok(RelayBody::None),
    }
}

/// Answers for a registry that refused or could not be asked.
fn failed(ask: &Ask, error: &RegistryError) -> Response<Body> {
    let (status, reported, wait) = match error.cause() {
        Cause::Refused(refusal) => {
            let reported = refusal
                .errors
                .iter()
                .map(|one| json!({"code": one.code, "message": one.message, "detail": one.detail}));
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, reported.collect(), refusal.retry_after)
        }
        _ => {
            let status = match error.is_temporary() {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::FAILED_DEPENDENCY,
            };
            let message = format!("the broker {}", one_line(error));
            (status, vec![json!({"code": "UNKNOWN", "message": message})], None)
        }
    };
    // That something is not there is what uploads begin with.
    if status != StatusCode::NOT_FOUND {
        tracing::warn!(
            method = %ask.method, repository = ask.repository, error = one_line(error), "request failed"
        );
    }
    let body = match ask.method == Method::HEAD {
        true => Bytes::new(),
        false => errors(&reported),
    };
    let mut answer = respond(status, body);
    if let Some(wait) = wait {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    answer
}

fn respond(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn no_random(error: rustix::io::Errno) -> Refused {
    let message = format!("the broker has no random numbers: {error}");
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN", message)
}
