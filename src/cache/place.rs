//! A cache of layers, wherever it is: looking entries up and storing them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use snapshot::Digest;

use super::build_record::{self, BuildParts, BuildRecord};
use super::directory::Directory;
use super::entry::{Document, Entry, EntryError};
use super::key::Key;
use super::pushes::NewEntry;
use super::repository::Repository;
use super::signing::Trust;
use crate::image::{Descriptor, Layer, Reference, digest_of, size_of};
use crate::registry::{Cause, Found, Registry, RegistryError};
use crate::store::Blob;

/// How long one lookup may take before it counts as a miss: a hit is to save more than that.
const LOOKUP_TIME: Duration = Duration::from_secs(20);

/// Largest blob beside layers that is read, in bytes.
pub(super) const SMALL_BLOB_BYTES: u64 = 64 << 20;

/// Layers of earlier builds.
pub struct LayerCache {
    place: Place,
    trust: Arc<Trust>,
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

/// What was found of a whole build.
#[derive(Clone, Debug)]
pub enum LookedBuild {
    /// What it has in the cache, but for entries that are too old or without their layers.
    Found(BuildRecord),
    /// Nothing, or nothing that the registry tells of.
    Absent,
    /// Something that is not that.
    Unusable(EntryError),
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
    /// A blob beside the layers is missing or has other bytes.
    #[error("blob `{digest}` is missing or damaged")]
    Blob {
        /// Its digest.
        digest: String,
    },
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
        trust: Arc<Trust>,
    ) -> Self {
        let place = Place::Repository(Repository::new(registry, repository));
        Self { place, trust, time_to_live }
    }

    /// Takes a directory, which is made when something is stored.
    pub fn in_directory(path: &Path, time_to_live: Duration, trust: Arc<Trust>) -> Self {
        Self { place: Place::Directory(Directory::new(path)), trust, time_to_live }
    }

    /// Returns what the cache is called in messages.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Repository(repository) => {
                let reference = repository.reference();
                format!("{}/{}", reference.registry(), reference.repository())
            }
            Place::Directory(directory) => directory.path().display().to_string(),
        }
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
        let manifest = match self.manifest(key).await? {
            Found::Manifest(manifest) => manifest,
            Found::Absent => return Ok(Looked::Absent),
            Found::Denied => return Ok(Looked::Denied),
        };
        Ok(match Entry::decode(&manifest, key, &self.trust) {
            Err(error) => Looked::Unusable(error),
            Ok(entry) if self.is_expired(&entry) => Looked::Expired,
            Ok(entry) => match self.missing(&entry) {
                Some(digest) => Looked::Torn(digest),
                None => Looked::Found(entry),
            },
        })
    }

    /// Looks for what a whole build has. One request, tried once.
    ///
    /// # Errors
    /// [`CacheError`] when the cache cannot be asked.
    pub async fn look_build(&self, key: &Key) -> Result<LookedBuild, CacheError> {
        // Where looking is refused, each step's lookup is too, and says so.
        let Found::Manifest(manifest) = self.manifest(key).await? else {
            return Ok(LookedBuild::Absent);
        };
        Ok(match BuildRecord::decode(&manifest, key, &self.trust) {
            Ok(mut record) => {
                record
                    .entries
                    .retain(|entry| self.missing(entry).is_none() && !self.is_expired(entry));
                LookedBuild::Found(record)
            }
            Err(error) => LookedBuild::Unusable(error),
        })
    }

    /// Returns what the steps of a build were made of.
    ///
    /// # Errors
    /// [`CacheError`] when the cache cannot be asked, or has something else.
    pub async fn parts(&self, record: &BuildRecord) -> Result<BuildParts, CacheError> {
        let bytes = self.small_blob(&record.parts).await?;
        let damaged = || CacheError::Blob { digest: record.parts.digest.clone() };
        BuildParts::decode(&bytes).ok_or_else(damaged)
    }

    /// Returns a blob that is no layer. One request, tried once.
    ///
    /// # Errors
    /// [`CacheError`] when the cache cannot be asked, or has not what the descriptor says.
    pub async fn small_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, CacheError> {
        let damaged = || CacheError::Blob { digest: descriptor.digest.clone() };
        let digest = digest_of(descriptor).map_err(|_| damaged())?;
        if size_of(descriptor).map_err(|_| damaged())? > SMALL_BLOB_BYTES {
            return Err(damaged());
        }
        let bytes = match &self.place {
            Place::Repository(repository) => in_time(repository.small_blob(descriptor)).await?,
            Place::Directory(directory) => directory.small_blob(&digest)?.ok_or_else(damaged)?,
        };
        match Digest::of(&bytes) == digest {
            true => Ok(bytes),
            false => Err(damaged()),
        }
    }

    async fn manifest(&self, key: &Key) -> Result<Found, CacheError> {
        match &self.place {
            Place::Repository(repository) => in_time(repository.look(key)).await,
            Place::Directory(directory) => {
                Ok(directory.look(key)?.map_or(Found::Absent, Found::Manifest))
            }
        }
    }

    /// Returns the digest of a layer of an entry that is not there.
    fn missing(&self, entry: &Entry) -> Option<String> {
        let layers = entry.layers().into_iter().map(|stored| stored.layer);
        layers
            .map(|layer| (self.may_have(&layer), layer.descriptor.digest))
            .find_map(|(is_there, digest)| (!is_there).then_some(digest))
    }

    /// Tells whether a layer is there, as far as that costs nothing.
    fn may_have(&self, layer: &Layer) -> bool {
        match &self.place {
            Place::Repository(_) => true,
            Place::Directory(directory) => directory.has(layer),
        }
    }

    /// Gives up what is being pushed through the same registry client; that ends with errors.
    pub(super) fn give_up_pushes(&self) {
        if let Place::Repository(repository) = &self.place {
            repository.give_up_pushes();
        }
    }

    /// Stores an entry with its layer, which may be mounted from the repositories `mount_from`, and
    /// what its headers say.
    pub(super) async fn store(
        &self,
        new: &NewEntry,
        mount_from: Vec<Reference>,
        headers: Option<Vec<u8>>,
    ) -> Result<(), CacheError> {
        let mut document = new.entry.encode(&new.created_by, &new.platform, &self.trust)?;
        document.blobs.extend(new.entry.headers.clone().zip(headers));
        let layer = new.entry.layer.as_ref().map(|layer| layer.descriptor.clone());
        // One of an earlier build is there.
        let is_none = layer.is_none();
        let layer = layer.zip(new.blob.clone());
        match &self.place {
            Place::Repository(repository) => {
                match &layer {
                    Some((descriptor, blob)) => {
                        repository.store_layer(descriptor, blob, mount_from).await?;
                    }
                    None if is_none => repository.store_no_layer().await?,
                    None => {}
                }
                repository.store(&new.entry.key, &document).await
            }
            Place::Directory(directory) => put(directory, new.entry.key, document, layer).await,
        }
    }

    /// Stores what a whole build has; all its layers have to be in the cache.
    ///
    /// # Errors
    /// [`CacheError`] when the cache does not take it.
    pub async fn store_build(
        &self,
        key: &Key,
        entries: &[Entry],
        parts: &BuildParts,
    ) -> Result<(), CacheError> {
        let document = build_record::encode(key, entries, parts, &self.trust)?;
        match &self.place {
            Place::Repository(repository) => match repository.store(key, &document).await {
                // Where tags are never moved, the first build's stays; entries do without it.
                Err(CacheError::Registry(error)) if is_immutable(&error) => {
                    tracing::debug!(%error, "what this build has in the cache is not listed");
                    Ok(())
                }
                stored => stored,
            },
            Place::Directory(directory) => put(directory, *key, document, None).await,
        }
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        let age = Timestamp::now().duration_since(entry.created);
        // Clocks differ: what is from the future is new.
        Duration::try_from(age).is_ok_and(|age| age > self.time_to_live)
    }
}

fn is_immutable(error: &RegistryError) -> bool {
    matches!(error.cause(), Cause::Refused(refusal) if refusal.is_immutable_tag())
}

async fn in_time<T>(work: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
    let slow = || CacheError::Slow { seconds: LOOKUP_TIME.as_secs() };
    tokio::time::timeout(LOOKUP_TIME, work).await.map_err(|_| slow())?
}

async fn put(
    directory: &Directory,
    key: Key,
    document: Document,
    layer: Option<(Descriptor, Blob)>,
) -> Result<(), CacheError> {
    let directory = directory.clone();
    let stored = tokio::task::spawn_blocking(move || {
        let layer = layer.as_ref().map(|(descriptor, blob)| (descriptor, blob));
        directory.store(&key, &document, layer)
    });
    // A thread that has panicked has stored nothing.
    stored.await.unwrap_or(Err(CacheError::Unfinished))
}
