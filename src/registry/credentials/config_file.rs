//! Docker's `config.json`, parsed; pure but for [`find`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::{Credential, CredentialError};
use crate::registry::host::{RegistryHost, without_scheme};
use crate::secret::Secret;

/// Names of the file in a directory, best first: Docker's own, and those of Kubernetes Secrets of
/// the types `kubernetes.io/dockerconfigjson` and `kubernetes.io/dockercfg`.
const FILE_NAMES: &[&str] = &["config.json", ".dockerconfigjson", ".dockercfg"];

/// Largest configuration file that is read, in bytes.
pub(super) const LARGEST_FILE: u64 = 4 << 20;

/// A parsed configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConfigFile {
    auths: BTreeMap<String, RawEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Where and why a configuration does not parse. Never quotes it: a slip of the pen puts a password
/// anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON.
    #[error("not valid JSON at line {line}, column {column}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but with a value of the wrong kind.
    #[error("a value has the wrong type at line {line}, column {column}")]
    Shape {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
}

/// Why an entry is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// `auth` is not base64.
    #[error("`auth` is not base64")]
    Base64,
    /// `auth` is base64 of something else.
    #[error("`auth` does not decode to `user:password`")]
    NoColon,
}

/// The entry for a repository.
pub(super) struct Entry<'a> {
    /// Its key as written.
    pub(super) key: &'a str,
    /// Whether the key names more than a host.
    pub(super) has_path: bool,
    raw: &'a RawEntry,
}

/// A helper for a host.
pub(super) struct NamedHelper<'a> {
    /// The helper's name, which follows `docker-credential-` in that of its program.
    pub(super) name: &'a str,
    /// Whether the file names it for this host, not for all.
    pub(super) for_this_host: bool,
}

/// Returns the first configuration file in `directories`, without reading it.
pub(super) fn locate(directories: &[PathBuf]) -> Option<PathBuf> {
    candidates(directories).find(|path| path.is_file())
}

fn candidates(directories: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    directories.iter().flat_map(|directory| FILE_NAMES.iter().map(|name| directory.join(name)))
}

/// Finds and parses the first configuration file in `directories`.
pub(super) fn find(
    directories: &[PathBuf],
) -> Result<Option<(PathBuf, ConfigFile)>, CredentialError> {
    for path in candidates(directories) {
        match read(&path) {
            Ok(text) => {
                let config = ConfigFile::parse(&text)
                    .map_err(|source| CredentialError::Parse { path: path.clone(), source })?;
                tracing::debug!(path = %path.display(), "registry credentials");
                return Ok(Some((path, config)));
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) => {}
            Err(source) => return Err(CredentialError::Read { path, source }),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        // Kubernetes makes a directory where a Secret's key for a file mount is missing.
        return Err(std::io::ErrorKind::NotFound.into());
    }
    if metadata.len() > LARGEST_FILE {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "file is too large"));
    }
    std::fs::read(path)
}

impl ConfigFile {
    /// Parses a file in Docker's form, or in the older one that is only a map of entries.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ParseError> {
        // Docker takes an empty file for an empty object.
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let keys: BTreeMap<String, serde::de::IgnoredAny> =
            serde_json::from_slice(text).map_err(|error| describe(&error))?;
        let known = ["auths", "credHelpers", "credsStore"];
        if !known.iter().any(|key| keys.contains_key(*key))
            && let Ok(auths) = serde_json::from_slice::<BTreeMap<String, RawEntry>>(text)
        {
            return Ok(Self { auths, ..Self::default() });
        }
        serde_json::from_slice(text).map_err(|error| describe(&error))
    }

    /// Returns the names of all helpers that the file mentions.
    pub(super) fn helper_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.cred_helpers.values().chain(&self.creds_store).cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the helper for `host`: its own one, else the store for all.
    pub(super) fn helper(&self, host: &RegistryHost) -> Option<NamedHelper<'_>> {
        let own = self.cred_helpers.iter().find(|(key, _)| {
            split_key(key).is_some_and(|key| key.host == *host && key.path.is_empty())
        });
        match own {
            Some((_, name)) => Some(NamedHelper { name, for_this_host: true }),
            None => self
                .creds_store
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(|name| NamedHelper { name, for_this_host: false }),
        }
    }

    /// Returns the entry whose key has the longest path that `repository` is in.
    pub(super) fn entry(&self, host: &RegistryHost, repository: &str) -> Option<Entry<'_>> {
        self.auths
            .iter()
            .filter_map(|(key, raw)| {
                let parts = split_key(key)?;
                let leads_there = parts.path.is_empty()
                    || repository
                        .strip_prefix(parts.path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (parts.host == *host && leads_there).then_some((parts.path.len(), key, raw))
            })
            // Of several spellings of one host, one that holds something wins.
            .max_by_key(|(length, _, raw)| (*length, !raw.is_empty()))
            .map(|(length, key, raw)| Entry { key, has_path: length > 0, raw })
    }
}

impl RawEntry {
    fn is_empty(&self) -> bool {
        let nothing = |field: &Option<String>| field.as_deref().unwrap_or_default().is_empty();
        nothing(&self.auth)
            && nothing(&self.username)
            && nothing(&self.identitytoken)
            && nothing(&self.registrytoken)
    }
}

impl Entry<'_> {
    /// Returns what the entry holds; an empty one, as `docker login` leaves it beside a credential
    /// store, holds nothing.
    pub(super) fn credential(&self) -> Result<Option<Credential>, EntryError> {
        let filled = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.raw.registrytoken) {
            return Ok(Some(Credential::Registry(Secret::new(token))));
        }
        if let Some(token) = filled(&self.raw.identitytoken) {
            return Ok(Some(Credential::Identity(Secret::new(token))));
        }
        if let Some(auth) = filled(&self.raw.auth) {
            let (username, password) = decode(&auth)?;
            return Ok(Some(Credential::Password { username, password }));
        }
        match (filled(&self.raw.username), &self.raw.password) {
            (Some(username), Some(password)) => {
                Ok(Some(Credential::Password { username, password: Secret::new(password.clone()) }))
            }
            _ => Ok(None),
        }
    }
}

fn decode(auth: &str) -> Result<(String, Secret), EntryError> {
    let bytes = STANDARD
        .decode(auth.trim())
        .or_else(|_| STANDARD_NO_PAD.decode(auth.trim()))
        .map_err(|_| EntryError::Base64)?;
    let text = String::from_utf8(bytes).map_err(|_| EntryError::NoColon)?;
    let (username, password) = text.split_once(':').ok_or(EntryError::NoColon)?;
    // Docker pads with NUL.
    Ok((username.to_owned(), Secret::new(password.trim_end_matches('\0'))))
}

struct Key<'a> {
    host: RegistryHost,
    path: &'a str,
}

/// Splits a key into host and path. `None` for keys that are no host: with a user name in front,
/// empty, or with characters that no host has.
fn split_key(key: &str) -> Option<Key<'_>> {
    let text = without_scheme(key.trim());
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return None;
    }
    let path = path.trim_end_matches('/');
    // `https://index.docker.io/v1/` names the registry's API, not a repository.
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    Some(Key { host: RegistryHost::new(host), path })
}

fn describe(error: &serde_json::Error) -> ParseError {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => ParseError::Shape { line, column },
        _ => ParseError::Json { line, column },
    }
}
