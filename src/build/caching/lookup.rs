//! Asking caches what they have of a build's steps.

use std::cell::Cell;
use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};

use super::plan::evaluate;
use super::{Caching, Early, Hits};
use crate::build::bases::{Bases, Origin};
use crate::build::session::Session;
use crate::cache::{Entry, Key, KeyWriter, LayerCache, Looked, LookedBuild};
use crate::image::Platform;
use crate::plan::Plan;
use crate::report::event::Event;
use crate::report::fault::one_line;
use crate::store::Layout;

/// Lookups that are on their way at once.
const PARALLEL_LOOKUPS: usize = 16;

/// Entries that were found, and the numbers of the caches that have them.
pub(super) type FoundEntries = BTreeMap<Key, (usize, Entry)>;

impl Caching<'_> {
    /// Asks for all steps, and returns those that need not be taken.
    ///
    /// One cache is asked after the other, each for what those before it have not: first for what the
    /// last build of the same had, then for all that is not among that at once.
    pub(in crate::build) fn look_up(
        &self,
        bases: &Bases<'_>,
        plan: &Plan,
        early: Option<Early>,
    ) -> Hits {
        let mut early = early;
        let wanted = self.wanted(plan);
        let mut found = FoundEntries::new();
        for (number, cache) in self.caches.iter().enumerate() {
            let missing = |found: &FoundEntries| -> Vec<Key> {
                wanted.iter().filter(|key| !found.contains_key(key)).copied().collect()
            };
            let before = missing(&found);
            if before.is_empty() {
                break;
            }
            let mut has = FoundEntries::new();
            let early = early.take();
            if self.ask_for_build(number, cache, early, &before, &mut has) {
                let left = before.into_iter().filter(|key| !has.contains_key(key)).collect();
                self.ask_for_steps(number, cache, left, &mut has);
            }
            if !has.is_empty() && self.origin(number, cache).is_some() {
                found.extend(has);
            }
        }
        let hits = evaluate(self, plan, &found);
        for hit in hits.iter() {
            let Some(cache) = self.caches.get(hit.cache) else { continue };
            if let (0, Some((_, entry))) = (hit.cache, found.get(&hit.key)) {
                self.taken.borrow_mut().insert(hit.key, entry.clone());
            }
            if hit.layers.is_empty() {
                continue;
            }
            if let Some(origin) = self.origin(hit.cache, cache) {
                hit.layers.iter().for_each(|stored| self.place(bases, cache, &origin, stored));
            }
        }
        self.place_earlier(bases);
        hits
    }

    /// Returns the keys of all steps whose layers may be cached, each once.
    fn wanted(&self, plan: &Plan) -> Vec<Key> {
        let mut wanted: Vec<Key> = Vec::new();
        for (position, stage) in plan.stages.iter().enumerate() {
            let keys: Vec<Key> = match self.session.is_single_snapshot() {
                true if !self.is_stage_cached(stage) => Vec::new(),
                true => self.stage_key(position, stage).into_iter().collect(),
                false => {
                    let steps = stage.steps.iter().enumerate();
                    let cached = steps.filter(|(_, step)| self.is_cached(step));
                    let keys = cached.filter_map(|(number, _)| self.keys.step(position, number));
                    keys.copied().collect()
                }
            };
            for key in keys {
                if !wanted.contains(&key) {
                    wanted.push(key);
                }
            }
        }
        wanted
    }

    /// Asks a cache for what the last build had; tells whether it can be asked on.
    fn ask_for_build(
        &self,
        number: usize,
        cache: &LayerCache,
        early: Option<Early>,
        wanted: &[Key],
        has: &mut FoundEntries,
    ) -> bool {
        let looked = async {
            // It was the first one that was asked, which is the first here.
            match early {
                Some(early) => match early.answer(&self.build_key).await {
                    Some(answer) => answer,
                    None => cache.look_build(&self.build_key).await,
                },
                None => cache.look_build(&self.build_key).await,
            }
        };
        match self.waited(looked) {
            Some(Ok(LookedBuild::Found(record))) => {
                let entries = record.entries.iter().filter(|entry| wanted.contains(&entry.key));
                has.extend(entries.map(|entry| (entry.key, (number, entry.clone()))));
                let mut last = self.last.borrow_mut();
                if last.is_none() {
                    *last = Some((number, record));
                }
                true
            }
            Some(Ok(LookedBuild::Absent)) => true,
            Some(Ok(LookedBuild::Unusable(error))) => {
                self.distrust(cache, &self.build_key, &error.to_string());
                true
            }
            Some(Err(error)) => {
                self.has_failed(number, error);
                false
            }
            None => false,
        }
    }

    /// Asks a cache for steps, for all at once.
    fn ask_for_steps(
        &self,
        number: usize,
        cache: &LayerCache,
        wanted: Vec<Key>,
        has: &mut FoundEntries,
    ) {
        let has_failed = &Cell::new(false);
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
        let answers: Vec<_> = self.waited(lookups.collect()).unwrap_or_default();
        let mut denied = 0;
        for (key, answer) in answers.into_iter().flatten() {
            match answer {
                Ok(Looked::Found(entry)) => {
                    has.insert(key, (number, entry));
                }
                Ok(Looked::Absent) => {}
                Ok(Looked::Denied) => denied += 1,
                Ok(Looked::Expired) => {
                    let name = cache.name_of(&key);
                    self.session.events.send(Event::CacheExpired { name });
                }
                Ok(Looked::Unusable(error)) => self.distrust(cache, &key, &error.to_string()),
                Ok(Looked::Torn(digest)) => {
                    let why = format!("its layer `{digest}` is missing or not whole");
                    self.distrust(cache, &key, &why);
                }
                Err(error) => self.has_failed(number, error),
            }
        }
        // Some registries refuse to look where nothing was pushed yet, so that this is no failure
        // where pushing is still to be tried.
        if denied > 0 && (self.pushes.is_none() || number > 0) {
            let name = cache.name();
            let text =
                format!("the layer cache `{name}` cannot be read: the registry denies access");
            self.warn(text);
        }
    }

    /// Returns where the layers of a cache's entries are; `None`, and a warning, where that cannot be
    /// read.
    pub(super) fn origin(&self, number: usize, cache: &LayerCache) -> Option<Origin> {
        if let Some(reference) = cache.repository() {
            return Some(Origin::Registry(reference.clone()));
        }
        match Layout::open(cache.directory()?) {
            Ok(layout) => Some(Origin::Layout(layout)),
            Err(error) => {
                let name = cache.name();
                let text = format!("the layer cache `{name}` is not used: {}", one_line(&error));
                match number {
                    0 => self.warn(text),
                    _ => self.session.events.send(Event::Warning { text }),
                }
                None
            }
        }
    }

    /// Says that an entry is not what it should be, and is not used.
    fn distrust(&self, cache: &LayerCache, key: &Key, why: &str) {
        let name = cache.name_of(key);
        let text = format!("`{name}` of the layer cache is not used: {why}");
        self.session.events.send(Event::Warning { text });
    }
}

/// Names what a build has in a cache, whatever its files and arguments are: the last build of the same
/// Dockerfile, target, platform and destination is what the next one is compared with.
pub(super) fn build_key(session: &Session<'_>, platform: Option<&Platform>) -> Key {
    let options = session.options;
    let mut writer = KeyWriter::new("build");
    let file = session.dockerfile.file.rsplit('/').next().unwrap_or_default();
    writer.text("dockerfile", file);
    let sub_path = options.context.sub_path.as_deref().and_then(std::path::Path::to_str);
    writer.optional("sub path", sub_path);
    writer.optional("target", options.target.as_deref());
    writer.optional("platform", platform.map(Platform::to_string).as_deref());
    let destination = options.output.destinations.first().map(|destination| {
        let reference = &destination.reference;
        format!("{}/{}", reference.registry(), reference.repository())
    });
    writer.optional("destination", destination.as_deref());
    writer.finish()
}
