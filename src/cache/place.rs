//! A cache of layers, wherever it is: looking entries up and storing them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::directory::Directory;
use super::entry::{Entry, EntryError};
use super::key::Key;
use super::pushes::NewEntry;
use super::repository::Repository;
use crate::image::Reference;
use crate::registry::{Registry, RegistryError};

/// How long one lookup may take before it counts as a miss: a hit is to save more than that.
const LOOKUP_TIME: Duration = Duration::from_secs(20);

/// Layers of earlier builds.
pub struct LayerCache {
    place: Place,
    /// Age at which entries are no longer used.
    time_to_live: Duration,
}

enum Place {
    Repository(Repository),
    Directory(Directory),
}

/// What was found of a key.
#[derive(Clone, Debug)]
pub enum Looked {
    /// Its entry.
    Found(Entry),
    /// Nothing.
    Absent,
    /// The registry says neither that it is there nor that it is not: some refuse to look where
    /// nothing was pushed yet.
    Denied,
    /// An entry that is too old.
    Expired,
    /// Something that is not its entry.
    Unusable(EntryError),
    /// An entry without its layer.
    Torn(String),
}

/// Why a cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The registry refused or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file or directory cannot be used.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done, such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It does not answer in time.
    #[error("no answer within {} s", seconds)]
    Slow {
        /// How long it was waited for.
        seconds: u64,
    },
    /// An entry's documents cannot be written.
    #[error("cannot write an entry as JSON")]
    Encode(#[from] serde_json::Error),
    /// The build did not wait any longer.
    #[error("it takes too long to write to it")]
    Unfinished,
}

impl LayerCache {
    /// Takes a repository, whose entries are tagged with their keys.
    pub fn in_repository(
        registry: &Registry,
        repository: &Reference,
        time_to_live: Duration,
    ) -> Self {
        let place = Place::Repository(Repository::new(registry, repository));
        Self { place, time_to_live }
    }

    /// Takes a directory, which is made when something is stored.
    pub fn in_directory(path: &Path, time_to_live: Duration) -> Self {
        Self { place: Place::Directory(Directory::new(path)), time_to_live }
    }

    /// Returns what the entry of a key is called in messages.
    pub fn name_of(&self, key: &Key) -> String {
        match &self.place {
            Place::Repository(repository) => repository.name_of(key),
            Place::Directory(directory) => directory.entry(key).display().to_string(),
        }
    }

    /// Returns the repository that entries' layers are in, unless they are in a directory.
    pub fn repository(&self) -> Option<&Reference> {
        match &self.place {
            Place::Repository(repository) => Some(repository.reference()),
            Place::Directory(_) => None,
        }
    }

    /// Returns the directory that entries' layers are in, unless they are in a repository.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Repository(_) => None,
            Place::Directory(directory) => Some(directory.path()),
        }
    }

    /// Looks for the entry of `key`. One request, tried once.
    ///
    /// # Errors
    /// [`CacheError`] when the cache cannot be asked.
    pub async fn look(&self, key: &Key) -> Result<Looked, CacheError> {
        let looked = match &self.place {
            Place::Repository(repository) => {
                let answer = tokio::time::timeout(LOOKUP_TIME, repository.look(key)).await;
                answer.map_err(|_| CacheError::Slow { seconds: LOOKUP_TIME.as_secs() })??
            }
            Place::Directory(directory) => directory.look(key)?,
        };
        Ok(match looked {
            Looked::Found(entry) if self.is_expired(&entry) => Looked::Expired,
            looked => looked,
        })
    }

    /// Stores an entry with its layer, which may be mounted from the repositories `mount_from`.
    pub(super) async fn store(
        &self,
        new: &NewEntry,
        mount_from: Vec<Reference>,
    ) -> Result<(), CacheError> {
        match &self.place {
            Place::Repository(repository) => repository.store(new, mount_from).await,
            Place::Directory(directory) => {
                let (directory, new) = (directory.clone(), new.clone());
                let stored = tokio::task::spawn_blocking(move || directory.store(&new)).await;
                // A thread that has panicked has stored nothing.
                stored.unwrap_or(Err(CacheError::Unfinished))
            }
        }
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        let age = Timestamp::now().duration_since(entry.created);
        // Clocks differ: what is from the future is new.
        Duration::try_from(age).is_ok_and(|age| age > self.time_to_live)
    }
}
