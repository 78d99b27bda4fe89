//! Flags that say how a run is reported.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::parse_bool;

/// Level, format, and what is only printed.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogArgs {
    /// Lowest level of messages to show
    ///
    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `panic`.
    #[arg(long, short = 'v', value_name = "LEVEL", default_value = "info")]
    pub verbosity: String,

    /// Form of log lines
    ///
    /// `text` is `key=value`, `color` is for people, `json` is one object a line. Colours are left
    /// out when the environment variable `NO_COLOR` is set and not empty and, unless the format is
    /// asked for or the program is called as `executor` or `warmer`, when there is no terminal.
    #[arg(long, value_name = "FORMAT", default_value = "color")]
    pub log_format: String,

    /// Show the date and time in `color` lines instead of seconds since the start
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub log_timestamp: bool,

    /// Print what was understood as JSON, and exit
    ///
    /// Flags, environment and defaults, with secrets masked. Nothing is read, written or reached.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    #[serde(skip)]
    pub print_options: bool,
}
