//! Flags that say where credentials for registries come from.

use clap::{ArgAction, Args};
use serde::Serialize;

use crate::cli::go_values::{parse_bool, parse_int};

/// Where credentials come from when not from Docker's `config.json`.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CredentialArgs {
    /// What a broker has too.
    #[command(flatten)]
    #[serde(flatten)]
    pub document: DocumentArgs,

    /// Unix socket of a broker that has the credentials and talks to registries
    ///
    /// The one that `zuwai broker` in another container of the Pod listens on, in a volume that both
    /// have. The build then looks for no credentials and reaches registries only through it. How
    /// registries are reached (plain HTTP, certificates) is said to the broker; mirrors and maps are
    /// said here, and have to be allowed there.
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    pub registry_broker: String,
}

/// Credentials that are handed over on a descriptor.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DocumentArgs {
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

    /// Source of credentials that no file has to name, repeatable
    ///
    /// `google`, `ecr`, `acr` or `gitlab`: identities that the container has with a cloud, for that
    /// cloud's registries, and the variables of a job of GitLab's. All of them if not given, and none
    /// with an empty value. What `config.json` names is used in any case, and stands before these;
    /// with credentials from a descriptor or a broker none of them is looked at.
    #[arg(long, value_name = "NAME", action = ArgAction::Append)]
    pub credential_helpers: Vec<String>,
}
