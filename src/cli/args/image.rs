//! Flags that say what the image is.

use clap::{ArgAction, Args};
use serde::Serialize;

use super::value::CompressionName;
use crate::cli::go_values::{parse_bool, parse_int};

/// What is built, for which platform, with which layers.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageArgs {
    /// Stage to build
    ///
    /// A stage's name in any case, or its index from 0. The default is the last stage.
    #[arg(long, value_name = "STAGE", default_value = "", hide_default_value = true)]
    pub target: String,

    /// Value for an ARG, repeatable
    ///
    /// `NAME=VALUE`, or `NAME` alone for the value of the environment variable of that name.
    #[arg(long, value_name = "NAME[=VALUE]", action = ArgAction::Append)]
    pub build_arg: Vec<String>,

    /// Label for the image, repeatable
    ///
    /// Stands over a LABEL of the same key in the Dockerfile.
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub label: Vec<String>,

    /// Platform to build for
    ///
    /// `OS/ARCHITECTURE[/VARIANT]`. Chooses the entry of a base image's index. The default is this
    /// machine's.
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub custom_platform: String,

    /// Build only the stages that the target needs
    ///
    /// That is what happens anyway. `--skip-unused-stages=false`, written out, builds every stage
    /// up to the target, as kaniko does when the flag is not given.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set)]
    pub skip_unused_stages: Option<bool>,

    /// Strip timestamps, so that equal input gives an equal image
    ///
    /// Layers written by this build and the config get the time 0; layers of the base image stay
    /// as they are.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub reproducible: bool,

    /// Compression of layers
    ///
    /// `gzip` or `zstd`. With `zstd` the image has OCI media types. docs/layers.md has sizes and
    /// times.
    #[arg(long, value_name = "NAME", default_value = "gzip")]
    pub compression: CompressionName,

    /// Compression level
    ///
    /// 1 to 9 for gzip, 1 to 22 for zstd. Values below 1 mean the default, as with kaniko: 1 for
    /// gzip, 3 for zstd.
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "-1")]
    pub compression_level: i64,

    /// Keep compressed layers in memory between passes
    ///
    /// Accepted for kaniko's sake: there is one pass, and no layer is held in memory.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "true")]
    pub compressed_caching: bool,

    /// Write a layer for every instruction, even an empty one
    ///
    /// With `--single-snapshot`, one for each stage.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub force_build_metadata: bool,
}
