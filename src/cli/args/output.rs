//! Flags that say what the image becomes outside.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{parse_bool, parse_int};

/// Destinations, files, and how pushing behaves.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputArgs {
    /// Reference to push the image to, repeatable
    ///
    /// `HOST/REPOSITORY[:TAG]`; the tag is `latest` unless given. Needed unless `--no-push` is.
    #[arg(long, short = 'd', value_name = "REFERENCE", action = ArgAction::Append)]
    pub destination: Vec<String>,

    /// Build without pushing
    ///
    /// The environment variable `KANIKO_NO_PUSH` stands over the flag when it is set and not empty;
    /// a value that is no boolean is an error.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub no_push: bool,

    /// File to write a `docker load` tarball to
    ///
    /// Written whether or not the image is pushed.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub tar_path: String,

    /// Directory to write an OCI image layout to
    ///
    /// A relative path starts at the current directory.
    #[arg(long, value_name = "DIRECTORY", default_value = "", hide_default_value = true)]
    pub oci_layout_path: String,

    /// File to write the image's digest to
    ///
    /// Gets `sha256:…` without a newline, after the image is where it was to go. An `https://` URL
    /// gets the text with PUT.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub digest_file: String,

    /// File to write `NAME@DIGEST` of each destination to
    ///
    /// Needs a destination, also with `--no-push`.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub image_name_with_digest_file: String,

    /// File to write `NAME:TAG@DIGEST` of each destination to
    ///
    /// Needs a destination, also with `--no-push`.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub image_name_tag_with_digest_file: String,

    /// File to write the build's times and counts to, as JSON
    ///
    /// Written when the build has succeeded. The environment variable `BENCHMARK_FILE` does the same
    /// where the flag is not given; its value `false` means no file.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub benchmark_file: String,

    /// Tries after a failed push
    ///
    /// Not given, uploads are still tried again after faults of the network and the registry.
    #[arg(long, value_name = "N", value_parser = parse_int)]
    pub push_retry: Option<i64>,

    /// Count a tag that is there already and may not be overwritten as pushed
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub push_ignore_immutable_tag_errors: bool,

    /// Do not test before the build whether pushing is allowed
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub skip_push_permission_check: bool,
}
