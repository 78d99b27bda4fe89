//! Flags of the layer cache and the base image cache.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{GoDuration, parse_bool};

/// Whether layers are cached, where, and which.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CacheArgs {
    /// Reuse layers of earlier builds
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub cache: bool,

    /// Repository that holds cached layers
    ///
    /// A registry's repository, or `oci:PATH` for a directory. The default is `/cache` below the
    /// first destination's repository. Needed when `--cache` meets `--no-push`.
    #[arg(long, value_name = "REPOSITORY", default_value = "", hide_default_value = true)]
    pub cache_repo: String,

    /// Directory with base images fetched by the warmer
    #[arg(long, value_name = "DIRECTORY", default_value = "/cache")]
    pub cache_dir: String,

    /// Age at which cached layers and base images are no longer used
    #[arg(long, value_name = "DURATION", default_value = "336h")]
    pub cache_ttl: GoDuration,

    /// Cache layers of COPY too
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub cache_copy_layers: bool,

    /// Cache layers of RUN
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "true")]
    pub cache_run_layers: bool,

    /// Read the layer cache without writing to it
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub no_push_cache: bool,
}
