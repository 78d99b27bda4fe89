//! What is left of a plan when the cache has some of its layers.

use super::lookup::FoundEntries;
use super::{Caching, Lineage, Purpose};
use crate::build::needs::runs;
use crate::cache::{Key, StoredLayer};
use crate::image::Layer;
use crate::plan::{Base, Plan, Step, StepKind};
use crate::report::event::Event;

/// What a step would make, out of the cache.
#[derive(Clone, Debug)]
pub(in crate::build) struct Hit {
    /// The key of its entry.
    pub(super) key: Key,
    /// Its layers, lowest first; none: it changes nothing.
    pub(super) layers: Vec<StoredLayer>,
    /// The number of the cache that has it.
    pub(super) cache: usize,
    /// What the stage's commands have made with it.
    pub(super) lineage: Option<Key>,
}

impl Hit {
    /// Returns the same for a step whose files are in the layer of another one.
    pub(super) fn without_layers(&self) -> Self {
        Self { layers: Vec::new(), ..self.clone() }
    }

    /// Returns what becomes part of the image.
    pub(in crate::build) fn image_layers(&self) -> Vec<Layer> {
        self.layers.iter().map(|stored| stored.layer.clone()).collect()
    }
}

/// The steps that need not be taken.
pub(in crate::build) struct Hits {
    plan: Plan,
    /// By stage and step.
    hits: Vec<Vec<Option<Hit>>>,
    /// By stage and step, what there is to say of steps that may be cached.
    notes: Vec<Vec<Option<String>>>,
    lineage: Lineage,
}

impl Hits {
    /// Returns the plan in which the steps that need not be taken do nothing to files. What no step
    /// reads any more, nobody needs any more.
    pub(in crate::build) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns what the cache has for a step.
    pub(in crate::build) fn get(&self, position: usize, number: usize) -> Option<&Hit> {
        self.hits.get(position)?.get(number)?.as_ref()
    }

    /// Tells whether there is any.
    pub(in crate::build) fn is_empty(&self) -> bool {
        self.hits.iter().flatten().all(Option::is_none)
    }

    /// Says of a step that may be cached whether it is, and if not, why.
    pub(in crate::build) fn note(&self, position: usize, number: usize) -> Option<&str> {
        self.notes.get(position)?.get(number)?.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Hit> {
        self.hits.iter().flatten().flatten()
    }

    pub(super) fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}

/// The layer cache, and what is taken from it.
#[derive(Clone, Copy)]
pub(in crate::build) struct Cached<'a> {
    pub(in crate::build) caching: &'a Caching<'a>,
    /// `None`: nothing is.
    pub(in crate::build) hits: Option<&'a Hits>,
}

impl<'a> Cached<'a> {
    /// Returns what is taken for a step.
    pub(in crate::build) fn hit(&self, position: usize, number: usize) -> Option<&'a Hit> {
        self.hits?.get(position, number)
    }
}

/// Takes from what was found what can be used, and tells of it as kaniko does.
pub(super) fn evaluate(caching: &Caching<'_>, plan: &Plan, found: &FoundEntries) -> Hits {
    let mut lineage = Lineage::new(&caching.keys);
    let mut hits: Vec<Vec<Option<Hit>>> = Vec::with_capacity(plan.stages.len());
    // Stages of which something is made anew.
    let mut is_new: Vec<bool> = Vec::with_capacity(plan.stages.len());
    let mut left = plan.clone();
    let mut notes = Vec::with_capacity(plan.stages.len());
    for (position, stage) in plan.stages.iter().enumerate() {
        let is = |is_new: &[bool], source: usize| is_new.get(source).copied().unwrap_or(true);
        let mut new = match stage.base {
            Base::Stage(base) => is(&is_new, base),
            Base::Scratch | Base::Image(_) => false,
        };
        lineage.begin(&caching.keys, position);
        if caching.session.is_single_snapshot() {
            let is_source_new = |source: usize| is(&is_new, source);
            let evaluated =
                caching.evaluate_stage((position, stage), new, &is_source_new, &mut lineage, found);
            let left = left.stages.get_mut(position).map(|stage| stage.steps.iter_mut());
            for (step, hit) in left.into_iter().flatten().zip(&evaluated.hits) {
                if hit.is_some() {
                    step.kind = StepKind::Metadata;
                }
            }
            hits.push(evaluated.hits);
            notes.push(evaluated.notes);
            is_new.push(evaluated.is_new);
            continue;
        }
        let mut its_hits = Vec::with_capacity(stage.steps.len());
        let mut its_notes = Vec::with_capacity(stage.steps.len());
        for (number, step) in stage.steps.iter().enumerate() {
            if !step.makes_layer() {
                its_hits.push(None);
                its_notes.push(None);
                continue;
            }
            lineage.enter(position, step);
            new |= step.source_stages().any(|source| is(&is_new, source));
            let (mut hit, mut note) = (None, None);
            // Nobody has to know what is made upon something else.
            let key = match new {
                true => None,
                false => caching.keys.step(position, number),
            };
            match key {
                None if new => {
                    note = caching
                        .is_cached(step)
                        .then(|| "not cached: what it is made upon is not".to_owned());
                }
                Some(key) if caching.is_cached(step) => {
                    hit = self::hit(caching, key, lineage.of(position), found);
                    let why = match &hit {
                        Some(_) => None,
                        None => caching.why_missed(stage, position, number),
                    };
                    tell(caching, step, key, hit.is_some(), why.as_deref());
                    note = Some(match (&hit, why) {
                        (Some(_), _) => "cached".to_owned(),
                        (None, Some(why)) => format!("not cached: {why}"),
                        (None, None) => "not cached".to_owned(),
                    });
                    new |= hit.is_none() && runs(step);
                }
                Some(_) => new |= runs(step),
                // It cannot be read, so it will fail and say why; or nobody asks for it.
                None => {
                    if caching.is_cached(step) && waits_for_fetch(caching, step) {
                        note = Some("not known before what it adds is fetched".to_owned());
                    }
                    new = true;
                }
            }
            its_notes.push(note);
            if let (Some(key), Some(hit)) = (key, &mut hit) {
                lineage.made(position, step, key, hit.layers.last().map(|stored| &stored.layer));
                hit.lineage = lineage.of(position).copied();
                let step = left.stages.get_mut(position).and_then(|s| s.steps.get_mut(number));
                if let Some(step) = step {
                    step.kind = StepKind::Metadata;
                }
            }
            its_hits.push(hit);
        }
        hits.push(its_hits);
        notes.push(its_notes);
        is_new.push(new);
    }
    Hits { plan: left, hits, notes, lineage }
}

/// Tells whether a step has no key because nothing is fetched only to show it.
fn waits_for_fetch(caching: &Caching<'_>, step: &Step) -> bool {
    match &step.kind {
        StepKind::Copy(copy) if caching.purpose == Purpose::Show => {
            copy.remotes().any(|remote| !remote.is_pinned())
        }
        StepKind::Copy(_) | StepKind::Run(_) | StepKind::Workdir(_) | StepKind::Metadata => false,
    }
}

pub(super) fn hit(
    caching: &Caching<'_>,
    key: &Key,
    lineage: Option<&Key>,
    found: &FoundEntries,
) -> Option<Hit> {
    let events = caching.session.events;
    events.send(Event::CacheChecked { name: caching.name_of(key) });
    let (cache, entry) = found.get(key)?;
    if lineage != Some(&entry.parent) {
        tracing::debug!(%key, "the cached layer was made upon other ones");
        return None;
    }
    Some(Hit { key: *key, layers: entry.layers(), cache: *cache, lineage: None })
}

pub(super) fn tell(
    caching: &Caching<'_>,
    step: &Step,
    key: &Key,
    is_hit: bool,
    because: Option<&str>,
) {
    let (text, key) = (step.text.clone(), key.hex());
    caching.session.events.send(match is_hit {
        true => Event::CacheHit { text, key },
        false => Event::CacheMissed { text, key, because: because.map(str::to_owned) },
    });
}
