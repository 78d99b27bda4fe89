//! The effects of a step on a root file system: copy, add, workdir, identity, RUN.
//!
//! Decides as little as it can (the plan has expanded and resolved everything that does not need
//! files) and acts through [`snapshot::Rootfs`] alone. Knows no registry, makes no layer: a step
//! here ends with the set of paths it touched.

pub mod copy;
mod error;
pub mod identity;
mod outline;
mod run;
mod workdir;

pub use copy::{
    ContentDigests, Copied, Followed, Input, InputContent, Seen, Source, Target, Watch, copy,
    inputs, look,
};
pub use error::ExecuteError;
pub use outline::Outline;
pub use run::{Invocation, run};
pub use workdir::make_working_dir;
