//! Layers of earlier builds in place of steps.
//!
//! Every key is known before the first step: a step's is made of the keys before it and of what it
//! reads, never of what was made. So all are asked for at once. What follows a command that the cache
//! has not is made anew, because it could have been made upon something else; a COPY or a WORKDIR
//! makes the same of the same, so that what follows one that is missing can still be had. A hit is a
//! descriptor: its bytes are fetched only when a later step needs files.
//!
//! That a chain of keys stands for files is what a layer cache is: a command is taken to make the
//! same of the same, be it `apt-get update` on another day. What is *not* taken for granted is that
//! two runs of it are interchangeable: an entry names the very layers of commands that it was made
//! upon, and counts only on top of those.

mod blame;
mod keys;
mod lineage;
mod parts;
mod plan;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;

use super::bases::{Bases, Origin};
use super::error::BuildError;
use super::options::{self, CacheOptions, CachePlace, NewLayers};
use super::session::Session;
use crate::cache::{CacheError, Entry, Key, LayerCache, Looked, NewEntry, Pushes};
use crate::image::{Layer, Reference, digest_of};
use crate::plan::{CopySource, Plan, Step, StepKind};
use crate::report::event::Event;
use crate::report::fault::one_line;
use crate::store::Layout;
use keys::Keys;
use lineage::Lineage;

pub(super) use plan::{Cached, Hit, Hits};

/// Lookups that are on their way at once.
const PARALLEL_LOOKUPS: usize = 16;

/// How long a build waits at its end for entries that are still to be stored.
const FINISHING_TIME: Duration = Duration::from_secs(180);

/// The same where it has failed, and somebody waits to hear why.
const FAILED_FINISHING_TIME: Duration = Duration::from_secs(5);

/// The layer cache of one build.
pub(super) struct Caching<'a> {
    session: &'a Session<'a>,
    options: &'a CacheOptions,
    cache: Arc<LayerCache>,
    /// `None`: the cache is only read.
    pushes: Option<Pushes>,
    keys: Keys,
    lineage: RefCell<Lineage>,
    is_warned: Cell<bool>,
}

impl<'a> Caching<'a> {
    /// Finds out the keys of a plan's steps; `None` where no cache is asked for.
    pub(super) fn open(session: &'a Session<'a>, bases: &Bases<'_>, plan: &Plan) -> Option<Self> {
        let options = session.options.cache.as_ref()?;
        if session.is_single_snapshot() {
            let text = "`--cache` has no effect with `--single-snapshot`: there is one layer a \
                        stage, and no step's own";
            session.events.send(Event::Warning { text: text.to_owned() });
            return None;
        }
        let cache = match &options.place {
            CachePlace::Repository(reference) => {
                LayerCache::in_repository(&session.registry, reference, options.time_to_live)
            }
            CachePlace::Directory(path) => {
                if options.new_layers == NewLayers::Stored {
                    // Before the first stage: a build in `/` leaves alone what is there by then.
                    // Where this fails, so does what is stored, which says so.
                    _ = std::fs::create_dir_all(path);
                }
                LayerCache::in_directory(path, options.time_to_live)
            }
        };
        let cache = Arc::new(cache);
        let runtime = session.runtime.handle().clone();
        let pushes = match options.new_layers {
            NewLayers::Stored => Some(Pushes::new(runtime, Arc::clone(&cache))),
            NewLayers::NotStored => None,
        };
        let keys = Keys::of(session, bases, plan, &|step| is_cached(options, step));
        let lineage = RefCell::new(Lineage::new(&keys));
        let is_warned = Cell::new(false);
        Some(Self { session, options, cache, pushes, keys, lineage, is_warned })
    }

    fn is_cached(&self, step: &Step) -> bool {
        is_cached(self.options, step)
    }

    /// Asks the cache for all steps at once, and returns those that need not be taken.
    pub(super) fn look_up(&self, bases: &Bases<'_>, plan: &Plan) -> Hits {
        let mut wanted: Vec<Key> = Vec::new();
        for (position, stage) in plan.stages.iter().enumerate() {
            let cached = stage.steps.iter().enumerate().filter(|(_, step)| self.is_cached(step));
            for (number, _) in cached {
                if let Some(key) = self.keys.step(position, number)
                    && !wanted.contains(key)
                {
                    wanted.push(*key);
                }
            }
        }
        let (cache, has_failed) = (&self.cache, &Cell::new(false));
        let lookups = wanted.into_iter().map(|key| async move {
            // One that has failed is not asked again.
            if has_failed.get() {
                return None;
            }
            let answer = cache.look(&key).await;
            has_failed.set(has_failed.get() || answer.is_err());
            Some((key, answer))
        });
        let lookups = stream::iter(lookups).buffer_unordered(PARALLEL_LOOKUPS);
        let session = self.session;
        let answers: Vec<Option<(Key, Result<Looked, CacheError>)>> =
            session.runtime.block_on(async {
                tokio::select! {
                    answers = lookups.collect() => answers,
                    // The build is about to end: what follows says so.
                    _ = session.interrupt.raised() => Vec::new(),
                }
            });
        let mut found = std::collections::BTreeMap::new();
        let mut denied = 0;
        for (key, answer) in answers.into_iter().flatten() {
            match answer {
                Ok(Looked::Found(entry)) => {
                    found.insert(key, entry);
                }
                Ok(Looked::Absent) => {}
                Ok(Looked::Denied) => denied += 1,
                Ok(Looked::Expired) => {
                    let name = self.cache.name_of(&key);
                    self.session.events.send(Event::CacheExpired { name });
                }
                Ok(Looked::Unusable(error)) => self.distrust(&key, &error.to_string()),
                Ok(Looked::Torn(digest)) => {
                    self.distrust(&key, &format!("its layer `{digest}` is missing or not whole"));
                }
                Err(error) => self.has_failed(error),
            }
        }
        // Some registries refuse to look where nothing was pushed yet, so that this is no failure
        // where pushing is still to be tried.
        if denied > 0 && self.pushes.is_none() {
            let text = "the layer cache cannot be read: the registry denies access".to_owned();
            self.warn(text);
        }
        let origin = if found.is_empty() { None } else { self.origin() };
        if origin.is_none() {
            found.clear();
        }
        let hits = plan::evaluate(self, plan, &found);
        for layer in hits.layers() {
            if let (Some(origin), Ok(digest)) = (&origin, digest_of(&layer.descriptor)) {
                bases.add_cached(digest, origin.clone());
            }
        }
        hits
    }

    /// Returns where the layers of entries are; `None`, and a warning, where that cannot be read.
    fn origin(&self) -> Option<Origin> {
        if let Some(reference) = self.cache.repository() {
            return Some(Origin::Registry(reference.clone()));
        }
        match Layout::open(self.cache.directory()?) {
            Ok(layout) => Some(Origin::Layout(layout)),
            Err(error) => {
                self.warn(format!("the layer cache is not used: {}", one_line(&error)));
                None
            }
        }
    }

    /// Notes that a stage's steps begin, from the first.
    pub(super) fn begin_stage(&self, position: usize) {
        self.lineage.borrow_mut().begin(&self.keys, position);
    }

    /// Notes what is known of stages that are not run.
    pub(super) fn resume(&self, hits: &Hits) {
        *self.lineage.borrow_mut() = hits.lineage().clone();
    }

    /// Notes that a step was not taken, because the cache has what it makes.
    pub(super) fn passed(&self, position: usize, hit: &Hit) {
        self.lineage.borrow_mut().set(position, hit.lineage);
    }

    /// Notes what a step has made, and stores it.
    pub(super) fn made(&self, position: usize, number: usize, step: &Step, layer: Option<&Layer>) {
        if !step.makes_layer() {
            return;
        }
        let mut lineage = self.lineage.borrow_mut();
        lineage.enter(position, step);
        let Some(key) = self.keys.step(position, number) else { return };
        if let (Some(parent), true) = (lineage.of(position), self.is_cached(step)) {
            self.store(key, parent, step, layer);
        }
        lineage.made(position, step, key, layer);
    }

    fn store(&self, key: &Key, parent: &Key, step: &Step, layer: Option<&Layer>) {
        let Some(pushes) = &self.pushes else { return };
        self.tell_failure();
        let digest = layer.and_then(|layer| digest_of(&layer.descriptor).ok());
        let blob = match digest.map(|digest| self.session.store.stored(&digest)).transpose() {
            Ok(blob) => blob,
            Err(error) => {
                tracing::debug!(%error, "the layer is not there to be cached");
                return;
            }
        };
        let entry =
            Entry { key: *key, parent: *parent, layer: layer.cloned(), created: Timestamp::now() };
        let created_by = step.history.clone().unwrap_or_else(|| step.text.clone());
        let new = NewEntry { entry, blob, created_by, platform: self.keys.platform() };
        if !self.is_warned.get() {
            self.session.events.send(Event::CachePushed { name: self.cache.name_of(key) });
        }
        let uploads = self.session.uploads.clone();
        let sources: Vec<Reference> = self.destinations_beside();
        pushes.begin(new, async move {
            let mut mount_from = Vec::new();
            if let Some(digest) = digest {
                for reference in sources {
                    if uploads.arrived(&reference, &digest).await.is_some() {
                        mount_from.push(reference);
                    }
                }
            }
            mount_from
        });
    }

    /// Returns the destinations in the registry that the cache is in.
    fn destinations_beside(&self) -> Vec<Reference> {
        let Some(repository) = self.cache.repository() else { return Vec::new() };
        let destinations = self.session.options.output.destinations.iter();
        let beside = destinations.map(|destination| &destination.reference);
        beside.filter(|other| other.registry() == repository.registry()).cloned().collect()
    }

    /// Says that an entry is not what it should be, and is not used.
    fn distrust(&self, key: &Key, why: &str) {
        let name = self.cache.name_of(key);
        let text = format!("`{name}` of the layer cache is not used: {why}");
        self.session.events.send(Event::Warning { text });
    }

    fn has_failed(&self, error: CacheError) {
        match &self.pushes {
            Some(pushes) => pushes.fail(error),
            None => self.warn(unusable(&error)),
        }
        self.tell_failure();
    }

    fn tell_failure(&self) {
        if let Some(error) = self.pushes.as_ref().and_then(Pushes::take_failure) {
            self.warn(unusable(&error));
        }
    }

    /// Says what is wrong with the cache, once a build.
    fn warn(&self, text: String) {
        if !self.is_warned.replace(true) {
            self.session.events.send(Event::Warning { text });
        }
    }

    /// Says that a layer of the cache turned out to be no good, and that it is done without.
    pub(super) fn give_up_hits(&self, error: &BuildError) {
        let why = one_line(error);
        let text = format!("the build begins again without what the layer cache has: {why}");
        self.session.events.send(Event::Warning { text });
        *self.lineage.borrow_mut() = Lineage::new(&self.keys);
    }

    /// Waits until new entries are stored, not long where the build has failed, and no longer than
    /// until a signal comes.
    pub(super) fn finish(&self, has_succeeded: bool) {
        let Some(pushes) = &self.pushes else { return };
        let longest = if has_succeeded { FINISHING_TIME } else { FAILED_FINISHING_TIME };
        let interrupt = self.session.interrupt;
        pushes.finish(longest, async {
            interrupt.raised().await;
        });
        if interrupt.check().is_ok() {
            self.tell_failure();
        }
    }
}

/// Tells whether the layers of a step are cached.
///
/// WORKDIR's always are: they are as good as empty, and made anew they have other times, which gives
/// an image of the same steps another digest each time. What is copied from a stage or an image is
/// wherever commands are: without that, a stage would be fetched only to be copied from, and its
/// files are what its key says, as a command's are.
fn is_cached(options: &CacheOptions, step: &Step) -> bool {
    let (runs, copies) =
        (options.run_layers == options::Cached::Yes, options.copy_layers == options::Cached::Yes);
    step.makes_layer()
        && match &step.kind {
            StepKind::Run(_) => runs,
            StepKind::Copy(copy) => match copy.from {
                CopySource::Stage(_) | CopySource::Image(_) => runs || copies,
                CopySource::Context | CopySource::NamedContext(_) => copies,
            },
            StepKind::Workdir(_) => true,
            StepKind::Metadata => false,
        }
}

fn unusable(error: &CacheError) -> String {
    format!("the layer cache is left alone from here on: {}", one_line(error))
}
