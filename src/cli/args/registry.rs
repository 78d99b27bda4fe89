//! Flags that say how registries are reached.

use clap::{ArgAction, Args};
use serde::Serialize;

use super::value::{KeyValue, KeyValues, flat};
use crate::cli::go_values::{parse_bool, parse_int};

/// How registries are reached to push, and what only the executor knows of pulling.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PushArgs {
    /// Push by plain HTTP
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub insecure: bool,

    /// Do not verify registries' certificates
    ///
    /// Holds for pushing and pulling, as with kaniko.
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub skip_tls_verify: bool,

    /// Tries after a failed download of a manifest or layer
    ///
    /// Not given, downloads are still tried again after faults of the network and the registry.
    #[arg(long, value_name = "N", value_parser = parse_int)]
    pub image_download_retry: Option<i64>,
}

/// How registries are reached to pull; `--*-registry` flags hold for pushing too.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PullArgs {
    /// Pull by plain HTTP
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub insecure_pull: bool,

    /// Do not verify registries' certificates when pulling
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub skip_tls_verify_pull: bool,

    /// What holds for single registries.
    #[command(flatten)]
    #[serde(flatten)]
    pub hosts: HostArgs,

    /// Registry to pull from instead of another, repeatable
    ///
    /// `FROM=TO`, several parted by `;`. Those of one registry are tried in the order given, then
    /// the registry itself. Those of the environment variable `KANIKO_REGISTRY_MAP` come last.
    #[arg(long, value_name = "FROM=TO", action = ArgAction::Append)]
    #[serde(serialize_with = "flat")]
    pub registry_map: Vec<KeyValues>,

    /// Registry to pull from instead of docker.io, repeatable
    ///
    /// `HOST[:PORT][/PREFIX]`. The one in the environment variable `KANIKO_REGISTRY_MIRROR` comes
    /// last.
    #[arg(long, value_name = "HOST", action = ArgAction::Append)]
    pub registry_mirror: Vec<String>,

    /// Fail when no mirror and no mapped registry has the image
    #[arg(long, value_name = "BOOL", value_parser = parse_bool, action = ArgAction::Set,
        default_value = "false")]
    pub skip_default_registry_fallback: bool,

    /// File that says as whom Azure's registries are asked
    ///
    /// The `azure.json` of a node: an application with its password, or a managed identity. It
    /// stands in for the variables of the environment.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub azure_container_registry_config: String,
}

/// How single registries are reached, for pushing and pulling.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostArgs {
    /// Registry that may be reached by plain HTTP, repeatable
    ///
    /// `HOST[:PORT]`, for pushing and pulling.
    #[arg(long, value_name = "HOST", action = ArgAction::Append)]
    pub insecure_registry: Vec<String>,

    /// Registry whose certificate is not verified, repeatable
    ///
    /// `HOST[:PORT]`, for pushing and pulling.
    #[arg(long, value_name = "HOST", action = ArgAction::Append)]
    pub skip_tls_verify_registry: Vec<String>,

    /// Certificate of a registry's own CA, repeatable
    ///
    /// `HOST=FILE`, a PEM file that counts beside the system's for this registry.
    #[arg(long, value_name = "HOST=FILE", action = ArgAction::Append)]
    pub registry_certificate: Vec<KeyValue>,

    /// Client certificate for a registry, repeatable
    ///
    /// `HOST=CERTIFICATE,KEY`, two PEM files.
    #[arg(long, value_name = "HOST=CERTIFICATE,KEY", action = ArgAction::Append)]
    pub registry_client_cert: Vec<KeyValue>,
}
