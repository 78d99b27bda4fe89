//! Flags of the layer cache and the base image cache.

use clap::{ArgAction, Args};
use serde::Serialize;

use super::ByteSize;
use crate::cli::go_values::{GoDuration, parse_bool};

/// Where kaniko has its base image cache.
pub const DEFAULT_CACHE_DIRECTORY: &str = "/cache";

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

    /// Further repository that is searched for cached layers
    ///
    /// As for `--cache-repo`, and may be given several times: what that one lacks is looked for in
    /// these, in their order. Nothing is written to them. Needs `--cache`.
    #[arg(long, value_name = "REPOSITORY")]
    pub cache_from: Vec<String>,

    /// File with the Ed25519 key that cached layers must be signed with
    ///
    /// PEM, as `openssl genpkey -algorithm ed25519` makes it. New entries are signed, and entries
    /// that are not, or by another key, are not used, so that write access to the cache is not write
    /// access to images. With the public key (`openssl pkey -pubout`) entries are checked, and none
    /// are stored. Needs `--cache`.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub cache_signing_key: String,

    /// Directory that builds and warmers share
    ///
    /// Blobs that are there are not downloaded, be they the warmer's, another build's, or in kaniko's
    /// own tarballs. With `--cache`, or where another directory than the default one is named, what
    /// the warmer says that a tag names counts without asking the registry, and what the build
    /// downloads and finds out is kept there for later builds, where it can be written: another
    /// directory is made, the default one is only used where it exists.
    #[arg(long, value_name = "DIRECTORY", default_value = DEFAULT_CACHE_DIRECTORY)]
    pub cache_dir: String,

    /// Room that the shared directory may take
    ///
    /// Bytes, or with a unit: `500M`, `20G`, `20Gi`. What was not used for longest is removed. Not
    /// given, a tenth of the file system, but no more than 2 GiB, is left free.
    #[arg(long, value_name = "SIZE")]
    pub cache_dir_limit: Option<ByteSize>,

    /// Age at which cached layers and base images are no longer used
    #[arg(long, value_name = "DURATION", default_value = "336h")]
    pub cache_ttl: GoDuration,

    /// Cache layers of COPY and ADD of a context too
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub cache_copy_layers: bool,

    /// Write what changed of a COPY as a small layer
    ///
    /// Where the last build of the same image has cached a COPY or ADD of the context, and some of the
    /// files are other ones now, the earlier layers stay and one is added with what has changed, so
    /// that little is uploaded. Files that have not changed keep their earlier times. The image's files
    /// and config are the same; its layers, and so its digest, then depend on what was built before.
    /// Needs `--cache` and `--cache-copy-layers`, and goes with neither `--reproducible` nor
    /// `--single-snapshot`.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub cache_copy_delta: bool,

    /// Cache layers of RUN
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "true")]
    pub cache_run_layers: bool,

    /// Read the layer cache without writing to it
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub no_push_cache: bool,
}
