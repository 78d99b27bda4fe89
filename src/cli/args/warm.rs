//! Flags of the warmer alone.

use clap::{ArgAction, Args};
use serde::Serialize;

use super::{ByteSize, DEFAULT_CACHE_DIRECTORY};
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
    ///
    /// That of `--cache-dir` of builds. It is made where it is missing.
    #[arg(long, short = 'c', value_name = "DIRECTORY", default_value = DEFAULT_CACHE_DIRECTORY)]
    pub cache_dir: String,

    /// Room that the directory may take
    ///
    /// Bytes, or with a unit: `500M`, `20G`, `20Gi`. What was not used for longest is removed. Not
    /// given, a tenth of the file system, but no more than 2 GiB, is left free.
    #[arg(long, value_name = "SIZE")]
    pub cache_dir_limit: Option<ByteSize>,

    /// Download blobs that are there already
    #[arg(long, short = 'f', value_name = "BOOL", value_parser = parse_bool,
        action = ArgAction::Set, default_value = "false")]
    pub force: bool,

    /// Age up to which what a tag named does for an image whose registry does not answer
    ///
    /// The registry is always asked what a tag names now; layers that are there are not downloaded
    /// again, however old they are. How long a build believes it is that build's `--cache-ttl`.
    #[arg(long, value_name = "DURATION", default_value = "336h")]
    pub cache_ttl: GoDuration,

    /// Platform of the images
    ///
    /// `OS/ARCHITECTURE[/VARIANT]`. The default is this machine's. kaniko's name for it,
    /// `--customPlatform`, works too.
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub custom_platform: String,
}
