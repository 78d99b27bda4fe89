//! Flags of the comparison itself; the builds that it makes take the flags of `zuwai build`.

use clap::{ArgAction, Parser};
use serde::Serialize;

use crate::cli::go_values::{parse_bool, parse_int};

/// The flags of `zuwai compare-modes`, beside those of a build.
#[derive(Clone, Debug, Parser, PartialEq, Serialize)]
#[command(
    name = "zuwai compare-modes",
    about = "Measures the ways to find changes on one build, and what each misses",
    long_about = "Measures the ways to find changes on one build, and what each misses\n\n\
        Takes the flags of `zuwai build` too (`--context`, `--dockerfile`, `--build-context`, …); \
        they hold for each build. Nothing is pushed.",
    disable_version_flag = true,
    args_override_self = true
)]
#[serde(rename_all = "kebab-case")]
pub struct ComparisonArgs {
    /// Built-in scenario to build
    ///
    /// `no-op-5k`, `no-op-50k`, `no-op-300k`, `no-op-1m`, `small-runs`, `many-files`, `npm`,
    /// `delete-heavy`, `create-100k`, `open-100k` or `adversarial`. Without it, `--context` says
    /// what is built.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub scenario: String,

    /// OCI layout that takes the place of the scenario's own base
    ///
    /// For the scenario `small-runs`. The image needs `/bin/sh`.
    #[arg(long, value_name = "DIRECTORY", default_value = "", hide_default_value = true)]
    pub base: String,

    /// Modes to compare, parted by commas
    ///
    /// The trackers `overlay`, `fanotify`, `inotify`, `walk` and `content`; `auto`; the snapshot
    /// modes `full`, `redo` and `time`; the emulations `kaniko-full`, `kaniko-redo`, `kaniko-time`
    /// and `kaniko-new-run`; `bare-walk`. `trackers` and `kaniko` stand for all of their kind.
    #[arg(long, value_name = "LIST", default_value = "trackers")]
    pub modes: String,

    /// Measured runs of each mode
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "3")]
    pub runs: i64,

    /// Look for missed changes, in a further run of each mode
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "true")]
    pub check: bool,

    /// File to write the report to as JSON
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub json: String,

    /// File to write the report to as a page with charts
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub html: String,
}
