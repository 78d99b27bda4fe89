//! Runs the planned stages in order and keeps their root file systems as long as they are needed.

use std::collections::BTreeMap;

use snapshot::Rootfs;

use super::bases::{Bases, name_of};
use super::error::BuildError;
use super::roots::{Home, Root, Roots};
use super::session::Session;
use super::steps::{Layers, StageRun};
use super::tracking::Tracking;
use super::unpacking::Unpacking;
use crate::image::Image;
use crate::plan::{Base, CopySource, ImageRequest, Plan, PlannedStage, Step, StepKind};
use crate::report::event::Event;

/// A finished stage.
pub(super) struct Finished {
    /// Its image; layers are complete only where [`Uses::layers`] said so.
    pub(super) image: Image,
    root: Option<Root>,
}

/// What later stages need of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// It is the target or the base of a stage, so its layers become part of an image.
    layers: bool,
    /// The last stage, by position, that copies from it or starts from it.
    last_reader: Option<usize>,
    /// A stage copies from it.
    is_copied: bool,
}

/// Says for each stage what the stages after it need.
pub(super) fn uses(plan: &Plan) -> Vec<Uses> {
    let mut uses = vec![Uses::default(); plan.stages.len()];
    if let Some(target) = uses.get_mut(plan.target) {
        target.layers = true;
    }
    for (position, stage) in plan.stages.iter().enumerate() {
        if let Base::Stage(base) = stage.base
            && let Some(base) = uses.get_mut(base)
        {
            *base = Uses { layers: true, last_reader: Some(position), ..*base };
        }
        for source in copied_stages(stage) {
            if let Some(source) = uses.get_mut(source) {
                source.last_reader = Some(position);
                source.is_copied = true;
            }
        }
    }
    uses
}

/// Says whether a stage's layers become layers of the image that is built.
fn is_in_target(plan: &Plan, position: usize) -> bool {
    let mut next = Some(plan.target);
    while let Some(stage) = next {
        if stage == position {
            return true;
        }
        next = match plan.stages.get(stage).map(|stage| &stage.base) {
            Some(Base::Stage(base)) => Some(*base),
            Some(Base::Scratch | Base::Image(_)) | None => None,
        };
    }
    false
}

fn copied_stages(stage: &PlannedStage) -> impl Iterator<Item = usize> + '_ {
    stage.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Copy(copy) => match copy.from {
            CopySource::Stage(position) => Some(position),
            CopySource::Context | CopySource::NamedContext(_) | CopySource::Image(_) => None,
        },
        StepKind::Run(_) | StepKind::Workdir(_) | StepKind::Metadata => None,
    })
}

/// The stages of one build while they run.
pub(super) struct Stages<'a> {
    session: &'a Session<'a>,
    bases: &'a Bases<'a>,
    finished: Vec<Finished>,
    /// Root file systems of images that stages copy from.
    copied_images: BTreeMap<ImageRequest, Root>,
    roots: Roots<'a>,
}

impl<'a> Stages<'a> {
    pub(super) fn new(session: &'a Session<'a>, bases: &'a Bases<'a>) -> Result<Self, BuildError> {
        let roots = Roots::open(session)?;
        Ok(Self { session, bases, finished: Vec::new(), copied_images: BTreeMap::new(), roots })
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
        let with_layers = plan.stages.iter().zip(&uses).filter(|(_, uses)| uses.layers);
        let tracking = Tracking::choose(self.session, with_layers.map(|(stage, _)| stage))?;
        for (position, stage) in plan.stages.iter().enumerate() {
            let finished = self.run_stage(plan, position, stage, &uses, &tracking)?;
            self.finished.push(finished);
            self.drop_unneeded(position, &uses)?;
        }
        let target = self.finished.get(plan.target);
        Ok(target.expect("the plan's target is one of its stages").image.clone())
    }

    fn run_stage(
        &mut self,
        plan: &Plan,
        position: usize,
        stage: &PlannedStage,
        uses: &[Uses],
        tracking: &Tracking,
    ) -> Result<Finished, BuildError> {
        self.session.events.send(Event::StageStarted {
            index: stage.index,
            base: base_name(&stage.text).to_owned(),
            base_index: match stage.base {
                Base::Stage(base) => plan.stages.get(base).map(|base| base.index),
                Base::Scratch | Base::Image(_) => None,
            },
        });
        let its_uses = uses.get(position).copied().unwrap_or_default();
        let image = self.base_image(stage)?;
        let touches_files = stage.steps.iter().any(|step| !matches!(step.kind, StepKind::Metadata));
        // A stage that nobody reads files from and that changes none needs no files.
        let root = match touches_files || its_uses.last_reader.is_some() {
            true => Some(self.base_root(position, stage, &image, uses)?),
            false => None,
        };
        if let Some(root) = &root {
            self.session.events.send(Event::RootReady { path: root.home.path().to_owned() });
        }
        let layers = match its_uses.layers {
            true if is_in_target(plan, position) => Layers::Pushed,
            true => Layers::Kept,
            false => Layers::NotNeeded,
        };
        let run = StageRun::new(self.session, stage, image, root, tracking, layers)?;
        let (image, root) = run.run(&mut |source| self.copy_root(source))?;
        let root = match root {
            // In `/` there is more than the stage: what is the container's must not be copied.
            Some(root) if its_uses.is_copied => Some(self.roots.move_aside(root)?),
            root => root,
        };
        Ok(Finished { image, root })
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

    /// Makes the root file system that a stage starts with.
    fn base_root(
        &mut self,
        position: usize,
        stage: &PlannedStage,
        image: &Image,
        uses: &[Uses],
    ) -> Result<Root, BuildError> {
        let runs = |step: &Step| matches!(step.kind, StepKind::Run(_));
        let needs_place = self.roots.are_in_place() && stage.steps.iter().any(runs);
        if let Base::Stage(base) = stage.base {
            let is_last = uses.get(base).is_some_and(|uses| uses.last_reader == Some(position));
            let copies_too = copied_stages(stage).any(|source| source == base);
            // The base's files are taken over where nobody else will look at them.
            if is_last
                && !copies_too
                && let Some(root) = self.take_over(base, position, needs_place)
            {
                return Ok(root);
            }
        }
        let first = stage.steps.iter().find(|step| !matches!(step.kind, StepKind::Metadata));
        let because_of = first.map_or_else(|| stage.text.clone(), |step| step.text.clone());
        if needs_place {
            self.make_room();
            let (rootfs, beneath) = self.roots.occupy(position)?;
            let index = self.unpacking(image, because_of).run(&rootfs, Some(&beneath))?;
            self.roots.settle(index, beneath)
        } else {
            self.unpack(image, because_of)
        }
    }

    /// Takes the files of the stage `base` for the one at `position`, if they are where that needs
    /// them.
    fn take_over(&mut self, base: usize, position: usize, needs_place: bool) -> Option<Root> {
        let root = self.finished.get_mut(base)?.root.take()?;
        match root.home {
            Home::Place(_) => {
                self.roots.pass_on(position);
                Some(root)
            }
            Home::Folder(_) if !needs_place => Some(root),
            Home::Folder(_) | Home::Moved(_) => {
                // Its layers are unpacked again; the folder goes when the stage is done.
                self.finished.get_mut(base)?.root = Some(root);
                None
            }
        }
    }

    /// Gives up the files of the stage that is in `/`: nobody copies from them, and a stage that
    /// starts from it can have them from its layers.
    fn make_room(&mut self) {
        let occupant = self.roots.occupant();
        if let Some(finished) = occupant.and_then(|occupant| self.finished.get_mut(occupant)) {
            finished.root = None;
        }
    }

    fn unpacking<'s>(&'s self, image: &'s Image, because_of: String) -> Unpacking<'s> {
        Unpacking { session: self.session, bases: self.bases, image, because_of }
    }

    fn unpack(&mut self, image: &Image, because_of: String) -> Result<Root, BuildError> {
        let (rootfs, folder) = self.roots.create()?;
        let index = self.unpacking(image, because_of).run(&rootfs, None)?;
        Ok(Root { rootfs, index, home: Home::Folder(folder) })
    }

    /// Returns the root that a `COPY --from` reads: an earlier stage's or an image's.
    fn copy_root(&mut self, source: &CopySource) -> Result<Rootfs, BuildError> {
        match source {
            CopySource::Stage(position) => {
                let root = self.stage(*position).root.as_ref();
                Ok(root
                    .expect("`uses` keeps the root of a stage that is copied from")
                    .rootfs
                    .clone())
            }
            CopySource::Image(request) => {
                if let Some(root) = self.copied_images.get(request) {
                    return Ok(root.rootfs.clone());
                }
                let image = self.bases.image(request);
                let root = self.unpack(&image, format!("COPY --from={}", name_of(request)))?;
                let rootfs = root.rootfs.clone();
                self.copied_images.insert(request.clone(), root);
                Ok(rootfs)
            }
            CopySource::Context | CopySource::NamedContext(_) => {
                unreachable!("contexts are no root file systems")
            }
        }
    }

    /// Removes the roots that no later stage reads.
    fn drop_unneeded(&mut self, done: usize, uses: &[Uses]) -> Result<(), BuildError> {
        for (finished, uses) in self.finished.iter_mut().zip(uses) {
            if uses.last_reader.is_none_or(|last| last <= done)
                && let Some(root) = finished.root.take()
            {
                self.roots.remove(&root)?;
            }
        }
        Ok(())
    }
}

/// Returns the base that a FROM names, which is what kaniko's line shows of it.
fn base_name(from: &str) -> &str {
    from.split_whitespace().skip(1).find(|word| !word.starts_with("--")).unwrap_or(from)
}
