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

const fn not_yet(name: &'static str) -> Flag {
    Flag { name, origin: Origin::Kaniko, support: Support::NotYet, difference: "" }
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
    differs("reproducible", "layers of the base image keep their bytes and digests"),
    differs("compression", "`zstd` gives OCI media types whatever the base image has"),
    differs("compression-level", "a level that the compression does not have is an error"),
    by_design(
        "compressed-caching",
        "a layer is compressed once, on its way to disk, and never held in memory",
    ),
    not_yet("force-build-metadata"),
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
    not_yet("azure-container-registry-config"),
    ours("registry-auth-stdin"),
    ours("registry-auth-fd"),
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

/// One environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub support: Support,
    /// What it does.
    pub effect: &'static str,
    /// Whether a build that meets it before it is supported warns of it.
    pub missing: Missing,
}

/// What a build says of a variable that is not supported yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A warning: without it the build does less than asked.
    Warn,
    /// Nothing: the flags that it goes with are refused themselves, or it is set in every Pod.
    Silent,
}

const fn variable(name: &'static str, effect: &'static str) -> Variable {
    Variable { name, support: Support::Works, effect, missing: Missing::Silent }
}

const fn missing(name: &'static str, missing: Missing, effect: &'static str) -> Variable {
    Variable { name, support: Support::NotYet, effect, missing }
}

/// The environment variables that kaniko reads, and ours.
pub const VARIABLES: &[Variable] = &[
    variable("KANIKO_DIR", "directory for the build's own files; `--kaniko-dir` stands over it"),
    variable("KANIKO_NO_PUSH", "stands over `--no-push` when set and not empty"),
    variable("KANIKO_REGISTRY_MAP", "appended to `--registry-map`"),
    variable("KANIKO_REGISTRY_MIRROR", "appended to `--registry-mirror`"),
    variable(
        "BENCHMARK_FILE",
        "stands for `--benchmark-file` where that is not given; `false` means no file, and `gs://` is \
         an error",
    ),
    variable("DOCKER_CONFIG", "directory of `config.json`, looked into first"),
    variable("SSL_CERT_DIR", "directories of CA certificates, parted by `:`"),
    variable("SSL_CERT_FILE", "file of CA certificates"),
    variable("HTTP_PROXY", "proxy for `http://`; `http_proxy` too"),
    variable("HTTPS_PROXY", "proxy for `https://`; `https_proxy` too"),
    variable("NO_PROXY", "hosts reached without proxy; `no_proxy` too"),
    variable("HOME", "where `.docker` and `.cache` are looked for"),
    variable("PATH", "where credential helper programs are looked for"),
    variable("XDG_CACHE_HOME", "where an ordinary user's work directory is made"),
    variable("NO_COLOR", "set and not empty: no colours"),
    variable("container", "a sign of running in a container"),
    Variable {
        name: "SNAPSHOT_TIMEOUT_DURATION",
        support: Support::ByDesign("a snapshot has no time limit"),
        effect: "time limit of a snapshot",
        missing: Missing::Silent,
    },
    missing("STACKLOG_PATH", Missing::Warn, "file for stack samples"),
    missing("BUILDER_OUTPUT", Missing::Warn, "directory for a list of pushed images"),
    missing("UPSTREAM_CLIENT_TYPE", Missing::Warn, "suffix of the User-Agent"),
    variable("GIT_TOKEN", "token for a git context, in place of name and password"),
    variable("GIT_USERNAME", "user name for a git context"),
    variable("GIT_PASSWORD", "password for a git context"),
    variable("GIT_PULL_METHOD", "`http`: a git context is fetched by it; anything else is https"),
    variable("S3_ENDPOINT", "URL of a store that is not Amazon's, for S3 contexts"),
    variable("S3_FORCE_PATH_STYLE", "`true`: the bucket's name goes into the path"),
    variable("AWS_REGION", "region of S3 contexts; `AWS_DEFAULT_REGION` too; else S3 is asked"),
    variable(
        "AWS_ACCESS_KEY_ID",
        "key for S3 contexts, with `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`",
    ),
    variable("AWS_PROFILE", "profile of the files of `~/.aws`, which then stands before the key"),
    variable("AWS_SHARED_CREDENTIALS_FILE", "in place of `~/.aws/credentials`"),
    variable("AWS_CONFIG_FILE", "in place of `~/.aws/config`"),
    variable(
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "token of the cluster for a role (`AWS_ROLE_ARN`, `AWS_ROLE_SESSION_NAME`)",
    ),
    variable("AWS_ENDPOINT_URL_STS", "where roles are given"),
    variable(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "EKS Pod Identity, with `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`",
    ),
    variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "role of an ECS task"),
    variable("AWS_EC2_METADATA_DISABLED", "`true`: the metadata server is not asked"),
    variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL of the metadata server"),
    variable("AZURE_STORAGE_ACCESS_KEY", "key of the account, for Azure contexts"),
    variable(
        "AZURE_CLIENT_ID",
        "application for Azure contexts, with `AZURE_TENANT_ID` and `AZURE_FEDERATED_TOKEN_FILE` or \
         `AZURE_CLIENT_SECRET`",
    ),
    variable("AZURE_AUTHORITY_HOST", "where tokens are given"),
    variable(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "credentials file for Google contexts; for registries not yet",
    ),
    variable("CLOUDSDK_CONFIG", "directory of gcloud's files, in place of `~/.config/gcloud`"),
    variable("GCE_METADATA_HOST", "Google's metadata server"),
    variable("STORAGE_EMULATOR_HOST", "a stand-in for Google Cloud Storage, without credentials"),
    missing("DOCKER_CREDENTIAL_GCR_CONFIG", Missing::Silent, "for Google registries"),
    missing("GGCR_EXPERIMENT_ESTARGZ", Missing::Warn, "layers with a table of contents"),
];
