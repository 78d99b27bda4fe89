//! Typed instructions: what each one says, checked, with variables still unexpanded.
//!
//! Words are as written (quotes, escapes and variables inside), because what they mean depends on
//! the environment at that point of the build; `shell` expands them. What can be checked only after
//! that has its own functions: [`MountFlag::resolve`], [`ports::expand_ports`] and
//! [`signal::check_signal`]. Flags that another layer does not support yet are here too, with their
//! spans, so that it can name them.

mod command;
mod copy;
mod csv;
mod device;
mod duration;
mod file;
mod flags;
mod healthcheck;
mod kind;
mod mount;
mod onbuild;
pub mod ports;
mod run;
pub mod signal;
mod suggest;
mod variables;

#[cfg(test)]
mod duration_tests;
#[cfg(test)]
mod ports_tests;
#[cfg(test)]
mod tests;

pub use super::ast::Heredoc;
pub use super::source::{Position, Snippet, Span};
pub use command::CommandLine;
pub use copy::{Add, Copy, InlineFile, Sources};
pub use device::Device;
pub use file::{Dockerfile, Stage, parse, parse_trigger};
pub use healthcheck::{Healthcheck, HealthcheckCommand};
pub use kind::{Instruction, Kind};
pub use mount::{Mount, MountError, MountFlag, MountOption, MountType, Sharing};
pub use onbuild::Onbuild;
pub use run::{Network, Run, Security};
pub use variables::{Arg, ArgDefinition, Pair};
