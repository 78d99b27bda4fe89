//! How much of the keys of a plan's stages somebody asks for.

use crate::build::needs::copied_stages_before;
use crate::plan::{Base, Plan, PlannedStage};

/// How much of a stage's keys is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// What it starts from, and so many of its steps.
    Steps(usize),
}

impl Wanted {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Steps(count) => count,
        }
    }
}

/// Says for each stage how much of its keys is asked for, by itself or by stages after it.
pub(super) fn wanted(plan: &Plan, count: &dyn Fn(&PlannedStage) -> Option<usize>) -> Vec<Wanted> {
    let mut wanted = vec![Wanted::Nothing; plan.stages.len()];
    for (position, stage) in plan.stages.iter().enumerate().rev() {
        let its_own = count(stage).map(Wanted::Steps);
        let Some(its) = wanted.get_mut(position) else { continue };
        if let Some(own) =
            its_own.filter(|own| *its == Wanted::Nothing || own.count() > its.count())
        {
            *its = own;
        }
        let its = *its;
        if its == Wanted::Nothing {
            continue;
        }
        let base = match stage.base {
            Base::Stage(base) => Some(base),
            Base::Scratch | Base::Image(_) => None,
        };
        for source in copied_stages_before(stage, its.count()).chain(base) {
            if let Some((wanted, stage)) = wanted.get_mut(source).zip(plan.stages.get(source)) {
                *wanted = Wanted::Steps(stage.steps.len());
            }
        }
    }
    wanted
}
