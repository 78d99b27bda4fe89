//! What a plan depends on beside the Dockerfile.

use std::collections::BTreeMap;

use super::step::ImageRequest;
use super::variables::Variables;
use crate::image::{ImageConfig, Platform, PlatformError, Reference};

/// What a plan depends on beside the Dockerfile.
#[derive(Debug, Clone)]
pub struct PlanInputs<'a> {
    /// Values for `ARG`, by name.
    pub build_args: &'a BTreeMap<String, String>,
    /// The stage to build: a name in any case or an index; `None` is the last one.
    pub target: Option<&'a str>,
    /// The platform to build for, as typed; `None` is `build_platform`, and images keep the one
    /// that their base names.
    pub platform: Option<&'a str>,
    /// The platform that this program runs on.
    pub build_platform: &'a Platform,
    /// Labels for the image, in order; they win over those of the Dockerfile.
    pub labels: &'a [(String, String)],
    /// Contexts usable in `FROM` and `--from`, by name.
    pub named_contexts: &'a BTreeMap<String, NamedContext>,
    /// The configs of the images asked for by [`super::references`].
    pub images: &'a BTreeMap<ImageRequest, ImageConfig>,
    /// Which stages are planned beside those that the target needs.
    pub selection: StageSelection,
}

/// What a named context stands for, as far as a plan cares.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedContext {
    /// A directory of files.
    Directory,
    /// The image in an OCI layout.
    Layout,
    /// Another image reference.
    Image(Reference),
}

/// Which stages are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageSelection {
    /// Only those that the target needs.
    Needed,
    /// Every stage up to the target.
    UpToTarget,
}

/// The platform to build for, in the two spellings that builds see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetPlatform {
    pub(super) normal: Platform,
    /// `TARGETVARIANT`: unlike the normal form it is empty for `arm` alone and `v8` for `arm64/v8`.
    pub(super) typed_variant: String,
    /// Nobody asked for it.
    pub(super) is_implicit: bool,
}

impl TargetPlatform {
    pub(super) fn new(typed: Option<&str>, here: &Platform) -> Result<Self, PlatformError> {
        let Some(typed) = typed else {
            let typed_variant = here.variant.clone().unwrap_or_default();
            return Ok(Self { normal: here.clone(), typed_variant, is_implicit: true });
        };
        let normal: Platform = typed.parse()?;
        let has_variant = typed.split('/').count() == 3;
        let typed_variant = match normal.variant.as_deref() {
            None if has_variant && normal.architecture == "arm64" => "v8",
            Some("v7") if !has_variant && normal.architecture == "arm" => "",
            variant => variant.unwrap_or_default(),
        };
        Ok(Self { typed_variant: typed_variant.to_owned(), normal, is_implicit: false })
    }

    /// Returns the arguments that are there without being declared, as `FROM` sees them; a stage
    /// has to declare them.
    pub(super) fn arguments(
        &self,
        build_platform: &Platform,
        target_stage: &str,
        build_args: &BTreeMap<String, String>,
    ) -> Variables {
        let here = build_platform;
        let here_variant = here.variant.clone().unwrap_or_default();
        let there = &self.normal;
        let version = |platform: &Platform| platform.os_version.clone().unwrap_or_default();
        let automatic = [
            ("BUILDPLATFORM", joined([&here.os, &here.architecture, &here_variant])),
            ("BUILDOS", here.os.clone()),
            ("BUILDOSVERSION", version(here)),
            ("BUILDARCH", here.architecture.clone()),
            ("BUILDVARIANT", here_variant.clone()),
            ("TARGETPLATFORM", joined([&there.os, &there.architecture, &self.typed_variant])),
            ("TARGETOS", there.os.clone()),
            ("TARGETOSVERSION", version(there)),
            ("TARGETARCH", there.architecture.clone()),
            ("TARGETVARIANT", self.typed_variant.clone()),
            ("TARGETSTAGE", target_stage.to_owned()),
        ];
        let mut variables = Variables::default();
        for (name, value) in automatic {
            variables.set(name, build_args.get(name).unwrap_or(&value));
        }
        variables
    }
}

fn joined(parts: [&String; 3]) -> String {
    let parts: Vec<&str> =
        parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

/// Returns the proxy variables that `build_args` bring to every `RUN`, declared or not, in both
/// spellings. They are in no history and expand nowhere.
pub(super) fn proxy_variables(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for name in ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"] {
        let mut given =
            build_args.iter().rev().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        if let Some((_, value)) = given.next().filter(|(_, value)| !value.is_empty()) {
            variables.push((name.to_ascii_uppercase(), value.clone()));
            variables.push((name.to_owned(), value.clone()));
        }
    }
    variables
}

/// Tells whether a build argument has a meaning of its own, so that no `ARG` needs to declare it.
pub(super) fn is_predefined(name: &str) -> bool {
    let proxies = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];
    let platforms = ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"];
    proxies.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
        || name == "TARGETSTAGE"
        || name.starts_with("BUILDKIT_")
        || [name.strip_prefix("BUILD"), name.strip_prefix("TARGET")]
            .into_iter()
            .flatten()
            .any(|rest| platforms.contains(&rest))
}

/// Tells whether an argument configures the builder and is not put in the environment.
pub(super) fn is_not_environment(name: &str) -> bool {
    matches!(name, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}
