//! What becomes of each flag: the one table behind lowering, `docs/flags.md` and
//! `docs/compatibility.md`.
//!
//! A test compares it with the flags that exist, so that no flag is without a row.

mod directory;

pub use directory::{CACHE_LIST, CACHE_PRUNE, WARM, WARM_OLD_NAMES};

use super::spelling::{Notice, OldName, Precedence};

/// What becomes of a flag or variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what it says.
    Works,
    /// What it asks for is always so; the text says why.
    ByDesign(&'static str),
    /// A value other than the default ends the build at once.
    NotYet,
}

impl Support {
    /// Returns the name of the class.
    pub fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::ByDesign(_) => "satisfied by design",
            Self::NotYet => "not supported yet",
        }
    }
}

/// Where a flag comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// kaniko's executor has it.
    Kaniko,
    /// Only zuwai has it.
    Zuwai,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The long name, without dashes.
    pub name: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// What becomes of it.
    pub support: Support,
    /// How it differs from kaniko's; empty when it does not.
    pub difference: &'static str,
}

const fn works(name: &'static str) -> Flag {
    Flag { name, origin: Origin::Kaniko, support: Support::Works, difference: "" }
}

const fn differs(name: &'static str, difference: &'static str) -> Flag {
    Flag { name, origin: Origin::Kaniko, support: Support::Works, difference }
}

const fn by_design(name: &'static str, why: &'static str) -> Flag {
    Flag { name, origin: Origin::Kaniko, support: Support::ByDesign(why), difference: "" }
}

const fn ours(name: &'static str) -> Flag {
    Flag { name, origin: Origin::Zuwai, support: Support::Works, difference: "" }
}

/// The flags of `zuwai build` and `executor`, in the order of `--help`.
pub const BUILD: &[Flag] = &[
    differs(
        "context",
        "archives may be plain, zstd, bzip2 or xz beside gzip, and are unpacked while they are \
         downloaded; a public bucket needs no credentials; of a git repository one commit is fetched, \
         short names and Docker's `#ref:directory` work too, and submodules on other hosts get no \
         credentials",
    ),
    differs(
        "context-sub-path",
        "holds for plain directories too, which kaniko leaves as they are, and may not leave the \
         context",
    ),
    differs(
        "bucket",
        "stands for the context where no directory is named; kaniko ignores it beside its default \
         context",
    ),
    differs(
        "git",
        "`depth=COUNT` besides, 1 if not given and 0 for all of the history; only one branch is ever \
         fetched, so `single-branch` has nothing to do",
    ),
    differs("dockerfile", "`-` reads standard input"),
    ours("secret"),
    ours("build-context"),
    works("target"),
    differs(
        "build-arg",
        "a name without value that is not in the environment is passed as empty, as kaniko does, \
         with a warning",
    ),
    works("label"),
    differs("custom-platform", "the variant is kept in the image's config"),
    differs(
        "skip-unused-stages",
        "on unless `--skip-unused-stages=false` is written out; kaniko's default is off",
    ),
    differs(
        "reproducible",
        "layers of the base image keep their bytes and digests; a file of which nothing but the time \
         has changed is in no layer",
    ),
    differs("compression", "`zstd` gives OCI media types whatever the base image has"),
    differs("compression-level", "a level that the compression does not have is an error"),
    by_design(
        "compressed-caching",
        "a layer is compressed once, on its way to disk, and never held in memory",
    ),
    works("force-build-metadata"),
    works("destination"),
    differs(
        "no-push",
        "a `KANIKO_NO_PUSH` that is no boolean is an error; kaniko takes it for false and pushes",
    ),
    works("tar-path"),
    differs(
        "oci-layout-path",
        "a relative path starts at the current directory, as for every other flag; kaniko's starts \
         at `/`",
    ),
    differs("digest-file", "written after the push instead of before; a failed PUT is an error"),
    differs(
        "image-name-with-digest-file",
        "never has tags; kaniko's has them when the other file is asked for too",
    ),
    works("image-name-tag-with-digest-file"),
    ours("benchmark-file"),
    differs("push-retry", "not given, faults that may pass are still tried again"),
    works("push-ignore-immutable-tag-errors"),
    works("skip-push-permission-check"),
    works("insecure"),
    works("skip-tls-verify"),
    differs("image-download-retry", "not given, faults that may pass are still tried again"),
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
    ours("registry-auth-stdin"),
    ours("registry-auth-fd"),
    ours("credential-helpers"),
    ours("registry-broker"),
    differs(
        "snapshot-mode",
        "every mode finds every change and gives the same layer; not given, the cheapest sound way \
         is taken instead of `full`",
    ),
    works("single-snapshot"),
    differs("use-new-run", "finds what kaniko's loses: deletions, and files with old timestamps"),
    ours("tracker"),
    ours("watch-limit"),
    works("ignore-path"),
    works("ignore-var-run"),
    works("cache"),
    differs("cache-repo", "a directory (`oci:`) may be shared; entries of kaniko's are not read"),
    ours("cache-from"),
    ours("cache-signing-key"),
    differs(
        "cache-dir",
        "blobs that are there are used with and without `--cache`; with `--cache`, what the warmer \
         says that a tag names needs no registry, and the build keeps there what it downloads",
    ),
    ours("cache-dir-limit"),
    differs(
        "cache-ttl",
        "what has a digest does not age: of base images, only what a tag named does",
    ),
    works("cache-copy-layers"),
    ours("cache-copy-delta"),
    differs(
        "cache-run-layers",
        "layers of WORKDIR and of `COPY --from` are cached with either of the two",
    ),
    works("no-push-cache"),
    ours("isolation"),
    differs(
        "force",
        "needed only where no namespaces can be made and `/` is not a container's; in the rest of \
         cases no file of the machine is overwritten. It also builds in `/` of another image than \
         zuwai's own, which is refused without",
    ),
    ours("pre-cleanup"),
    differs(
        "cleanup",
        "removes what the build put there and nothing else, also after a failure; not given, the \
         next build in the same container does",
    ),
    differs(
        "kaniko-dir",
        "stands over `KANIKO_DIR` also when it names the default; nothing is moved from `/kaniko`",
    ),
    ours("threads"),
    by_design(
        "image-fs-extract-retry",
        "a layer is complete and verified on disk before it is extracted",
    ),
    works("verbosity"),
    differs("log-format", "`NO_COLOR` is obeyed"),
    works("log-timestamp"),
    ours("print-options"),
];

/// The flags of `zuwai broker`, in the order of `--help`.
pub const BROKER: &[Flag] = &[
    ours("listen"),
    ours("allow-pull"),
    ours("allow-push"),
    works("insecure-registry"),
    works("skip-tls-verify-registry"),
    works("registry-certificate"),
    works("registry-client-cert"),
    ours("registry-auth-stdin"),
    ours("registry-auth-fd"),
    ours("credential-helpers"),
    works("verbosity"),
    differs("log-format", "`NO_COLOR` is obeyed"),
    works("log-timestamp"),
    ours("print-options"),
];

/// The flags of `zuwai compare-modes` beside those of a build, in the order of `--help`.
pub const COMPARE: &[Flag] = &[
    ours("scenario"),
    ours("base"),
    ours("modes"),
    ours("runs"),
    ours("check"),
    ours("json"),
    ours("html"),
];

/// kaniko's deprecated names of executor flags.
pub const BUILD_OLD_NAMES: &[OldName] = &[
    OldName {
        name: "snapshotMode",
        successor: "snapshot-mode",
        precedence: Precedence::OldName,
        notice: Notice::Warn,
    },
    OldName {
        name: "customPlatform",
        successor: "custom-platform",
        precedence: Precedence::OldName,
        notice: Notice::Warn,
    },
    OldName {
        name: "tarPath",
        successor: "tar-path",
        precedence: Precedence::LastGiven,
        notice: Notice::Warn,
    },
    OldName {
        name: "whitelist-var-run",
        successor: "ignore-var-run",
        precedence: Precedence::LastGiven,
        notice: Notice::Warn,
    },
];
