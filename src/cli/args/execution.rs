//! Flags that say where and how the build runs.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{parse_bool, parse_int};

/// Sandbox, work directory, threads, and what is left behind.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExecutionArgs {
    /// Sandbox for the build's commands
    ///
    /// `auto` takes the best that the machine allows. `namespaces` gives each stage a root of its
    /// own. `userns` does the same inside a user namespace, which is how users other than root
    /// build. `in-place` builds in `/` of a container, as kaniko does. One that cannot work here is
    /// an error that says why.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub isolation: String,

    /// Build in `/` even outside a container
    ///
    /// Only where each stage cannot have a root of its own. The files of the machine are
    /// overwritten; a warning names which. It also builds in `/` of a container whose image has
    /// programs and libraries of its own, which commands then find beside those of the base.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub force: bool,

    /// Remove the files of another image from `/` before the build
    ///
    /// For zuwai as a program in an image that has others, where each stage cannot have a root of
    /// its own. Everything goes but mounts, `/kaniko`, the context and the work directory, and it
    /// does not come back. Without it, or `--force`, such a build is refused.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub pre_cleanup: bool,

    /// Remove what the build put into `/` at the end
    ///
    /// Also after a failure. Without it the last stage stays there until the next build in the same
    /// container, which starts clean in any case. Where each stage has a root of its own, that is
    /// removed anyway.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub cleanup: bool,

    /// Directory for the build's own files
    ///
    /// Stands over the environment variable `KANIKO_DIR`. The default for root is `/kaniko` in a
    /// container and `/var/lib/zuwai` elsewhere, for others `zuwai` in the user's cache directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub kaniko_dir: Option<String>,

    /// Threads for walking and compressing
    ///
    /// 0 takes the number of processors that the container may use. The image does not depend on
    /// it.
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "0")]
    pub threads: i64,

    /// Tries after a failed extraction of a base image
    ///
    /// Accepted for kaniko's sake: a layer is complete and verified on disk before it is extracted,
    /// so that there is nothing left that a second try could mend.
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "0")]
    pub image_fs_extract_retry: i64,
}
