//! Git repositories as contexts, over http(s).
//!
//! Owns what is asked of a repository, which commit that is, and its files on disk. Must not know
//! flags. Protocol, packs and objects are `gix`'s crates; connections are those of [`crate::http`].
//! The idea to hold in mind: what a server sends is as hostile as any archive. Names are checked
//! before they touch the disk, links are made and never followed, submodules are fetched from http(s)
//! only, and credentials go to the host that they were given for and to no other.

mod checkout;
mod error;
mod fetch;
mod objects;
mod repository;
mod submodules;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use snapshot::{Rootfs, RootfsPath, Timestamp};
use url::Url;

pub use error::GitError;

use self::checkout::Checkout;
use self::fetch::Fetched;
use super::error::ContextError;
use super::fetch::FetchError;
use super::stream::Means;
use crate::http::{Backoff, Reach, RetryPolicy, Verification, redact};
use crate::interrupt::Interrupted;
use crate::report::event::Gauge;
use crate::report::fault::one_line;
use crate::secret::Secret;

/// Submodules in submodules that are fetched, as kaniko's library does.
const LEVELS: usize = 10;

/// A repository, and what is wanted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct GitSource {
    /// Where it is; http or https, without credentials.
    pub url: Url,
    /// Shown to that host.
    pub credentials: Option<GitCredentials>,
    /// What is checked out.
    pub wanted: Wanted,
    /// The directory of it that is the context (`#REF:DIRECTORY`).
    pub sub_path: Option<PathBuf>,
    /// What becomes of its submodules.
    pub submodules: Submodules,
    /// How much of its history is fetched.
    pub depth: Depth,
    /// Whether the servers' certificates are checked.
    pub verification: Verification,
}

/// A name and password, or a token in place of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitCredentials {
    /// The name; a token may stand here.
    pub user_name: Secret,
    /// The password.
    pub password: Secret,
}

/// What is checked out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A branch, tag or other reference; `None`: the one that the server names as its own.
    pub reference: Option<Reference>,
    /// A commit, as 40 hexadecimal digits; it then stands over the reference.
    pub commit: Option<String>,
}

/// How a reference was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// In full (`refs/heads/main`) or in short.
    Any(String),
    /// As a branch, or else a tag (`--git branch=NAME`).
    BranchOrTag(String),
}

/// What becomes of submodules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submodules {
    /// Each is an empty directory.
    Empty,
    /// They are fetched, and theirs too.
    Fetched,
}

/// How much history is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    Everything,
    /// So many commits, at least one.
    Commits(u32),
}

impl GitSource {
    /// Returns what to call it in messages.
    pub fn name(&self) -> String {
        redact(&self.url)
    }

    /// Asks which commit, or annotated tag, is wanted, and fetches nothing.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn resolve(&self, means: &Means<'_>) -> Result<String, FetchError> {
        if let Some(commit) = &self.wanted.commit {
            return Ok(commit.clone());
        }
        let gauge = means.begin_download(&self.name());
        let job = Job { source: self, means, gauge: &gauge, reach: Reach::AllButMetadata };
        let reference = self.wanted.reference.as_ref();
        let found = job.trying(|| fetch::resolve(&job, &self.url, reference), || Ok(()));
        found.map(|id| id.to_string()).map_err(|source| self.not_fetched(means, source))
    }

    /// Fetches what is wanted into `room`, an empty directory, where it is as old as its commit.
    ///
    /// # Errors
    /// [`FetchError`]; some of it may be there then.
    pub fn fetch(
        &self,
        means: &Means<'_>,
        room: &Rootfs,
        files: FetchedFiles,
    ) -> Result<FetchedCommit, FetchError> {
        let gauge = means.begin_download(&self.name());
        let job = Job { source: self, means, gauge: &gauge, reach: Reach::AllButMetadata };
        let fetch = || {
            let done = job.run(room)?;
            if files == FetchedFiles::WithoutGit {
                room.remove_all(&git_directory())?;
            }
            room.set_mtime(&RootfsPath::root(), done.time)?;
            Ok(done)
        };
        fetch().map_err(|source| self.not_fetched(means, source))
    }

    fn not_fetched(&self, means: &Means<'_>, source: GitError) -> FetchError {
        match means.interrupt.signal() {
            // What failed because everything was to end is not worth a word.
            Some(signal) => FetchError::Interrupted(Interrupted(signal)),
            None => FetchError::Git { name: self.name(), source: Box::new(source) },
        }
    }

    /// Fetches and checks out into `room`, an empty directory, with a `.git` beside the files.
    pub(super) fn check_out(&self, means: &Means<'_>, room: &Rootfs) -> Result<(), ContextError> {
        let gauge = means.begin(&self.name());
        // The user named it.
        let job = Job { source: self, means, gauge: &gauge, reach: Reach::Anywhere };
        let done = job.run(room).map(|_| ());
        done.map_err(|source| match means.interrupt.signal() {
            // What failed because everything was to end is not worth a word.
            Some(signal) => ContextError::interrupted(signal),
            None => ContextError::Git { name: self.name(), source: Box::new(source) },
        })
    }
}

/// What is kept of a repository that is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchedFiles {
    /// The files of the commit.
    WithoutGit,
    /// These, and a `.git`.
    WithGit,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedCommit {
    /// The commit's id.
    pub commit: String,
    /// The id of what the reference names: the commit's, or that of an annotated tag.
    pub named: String,
    /// When it was committed.
    time: Timestamp,
}

/// Returns where the `.git` of a repository is.
fn git_directory() -> RootfsPath {
    RootfsPath::new(b".git").expect("a name without NUL is a path")
}

/// One repository that is being fetched.
struct Job<'a> {
    source: &'a GitSource,
    means: &'a Means<'a>,
    gauge: &'a Gauge,
    /// Which addresses it may lead to.
    reach: Reach,
}

/// A submodule that is still to be fetched.
struct Pending {
    /// Where it belongs.
    place: RootfsPath,
    /// The repository it is part of.
    parent: Url,
    /// Its URL as written there.
    url: String,
    commit: gix_hash::ObjectId,
    level: usize,
}

impl Job<'_> {
    fn run(&self, room: &Rootfs) -> Result<FetchedCommit, GitError> {
        let git = git_directory();
        let fetched = self.fetch(&self.source.url, &self.source.wanted, room, &git)?;
        let checkout = Checkout::of(&fetched)?;
        let files = checkout.write(room)?;
        repository::write(&fetched, &self.source.url, &files, &room.subtree(&git)?)?;
        let done = FetchedCommit {
            commit: fetched.commit.to_string(),
            named: fetched.named.to_string(),
            time: checkout.time(),
        };
        if self.source.submodules == Submodules::Empty {
            return Ok(done);
        }
        let root = RootfsPath::root();
        let mut open = pending(&checkout, &files, &self.source.url, &root, 1)?;
        while let Some(next) = open.pop() {
            open.extend(self.submodule(room, &next)?);
        }
        Ok(done)
    }

    /// Fetches one submodule; returns those in it.
    fn submodule(&self, room: &Rootfs, next: &Pending) -> Result<Vec<Pending>, GitError> {
        let url = submodules::resolve(&next.parent, &next.url)
            .map_err(|problem| problem.at(&next.place))?;
        if next.level > LEVELS {
            return Err(GitError::TooDeep { limit: LEVELS });
        }
        let there = room.subtree(&next.place)?;
        let wanted = Wanted { reference: None, commit: Some(next.commit.to_string()) };
        let scratch = git_directory();
        let within = |source: GitError| GitError::Submodule {
            path: next.place.to_string(),
            url: redact(&url),
            source: Box::new(source),
        };
        let fetched = self.fetch(&url, &wanted, &there, &scratch).map_err(within)?;
        let checkout = Checkout::of(&fetched).map_err(within)?;
        let files = checkout.write(&there).map_err(within)?;
        let inner = pending(&checkout, &files, &url, &next.place, next.level + 1)?;
        there.remove_all(&scratch)?;
        there.set_mtime(&RootfsPath::root(), checkout.time())?;
        Ok(inner)
    }

    fn fetch(
        &self,
        url: &Url,
        wanted: &Wanted,
        room: &Rootfs,
        git: &RootfsPath,
    ) -> Result<Fetched, GitError> {
        let packs = repository::prepare(room, git)?;
        // A pack that broke off is of no use to the next try.
        self.trying(|| fetch::fetch(self, url, wanted, &packs), || repository::clear(&packs))
    }

    /// Tries again what fails for a time, and cleans up in between.
    fn trying<T>(
        &self,
        mut ask: impl FnMut() -> Result<T, GitError>,
        mut clear: impl FnMut() -> Result<(), GitError>,
    ) -> Result<T, GitError> {
        let mut backoff = Backoff::new(RetryPolicy::default());
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = if error.is_temporary() { backoff.next_wait(None) } else { None };
            let Some(wait) = wait else { return Err(error) };
            tracing::warn!(
                repository = self.source.name(),
                attempt = backoff.failures(),
                limit = backoff.limit(),
                error = one_line(&error),
                "fetch failed, trying again"
            );
            self.pause(wait)?;
            clear()?;
        }
    }

    /// Waits, or ends with everything.
    fn pause(&self, wait: Duration) -> Result<(), GitError> {
        self.means.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(wait) => Ok(()),
                _ = self.means.interrupt.raised() => Err(GitError::Interrupted),
            }
        })
    }
}

/// Returns the submodules that a checkout left empty.
fn pending(
    checkout: &Checkout<'_>,
    files: &checkout::Files,
    parent: &Url,
    place: &RootfsPath,
    level: usize,
) -> Result<Vec<Pending>, GitError> {
    if files.submodules.is_empty() {
        return Ok(Vec::new());
    }
    let urls = submodules::read(checkout.root_file(b".gitmodules")?.as_deref())?;
    let mut found = Vec::new();
    for (path, commit) in &files.submodules {
        // Without a URL it is a leftover, which git passes over too.
        let Some(url) = urls.get(path.as_bytes()) else { continue };
        let place = path.components().fold(place.clone(), |at, name| at.join_name(name));
        let (parent, url, commit) = (parent.clone(), url.clone(), *commit);
        found.push(Pending { place, parent, url, commit, level });
    }
    Ok(found)
}
