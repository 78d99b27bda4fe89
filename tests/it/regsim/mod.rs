//! A registry in this process that keeps to the specification and fails on command.
//!
//! It records every request, so that a test can say what was sent, how often, and what was not.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod faults;
mod forward;
pub mod listener;
mod protocol;
mod state;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;

use snapshot::Digest;
use tokio::sync::watch;

pub use faults::{Fault, Rule};
pub use state::{Auth, Recorded, TokenPolicy};

use listener::FaultListener;
use state::State;

/// A running registry; it ends with the test's runtime.
pub struct RegSim {
    address: SocketAddr,
    state: Arc<State>,
    scheme: &'static str,
}

impl RegSim {
    /// Starts a registry without authentication on 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_with(Auth::None).await
    }

    /// Starts a registry that wants `auth`.
    pub async fn start_with(auth: Auth) -> Self {
        Self::launch(auth, None).await
    }

    /// Starts a registry that speaks TLS with this certificate and key (PEM).
    pub async fn start_tls(auth: Auth, certificate: &str, key: &str) -> Self {
        Self::launch(auth, Some((certificate, key))).await
    }

    /// Starts a proxy that passes on to a registry at `address:port` what no rule changes.
    pub async fn start_before(upstream: String) -> Self {
        let listener = FaultListener::bind("127.0.0.1", None).await;
        let address = listener.address();
        let mut state = State::new(Auth::None, format!("http://{address}"));
        state.upstream = Some(upstream);
        Self::serve(listener, state, "http")
    }

    async fn launch(auth: Auth, tls: Option<(&str, &str)>) -> Self {
        let listener = FaultListener::bind("127.0.0.1", tls).await;
        let address = listener.address();
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self::serve(listener, State::new(auth, format!("{scheme}://{address}")), scheme)
    }

    fn serve(listener: FaultListener, state: State, scheme: &'static str) -> Self {
        let (address, state) = (listener.address(), Arc::new(state));
        let service = protocol::router(Arc::clone(&state))
            .into_make_service_with_connect_info::<listener::Connection>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { address, state, scheme }
    }

    /// Returns `address:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns `scheme://address:port`.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Returns how many bytes came in bodies of `PATCH`, as they come.
    pub fn received(&self) -> watch::Receiver<usize> {
        self.state.received.subscribe()
    }

    /// Returns how many requests came to the gate of a [`Fault::Hold`].
    pub fn held(&self) -> watch::Receiver<usize> {
        self.state.held.subscribe()
    }

    /// Adds a rule; the first one that fits a request and has uses left is applied.
    pub fn rule(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// Stores a blob in a repository.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.state.lock().put_blob(repository, digest, bytes.to_vec());
        digest
    }

    /// Returns a blob's bytes.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.state.lock().blob(repository, digest)
    }

    /// Removes a blob from a repository.
    pub fn remove_blob(&self, repository: &str, digest: &Digest) {
        self.state.lock().repositories.entry(repository.into()).or_default().blobs.remove(digest);
    }

    /// Stores a manifest under a tag and its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, kind: &str, bytes: &[u8]) -> Digest {
        self.state.lock().put_manifest(repository, tag, kind, bytes.to_vec())
    }

    /// Returns the bytes of the manifest that a tag names.
    pub fn manifest(&self, repository: &str, tag: &str) -> Option<Vec<u8>> {
        self.state.lock().manifest(repository, tag).map(|(_, _, bytes)| bytes)
    }

    /// Returns the digest that a tag names.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.state.lock().repositories.get(repository)?.tags.get(tag).copied()
    }

    /// Opens an upload session without being asked, and returns its name.
    pub fn session(&self, repository: &str) -> String {
        self.state.lock().session(repository)
    }

    /// Makes a token good for a scope.
    pub fn grant(&self, token: &str, scope: &str) {
        let good = (vec![scope.to_owned()], usize::MAX);
        self.state.lock().tokens.insert(token.to_owned(), good);
    }

    /// Returns the number of upload sessions that are neither finished nor cancelled.
    pub fn open_sessions(&self) -> usize {
        self.state.lock().sessions.len()
    }

    /// Changes who may get tokens.
    pub fn policy(&self, change: impl FnOnce(&mut TokenPolicy)) {
        change(&mut self.state.lock().policy);
    }

    /// Makes every token given so far worthless.
    pub fn revoke_tokens(&self) {
        self.state.lock().tokens.clear();
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.lock().requests.clone()
    }

    /// Returns how many requests had this method and a path that contains `path`.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let fits = |request: &&Recorded| request.method == method && request.path.contains(path);
        self.state.lock().requests.iter().filter(fits).count()
    }

    /// Returns the requests so far as `METHOD path status`, without queries.
    pub fn log(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| format!("{} {} {}", request.method, request.path, request.status))
            .collect()
    }
}

/// Shortens a line of [`RegSim::log`] about the repository `app`: sessions by their names, any blob as
/// `blob`.
pub fn shortened(line: &str) -> String {
    let line = line.replace("/v2/app/blobs/uploads/", "");
    match line.split_once("/v2/app/blobs/sha256:") {
        Some((method, rest)) => format!("{method}blob{}", rest.get(64..).unwrap()),
        None => line,
    }
}
