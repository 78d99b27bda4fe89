//! Runs the planned stages in order and keeps their root file systems as long as they are needed.

mod ground;
mod supply;

use std::collections::BTreeMap;
use std::time::Duration;

use super::bases::{Bases, Keeping};
use super::caching::Cached;
use super::error::BuildError;
use super::exposure;
use super::headers::Headers;
use super::layers::{Layers, append};
use super::needs::{Needs, Uses, changes_files, is_in_target, needs, runs, uses};
use super::roots::{Root, Roots};
use super::session::Session;
use super::steps::{Held, StageRun, Steps};
use super::tracking::Tracking;
use crate::execute::Outline;
use crate::image::Image;
use crate::plan::{Base, ImageRequest, Plan, PlannedStage};
use crate::report::event::Event;

/// A finished stage.
pub(super) struct Finished {
    /// Its image; layers are complete only where [`Uses::layers`] said so.
    pub(super) image: Image,
    root: Option<Root>,
    /// Its files, where they are not on disk.
    outline: Option<Outline>,
    /// How many layers at its bottom are the base image's or the cache's.
    lasting_layer_count: usize,
}

/// What a stage has to start with once the cache was asked.
struct CachedPart {
    image: Image,
    /// The number of the first step that is left.
    first: usize,
    /// How many layers at the bottom of the image are the base image's or the cache's.
    lasting_layer_count: usize,
}

/// One stage among all of them.
#[derive(Clone, Copy)]
struct Part<'p> {
    plan: &'p Plan,
    position: usize,
    stage: &'p PlannedStage,
    uses: &'p [Uses],
    /// What is left of it starts with its base's files.
    on_base: bool,
    /// How many layers at the bottom of what is left to start with are the base image's or the
    /// cache's.
    lasting_layer_count: usize,
}

/// The stages of one build while they run.
pub(super) struct Stages<'a> {
    session: &'a Session<'a>,
    bases: &'a Bases<'a>,
    cached: Option<Cached<'a>>,
    headers: Headers<'a>,
    finished: Vec<Finished>,
    /// Root file systems of images that stages copy from.
    copied_images: BTreeMap<ImageRequest, Root>,
    roots: Roots<'a>,
}

impl<'a> Stages<'a> {
    /// Gets ready for the stages of a plan.
    pub(super) fn new(
        session: &'a Session<'a>,
        bases: &'a Bases<'a>,
        plan: &Plan,
        cached: Option<Cached<'a>>,
    ) -> Result<Self, BuildError> {
        let is_run = plan.stages.iter().flat_map(|stage| &stage.steps).any(runs);
        let sandbox = is_run.then(|| session.sandbox()).transpose()?;
        if let Some(sandbox) = sandbox {
            exposure::warn(session, sandbox);
            session.kept.prepare_trees(sandbox.form());
        }
        let roots = Roots::open(session, sandbox)?;
        let needs = needs(plan, &uses(plan), session.options.execution.unpacking);
        let keeping = match needs.contains(&Needs::Files) {
            true => Keeping::Stored,
            false => Keeping::WhereWanted,
        };
        let headers = Headers::new(session, bases, keeping);
        let (finished, copied_images) = (Vec::new(), BTreeMap::new());
        Ok(Self { session, bases, cached, headers, finished, copied_images, roots })
    }

    /// Runs every stage of the plan and returns the target's image.
    pub(super) fn run(mut self, plan: &Plan) -> Result<Image, BuildError> {
        let image = self.run_all(plan);
        let closed = self.roots.close();
        let image = image?;
        closed?;
        Ok(image)
    }

    fn run_all(&mut self, plan: &Plan) -> Result<Image, BuildError> {
        let uses = uses(plan);
        let needs = needs(plan, &uses, self.session.options.execution.unpacking);
        let is_on = self.cached.is_some();
        let with_layers = plan.stages.iter().zip(&uses).filter(|(_, uses)| uses.layers || is_on);
        let tracking = Tracking::choose(self.session, with_layers.map(|(stage, _)| stage))?;
        for (position, stage) in plan.stages.iter().enumerate() {
            let part =
                Part { plan, position, stage, uses: &uses, on_base: true, lasting_layer_count: 0 };
            let need = needs.get(position).copied().unwrap_or(Needs::Files);
            let finished = match self.is_done_without(part) {
                true => Finished {
                    image: self.base_image(stage)?,
                    root: None,
                    outline: None,
                    lasting_layer_count: 0,
                },
                false => self.run_stage(part, need, &tracking)?,
            };
            self.finished.push(finished);
            self.drop_unneeded(position, &uses)?;
        }
        let target = self.finished.get(plan.target);
        Ok(target.expect("the plan's target is one of its stages").image.clone())
    }

    fn run_stage(
        &mut self,
        part: Part<'_>,
        need: Needs,
        tracking: &Tracking,
    ) -> Result<Finished, BuildError> {
        let Part { plan, position, stage, uses, .. } = part;
        self.session.events.send(Event::StageStarted {
            index: stage.index,
            base: stage.base_name().to_owned(),
            base_index: match stage.base {
                Base::Stage(base) => plan.stages.get(base).map(|base| base.index),
                Base::Scratch | Base::Image(_) => None,
            },
        });
        let its_uses = uses.get(position).copied().unwrap_or_default();
        let layers = match its_uses.layers {
            true if is_in_target(plan, position) => Layers::Pushed,
            true => Layers::Kept,
            // What is made goes into the cache, and is under what is taken from there.
            false if self.cached.is_some() => Layers::Kept,
            false => Layers::NotNeeded,
        };
        let CachedPart { image, first, lasting_layer_count } =
            self.run_cached(part, tracking, layers)?;
        // What is above the base is in no root yet.
        let part = Part { on_base: first == 0, lasting_layer_count, ..part };
        let rest = stage.steps.get(first..).unwrap_or_default();
        let held = match need {
            Needs::Nothing => Held::Nothing,
            Needs::Outline if !rest.iter().any(changes_files) => Held::Nothing,
            Needs::Outline => self.outline_or_root(part, &image, tracking)?,
            Needs::Files => Held::Files(self.base_root(part, &image, tracking)?),
        };
        match &held {
            Held::Files(root) => {
                self.session.events.send(Event::RootReady { path: root.home.path().to_owned() });
            }
            Held::Nothing | Held::Outline(_) => self.session.events.send(Event::UnpackSkipped),
        }
        let caching = self.cached.map(|cached| cached.caching);
        let steps = Steps { position, stage, range: first..stage.steps.len(), caching };
        let run = StageRun::new(self.session, steps, image, held, tracking, layers)?;
        let (image, held) = run.run(self)?;
        // The plan's image has what no single step says: labels of the command line, the platform
        // of the result.
        let image = image.with_settings_of(&stage.image).with_created(self.session.created.clone());
        let (root, outline) = match held {
            Held::Nothing => (None, None),
            Held::Outline(outline) => (None, Some(outline)),
            // In `/` there is more than the stage: what is the container's must not be copied.
            Held::Files(root) if its_uses.is_copied => (Some(self.roots.move_aside(root)?), None),
            Held::Files(root) => (Some(root), None),
        };
        Ok(Finished { image, root, outline, lasting_layer_count })
    }

    /// Tells whether nobody needs a stage any more, because the cache has what others need of it.
    fn is_done_without(&self, part: Part<'_>) -> bool {
        let is_all_there = self.cached.and_then(|cached| cached.hits).is_some();
        let uses = part.uses.get(part.position).copied().unwrap_or_default();
        is_all_there
            && !uses.layers
            && uses.last_reader.is_none()
            && !part.stage.steps.iter().any(changes_files)
    }

    /// Takes a stage's steps up to the last that the cache has.
    ///
    /// A step between two cached ones changes files by its input alone; it is made anew on the
    /// outline of what is below it.
    fn run_cached(
        &mut self,
        part: Part<'_>,
        tracking: &Tracking,
        layers: Layers,
    ) -> Result<CachedPart, BuildError> {
        let Part { position, stage, .. } = part;
        let mut image = self.base_image(stage)?;
        let mut lasting_layer_count = match &stage.base {
            Base::Scratch => 0,
            Base::Image(_) => image.layers().len(),
            Base::Stage(base) => self.stage(*base).lasting_layer_count,
        };
        let Some(cached) = self.cached else {
            return Ok(CachedPart { image, first: 0, lasting_layer_count });
        };
        cached.caching.begin_stage(position);
        let is_hit = |number: &usize| cached.hit(position, *number).is_some();
        let first = (0..stage.steps.len()).rfind(is_hit).map_or(0, |last| last + 1);
        let mut number = 0;
        while number < first {
            let Some(hit) = cached.hit(position, number) else {
                let next = (number..first).find(is_hit).unwrap_or(first);
                let caching = Some(cached.caching);
                let steps = Steps { position, stage, range: number..next, caching };
                image = self.run_between(part, steps, image, tracking, layers)?;
                number = next;
                continue;
            };
            self.session.interrupt.check()?;
            if let Some(step) = stage.steps.get(number) {
                let shown = self.session.shown(stage, number, step);
                self.session.events.send(Event::StepStarted(shown.clone()));
                cached.caching.passed(position, hit);
                let is_lasting = image.layers().len() == lasting_layer_count;
                image = append(self.session, layers, image, hit.image_layers(), step)
                    .map_err(|error| self.session.dockerfile.at_step(step, error))?;
                if is_lasting {
                    lasting_layer_count = image.layers().len();
                }
                let elapsed = Duration::ZERO;
                self.session.events.send(Event::StepFinished { step: shown, elapsed });
            }
            number += 1;
        }
        Ok(CachedPart { image, first, lasting_layer_count })
    }

    /// Runs steps that are between cached ones.
    fn run_between(
        &mut self,
        part: Part<'_>,
        steps: Steps<'_>,
        image: Image,
        tracking: &Tracking,
        layers: Layers,
    ) -> Result<Image, BuildError> {
        let its_steps = part.stage.steps.get(steps.range.clone()).unwrap_or_default();
        let held = match its_steps.iter().any(changes_files) {
            false => Held::Nothing,
            true if image.layers().is_empty() => Held::Outline(self.session.outline(None)),
            true => match self.headers.of(&image)? {
                Some(headers) => Held::Outline(self.session.outline(Some(headers))),
                None => Held::Files(Stages::unpack(self, &image, part.stage.text.clone())?),
            },
        };
        let run = StageRun::new(self.session, steps, image, held, tracking, layers)?;
        let (image, held) = run.run(self)?;
        if let Held::Files(root) = held {
            self.roots.remove(&root)?;
        }
        Ok(image)
    }

    /// Returns the outline that a stage starts with, or its base's files where they are on disk
    /// anyway.
    fn outline_or_root(
        &mut self,
        part: Part<'_>,
        image: &Image,
        tracking: &Tracking,
    ) -> Result<Held, BuildError> {
        if let Some(root) = self.inherit(part, false) {
            return Ok(Held::Files(root));
        }
        let known = match part.stage.base {
            Base::Stage(base) if part.on_base => self.stage(base).outline.clone(),
            Base::Stage(_) | Base::Scratch | Base::Image(_) => None,
        };
        if let Some(outline) = known {
            return Ok(Held::Outline(outline));
        }
        if image.layers().is_empty() {
            return Ok(Held::Outline(self.session.outline(None)));
        }
        match self.headers.of(image)? {
            Some(headers) => Ok(Held::Outline(self.session.outline(Some(headers)))),
            None => Ok(Held::Files(self.base_root(part, image, tracking)?)),
        }
    }

    fn base_image(&self, stage: &PlannedStage) -> Result<Image, BuildError> {
        match &stage.base {
            Base::Scratch => Ok(Image::scratch(&stage.platform, self.session.scratch_format())),
            Base::Image(request) => Ok(self.bases.image(request)),
            Base::Stage(base) => Ok(self.stage(*base).image.clone()),
        }
    }

    fn stage(&self, position: usize) -> &Finished {
        self.finished.get(position).expect("a plan orders stages after those they need")
    }

    /// Removes the roots that no later stage reads.
    fn drop_unneeded(&mut self, done: usize, uses: &[Uses]) -> Result<(), BuildError> {
        for (finished, uses) in self.finished.iter_mut().zip(uses) {
            if uses.last_reader.is_some_and(|last| last > done) {
                continue;
            }
            finished.outline = None;
            if let Some(root) = finished.root.take() {
                self.roots.remove(&root)?;
            }
        }
        Ok(())
    }
}
