//! Which layers a cache has, and which it gets.

use super::Caching;
use crate::build::options::{CacheOptions, Cached};
use crate::plan::{CopySource, PlannedStage, Step, StepKind};

impl Caching<'_> {
    pub(super) fn is_cached(&self, step: &Step) -> bool {
        is_cached(self.options, step)
    }

    /// Tells whether the layer of a step may be stored.
    pub(in crate::build) fn stores(&self, step: &Step) -> bool {
        self.pushes.is_some() && self.is_cached(step)
    }

    /// Tells whether the one layer of a stage may be stored.
    pub(in crate::build) fn stores_stage(&self, stage: &PlannedStage) -> bool {
        self.pushes.is_some() && self.is_stage_cached(stage)
    }
}

/// Tells whether the layers of a step are cached.
///
/// WORKDIR's always are: they are as good as empty, and made anew they have other times, which gives
/// an image of the same steps another digest each time. What is copied from a stage or an image is
/// wherever commands are: without that, a stage would be fetched only to be copied from, and its
/// files are what its key says, as a command's are.
pub(super) fn is_cached(options: &CacheOptions, step: &Step) -> bool {
    let (runs, copies) = (options.run_layers == Cached::Yes, options.copy_layers == Cached::Yes);
    step.makes_layer()
        && match &step.kind {
            StepKind::Run(_) => runs,
            StepKind::Copy(copy) => match copy.from {
                CopySource::Stage(_) | CopySource::Image(_) => runs || copies,
                CopySource::Context | CopySource::NamedContext(_) => copies,
            },
            StepKind::Workdir(_) => true,
            StepKind::Metadata => false,
        }
}
