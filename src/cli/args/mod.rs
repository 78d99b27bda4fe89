//! Every flag of every sub-command, by topic, with its type, default and help.
//!
//! These structs hold what was typed, in kaniko's types; `lower` turns them into what is meant. The
//! doc comment of a field is the flag's help and its entry in `docs/flags.md`. Canonical arguments
//! (`--name=value`, made by `spelling`) are what is parsed here, so clap never sees Go's spellings.

mod broker;
mod cache;
mod compare;
mod credentials;
mod execution;
mod image;
mod log;
mod output;
mod registry;
mod snapshot;
mod source;
mod store;
mod value;
mod warm;

use clap::{CommandFactory, FromArgMatches, Parser};
use serde::Serialize;

pub use broker::{BrokerArgs, ServingArgs};
pub use cache::{CacheArgs, DEFAULT_CACHE_DIRECTORY};
pub use compare::ComparisonArgs;
pub use credentials::{CredentialArgs, DocumentArgs};
pub use execution::ExecutionArgs;
pub use image::ImageArgs;
pub use log::LogArgs;
pub use output::OutputArgs;
pub use registry::{HostArgs, PullArgs, PushArgs};
pub use snapshot::SnapshotArgs;
pub use source::{DEFAULT_CONTEXT, SourceArgs};
pub use store::{CacheLimitArgs, CacheListArgs, CachePlaceArgs, CachePruneArgs};
pub use value::{ByteSize, CompressionName, GitOption, KeyValue, KeyValues};
pub use warm::WarmArgs;

use super::flags::{self, Flag};
use super::spelling::{Arity, FlagShape, OldName};

/// The flags of `zuwai build` and `executor`.
#[derive(Clone, Debug, Parser, PartialEq, Serialize)]
#[command(
    name = "zuwai build",
    about = "Builds an image from a Dockerfile and pushes it",
    disable_version_flag = true,
    args_override_self = true
)]
pub struct BuildArgs {
    /// Where the build comes from.
    #[command(flatten, next_help_heading = "Context and Dockerfile")]
    #[serde(flatten)]
    pub source: SourceArgs,
    /// What the image is.
    #[command(flatten, next_help_heading = "Image")]
    #[serde(flatten)]
    pub image: ImageArgs,
    /// What the image becomes outside.
    #[command(flatten, next_help_heading = "Output")]
    #[serde(flatten)]
    pub output: OutputArgs,
    /// How registries are reached to push.
    #[command(flatten, next_help_heading = "Registries, pushing")]
    #[serde(flatten)]
    pub push: PushArgs,
    /// How registries are reached to pull.
    #[command(flatten, next_help_heading = "Registries, pulling")]
    #[serde(flatten)]
    pub pull: PullArgs,
    /// Where credentials for registries come from.
    #[command(flatten, next_help_heading = "Registries, credentials")]
    #[serde(flatten)]
    pub credentials: CredentialArgs,
    /// How changes are found.
    #[command(flatten, next_help_heading = "Snapshots")]
    #[serde(flatten)]
    pub snapshot: SnapshotArgs,
    /// The layer cache.
    #[command(flatten, next_help_heading = "Layer cache")]
    #[serde(flatten)]
    pub cache: CacheArgs,
    /// How the build runs.
    #[command(flatten, next_help_heading = "Running")]
    #[serde(flatten)]
    pub execution: ExecutionArgs,
    /// How it is reported.
    #[command(flatten, next_help_heading = "Reporting")]
    #[serde(flatten)]
    pub log: LogArgs,
}

/// The flags of `zuwai warm` and `warmer`.
#[derive(Clone, Debug, Parser, PartialEq, Serialize)]
#[command(
    name = "zuwai warm",
    about = "Fetches base images into a directory that builds read",
    disable_version_flag = true,
    args_override_self = true
)]
pub struct WarmerArgs {
    /// What is fetched and where to.
    #[command(flatten, next_help_heading = "Images")]
    #[serde(flatten)]
    pub warm: WarmArgs,
    /// How registries are reached.
    #[command(flatten, next_help_heading = "Registries, pulling")]
    #[serde(flatten)]
    pub pull: PullArgs,
    /// How it is reported.
    #[command(flatten, next_help_heading = "Reporting")]
    #[serde(flatten)]
    pub log: LogArgs,
}

/// A set of flags with its own clap definition.
pub trait FlagSet: CommandFactory + FromArgMatches + Serialize {
    /// What becomes of each flag.
    const FLAGS: &'static [Flag];
    /// Other names of flags.
    const OLD_NAMES: &'static [OldName];
}

impl FlagSet for BuildArgs {
    const FLAGS: &'static [Flag] = flags::BUILD;
    const OLD_NAMES: &'static [OldName] = flags::BUILD_OLD_NAMES;
}

impl FlagSet for WarmerArgs {
    const FLAGS: &'static [Flag] = flags::WARM;
    const OLD_NAMES: &'static [OldName] = flags::WARM_OLD_NAMES;
}

impl FlagSet for BrokerArgs {
    const FLAGS: &'static [Flag] = flags::BROKER;
    const OLD_NAMES: &'static [OldName] = &[];
}

impl FlagSet for CacheListArgs {
    const FLAGS: &'static [Flag] = flags::CACHE_LIST;
    const OLD_NAMES: &'static [OldName] = &[];
}

impl FlagSet for CachePruneArgs {
    const FLAGS: &'static [Flag] = flags::CACHE_PRUNE;
    const OLD_NAMES: &'static [OldName] = &[];
}

impl FlagSet for ComparisonArgs {
    const FLAGS: &'static [Flag] = flags::COMPARE;
    const OLD_NAMES: &'static [OldName] = &[];
}

/// Value name that marks a flag as a switch, which is `true` when it stands alone.
const SWITCH: &str = "BOOL";

/// Returns the clap definition of a flag set, with switches made switches.
pub fn command<A: FlagSet>() -> clap::Command {
    A::command().mut_args(|arg| match is_switch(&arg) {
        true => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => arg,
    })
}

/// Returns whether a flag is a switch.
pub fn is_switch(arg: &clap::Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == SWITCH))
}

/// Returns what the grammar of `spelling` has to know of each flag of a set, `--help` included.
pub fn shapes<A: FlagSet>() -> Vec<FlagShape> {
    let command = command::<A>();
    let help = FlagShape { long: "help".to_owned(), short: Some('h'), arity: Arity::Switch };
    let shape = |arg: &clap::Arg| {
        Some(FlagShape {
            long: arg.get_long()?.to_owned(),
            short: arg.get_short(),
            arity: if is_switch(arg) { Arity::Switch } else { Arity::Value },
        })
    };
    command.get_arguments().filter_map(shape).chain([help]).collect()
}
