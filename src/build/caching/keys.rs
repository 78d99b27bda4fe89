//! What each step of a plan is made of, as keys.
//!
//! In a key: the keys of the steps before it, and so the base's files, and all that the step itself
//! depends on, as it will be in the image. Not in it: times, owners of a context's files, the
//! machine. Steps that only change the config are in no key: a command sees of the config what its
//! environment, user and directory say, and an entry holds files alone.
//!
//! Keys are found out as far as somebody asks for them: up to the last step of a stage that may be
//! cached, and to its end where another stage goes on from there. So no file is read for a last
//! `COPY . .` whose layer no cache will have.

use std::hash::RandomState;

use jiff::Timestamp;
use snapshot::RootfsPath;
use snapshot::layer::Changed;

use super::Purpose;
use super::parts::{copy_parts, layer_parts, mount_parts, option_parts, run_parts, workdir_parts};
use super::reading::{Reading, Reads, add_fetched, add_files, context_of};
use super::wanted::{Wanted, wanted};
use crate::build::bases::{Bases, name_of};
use crate::build::known::KnownContexts;
use crate::build::options::CopyDeltas;
use crate::build::session::Session;
use crate::cache::{BuildParts, Key, MadeOf, StageParts, StepParts};
use crate::execute::{ContentDigests, ExecuteError, Watch, inputs};
use crate::image::{Image, Platform};
use crate::plan::{Base, CopySource, CopyStep, Plan, PlannedStage, RunMount, Step, StepKind};
use crate::report::fault::one_line;

/// The keys of a plan.
pub(super) struct Keys {
    stages: Vec<StageKeys>,
    platform: Platform,
    /// What was read for them.
    digests: ContentDigests,
    hasher: RandomState,
}

#[derive(Default)]
struct StageKeys {
    base_stage: Option<usize>,
    base: Option<StepKey>,
    /// By step; `None` for steps that touch no files, from the first one on that cannot be read, and
    /// for those that nobody asks for.
    steps: Vec<Option<StepKey>>,
    /// After the last step.
    last: Option<Key>,
}

/// A step's key, and what it was made of.
struct StepKey {
    key: Key,
    /// Of a copy of a context, what it is but for the files.
    ground: Option<Key>,
    made_of: MadeOf,
    reading: Reading,
}

impl StepKey {
    fn parts(&self) -> StepParts {
        let ground = self.ground.as_ref().map(Key::hex);
        StepParts { key: self.key.hex(), ground, parts: self.made_of.record() }
    }
}

impl Keys {
    /// Finds out the keys of a plan; `count` tells of a stage how many of its steps have to have one
    /// for its own sake.
    pub(super) fn of(
        session: &Session<'_>,
        bases: &Bases<'_>,
        plan: &Plan,
        purpose: Purpose,
        count: &dyn Fn(&PlannedStage) -> Option<usize>,
    ) -> Self {
        let deltas = session.options.cache.as_ref().map(|cache| cache.copy_deltas);
        let hasher = RandomState::new();
        let watch = Watch::new(&hasher, &Changed::default());
        let digests = ContentDigests::new(session.threads());
        let digests = match deltas {
            Some(CopyDeltas::Written) => digests.remembering_all(),
            Some(CopyDeltas::Never) | None => digests,
        };
        let (stages, platform) = (Vec::new(), Platform::of_this_machine());
        let mut keys = Self { stages, platform, digests, hasher };
        let contexts = KnownContexts::open(session);
        let reader = Reader { session, bases, plan, purpose, contexts: &contexts, watch };
        for (stage, wanted) in plan.stages.iter().zip(wanted(plan, count)) {
            let stage = match wanted {
                Wanted::Nothing => StageKeys::default(),
                Wanted::Steps(count) => reader.stage(stage, count, &keys),
            };
            keys.stages.push(stage);
        }
        contexts.keep();
        if let Some(target) = plan.target_stage() {
            keys.platform = target.platform.clone();
        }
        keys
    }

    pub(super) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// Returns the stage that a stage starts from.
    pub(super) fn base_stage(&self, position: usize) -> Option<usize> {
        self.stages.get(position)?.base_stage
    }

    /// Returns the key of what a stage starts from.
    pub(super) fn base(&self, position: usize) -> Option<&Key> {
        Some(&self.stages.get(position)?.base.as_ref()?.key)
    }

    /// Returns the key of a step that touches files.
    pub(super) fn step(&self, position: usize, number: usize) -> Option<&Key> {
        Some(&self.stages.get(position)?.steps.get(number)?.as_ref()?.key)
    }

    /// Returns what a copy of a context is but for its files.
    pub(super) fn ground(&self, position: usize, number: usize) -> Option<&Key> {
        self.stages.get(position)?.steps.get(number)?.as_ref()?.ground.as_ref()
    }

    /// Returns what was read.
    pub(super) fn digests(&self) -> &ContentDigests {
        &self.digests
    }

    /// Returns what all steps are made of, in the form that is kept.
    pub(super) fn parts(&self) -> BuildParts {
        let stage = |stage: &StageKeys| StageParts {
            base: stage.base.as_ref().map(StepKey::parts),
            steps: stage.steps.iter().map(|step| step.as_ref().map(StepKey::parts)).collect(),
        };
        BuildParts { stages: self.stages.iter().map(stage).collect() }
    }

    /// Says what is different in what a stage's step is made of, and with which step that began;
    /// `None` for the step: with what the stage starts from. `before` is what an earlier build had.
    pub(super) fn changes(
        &self,
        before: &BuildParts,
        position: usize,
        number: usize,
    ) -> Option<(Option<usize>, String)> {
        let (now, before) = (self.stages.get(position)?, before.stages.get(position)?);
        let changes = |before: Option<&StepParts>, now: Option<&StepKey>| {
            let (before, now) = before.zip(now)?;
            before.parts.changes(&now.made_of)
        };
        if let Some(changes) = changes(before.base.as_ref(), now.base.as_ref()) {
            return Some((None, changes));
        }
        (0..=number).find_map(|number| {
            let before = before.steps.get(number).and_then(Option::as_ref);
            let now = now.steps.get(number).and_then(Option::as_ref);
            match (before, now) {
                (None, Some(_)) => Some((Some(number), "the instruction is new".to_owned())),
                (before, now) => Some((Some(number), changes(before, now)?)),
            }
        })
    }

    /// Tells whether an earlier build had the same step.
    pub(super) fn is_in(&self, before: &BuildParts, position: usize, number: usize) -> bool {
        let key = self.step(position, number).map(Key::hex);
        let mut steps = before.stages.iter().flat_map(|stage| &stage.steps).flatten();
        key.is_some_and(|key| steps.any(|step| step.key == key))
    }

    /// Returns what can watch a reading that is compared with one for a key.
    pub(super) fn watch(&self, changed: &Changed) -> Watch {
        Watch::new(&self.hasher, changed)
    }

    /// Returns how contexts were read for a step's key.
    pub(super) fn reading(&self, position: usize, number: usize) -> Option<Reading> {
        Some(self.stages.get(position)?.steps.get(number)?.as_ref()?.reading)
    }

    /// Reads what a step reads of contexts once more, and returns the first file that is not what it
    /// was for the key; `Err` where that cannot be read any more.
    pub(super) fn first_change(
        &self,
        session: &Session<'_>,
        place: (usize, usize),
        step: &Step,
    ) -> Result<Option<String>, ExecuteError> {
        let stage = self.stages.get(place.0);
        let known = stage.and_then(|stage| stage.steps.get(place.1)?.as_ref());
        let Some(known) = known else { return Ok(None) };
        let (digests, mut now) = (ContentDigests::new(session.threads()), MadeOf::default());
        for reads in Reads::of_step(step) {
            for remote in reads.copy.remotes() {
                // It is what it was when it was fetched.
                if let Ok(identity) = session.identity_of_remote(remote) {
                    add_fetched(&mut now, remote, &identity);
                }
            }
            let Some(context) = context_of(session, &reads.copy.from) else { continue };
            let keeps = |path: &RootfsPath| context.contains(path);
            let source = reads.source(context, &keeps);
            add_files(&mut now, &inputs(&reads.copy, &source, &digests)?);
        }
        Ok(known.made_of.first_other_file(&now).map(str::to_owned))
    }

    /// Returns the platform of the result.
    pub(super) fn platform(&self) -> Platform {
        self.platform.clone()
    }

    fn last(&self, position: usize) -> Option<Key> {
        self.stages.get(position)?.last
    }
}

struct Reader<'r> {
    session: &'r Session<'r>,
    bases: &'r Bases<'r>,
    plan: &'r Plan,
    purpose: Purpose,
    contexts: &'r KnownContexts<'r>,
    watch: Watch,
}

impl Reader<'_> {
    /// Finds out the keys of the first steps of a stage.
    fn stage(&self, stage: &PlannedStage, count: usize, known: &Keys) -> StageKeys {
        let (base_stage, base) = match &stage.base {
            Base::Stage(base) => (Some(*base), self.base_stage(*base, known)),
            Base::Scratch => (None, Some(self.base(stage, "the base".to_owned(), None))),
            Base::Image(request) => {
                let name = format!("the base `{}`", name_of(request));
                (None, Some(self.base(stage, name, Some(&self.bases.image(request)))))
            }
        };
        let mut last = base.as_ref().map(|base| base.key);
        let mut steps = Vec::with_capacity(stage.steps.len());
        for step in stage.steps.iter().take(count) {
            let is_made = step.makes_layer();
            let key = last.filter(|_| is_made).and_then(|parent| self.step(&parent, step, known));
            if is_made {
                last = key.as_ref().map(|key| key.key);
            }
            steps.push(key);
        }
        StageKeys { base_stage, base, steps, last }
    }

    /// Returns the key of what another stage has made, which is that one's own.
    fn base_stage(&self, base: usize, known: &Keys) -> Option<StepKey> {
        let key = known.last(base)?;
        let mut made_of = MadeOf::default();
        made_of.part("stage", self.stage_name(base), |writer| writer.key("last", &key));
        Some(StepKey { key, ground: None, made_of, reading: self.reading(Timestamp::now()) })
    }

    fn stage_name(&self, position: usize) -> String {
        match self.plan.stages.get(position) {
            Some(PlannedStage { name: Some(name), .. }) => format!("stage `{name}`"),
            Some(stage) => format!("stage {}", stage.index),
            None => "a stage".to_owned(),
        }
    }

    /// Returns the key of a base's files, and of all that decides how steps become layers.
    fn base(&self, stage: &PlannedStage, name: String, image: Option<&Image>) -> StepKey {
        let mut made_of = MadeOf::default();
        option_parts(&mut made_of, self.session.options, &stage.platform);
        layer_parts(&mut made_of, name, image);
        let key = made_of.key("base", None);
        StepKey { key, ground: None, made_of, reading: self.reading(Timestamp::now()) }
    }

    /// Returns the key of a step; `None` where what it reads cannot be read: the step will say why.
    fn step(&self, parent: &Key, step: &Step, known: &Keys) -> Option<StepKey> {
        let mut made_of = MadeOf::default();
        self.watch.take();
        let began = Timestamp::now();
        let domain = match &step.kind {
            StepKind::Run(run) => {
                run_parts(&mut made_of, run, &step.config);
                for mount in &run.mounts {
                    let is_given = |id: &str| self.session.secrets.contains_key(id);
                    mount_parts(&mut made_of, mount, &is_given);
                    if let RunMount::Bind(bind) = mount
                        && !self.can_add(&mut made_of, step, &Reads::of_mount(bind), known)
                    {
                        return None;
                    }
                    // So that no file of one can be taken for one of the next.
                    let count = made_of.file_count() as u64;
                    made_of.part("mounted files", "how many files are mounted", |writer| {
                        writer.number("count", count);
                    });
                }
                "run"
            }
            StepKind::Workdir(workdir) => {
                workdir_parts(&mut made_of, workdir);
                "workdir"
            }
            StepKind::Copy(copy) => {
                copy_parts(&mut made_of, copy);
                if !self.can_add_fetched(&mut made_of, step, copy)
                    || !self.can_add(&mut made_of, step, &Reads::of_copy(copy), known)
                {
                    return None;
                }
                "copy"
            }
            StepKind::Metadata => return None,
        };
        let is_of_context = matches!(
            &step.kind,
            StepKind::Copy(CopyStep {
                from: CopySource::Context | CopySource::NamedContext(_),
                ..
            })
        );
        let ground = is_of_context.then(|| made_of.ground(domain, parent));
        let key = made_of.key(domain, Some(parent));
        Some(StepKey { key, ground, made_of, reading: self.reading(began) })
    }

    fn reading(&self, began: Timestamp) -> Reading {
        Reading { seen: self.watch.take(), began }
    }

    /// Adds what a step copies or mounts; false where that has no key.
    fn can_add(&self, made_of: &mut MadeOf, step: &Step, reads: &Reads, known: &Keys) -> bool {
        match self.source(made_of, reads, known) {
            Ok(added) => added.is_some(),
            Err(error) => {
                tracing::debug!(%error, step = step.text, "it has no key");
                false
            }
        }
    }

    /// Adds what an ADD fetches; false where that has no key. Nothing is fetched only to
    /// show what is cached.
    fn can_add_fetched(&self, made_of: &mut MadeOf, step: &Step, copy: &CopyStep) -> bool {
        for remote in copy.remotes() {
            if self.purpose == Purpose::Show && !remote.is_pinned() {
                return false;
            }
            match self.session.identity_of_remote(remote) {
                Ok(identity) => add_fetched(made_of, remote, &identity),
                Err(error) => {
                    tracing::debug!(error = one_line(&error), step = step.text, "it has no key");
                    return false;
                }
            }
        }
        true
    }

    /// Adds what a step reads; `None` where that has no key.
    fn source(
        &self,
        made_of: &mut MadeOf,
        reads: &Reads,
        known: &Keys,
    ) -> Result<Option<()>, ExecuteError> {
        match &reads.copy.from {
            CopySource::Context | CopySource::NamedContext(_) => {
                // The step will say what is wrong with one that is missing.
                let Some(context) = context_of(self.session, &reads.copy.from) else {
                    return Ok(None);
                };
                let keeps = |path: &RootfsPath| context.contains(path);
                let source = reads.source(context, &keeps).with_known(self.contexts.of(context));
                let source = source.watched_by(&self.watch);
                add_files(made_of, &inputs(&reads.copy, &source, &known.digests)?);
                Ok(Some(()))
            }
            // What the stage is made of decides what is in it: no file of it has to be there.
            CopySource::Stage(source) => Ok(known.last(*source).map(|last| {
                let name = self.stage_name(*source);
                made_of.part("stage", name, |writer| writer.key("last", &last));
            })),
            CopySource::Image(request) => {
                let platform = request.platform.to_string();
                made_of.part("platform", "the platform", |writer| writer.text("name", &platform));
                let name = format!("`{}`", name_of(request));
                layer_parts(made_of, name, Some(&self.bases.image(request)));
                Ok(Some(()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
