//! Flags of the broker.

use clap::{ArgAction, Args, Parser};
use serde::Serialize;

use super::{DocumentArgs, HostArgs, LogArgs};

/// The flags of `zuwai broker`.
#[derive(Clone, Debug, Parser, PartialEq, Serialize)]
#[command(
    name = "zuwai broker",
    about = "Holds credentials and talks to registries for a build in another container",
    disable_version_flag = true,
    args_override_self = true
)]
pub struct BrokerArgs {
    /// What it does.
    #[command(flatten, next_help_heading = "Serving")]
    #[serde(flatten)]
    pub serving: ServingArgs,
    /// How single registries are reached.
    #[command(flatten, next_help_heading = "Registries")]
    #[serde(flatten)]
    pub hosts: HostArgs,
    /// Where credentials come from.
    #[command(flatten, next_help_heading = "Registries, credentials")]
    #[serde(flatten)]
    pub document: DocumentArgs,
    /// How it is reported.
    #[command(flatten, next_help_heading = "Reporting")]
    #[serde(flatten)]
    pub log: LogArgs,
}

/// Where it listens, and what for.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServingArgs {
    /// Path of the Unix socket to listen on
    ///
    /// In a directory that the build's container has too, such as an `emptyDir`. Only the user that
    /// the broker runs as, and root, can use it.
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    pub listen: String,

    /// Repository that may be read, repeatable
    ///
    /// `[HOST[:PORT]/]REPOSITORY`, exactly this one and all of it. Bases are named here, by the
    /// mirror where the build uses one.
    #[arg(long, value_name = "REPOSITORY", action = ArgAction::Append)]
    pub allow_pull: Vec<String>,

    /// Repository that may be written and read, repeatable
    ///
    /// `[HOST[:PORT]/]REPOSITORY[:TAG]`. With a tag, no other tag of the repository can be written.
    /// Nothing can be deleted.
    #[arg(long, value_name = "REPOSITORY[:TAG]", action = ArgAction::Append)]
    pub allow_push: Vec<String>,
}
