//! Asking caches what they have of a build's steps.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use super::plan::evaluate;
use super::reading::reads_context;
use super::{Caching, Early, Hits};
use crate::build::bases::{Bases, Origin};
use crate::build::needs::runs;
use crate::build::session::Session;
use crate::cache::{Entry, Key, KeyWriter, LayerCache, Looked, LookedBuild};
use crate::image::Platform;
use crate::plan::{Base, Plan, PlannedStage};
use crate::report::event::Event;
use crate::report::fault::one_line;
use crate::store::Layout;

/// Lookups that are on their way at once.
const PARALLEL_LOOKUPS: usize = 16;

/// What a cache says when it is asked for the last build.
enum Answer {
    /// It had these.
    Listed(Vec<Entry>),
    /// It cannot be asked on.
    Failed,
}

/// Entries that were found, and the numbers of the caches that have them.
pub(super) type FoundEntries = BTreeMap<Key, (usize, Entry)>;

impl Caching<'_> {
    /// Asks for all steps, and returns those that need not be taken.
    ///
    /// One cache is asked after the other, each for what those before it have not: first for what the
    /// last build of the same had, then for all that is not among that at once. Where more files have to
    /// be read for keys behind a command, the commands before them are asked for first.
    pub(in crate::build) fn look_up(
        &self,
        bases: &Bases<'_>,
        plan: &Plan,
        early: Option<Early>,
    ) -> Hits {
        let mut early = early;
        let (mut asked, mut found) = (BTreeSet::new(), FoundEntries::new());
        let mut answers: Vec<Option<Answer>> = self.caches.iter().map(|_| None).collect();
        loop {
            let mut wanted = self.wanted(plan, &asked, &found);
            wanted.retain(|key| !asked.contains(key));
            if wanted.is_empty() {
                break;
            }
            self.ask_for(&wanted, &mut answers, &mut early, &mut found);
            asked.extend(wanted);
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

    /// Asks one cache after the other.
    fn ask_for(
        &self,
        wanted: &[Key],
        answers: &mut [Option<Answer>],
        early: &mut Option<Early>,
        found: &mut FoundEntries,
    ) {
        for ((number, cache), answer) in self.caches.iter().enumerate().zip(answers) {
            let before: Vec<Key> =
                wanted.iter().filter(|key| !found.contains_key(key)).copied().collect();
            if before.is_empty() {
                break;
            }
            let mut has = FoundEntries::new();
            let answer =
                answer.get_or_insert_with(|| self.ask_for_build(number, cache, early.take()));
            if let Answer::Listed(listed) = answer {
                let listed = listed.iter().filter(|entry| before.contains(&entry.key));
                has.extend(listed.map(|entry| (entry.key, (number, entry.clone()))));
                let left = before.into_iter().filter(|key| !has.contains_key(key)).collect();
                self.ask_for_steps(number, cache, left, &mut has);
            }
            if !has.is_empty() && self.origin(number, cache).is_some() {
                found.append(&mut has);
            }
        }
    }

    /// Returns the keys of the steps whose layers may be cached, each once, as far as they can be of
    /// use by what was `found` of those that were `asked` for.
    fn wanted(&self, plan: &Plan, asked: &BTreeSet<Key>, found: &FoundEntries) -> Vec<Key> {
        let mut wanted: Vec<Key> = Vec::new();
        let mut is_new: Vec<bool> = Vec::with_capacity(plan.stages.len());
        for (position, stage) in plan.stages.iter().enumerate() {
            let mut keys = Vec::new();
            let is = |source: usize| is_new.get(source).copied().unwrap_or(true);
            let mut new = self.is_lazy && matches!(stage.base, Base::Stage(base) if is(base));
            match self.session.is_single_snapshot() {
                true if !self.is_stage_cached(stage) => {}
                true => keys.extend(self.stage_key(position, stage)),
                false => {
                    for (number, step) in stage.steps.iter().enumerate() {
                        new |= self.is_lazy && step.source_stages().any(is);
                        if new {
                            break;
                        }
                        if !self.is_cached(step) {
                            new |= self.is_lazy && runs(step);
                            continue;
                        }
                        let Some(key) = self.keys.step(position, number).copied() else { continue };
                        keys.push(key);
                        // Nothing that follows counts where it is missing; while that is not known,
                        // no file is read for what follows.
                        let is_missing = match asked.contains(&key) {
                            true => !found.contains_key(&key),
                            false => asked.is_empty() && reads_context_after(stage, number),
                        };
                        new |= self.is_lazy && runs(step) && is_missing;
                    }
                }
            }
            is_new.push(new);
            for key in keys {
                if !wanted.contains(&key) {
                    wanted.push(key);
                }
            }
        }
        wanted
    }

    /// Asks a cache for what the last build had.
    fn ask_for_build(&self, number: usize, cache: &LayerCache, early: Option<Early>) -> Answer {
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
                let entries = record.entries.clone();
                let mut last = self.last.borrow_mut();
                if last.is_none() {
                    *last = Some((number, record));
                }
                Answer::Listed(entries)
            }
            Some(Ok(LookedBuild::Absent)) => Answer::Listed(Vec::new()),
            Some(Ok(LookedBuild::Unusable(error))) => {
                self.distrust(cache, &self.build_key, &error.to_string());
                Answer::Listed(Vec::new())
            }
            Some(Err(error)) => {
                self.has_failed(number, error);
                Answer::Failed
            }
            None => Answer::Failed,
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

/// Tells whether a step after one reads a context.
fn reads_context_after(stage: &PlannedStage, number: usize) -> bool {
    stage.steps.iter().skip(number + 1).any(reads_context)
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
