//! What is left of a plan when the cache has some of its layers.

use std::collections::BTreeMap;

use super::{Caching, Lineage};
use crate::build::needs::runs;
use crate::cache::{Entry, Key};
use crate::image::Layer;
use crate::plan::{Base, Plan, Step, StepKind};
use crate::report::event::Event;

/// What a step would make, out of the cache.
#[derive(Clone, Debug)]
pub(in crate::build) struct Hit {
    /// Its layer; `None`: it changes nothing.
    pub(in crate::build) layer: Option<Layer>,
    /// What the stage's commands have made with it.
    pub(super) lineage: Option<Key>,
}

/// The steps that need not be taken.
pub(in crate::build) struct Hits {
    plan: Plan,
    /// By stage and step.
    hits: Vec<Vec<Option<Hit>>>,
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

    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.hits.iter().flatten().flatten().filter_map(|hit| hit.layer.as_ref())
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
pub(super) fn evaluate(caching: &Caching<'_>, plan: &Plan, found: &BTreeMap<Key, Entry>) -> Hits {
    let mut lineage = Lineage::new(&caching.keys);
    let mut hits: Vec<Vec<Option<Hit>>> = Vec::with_capacity(plan.stages.len());
    // Stages of which something is made anew.
    let mut is_new: Vec<bool> = Vec::with_capacity(plan.stages.len());
    let mut left = plan.clone();
    for (position, stage) in plan.stages.iter().enumerate() {
        let is = |is_new: &[bool], source: usize| is_new.get(source).copied().unwrap_or(true);
        let mut new = match stage.base {
            Base::Stage(base) => is(&is_new, base),
            Base::Scratch | Base::Image(_) => false,
        };
        lineage.begin(&caching.keys, position);
        let mut its_hits = Vec::with_capacity(stage.steps.len());
        for (number, step) in stage.steps.iter().enumerate() {
            if !step.makes_layer() {
                its_hits.push(None);
                continue;
            }
            lineage.enter(position, step);
            new |= step.source_stages().any(|source| is(&is_new, source));
            let key = caching.keys.step(position, number);
            let mut hit = match key {
                Some(key) if !new && caching.is_cached(step) => {
                    let hit = hit(caching, step, key, lineage.of(position), found);
                    new |= hit.is_none() && runs(step);
                    hit
                }
                Some(_) => {
                    new |= runs(step);
                    None
                }
                // It cannot be read, so it will fail and say why; or nobody asks for it.
                None => {
                    new = true;
                    None
                }
            };
            if let (Some(key), Some(hit)) = (key, &mut hit) {
                lineage.made(position, step, key, hit.layer.as_ref());
                hit.lineage = lineage.of(position).copied();
                let step = left.stages.get_mut(position).and_then(|s| s.steps.get_mut(number));
                if let Some(step) = step {
                    step.kind = StepKind::Metadata;
                }
            }
            its_hits.push(hit);
        }
        hits.push(its_hits);
        is_new.push(new);
    }
    Hits { plan: left, hits, lineage }
}

fn hit(
    caching: &Caching<'_>,
    step: &Step,
    key: &Key,
    lineage: Option<&Key>,
    found: &BTreeMap<Key, Entry>,
) -> Option<Hit> {
    let events = caching.session.events;
    events.send(Event::CacheChecked { name: caching.cache.name_of(key) });
    let entry = found.get(key).filter(|entry| {
        let fits = lineage == Some(&entry.parent);
        if !fits {
            tracing::debug!(%key, "the cached layer was made upon other ones");
        }
        fits
    });
    let text = step.text.clone();
    match entry {
        Some(entry) => {
            events.send(Event::CacheHit { text, key: key.hex() });
            Some(Hit { layer: entry.layer.clone(), lineage: None })
        }
        None => {
            events.send(Event::CacheMissed { text, key: key.hex() });
            None
        }
    }
}
