//! Flags that say where credentials for registries come from.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{parse_bool, parse_int};

/// Where credentials come from when not from Docker's `config.json`.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CredentialArgs {
    /// Read credentials for registries from standard input
    ///
    /// A document of the form of Docker's `config.json`, read to its end before anything else is
    /// done. No other source is looked at, and what is read is never on disk, in an argument or in
    /// the environment, where a RUN of a build in `/` of its container could find it.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub registry_auth_stdin: bool,

    /// Read credentials for registries from an open descriptor
    ///
    /// The same with the number of a descriptor that is a pipe or a file, as in
    /// `--registry-auth-fd=3 3< <(command)`.
    #[arg(long, value_name = "N", value_parser = parse_int)]
    pub registry_auth_fd: Option<i64>,
}
