//! What each step of a plan is made of, as keys.
//!
//! In a key: the keys of the steps before it, and so the base's files, and all that the step itself
//! depends on, as it will be in the image. Not in it: times, owners of a context's files, the
//! machine. Steps that only change the config are in no key: a command sees of the config what its
//! environment, user and directory say, and an entry holds files alone.
//!
//! Keys are found out as far as somebody asks for them: up to the last step of a stage that may be
//! cached, and to its end where another stage goes on from there. So no file is read for a last
//! `COPY . .` whose layer no cache will have. And they are found out when somebody asks: what follows a
//! command that has to run is asked for when it has been made, and of a COPY then all is known that it
//! has read.

mod reader;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};

use snapshot::layer::Changed;
use snapshot::{RootfsPath, Stamp};

use super::Purpose;
use super::reading::{Reading, Reads, add_fetched, add_files, context_of};
use super::wanted::{Wanted, wanted};
use crate::build::bases::Bases;
use crate::build::session::Session;
use crate::cache::{BuildParts, Key, MadeOf, StageParts, StepParts};
use crate::context::Known;
use crate::execute::{ContentDigests, ExecuteError, Watch, inputs};
use crate::image::Platform;
use crate::plan::{Base, Plan, PlannedStage, Step};
use reader::Reader;

/// The keys of a plan.
pub(super) struct Keys<'a> {
    reader: Reader<'a>,
    stages: Vec<StageKeys>,
    /// How contexts were read by steps before anybody asked for their keys.
    before: RefCell<BTreeMap<Place, Reading>>,
    /// The first step that has read something else than its key was made of.
    misread: Cell<Option<Place>>,
}

/// The numbers of a stage and of a step in it.
pub(in crate::build) type Place = (usize, usize);

struct StageKeys {
    wanted: Wanted,
    base: OnceCell<Option<StepKey>>,
    /// Of the steps that somebody may ask for; `None` for steps that touch no files, and from the first
    /// one on that cannot be read.
    steps: Vec<OnceCell<Option<StepKey>>>,
}

/// A step's key, and what it was made of.
struct StepKey {
    key: Key,
    /// Of a copy of a context, what it is but for the files.
    ground: Option<Key>,
    made_of: MadeOf,
    reading: Reading,
    /// Whether files were read for it whose content was not known.
    has_read_bytes: bool,
}

impl StepKey {
    fn parts(&self) -> StepParts {
        let ground = self.ground.as_ref().map(Key::hex);
        StepParts { key: self.key.hex(), ground, parts: self.made_of.record() }
    }
}

impl<'a> Keys<'a> {
    /// Has no key yet; `count` tells of a stage how many of its steps have to have one for its own sake.
    pub(super) fn of(
        session: &'a Session<'a>,
        bases: &'a Bases<'a>,
        plan: &'a Plan,
        purpose: Purpose,
        count: &dyn Fn(&PlannedStage) -> Option<usize>,
    ) -> Self {
        let stage = |wanted: Wanted| StageKeys {
            wanted,
            base: OnceCell::new(),
            steps: (0..wanted.count()).map(|_| OnceCell::new()).collect(),
        };
        let stages = wanted(plan, count).into_iter().map(stage).collect();
        let reader = Reader::new(session, bases, plan, purpose);
        Self { reader, stages, before: RefCell::default(), misread: Cell::default() }
    }

    /// Finds out all keys, each before its step.
    pub(super) fn find_all(&self) {
        for (position, stage) in self.stages.iter().enumerate() {
            if stage.wanted != Wanted::Nothing {
                self.before(position, stage.steps.len());
            }
        }
    }

    /// Keeps what was found out of files, for later builds.
    pub(super) fn keep(&self) {
        self.reader.keep();
    }

    /// Tells whether files are best read when their steps are made.
    pub(super) fn reads_late(&self) -> bool {
        self.reader.reads_late()
    }

    pub(super) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    fn planned(&self, position: usize) -> Option<&'a PlannedStage> {
        let stage = self.stages.get(position)?;
        self.reader.plan.stages.get(position).filter(|_| stage.wanted != Wanted::Nothing)
    }

    /// Returns the stage that a stage starts from.
    pub(super) fn base_stage(&self, position: usize) -> Option<usize> {
        match self.planned(position)?.base {
            Base::Stage(base) => Some(base),
            Base::Scratch | Base::Image(_) => None,
        }
    }

    /// Returns the key of what a stage starts from.
    pub(super) fn base(&self, position: usize) -> Option<&Key> {
        let stage = self.planned(position)?;
        let base = || match &stage.base {
            Base::Stage(base) => self.reader.base_stage(*base, &self.last(*base)?),
            Base::Scratch | Base::Image(_) => self.reader.base(stage),
        };
        Some(&self.stages.get(position)?.base.get_or_init(base).as_ref()?.key)
    }

    /// Returns the key of a step that touches files.
    pub(super) fn step(&self, position: usize, number: usize) -> Option<&Key> {
        Some(&self.step_key(position, number)?.key)
    }

    fn step_key(&self, position: usize, number: usize) -> Option<&StepKey> {
        let step = self.planned(position)?.steps.get(number)?;
        let found = self.stages.get(position)?.steps.get(number)?;
        let find = || {
            let parent = self.before(position, number).filter(|_| step.makes_layer())?;
            let found = self.reader.step(&parent, step, self);
            if let Some(before) = self.before.borrow_mut().remove(&(position, number)) {
                self.compare((position, number), found.as_ref(), &before);
            }
            found
        };
        found.get_or_init(find).as_ref()
    }

    /// Returns the key of what a step is made upon.
    fn before(&self, position: usize, number: usize) -> Option<Key> {
        let steps = self.planned(position)?.steps.get(..number)?;
        match steps.iter().rposition(Step::makes_layer) {
            Some(before) => self.step(position, before).copied(),
            None => self.base(position).copied(),
        }
    }

    /// Returns the key of all that a stage makes.
    fn last(&self, position: usize) -> Option<Key> {
        self.before(position, self.stages.get(position)?.wanted.count())
    }

    /// Returns the key of a step, and what it was made of, if anybody has asked for it.
    fn known(&self, (position, number): Place) -> Option<&StepKey> {
        self.stages.get(position)?.steps.get(number)?.get()?.as_ref()
    }

    /// Tells whether somebody may ask for the key of a step, and nobody has.
    pub(super) fn is_open(&self, (position, number): Place) -> bool {
        let cell = self.stages.get(position).and_then(|stage| stage.steps.get(number));
        cell.is_some_and(|cell| cell.get().is_none())
    }

    /// Notes how a step has read contexts: as its key was made of them, be it before or after.
    pub(super) fn has_read(&self, place: Place, reading: Reading) {
        match self.known(place) {
            Some(known) if known.reading.seen.sum != reading.seen.sum => self.note_misread(place),
            Some(_) => {}
            None if self.is_open(place) => {
                self.before.borrow_mut().insert(place, reading);
            }
            None => {}
        }
    }

    /// Finds out the key of a step that was made already, of which so much is known: what its layer
    /// has of files, by what these were like when they were read for it.
    pub(super) fn find_after(&self, (position, number): Place, known: &HashMap<Stamp, Known>) {
        let is_open = self.before.borrow().contains_key(&(position, number));
        if is_open && self.before(position, number).is_some() {
            self.reader.digests.take_for_now(known.clone());
            self.step(position, number);
            self.reader.digests.take_for_now(HashMap::new());
        }
    }

    /// Compares how a step has read contexts with how they were read for its key after that. What has
    /// only just changed could have changed again between the two, and have the same time.
    fn compare(&self, place: Place, found: Option<&StepKey>, before: &Reading) {
        let is_same = found.is_some_and(|found| {
            let is_as_told = !found.has_read_bytes || !before.is_fresh();
            found.reading.seen.sum == before.seen.sum && is_as_told
        });
        if !is_same {
            self.note_misread(place);
        }
    }

    fn note_misread(&self, place: Place) {
        self.misread.set(self.misread.get().or(Some(place)));
    }

    /// Returns the first step that has read something else than its key was made of.
    pub(super) fn misread(&self) -> Option<Place> {
        self.misread.get()
    }

    /// Returns what a copy of a context is but for its files.
    pub(super) fn ground(&self, position: usize, number: usize) -> Option<&Key> {
        self.step_key(position, number)?.ground.as_ref()
    }

    /// Returns what was read.
    pub(super) fn digests(&self) -> &ContentDigests {
        &self.reader.digests
    }

    /// Returns what all steps are made of, in the form that is kept.
    pub(super) fn parts(&self) -> BuildParts {
        let stage = |stage: &StageKeys| StageParts {
            base: known(&stage.base).map(StepKey::parts),
            steps: stage.steps.iter().map(|step| known(step).map(StepKey::parts)).collect(),
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
        if let Some(changes) = changes(before.base.as_ref(), known(&now.base)) {
            return Some((None, changes));
        }
        (0..=number).find_map(|number| {
            let before = before.steps.get(number).and_then(Option::as_ref);
            let now = now.steps.get(number).and_then(known);
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
        Watch::new(&self.reader.hasher, changed)
    }

    /// Returns how contexts were read for a step's key, if anybody has asked for it.
    pub(super) fn reading(&self, place: Place) -> Option<Reading> {
        Some(self.known(place)?.reading)
    }

    /// Reads what a step reads of contexts once more, and returns the first file that is not what it
    /// was for the key; `Err` where that cannot be read any more.
    pub(super) fn first_change(
        &self,
        session: &Session<'_>,
        place: Place,
        step: &Step,
    ) -> Result<Option<String>, ExecuteError> {
        let Some(known) = self.known(place) else { return Ok(None) };
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
        let target = self.reader.plan.target_stage().map(|stage| stage.platform.clone());
        target.unwrap_or_else(Platform::of_this_machine)
    }
}

fn known(key: &OnceCell<Option<StepKey>>) -> Option<&StepKey> {
    key.get()?.as_ref()
}

#[cfg(test)]
mod tests;
