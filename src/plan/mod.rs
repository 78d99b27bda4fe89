//! Instructions and resolved bases to what will happen: stage graph, steps, configs, history.
//!
//! Pure: no IO and no clock; the same Dockerfile, arguments and bases give the same plan, byte for
//! byte. BuildKit's rules, down to the text of history entries; where kaniko or good sense win, the
//! code says so. Must not know where images come from: it says which it needs ([`references`]) and
//! is given their configs.
//!
//! The idea to hold in mind: there are two environments. A config's `Env` is what the image will
//! have; what words expand with and commands see is that and the arguments in sight, and where both
//! have a name, the later instruction wins.

mod copy;
mod error;
mod graph;
mod history;
mod inputs;
mod metadata;
mod mode;
mod mount;
mod planner;
mod remote;
mod render;
mod repository;
mod run;
mod scope;
mod stage;
mod step;
mod variables;

pub use error::{PlanError, PlanErrorKind};
pub use inputs::{NamedContext, PlanInputs, StageSelection};
pub use mode::{FileMode, ModeError, SymbolicMode};
pub use mount::{
    BindMount, CacheMount, MountAccess, MountOwner, RunMount, SecretMount, TmpfsMount,
};
pub use planner::{image_config, plan, references, unpacked};
pub use remote::RemoteFile;
pub use render::{render, render_with};
pub use repository::{AddedSubmodules, GitDirectory, RemoteRepository, RepositoryError, is_id};
pub use step::{
    Archives, Base, CopyItem, CopySource, CopyStep, Destination, Footing, ImageName, ImageRequest,
    InlineFile, Origin, Plan, PlanWarning, PlannedStage, Remote, RunNetwork, RunStep, Script, Step,
    StepKind, WorkdirStep,
};

/// What history entries name as their builder.
pub const HISTORY_COMMENT: &str = "zuwai.dockerfile.v0";

#[cfg(test)]
mod tests;
