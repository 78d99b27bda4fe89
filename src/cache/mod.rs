//! Layers of earlier builds, by what they were made of: keys, entries, and where entries are kept.
//!
//! Owns how a key is computed from fields ([`KeyWriter`]) and parts ([`MadeOf`]), what an entry says
//! ([`Entry`]), what a whole build has ([`BuildRecord`]), who is believed ([`Trust`]), and its
//! places: a registry's repository, or a directory that several builders share ([`LayerCache`]);
//! and beside them base images that a warmer has fetched ([`BaseImages`]).
//! Must not know Dockerfiles: which fields a step has is `build`'s to say. The idea to hold in mind:
//! a cache is a favour. Nothing that it says, does or fails to do may fail a build or change what
//! the image is; what cannot be verified is a miss.

mod build_record;
mod directory;
mod entry;
mod images;
mod kaniko;
mod key;
mod made_of;
mod place;
mod pushes;
mod repository;
mod signing;

pub use build_record::{BuildParts, BuildRecord, StageParts, StepParts};
pub use entry::{Entry, EntryError, StoredLayer};
pub use images::{BaseImages, KeptImage, Sought};
pub use kaniko::{KanikoDirectory, KanikoTarball};
pub use key::{Key, KeyWriter};
pub use made_of::{MadeOf, PartsRecord};
pub use place::{CacheError, LayerCache, Looked, LookedBuild};
pub use pushes::{Circumstances, NewEntry, Pushes};
pub use signing::{SigningKeyError, Trust};
