//! Flags of the warmer alone.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{GoDuration, parse_bool};

/// Which images are fetched, and where to.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WarmArgs {
    /// Image to fetch, repeatable
    #[arg(long, short = 'i', value_name = "REFERENCE", action = ArgAction::Append)]
    pub image: Vec<String>,

    /// Dockerfile whose base images are fetched
    #[arg(long, short = 'd', value_name = "PATH", default_value = "", hide_default_value = true)]
    pub dockerfile: String,

    /// Value for an ARG in FROM, repeatable
    #[arg(long, value_name = "NAME[=VALUE]", action = ArgAction::Append)]
    pub build_arg: Vec<String>,

    /// Directory to write the images to
    #[arg(long, short = 'c', value_name = "DIRECTORY", default_value = "/cache")]
    pub cache_dir: String,

    /// Fetch images that are there already
    #[arg(long, short = 'f', value_name = "BOOL", value_parser = parse_bool,
        action = ArgAction::Set, default_value = "false")]
    pub force: bool,

    /// Age at which an image counts as missing
    #[arg(long, value_name = "DURATION", default_value = "336h")]
    pub cache_ttl: GoDuration,

    /// Platform of the images
    ///
    /// `OS/ARCHITECTURE[/VARIANT]`. The default is this machine's. kaniko's name for it,
    /// `--customPlatform`, works too.
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub custom_platform: String,
}
