//! `zuwai warm`: fetches base images into the directory that builds share, before they are asked for.
//!
//! Owns the order in which an image comes there: layers, what they say in their headers, documents,
//! and last the record by which builds find it. Must not know how builds use it. The one idea to hold
//! in mind: an image that is not whole has no record, and a record is never taken away because a
//! registry does not answer.

mod error;
mod fetch;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::runtime;

pub use error::WarmError;

use crate::build;
use crate::build::options::{DockerfileSource, RegistryAccess};
use crate::cache::BaseImages;
use crate::image::{ImageConfig, Platform, PlatformText, Reference};
use crate::interrupt::Interrupt;
use crate::report::event::{Event, EventSink};
use crate::report::fault::one_line;
use crate::store::{Access, SharedStore, Trouble};
use fetch::{Fetcher, Force};

/// Images that are fetched at once.
const PARALLEL_IMAGES: usize = 2;

/// What is to be fetched, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmOptions {
    /// Images, as typed (`--image`).
    pub images: Vec<String>,
    /// A Dockerfile whose images are fetched too (`--dockerfile`).
    pub dockerfile: Option<DockerfileSource>,
    /// Values for `ARG` in `FROM` (`--build-arg`).
    pub build_args: BTreeMap<String, String>,
    /// The directory that builds share (`--cache-dir`).
    pub directory: std::path::PathBuf,
    /// Room that all of it may take, in bytes; `None`: a tenth of its file system,
    /// but no more than 2 GiB, stays free (`--cache-dir-limit`).
    pub limit_bytes: Option<u64>,
    /// What becomes of blobs that are there (`--force`).
    pub present: Present,
    /// How long what a tag named counts where no registry answers (`--cache-ttl`).
    pub time_to_live: Duration,
    /// The platform of the images; `None` is this machine's (`--customPlatform`).
    pub platform: Option<PlatformText>,
    /// How registries are reached.
    pub registry: RegistryAccess,
}

/// What becomes of blobs that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// They stay.
    Kept,
    /// They are downloaded again.
    Replaced,
}

/// An image that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    /// As typed, or as the Dockerfile says.
    typed: String,
    platform: Platform,
}

/// Fetches images.
///
/// # Errors
/// [`WarmError`] when nothing can be fetched: the directory cannot be written, the Dockerfile cannot
/// be read, or every image has failed. One that fails beside others that do not is a warning, as
/// with kaniko.
pub fn warm(
    options: &WarmOptions,
    events: &dyn EventSink,
    interrupt: &Interrupt,
) -> Result<(), WarmError> {
    let (http, registry) = build::connect_for(&options.registry)?;
    let threads = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = threads.map_err(WarmError::Runtime)?;
    build::listen(&runtime, interrupt)?;
    let store = SharedStore::open(&options.directory, Access::Write);
    let unwritable = || {
        let why = store.take_troubles().into_iter().find_map(|trouble| match trouble {
            Trouble::Unwritable { why, .. } => Some(why),
            Trouble::NoLocks { .. } => None,
        });
        let why = why.unwrap_or_else(|| "it is read-only".to_owned());
        WarmError::Directory { path: options.directory.clone(), why }
    };
    if !store.is_writable() {
        return Err(unwritable());
    }
    let platform = match &options.platform {
        Some(text) => text.as_str().parse().map_err(WarmError::Platform)?,
        None => Platform::of_this_machine(),
    };
    let force = match options.present {
        Present::Kept => Force::No,
        Present::Replaced => Force::Yes,
    };
    let fetcher = Fetcher {
        registry,
        images: BaseImages::new(store.clone(), options.time_to_live),
        events,
        force,
    };
    let warmer = Warmer { fetcher: &fetcher, runtime: &runtime, interrupt };
    let mut wanted: BTreeSet<Wanted> = BTreeSet::new();
    wanted.extend(
        options
            .images
            .iter()
            .map(|typed| Wanted { typed: typed.clone(), platform: platform.clone() }),
    );
    let mut outcome = warmer.fetch(wanted)?;
    if let Some(source) = &options.dockerfile {
        outcome.add(stages::fetch(&warmer, options, source, &http)?);
    }
    store.keep_within(options.limit_bytes);
    fetcher.images.write_index();
    if !store.is_writable() {
        return Err(unwritable());
    }
    for trouble in store.take_troubles() {
        events.send(Event::Warning { text: trouble.to_string() });
    }
    match outcome.first_failure {
        Some(error) if outcome.configs.is_empty() => Err(WarmError::AllFailed(Box::new(error))),
        _ => Ok(()),
    }
}

/// What became of some images.
#[derive(Default)]
struct Outcome {
    configs: BTreeMap<Wanted, ImageConfig>,
    first_failure: Option<WarmError>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.configs.extend(other.configs);
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}

/// Fetches several images.
struct Warmer<'w> {
    fetcher: &'w Fetcher<'w>,
    runtime: &'w runtime::Runtime,
    interrupt: &'w Interrupt,
}

impl Warmer<'_> {
    /// Fetches images, warning of those that cannot be had.
    fn fetch(&self, wanted: impl IntoIterator<Item = Wanted>) -> Result<Outcome, WarmError> {
        let work = wanted.into_iter().map(|one| async move {
            let reference = one
                .typed
                .parse::<Reference>()
                .map_err(|source| WarmError::Reference { text: one.typed.clone(), source });
            let fetched = match reference {
                Ok(reference) => self.fetcher.fetch(&one.typed, &reference, &one.platform).await,
                Err(error) => Err(error),
            };
            (one, fetched)
        });
        let work = stream::iter(work).buffered(PARALLEL_IMAGES).collect::<Vec<_>>();
        let fetched = self.runtime.block_on(async {
            tokio::select! {
                fetched = work => Ok(fetched),
                signal = self.interrupt.raised() => Err(crate::interrupt::Interrupted(signal)),
            }
        })?;
        let mut outcome = Outcome::default();
        for (wanted, fetched) in fetched {
            match fetched {
                Ok(config) => {
                    outcome.configs.insert(wanted, config);
                }
                Err(error) => {
                    // kaniko's words.
                    let text = format!(
                        "Error while trying to warm image: {} {}",
                        wanted.typed,
                        one_line(&error)
                    );
                    self.fetcher.events.send(Event::Warning { text });
                    outcome.first_failure.get_or_insert(error);
                }
            }
        }
        Ok(outcome)
    }
}
