//! Flags that say how changes are found.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::parse_bool;

/// What counts as a change, when it is looked for, and what is left out.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotArgs {
    /// Signs of change to look for
    ///
    /// `full` reads every file, `redo` compares all metadata, `time` compares timestamps. Each
    /// finds every change and gives the same layer; they differ in cost. Not given, the cheapest
    /// that is sound here is taken.
    #[arg(long, value_name = "MODE")]
    pub snapshot_mode: Option<String>,

    /// Make one layer for each stage, after its last instruction
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub single_snapshot: bool,

    /// Find changes by tracking what each command writes
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub use_new_run: bool,

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
