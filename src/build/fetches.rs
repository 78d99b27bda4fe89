//! What `ADD` fetches: each thing once a build, in the work directory, until the build ends.
//!
//! A layer may be written from there, and a key may be made of it before the step that copies it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use snapshot::{Digest, Rootfs};
use url::Url;

use super::error::BuildError;
use super::options::ContextSource;
use super::session::Session;
use crate::context::git::{
    Depth, FetchedCommit, FetchedFiles, GitCredentials, GitSource, Reference, Submodules, Wanted,
};
use crate::context::{FetchError, Means, fetch_file};
use crate::http::{Origin, Verification, redact};
use crate::plan::{
    AddedSubmodules, CopyStep, GitDirectory, Remote, RemoteFile, RemoteRepository, is_id,
};
use crate::secret::Secret;

/// Who a token is taken for by those that want a name too; BuildKit's.
const TOKEN_USER: &str = "x-access-token";

/// What was fetched so far.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    files: Mutex<BTreeMap<Url, FetchedFile>>,
    repositories: Mutex<Vec<(RemoteRepository, FetchedRepository)>>,
    /// What references of repositories name, as far as somebody asked before they were fetched.
    commits: Mutex<BTreeMap<(Url, Option<String>), String>>,
}

#[derive(Clone, Debug)]
struct FetchedFile {
    /// A directory with nothing but the file in it.
    room: Rootfs,
    digest: Digest,
}

#[derive(Clone, Debug)]
struct FetchedRepository {
    /// What is added of it.
    directory: Rootfs,
    commit: FetchedCommit,
}

/// What tells something that is fetched from everything else.
pub(super) enum RemoteIdentity {
    /// What is in a file.
    Content(Digest),
    /// A commit's or annotated tag's id.
    Commit(String),
}

impl Session<'_> {
    /// Returns the directories with what a step fetches, in the order of its sources.
    pub(super) fn fetched(&self, copy: &CopyStep) -> Result<Vec<Rootfs>, BuildError> {
        let fetch = |remote| match remote {
            Remote::File(file) => Ok(self.fetched_file(file)?.room),
            Remote::Repository(repository) => self.fetched_repository(repository),
        };
        copy.remotes().map(fetch).collect()
    }

    /// Returns what tells something that a step fetches from everything else, without fetching it
    /// where the Dockerfile says so.
    pub(super) fn identity_of_remote(
        &self,
        remote: Remote<'_>,
    ) -> Result<RemoteIdentity, BuildError> {
        match remote {
            Remote::File(RemoteFile { checksum: Some(digest), .. }) => {
                Ok(RemoteIdentity::Content(*digest))
            }
            Remote::File(file) => Ok(RemoteIdentity::Content(self.fetched_file(file)?.digest)),
            Remote::Repository(repository) => match repository.commit() {
                Some(commit) => Ok(RemoteIdentity::Commit(commit.to_ascii_lowercase())),
                None => {
                    // What an earlier step found is in `wanted` already.
                    let commit = self.git_source(repository).resolve(&self.means())?;
                    let place = (repository.url.clone(), repository.reference.clone());
                    lock(&self.fetches.commits).insert(place, commit.clone());
                    Ok(RemoteIdentity::Commit(commit))
                }
            },
        }
    }

    fn fetched_file(&self, file: &RemoteFile) -> Result<FetchedFile, BuildError> {
        let mut files = lock(&self.fetches.files);
        let fetched = match files.get(&file.url) {
            Some(fetched) => fetched.clone(),
            None => {
                let fetched = self.fetch_file(file)?;
                files.insert(file.url.clone(), fetched.clone());
                fetched
            }
        };
        match file.checksum {
            Some(expected) if expected != fetched.digest => {
                let (url, found) = (redact(&file.url), fetched.digest);
                Err(FetchError::Checksum { url, expected, found }.into())
            }
            _ => Ok(fetched),
        }
    }

    fn fetch_file(&self, file: &RemoteFile) -> Result<FetchedFile, BuildError> {
        self.in_room(|room| {
            let authorization = self.authorization(&file.url);
            let place = (&room, &file.name);
            let digest = fetch_file(&file.url, &self.means(), authorization.as_ref(), place)?;
            Ok(FetchedFile { room, digest })
        })
    }

    fn fetched_repository(&self, repository: &RemoteRepository) -> Result<Rootfs, BuildError> {
        let mut repositories = lock(&self.fetches.repositories);
        let known = repositories.iter().find(|(known, _)| known == repository);
        let fetched = match known {
            Some((_, fetched)) => fetched.clone(),
            None => {
                let fetched = self.fetch_repository(repository)?;
                repositories.push((repository.clone(), fetched.clone()));
                fetched
            }
        };
        let FetchedCommit { commit, named, .. } = &fetched.commit;
        match &repository.checksum {
            Some(expected) if !commit.starts_with(expected) && !named.starts_with(expected) => {
                let (name, found) = (redact(&repository.url), commit.clone());
                let expected = expected.clone();
                Err(FetchError::Commit { name, expected, found }.into())
            }
            _ => Ok(fetched.directory),
        }
    }

    fn fetch_repository(
        &self,
        repository: &RemoteRepository,
    ) -> Result<FetchedRepository, BuildError> {
        let files = match repository.git_directory {
            GitDirectory::Kept => FetchedFiles::WithGit,
            GitDirectory::LeftOut => FetchedFiles::WithoutGit,
        };
        self.in_room(|room| {
            let source = self.git_source(repository);
            let commit = source.fetch(&self.means(), &room, files)?;
            let path = &repository.directory;
            let directory = room.subtree(path).map_err(|error| FetchError::Directory {
                name: source.name(),
                directory: path.clone(),
                source: error,
            })?;
            Ok(FetchedRepository { directory, commit })
        })
    }

    /// Fetches into a directory of its own.
    fn in_room<T>(
        &self,
        fetch: impl FnOnce(Rootfs) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let folder = self.store.create_room()?;
        let fetched = Rootfs::open(&folder).map_err(BuildError::from).and_then(fetch);
        if fetched.is_err() {
            // What is half there would take room for as long as the build lives.
            self.store.remove_root(&folder)?;
        }
        fetched
    }

    fn git_source(&self, repository: &RemoteRepository) -> GitSource {
        let mut url = repository.url.clone();
        // Both fail only for URLs without a host, and there is one.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let place = (repository.url.clone(), repository.reference.clone());
        // What was resolved for a key is what is fetched, wherever the branch is by then.
        let resolved = lock(&self.fetches.commits).get(&place).cloned();
        let reference = repository.reference.clone();
        let wanted = match reference {
            Some(commit) if is_id(&commit) => {
                Wanted { reference: None, commit: Some(commit.to_ascii_lowercase()) }
            }
            reference => Wanted { reference: reference.map(Reference::Any), commit: resolved },
        };
        GitSource {
            credentials: self.git_credentials(&repository.url),
            url,
            wanted,
            sub_path: None,
            submodules: match repository.submodules {
                AddedSubmodules::Fetched => Submodules::Fetched,
                AddedSubmodules::Empty => Submodules::Empty,
            },
            depth: Depth::Commits(1),
            verification: Verification::Required,
        }
    }

    /// Returns what a repository's server is told of who asks: what is in its URL, a secret of the
    /// name that BuildKit has for it, or what the context of the same server was fetched with.
    fn git_credentials(&self, url: &Url) -> Option<GitCredentials> {
        let decoded = |text: &str| Secret::new(percent_decode_str(text).decode_utf8_lossy());
        if !url.username().is_empty() || url.password().is_some() {
            let password = decoded(url.password().unwrap_or_default());
            return Some(GitCredentials { user_name: decoded(url.username()), password });
        }
        let own = self.secret_text(&format!("GIT_AUTH_TOKEN.{}", authority(url)));
        if let Some(password) = own.or_else(|| self.secret_text("GIT_AUTH_TOKEN")) {
            return Some(GitCredentials { user_name: Secret::new(TOKEN_USER), password });
        }
        match &self.options.context.source {
            ContextSource::Git(context) if Origin::same(&context.url, url) => {
                context.credentials.clone()
            }
            _ => None,
        }
    }

    /// Returns what a file's server is told of who asks: a secret of the name that BuildKit has for
    /// it. What is in the URL itself needs no header of ours.
    fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        let host = authority(url);
        let token = || self.secret_text(&format!("HTTP_AUTH_TOKEN_{host}"));
        let bearer = |token: Secret| Secret::new(format!("Bearer {}", token.expose()));
        let header = self.secret_text(&format!("HTTP_AUTH_HEADER_{host}"));
        let header = header.or_else(|| token().map(bearer))?;
        // What can be in no header is told by the server's answer.
        let mut value = HeaderValue::from_str(header.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn secret_text(&self, id: &str) -> Option<Secret> {
        let secret = self.secrets.get(id)?;
        Some(Secret::new(String::from_utf8_lossy(secret.expose()).trim()))
    }

    fn means(&self) -> Means<'_> {
        Means {
            http: &self.http,
            runtime: self.runtime.handle(),
            events: self.events,
            interrupt: self.interrupt,
        }
    }
}

/// Returns what may be shown of where something is fetched from.
pub(super) fn shown(remote: Remote<'_>) -> String {
    match remote {
        Remote::File(file) => redact(&file.url),
        Remote::Repository(repository) => redact(&repository.url),
    }
}

/// Returns `host[:port]`, as in the names of secrets.
fn authority(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// Locks what a panic leaves whole: every entry is put there at once.
fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
