//! Flags that say how changes are found.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{parse_bool, parse_int};

/// What counts as a change, when it is looked for, and what is left out.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotArgs {
    /// Signs of change to look for
    ///
    /// `full` reads every file, `redo` compares all metadata, `time` compares timestamps. Each
    /// finds every change and gives the same layer; they differ in cost. Not given, the changes are
    /// tracked, as `--tracker=auto` does.
    #[arg(long, value_name = "MODE")]
    pub snapshot_mode: Option<String>,

    /// Make one layer for each stage, after its last instruction
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub single_snapshot: bool,

    /// Find changes by tracking what each command writes
    ///
    /// The same as `--tracker=auto`, which is the default; given with `--snapshot-mode`, as in many
    /// pipelines, it stands over that.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub use_new_run: bool,

    /// Way to find out what a command may have changed
    ///
    /// `auto` takes the best that works here: `overlay` runs each command on an overlay of its own
    /// and `fanotify` marks the file system, which both need privilege; `inotify` watches every
    /// inode and needs none; `walk` looks at every file's metadata (as `--snapshot-mode=redo`).
    /// `content` reads every file (as `--snapshot-mode=full`). The layers are the same; one that
    /// cannot work here is an error that says why.
    #[arg(long, value_name = "NAME")]
    pub tracker: Option<String>,

    /// Inotify watches to take at most
    ///
    /// One is needed for each file and directory. The default is an eighth of what the node allows
    /// all of its root Pods together (`fs.inotify.max_user_watches`); give more on nodes that are
    /// yours.
    #[arg(long, value_name = "N", value_parser = parse_int)]
    pub watch_limit: Option<i64>,

    /// Path to keep out of layers, repeatable
    ///
    /// Absolute, without wildcards. What lies below is left out too.
    #[arg(long, value_name = "PATH", action = ArgAction::Append)]
    pub ignore_path: Vec<String>,

    /// Keep /var/run out of layers
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "true")]
    pub ignore_var_run: bool,
}
