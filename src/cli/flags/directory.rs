//! Flags of the commands that fill and look after the directory that builds share.

use super::{Flag, differs, ours, works};
use crate::cli::spelling::{Notice, OldName, Precedence};

/// The flags of `zuwai warm` and `warmer`, in the order of `--help`.
pub const WARM: &[Flag] = &[
    works("image"),
    differs("dockerfile", "images of `COPY --from` are fetched too"),
    works("build-arg"),
    differs(
        "cache-dir",
        "holds an OCI layout in the folder `zuwai`, which several warmers and builds may use at a \
         time; kaniko's executor does not read it",
    ),
    ours("cache-dir-limit"),
    differs("force", "blobs that are there are downloaded again; else only what is missing is"),
    differs(
        "cache-ttl",
        "an image that is older is looked up anew, as any other is; kaniko never refreshes one \
         without `--force`",
    ),
    differs("custom-platform", "kaniko knows only `--customPlatform`, which works too"),
    works("insecure-pull"),
    differs("skip-tls-verify-pull", "does what it says; kaniko never reads it"),
    works("insecure-registry"),
    works("skip-tls-verify-registry"),
    works("registry-certificate"),
    works("registry-client-cert"),
    differs("registry-map", "a target may be a URL; `http://` allows plain HTTP for it"),
    differs("registry-mirror", "may be a URL; `http://` allows plain HTTP for it"),
    works("skip-default-registry-fallback"),
    works("azure-container-registry-config"),
    works("verbosity"),
    differs("log-format", "`NO_COLOR` is obeyed"),
    works("log-timestamp"),
    ours("print-options"),
];

/// The flags of `zuwai cache ls`, in the order of `--help`.
pub const CACHE_LIST: &[Flag] = &[
    ours("cache-dir"),
    works("verbosity"),
    differs("log-format", "`NO_COLOR` is obeyed"),
    works("log-timestamp"),
    ours("print-options"),
];

/// The flags of `zuwai cache prune`, in the order of `--help`.
pub const CACHE_PRUNE: &[Flag] = &[
    ours("cache-dir"),
    ours("keep"),
    ours("older-than"),
    works("verbosity"),
    differs("log-format", "`NO_COLOR` is obeyed"),
    works("log-timestamp"),
    ours("print-options"),
];

/// kaniko's other names of warmer flags.
pub const WARM_OLD_NAMES: &[OldName] = &[OldName {
    name: "customPlatform",
    successor: "custom-platform",
    precedence: Precedence::LastGiven,
    notice: Notice::Silent,
}];
