//! One layer a stage: with `--single-snapshot`, all steps of a stage are cached together or not at
//! all.
//!
//! The key is the last step's, which has all those before it in it, in a domain of its own: the layer
//! of a last step and that of all steps are never taken for one another, as kaniko does.

use super::lookup::FoundEntries;
use super::plan::{Hit, hit, tell};
use super::{Caching, Lineage};
use crate::build::layers::Made;
use crate::build::needs::{changes_files, runs};
use crate::build::options::UnchangedSteps;
use crate::cache::{Key, KeyWriter};
use crate::image::Layer;
use crate::plan::{CopySource, PlannedStage, Step, StepKind};

/// What became of a stage.
pub(super) struct EvaluatedStage {
    pub(super) hits: Vec<Option<Hit>>,
    pub(super) notes: Vec<Option<String>>,
    /// Something of it is made anew that can be something else.
    pub(super) is_new: bool,
}

/// Returns the step whose history entry has a stage's layer: the last one that can have changed
/// something.
pub(super) fn layer_step(stage: &PlannedStage) -> Option<usize> {
    stage.steps.iter().rposition(changes_files)
}

impl Caching<'_> {
    /// Tells whether the one layer of a stage is cached: where one of a command is, or of a copy from
    /// a stage or an image; of nothing but copies, where those are.
    pub(super) fn is_stage_cached(&self, stage: &PlannedStage) -> bool {
        // Layers of nothing are told apart by step, which one entry does not say.
        let has_empty = self.session.options.layers.unchanged == UnchangedSteps::EmptyLayer;
        !has_empty && is_stage_cached(stage, &|step| self.is_cached(step))
    }

    /// Returns the key of a stage's one layer.
    pub(super) fn stage_key(&self, position: usize, stage: &PlannedStage) -> Option<Key> {
        let number = stage.steps.iter().rposition(Step::makes_layer)?;
        let mut writer = KeyWriter::new("single snapshot");
        writer.key("last", self.keys.step(position, number)?);
        Some(writer.finish())
    }

    /// Notes what all steps of a stage have made, and stores it.
    pub(in crate::build) fn made_stage(&self, position: usize, stage: &PlannedStage, made: &Made) {
        let steps = || stage.steps.iter().enumerate().filter(|(_, step)| step.makes_layer());
        let mut is_believed = true;
        for (number, step) in steps() {
            is_believed &= self.is_as_keyed((position, number), step);
        }
        let mut lineage = self.lineage.borrow_mut();
        steps().for_each(|(_, step)| lineage.enter(position, step));
        let (Some(key), Some((_, last))) = (self.stage_key(position, stage), steps().next_back())
        else {
            return;
        };
        if let (Some(parent), true) =
            (lineage.of(position), is_believed && self.is_stage_cached(stage))
        {
            self.store(&key, parent, last, made);
        }
        let layer = made.new.as_ref().map(|new| &new.layer);
        end(&mut lineage, position, stage, &key, layer);
    }

    /// Says what is left of a stage; `is_new` tells of its base, and `is_source_new` of stages that it
    /// copies from.
    pub(super) fn evaluate_stage(
        &self,
        (position, stage): (usize, &PlannedStage),
        is_base_new: bool,
        is_source_new: &dyn Fn(usize) -> bool,
        lineage: &mut Lineage,
        found: &FoundEntries,
    ) -> EvaluatedStage {
        let nothing = || vec![None; stage.steps.len()];
        let mut is_new = is_base_new;
        for step in stage.steps.iter().filter(|step| step.makes_layer()) {
            lineage.enter(position, step);
            is_new |= step.source_stages().any(is_source_new);
        }
        let mut evaluated =
            EvaluatedStage { hits: nothing(), notes: vec![None; stage.steps.len()], is_new };
        let Some(last) = layer_step(stage) else { return evaluated };
        let (Some(key), Some(step)) = (self.stage_key(position, stage), stage.steps.get(last))
        else {
            // It cannot be read, so it will fail and say why; or nobody asks for it.
            evaluated.is_new |= stage.steps.iter().any(Step::makes_layer);
            return evaluated;
        };
        if !self.is_stage_cached(stage) {
            evaluated.is_new |= stage.steps.iter().any(runs);
            return evaluated;
        }
        let found = if is_new { None } else { hit(self, &key, lineage.of(position), found) };
        let note = match &found {
            Some(_) => "cached".to_owned(),
            None if is_new => "not cached: what it is made upon is not".to_owned(),
            None => match self.why_missed(stage, position, number_of_last(stage)) {
                Some(why) => {
                    tell(self, step, &key, false, Some(&why));
                    format!("not cached: {why}")
                }
                None => {
                    tell(self, step, &key, false, None);
                    "not cached".to_owned()
                }
            },
        };
        if let Some(slot) = evaluated.notes.get_mut(last) {
            *slot = Some(note);
        }
        let Some(found) = found else {
            evaluated.is_new |= stage.steps.iter().any(runs);
            return evaluated;
        };
        tell(self, step, &key, true, None);
        end(lineage, position, stage, &key, found.layers.last().map(|stored| &stored.layer));
        let found = Hit { lineage: lineage.of(position).copied(), ..found };
        for (number, (slot, step)) in evaluated.hits.iter_mut().zip(&stage.steps).enumerate() {
            *slot = match number == last {
                true => Some(found.clone()),
                false => changes_files(step).then(|| found.without_layers()),
            };
        }
        evaluated
    }
}

/// Tells whether the one layer of a stage is cached, if `is_cached` tells it of single steps.
pub(super) fn is_stage_cached(stage: &PlannedStage, is_cached: &dyn Fn(&Step) -> bool) -> bool {
    let mut steps = stage.steps.iter().filter(|step| step.makes_layer()).peekable();
    let is_more = |step: &Step| match &step.kind {
        StepKind::Run(_) => true,
        StepKind::Copy(copy) => {
            matches!(copy.from, CopySource::Stage(_) | CopySource::Image(_))
        }
        StepKind::Workdir(_) | StepKind::Metadata => false,
    };
    steps.peek().is_some()
        && (steps.clone().any(|step| is_more(step) && is_cached(step)) || steps.all(is_cached))
}

fn number_of_last(stage: &PlannedStage) -> usize {
    stage.steps.iter().rposition(Step::makes_layer).unwrap_or_default()
}

/// Ends a stage in a lineage: as a command, where it has some.
fn end(
    lineage: &mut Lineage,
    position: usize,
    stage: &PlannedStage,
    key: &Key,
    layer: Option<&Layer>,
) {
    if let Some(step) = stage.steps.iter().rfind(|step| runs(step)) {
        lineage.made(position, step, key, layer);
    }
}
