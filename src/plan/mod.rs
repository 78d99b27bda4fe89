//! Instructions and resolved bases to what will happen: stage graph, steps, configs, history.
//!
//! Pure: the same Dockerfile, arguments and bases give the same plan.

mod mode;
mod step;

pub use mode::{FileMode, ModeError, SymbolicMode};
pub use step::{
    Archives, Base, CopySource, CopyStep, Destination, ImageName, ImageRequest, InlineFile, Origin,
    Plan, PlanWarning, PlannedStage, RunStep, Script, Step, StepKind, WorkdirStep,
};
