//! Layers of earlier builds in place of steps.
//!
//! Every key can be known before the first step: a step's is made of the keys before it and of what it
//! reads, never of what was made. So all are asked for at once; where files have to be read for them, all
//! up to the first commands, and the others once these are known to be there. What follows a command that
//! the cache has not is made anew, because it could have been made upon something else; a COPY or a WORKDIR
//! makes the same of the same, so that what follows one that is missing can still be had. A hit is a
//! descriptor: its bytes are fetched only when a later step needs files.
//!
//! What a whole build has in the cache is listed there too, so that the next one of the same asks
//! once; only what is not listed is asked for step by step.
//!
//! That a chain of keys stands for files is what a layer cache is: a command is taken to make the
//! same of the same, be it `apt-get update` on another day. What is *not* taken for granted is that
//! two runs of it are interchangeable: an entry names the very layers of commands that it was made
//! upon, and counts only on top of those.

mod blame;
mod earlier;
mod early;
mod keys;
mod lineage;
mod lookup;
mod parts;
mod plan;
mod reading;
mod reasons;
mod single;
mod stored;
mod wanted;
mod watching;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use snapshot::Digest;
use snapshot::layer::Changed;

use super::bases::Bases;
use super::error::BuildError;
use super::layers::Made;
use super::options::{CacheOptions, CachePlace, CopyDeltas, NewLayers};
use super::session::Session;
use crate::cache::{
    BuildParts, BuildRecord, CacheError, Circumstances, Entry, Key, LayerCache, NewEntry, Pushes,
    StoredLayer, Trust,
};
use crate::image::{Reference, digest_of};
use crate::plan::{Plan, Step};
use crate::report::event::Event;
use crate::report::fault::one_line;
use keys::Keys;
use lineage::Lineage;
use lookup::build_key;
use stored::is_cached;

pub(super) use earlier::Earlier;
pub(super) use early::Early;
pub(super) use plan::{Cached, Hit, Hits};

/// How long a build waits at its end for entries that are still to be stored.
const FINISHING_TIME: Duration = Duration::from_secs(180);

/// The same where it has failed, and somebody waits to hear why.
const FAILED_FINISHING_TIME: Duration = Duration::from_secs(5);

/// The layer cache of one build.
pub(super) struct Caching<'a> {
    session: &'a Session<'a>,
    options: &'a CacheOptions,
    purpose: Purpose,
    /// The one that new layers go to, then those that are only read.
    caches: Vec<Arc<LayerCache>>,
    /// `None`: no new layers are stored.
    pushes: Option<Pushes>,
    keys: Keys<'a>,
    /// Steps are asked for as far as those before them are known to be cached, and then once they are
    /// made; otherwise all before the first step.
    is_lazy: bool,
    lineage: RefCell<Lineage>,
    /// Names what this build has in a cache as a whole.
    build_key: Key,
    /// What an earlier build of the same had, and in which cache.
    last: RefCell<Option<(usize, BuildRecord)>>,
    /// What its steps were made of; fetched when somebody asks.
    last_parts: OnceCell<Option<BuildParts>>,
    /// Entries that were taken from the cache that new ones go to.
    taken: RefCell<BTreeMap<Key, Entry>>,
    is_warned: Cell<bool>,
    /// What the cache has turned out to be no good.
    has_given_up: Cell<bool>,
    /// The first file of a context that was not what it was for the keys.
    changed: Changed,
    is_change_told: Cell<bool>,
}

/// What a cache is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Building.
    Build,
    /// Only to say what it has.
    Show,
}

impl<'a> Caching<'a> {
    /// Finds out the keys of a plan's steps; `None` where no cache is asked for.
    ///
    /// # Errors
    /// When the key of `--cache-signing-key` cannot be used: without it, whatever the cache has would
    /// be believed.
    pub(super) fn open(
        session: &'a Session<'a>,
        bases: &'a Bases<'a>,
        plan: &'a Plan,
        purpose: Purpose,
    ) -> Result<Option<Self>, BuildError> {
        let Some(options) = session.options.cache.as_ref() else { return Ok(None) };
        let trust = match &options.signing_key {
            Some(path) => Trust::from_file(path)?,
            None => Trust::Writers,
        };
        let may_store = purpose == Purpose::Build && options.new_layers == NewLayers::Stored;
        let stores = may_store && trust.can_store();
        if may_store && !stores {
            let text = "nothing is stored in the layer cache: the key of `--cache-signing-key` is a \
                        public one, which signs nothing (`--no-push-cache` says that this is meant)";
            session.events.send(Event::Warning { text: text.to_owned() });
        }
        let trust = Arc::new(trust);
        let cache_in = |place: &CachePlace| cache_at(session, options, place, &trust);
        if let (CachePlace::Directory(path), true) = (&options.place, stores) {
            // Before the first stage: a build in `/` leaves alone what is there by then. Where this
            // fails, so does what is stored, which says so.
            _ = std::fs::create_dir_all(path);
        }
        let cache = cache_in(&options.place);
        let runtime = session.runtime.handle().clone();
        let pushes = stores.then(|| Pushes::new(runtime, Arc::clone(&cache)));
        let caches = std::iter::once(cache).chain(options.sources.iter().map(cache_in)).collect();
        let is_cached = |step: &Step| is_cached(options, step);
        let keys =
            Keys::of(session, bases, plan, purpose, &|stage| match session.is_single_snapshot() {
                false => stage.steps.iter().rposition(is_cached).map(|last| last + 1),
                true => single::is_stage_cached(stage, &is_cached).then_some(stage.steps.len()),
            });
        // Neither one layer a stage nor one on top of earlier ones can do without a key.
        let is_lazy = !session.is_single_snapshot()
            && options.copy_deltas == CopyDeltas::Never
            && keys.reads_late();
        if !is_lazy {
            keys.find_all();
            keys.keep();
        }
        let lineage = RefCell::new(Lineage::new(&keys));
        Ok(Some(Self {
            session,
            options,
            purpose,
            caches,
            pushes,
            keys,
            lineage,
            build_key: build_key(session, plan.target_stage().map(|stage| &stage.platform)),
            last: RefCell::default(),
            last_parts: OnceCell::new(),
            taken: RefCell::default(),
            is_warned: Cell::new(false),
            has_given_up: Cell::new(false),
            changed: Changed::default(),
            is_lazy,
            is_change_told: Cell::default(),
        }))
    }

    /// Returns what the entry of a key is called in messages.
    fn name_of(&self, key: &Key) -> String {
        self.caches.first().map(|cache| cache.name_of(key)).unwrap_or_default()
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
    pub(super) fn made(&self, position: usize, number: usize, step: &Step, made: &Made) {
        if !step.makes_layer() {
            return;
        }
        if self.is_lazy && !self.stores_more() {
            // Nobody asks for its key any more, but for a change somebody may have to be told.
            _ = self.pushes.is_some() && self.is_as_keyed((position, number), step);
            return;
        }
        self.keys.find_after((position, number), &made.known);
        let is_believed = self.is_as_keyed((position, number), step);
        let mut lineage = self.lineage.borrow_mut();
        lineage.enter(position, step);
        let Some(key) = self.keys.step(position, number) else { return };
        if let (Some(parent), true) = (lineage.of(position), is_believed && self.is_cached(step)) {
            self.store(key, parent, step, made);
        }
        let new = made.new.as_ref().map(|new| &new.layer);
        lineage.made(position, step, key, new);
    }

    fn store(&self, key: &Key, parent: &Key, step: &Step, made: &Made) {
        let Some(pushes) = &self.pushes else { return };
        let new = made.new.as_ref();
        let layer = new.map(|new| &new.layer);
        self.tell_failure();
        let digest = layer.and_then(|layer| digest_of(&layer.descriptor).ok());
        let blob = match digest.map(|digest| self.session.store.stored(&digest)).transpose() {
            Ok(blob) => blob,
            Err(error) => {
                tracing::debug!(%error, "the layer is not there to be cached");
                return;
            }
        };
        let mut below = made.earlier.clone();
        let top = match new {
            Some(new) => Some(StoredLayer { layer: new.layer.clone(), headers: None }),
            None => below.pop(),
        };
        let entry = Entry {
            key: *key,
            parent: *parent,
            layer: top.as_ref().map(|top| top.layer.clone()),
            headers: top.and_then(|top| top.headers),
            below,
            created: Timestamp::now(),
        };
        let created_by = step.history.clone().unwrap_or_else(|| step.text.clone());
        let headers = new.and_then(|new| new.headers.clone());
        let platform = self.keys.platform();
        let new = NewEntry { entry, blob, created_by, platform };
        if !self.is_warned.get() {
            self.session.events.send(Event::CachePushed { name: self.name_of(key) });
        }
        let uploads = self.session.uploads.clone();
        let sources: Vec<Reference> = self.destinations_beside();
        let is_far = self.caches.first().is_some_and(|cache| cache.repository().is_some());
        let kept = is_far.then(|| self.session.kept.headers());
        pushes.begin(new, async move {
            let stored = tokio::task::spawn_blocking(move || {
                let headers = headers?.to_stored().ok()?;
                // The next build asks what its layers say.
                kept.iter().for_each(|kept| kept.put(&Digest::of(&headers), &headers));
                Some(headers)
            });
            // Without it, who would read it reads the layer.
            let headers = stored.await.ok().flatten();
            let mut mount_from = Vec::new();
            if let Some(digest) = digest {
                for reference in sources {
                    if uploads.arrived(&reference, &digest).await.is_some() {
                        mount_from.push(reference);
                    }
                }
            }
            Circumstances { mount_from, headers }
        });
    }

    /// Returns the destinations in the registry that the cache is in.
    fn destinations_beside(&self) -> Vec<Reference> {
        let cache = self.caches.first();
        let Some(repository) = cache.and_then(|cache| cache.repository()) else {
            return Vec::new();
        };
        let destinations = self.session.options.output.destinations.iter();
        let beside = destinations.map(|destination| &destination.reference);
        beside.filter(|other| other.registry() == repository.registry()).cloned().collect()
    }

    /// Notes that a cache cannot be used. Without the first one nothing is stored either.
    fn has_failed(&self, number: usize, error: CacheError) {
        match (&self.pushes, number) {
            (Some(pushes), 0) => pushes.fail(error),
            (None, 0) => self.warn(unusable(&error)),
            (_, number) => {
                let name = self.caches.get(number).map(|cache| cache.name()).unwrap_or_default();
                let text = format!("the layer cache `{name}` is not used: {}", one_line(&error));
                self.session.events.send(Event::Warning { text });
            }
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
        self.has_given_up.set(true);
        *self.lineage.borrow_mut() = Lineage::new(&self.keys);
        self.taken.borrow_mut().clear();
    }

    /// Waits until new entries are stored, not long where the build has failed, and no longer than
    /// until a signal comes.
    pub(super) fn finish(&self, has_succeeded: bool) {
        if self.is_lazy {
            self.keys.keep();
        }
        let Some(pushes) = &self.pushes else { return };
        let longest = if has_succeeded { FINISHING_TIME } else { FAILED_FINISHING_TIME };
        let interrupt = self.session.interrupt;
        pushes.finish(longest, async {
            interrupt.raised().await;
        });
        if interrupt.check().is_err() {
            return;
        }
        if has_succeeded && !pushes.has_failed() && self.changed.first().is_none() {
            self.list(pushes);
        }
        self.tell_failure();
    }

    /// Stores what this build has in the cache as a whole, unless that is known there.
    fn list(&self, pushes: &Pushes) {
        let mut entries = self.taken.borrow().clone();
        entries.extend(pushes.stored().into_iter().map(|entry| (entry.key, entry)));
        let entries: Vec<Entry> = entries.into_values().collect();
        let is_known = match &*self.last.borrow() {
            Some((0, record)) => record.lists(&entries),
            Some(_) | None => entries.is_empty(),
        };
        let Some(cache) = self.caches.first().filter(|_| !is_known) else { return };
        let parts = self.keys.parts();
        let stored = self.waited(cache.store_build(&self.build_key, &entries, &parts));
        if let Some(Err(error)) = stored {
            pushes.fail(error);
        }
    }

    /// Waits for a cache; `None` where a signal ends the build first: what follows says so.
    fn waited<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Session { runtime, interrupt, .. } = self.session;
        runtime.block_on(async {
            tokio::select! {
                outcome = work => Some(outcome),
                _ = interrupt.raised() => None,
            }
        })
    }
}

fn cache_at(
    session: &Session<'_>,
    options: &CacheOptions,
    place: &CachePlace,
    trust: &Arc<Trust>,
) -> Arc<LayerCache> {
    let (ttl, trust) = (options.time_to_live, Arc::clone(trust));
    Arc::new(match place {
        CachePlace::Repository(reference) => {
            LayerCache::in_repository(&session.registry, reference, ttl, trust)
        }
        CachePlace::Directory(path) => LayerCache::in_directory(path, ttl, trust),
    })
}

fn unusable(error: &CacheError) -> String {
    format!("the layer cache is left alone from here on: {}", one_line(error))
}
