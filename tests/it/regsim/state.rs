//! What the registry holds and what it has seen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use snapshot::Digest;
use tokio::sync::watch;

use super::faults::{Fault, Rule};

/// What the registry wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    /// This user name and password with each request.
    Basic(&'static str, &'static str),
    /// A token of the server at this realm (`None`: its own `/token`).
    Bearer(Option<String>),
}

/// One request as it arrived, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: u64,
    pub status: u16,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns all values of a query key.
    pub fn query(&self, key: &str) -> Vec<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned())
            .collect()
    }
}

#[derive(Default)]
pub struct Repository {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    pub tags: BTreeMap<String, Digest>,
}

pub struct Session {
    pub repository: String,
    pub bytes: Vec<u8>,
}

/// Who may get tokens, and what for.
#[derive(Default)]
pub struct TokenPolicy {
    /// User and password; `None` lets anyone have tokens.
    pub user: Option<(&'static str, &'static str)>,
    /// The refresh token that is taken.
    pub identity: Option<&'static str>,
    /// `expires_in` of answers.
    pub lifetime_seconds: Option<f64>,
    /// Scopes that are refused with 403 (part of the scope's text).
    pub forbidden: Option<&'static str>,
    /// Tokens end after so many uses.
    pub uses: Option<usize>,
}

#[derive(Default)]
pub struct Inner {
    pub repositories: BTreeMap<String, Repository>,
    pub sessions: BTreeMap<String, Session>,
    pub requests: Vec<Recorded>,
    pub rules: Vec<Rule>,
    /// Tokens that are good, the scopes they allow, and the uses that are left.
    pub tokens: BTreeMap<String, (Vec<String>, usize)>,
    pub policy: TokenPolicy,
    pub counter: u64,
}

pub struct State {
    pub auth: Auth,
    pub origin: String,
    /// `address:port` of the registry that this is before.
    pub upstream: Option<String>,
    /// Bytes that came in bodies of `PATCH`.
    pub received: watch::Sender<usize>,
    /// Requests that came to a gate.
    pub held: watch::Sender<usize>,
    /// Says when a request was answered.
    pub answered: watch::Sender<()>,
    inner: Mutex<Inner>,
}

impl State {
    pub fn new(auth: Auth, origin: String) -> Self {
        let (received, answered) = (watch::Sender::default(), watch::Sender::default());
        let (held, inner) = (watch::Sender::default(), Mutex::default());
        Self { auth, origin, upstream: None, received, held, answered, inner }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl Inner {
    pub fn put_blob(&mut self, repository: &str, digest: Digest, bytes: Vec<u8>) {
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        repository.blobs.insert(digest, bytes);
    }

    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.repositories.get(repository)?.blobs.get(digest).cloned()
    }

    pub fn put_manifest(
        &mut self,
        repository: &str,
        name: &str,
        kind: &str,
        bytes: Vec<u8>,
    ) -> Digest {
        let digest = Digest::of(&bytes);
        let repository = self.repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(digest, (kind.to_owned(), bytes));
        if !name.contains(':') {
            repository.tags.insert(name.to_owned(), digest);
        }
        digest
    }

    pub fn manifest(&self, repository: &str, name: &str) -> Option<(Digest, String, Vec<u8>)> {
        let repository = self.repositories.get(repository)?;
        let digest = name.parse().ok().or_else(|| repository.tags.get(name).copied())?;
        let (kind, bytes) = repository.manifests.get(&digest)?;
        Some((digest, kind.clone(), bytes.clone()))
    }

    pub fn session(&mut self, repository: &str) -> String {
        self.counter += 1;
        let id = format!("session-{}", self.counter);
        let session = Session { repository: repository.to_owned(), bytes: Vec::new() };
        self.sessions.insert(id.clone(), session);
        id
    }

    /// Takes the fault for a request, if there is one.
    pub fn fault(&mut self, method: &str, path: &str) -> Option<Fault> {
        for rule in &mut self.rules {
            if rule.method != method || !path.contains(&rule.path) || rule.times == 0 {
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
        None
    }
}
