//! Whether layers of earlier builds are used, and where they are.

use std::path::PathBuf;
use std::time::Duration;

use oci_client::Reference;

/// How layers of earlier builds are used (`--cache`).
#[derive(Clone, Debug, PartialEq)]
pub struct CacheOptions {
    /// Where they are (`--cache-repo`).
    pub place: CachePlace,
    /// Where else they may be, in the order in which they are asked; these are only read
    /// (`--cache-from`).
    pub sources: Vec<CachePlace>,
    /// File with the Ed25519 key whose signature entries must have; a private one signs new ones
    /// (`--cache-signing-key`).
    pub signing_key: Option<PathBuf>,
    /// Age at which they are no longer used (`--cache-ttl`).
    pub time_to_live: Duration,
    /// Whether layers of COPY and ADD are among them (`--cache-copy-layers`).
    pub copy_layers: Cached,
    /// Whether what changed of a COPY becomes a layer on top of earlier ones
    /// (`--cache-copy-delta`).
    pub copy_deltas: CopyDeltas,
    /// Whether layers of RUN are among them (`--cache-run-layers`).
    pub run_layers: Cached,
    /// Whether new ones are stored (`--no-push-cache`).
    pub new_layers: NewLayers,
}

/// Where cached layers are.
#[derive(Clone, Debug, PartialEq)]
pub enum CachePlace {
    /// In a registry's repository; the tag means nothing.
    Repository(Reference),
    /// In a directory.
    Directory(PathBuf),
}

/// Whether the layers of a kind of step are cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// They are.
    Yes,
    /// They are made anew each time.
    No,
}

/// What becomes of a COPY of a context of which a part has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDeltas {
    /// A layer of what has changed, on top of the earlier one.
    Written,
    /// A layer of all of it.
    Never,
}

/// What becomes of new layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewLayers {
    /// They go into the cache.
    Stored,
    /// The cache is only read.
    NotStored,
}
