//! What stages need of each other, and of their own files: read from a plan alone.

use super::options::Unpacking as WhenUnpacked;
use crate::plan::{Base, Plan, PlannedStage, Step, StepKind};

/// What a stage has of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it changes none, and nobody reads them.
    Nothing,
    /// What headers tell.
    Outline,
    /// A root file system.
    Files,
}

/// What later stages need of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// It is the target or the base of a stage, so its layers become part of an image.
    pub(super) layers: bool,
    /// The last stage, by position, that copies from it or starts from it.
    pub(super) last_reader: Option<usize>,
    /// A stage copies from it.
    pub(super) is_copied: bool,
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

/// Says what each stage has to have of its files: those of a stage that runs a command, or is copied
/// from, are on disk, and so are those of its base, which it goes on with.
pub(super) fn needs(plan: &Plan, uses: &[Uses], unpacking: WhenUnpacked) -> Vec<Needs> {
    let mut needs = vec![Needs::Nothing; plan.stages.len()];
    for (position, stage) in plan.stages.iter().enumerate().rev() {
        let its_uses = uses.get(position).copied().unwrap_or_default();
        let touches_files = stage.steps.iter().any(changes_files);
        let is_always = unpacking == WhenUnpacked::Always;
        let is_read = its_uses.is_copied || is_always && its_uses.last_reader.is_some();
        let Some(need) = needs.get_mut(position) else { continue };
        if stage.steps.iter().any(runs) || is_read || is_always && touches_files {
            *need = Needs::Files;
        } else if touches_files && *need == Needs::Nothing {
            *need = Needs::Outline;
        }
        let is_files = *need == Needs::Files;
        if let Base::Stage(base) = stage.base
            && is_files
            && let Some(base) = needs.get_mut(base)
        {
            *base = Needs::Files;
        }
    }
    needs
}

pub(super) fn changes_files(step: &Step) -> bool {
    !matches!(step.kind, StepKind::Metadata)
}

pub(super) fn runs(step: &Step) -> bool {
    matches!(step.kind, StepKind::Run(_))
}

/// Says whether a stage's layers become layers of the image that is built.
pub(super) fn is_in_target(plan: &Plan, position: usize) -> bool {
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

pub(super) fn copied_stages(stage: &PlannedStage) -> impl Iterator<Item = usize> + '_ {
    copied_stages_before(stage, stage.steps.len())
}

/// Returns the stages that the first `count` steps of a stage copy from.
pub(super) fn copied_stages_before(
    stage: &PlannedStage,
    count: usize,
) -> impl Iterator<Item = usize> + '_ {
    stage.steps.iter().take(count).flat_map(Step::source_stages)
}
