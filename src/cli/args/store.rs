//! Flags of the commands that look after the directory that builds and warmers share.

use clap::{Args, Parser};
use serde::Serialize;

use super::{ByteSize, DEFAULT_CACHE_DIRECTORY, LogArgs};
use crate::cli::go_values::GoDuration;

/// The flags of `zuwai cache ls`.
#[derive(Clone, Debug, Parser, PartialEq, Serialize)]
#[command(
    name = "zuwai cache ls",
    about = "Lists what the directory that builds and warmers share holds",
    disable_version_flag = true,
    args_override_self = true
)]
pub struct CacheListArgs {
    /// Which directory.
    #[command(flatten, next_help_heading = "Directory")]
    #[serde(flatten)]
    pub place: CachePlaceArgs,
    /// How it is reported.
    #[command(flatten, next_help_heading = "Reporting")]
    #[serde(flatten)]
    pub log: LogArgs,
}

/// The flags of `zuwai cache prune`.
#[derive(Clone, Debug, Parser, PartialEq, Serialize)]
#[command(
    name = "zuwai cache prune",
    about = "Removes from the directory that builds and warmers share what was not used for longest",
    disable_version_flag = true,
    args_override_self = true
)]
pub struct CachePruneArgs {
    /// Which directory.
    #[command(flatten, next_help_heading = "Directory")]
    #[serde(flatten)]
    pub place: CachePlaceArgs,
    /// What goes.
    #[command(flatten, next_help_heading = "Removing")]
    #[serde(flatten)]
    pub limits: CacheLimitArgs,
    /// How it is reported.
    #[command(flatten, next_help_heading = "Reporting")]
    #[serde(flatten)]
    pub log: LogArgs,
}

/// Which directory.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CachePlaceArgs {
    /// Directory that builds and warmers share
    ///
    /// That of `--cache-dir` of builds.
    #[arg(long, short = 'c', value_name = "DIRECTORY", default_value = DEFAULT_CACHE_DIRECTORY)]
    pub cache_dir: String,
}

/// What goes; with neither, everything that is not in use.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CacheLimitArgs {
    /// Room that what is left may take
    ///
    /// Bytes, or with a unit: `500M`, `20G`, `20Gi`. What was not used for longest goes first. With
    /// neither this flag nor `--older-than`, everything goes that is not in use.
    #[arg(long, value_name = "SIZE")]
    pub keep: Option<ByteSize>,

    /// Age from which what was not used goes
    ///
    /// Such as `336h`.
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<GoDuration>,
}
