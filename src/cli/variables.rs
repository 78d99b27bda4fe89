//! What becomes of each environment variable: the one table behind `docs/compatibility.md`.

use super::flags::Support;

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
    variable("BUILDER_OUTPUT", "directory for the file `images`, a list of pushed images"),
    variable("UPSTREAM_CLIENT_TYPE", "suffix of the User-Agent"),
    variable(
        "DOCKER_AUTH_CONFIG",
        "a document of the form of `config.json`, for registries that no file has an entry for",
    ),
    variable(
        "CI_REGISTRY",
        "registry of GitLab, with `CI_REGISTRY_USER` and `CI_REGISTRY_PASSWORD`; \
         `CI_DEPENDENCY_PROXY_SERVER` and its kin too",
    ),
    variable("GIT_TOKEN", "token for a git context, in place of name and password"),
    variable("GIT_USERNAME", "user name for a git context"),
    variable("GIT_PASSWORD", "password for a git context"),
    variable("GIT_PULL_METHOD", "`http`: a git context is fetched by it; anything else is https"),
    variable("S3_ENDPOINT", "URL of a store that is not Amazon's, for S3 contexts"),
    variable("S3_FORCE_PATH_STYLE", "`true`: the bucket's name goes into the path"),
    variable("AWS_REGION", "region of S3 contexts; `AWS_DEFAULT_REGION` too; else S3 is asked"),
    variable(
        "AWS_ACCESS_KEY_ID",
        "key for S3 contexts and registries, with `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN`",
    ),
    variable("AWS_PROFILE", "profile of the files of `~/.aws`, which then stands before the key"),
    variable("AWS_SHARED_CREDENTIALS_FILE", "in place of `~/.aws/credentials`"),
    variable("AWS_CONFIG_FILE", "in place of `~/.aws/config`"),
    variable(
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "token of the cluster for a role (`AWS_ROLE_ARN`, `AWS_ROLE_SESSION_NAME`)",
    ),
    variable("AWS_ENDPOINT_URL_STS", "where roles are given"),
    variable("AWS_ENDPOINT_URL_ECR", "where tokens for Amazon's registries are given"),
    variable("AWS_ENDPOINT_URL_ECR_PUBLIC", "the same for the public registry"),
    variable(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "EKS Pod Identity, with `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` or \
         `AWS_CONTAINER_AUTHORIZATION_TOKEN`",
    ),
    variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "role of an ECS task"),
    variable("AWS_EC2_METADATA_DISABLED", "`true`: the metadata server is not asked"),
    variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", "URL of the metadata server"),
    variable("AZURE_STORAGE_ACCESS_KEY", "key of the account, for Azure contexts"),
    variable(
        "AZURE_CLIENT_ID",
        "application for Azure contexts and registries, with `AZURE_TENANT_ID` and `AZURE_FEDERATED_TOKEN_FILE` or \
         `AZURE_CLIENT_SECRET`",
    ),
    variable("AZURE_AUTHORITY_HOST", "where tokens are given"),
    variable("IDENTITY_ENDPOINT", "where App Service gives tokens, with `IDENTITY_HEADER`"),
    variable(
        "GOOGLE_APPLICATION_CREDENTIALS",
        "credentials file for Google contexts and registries",
    ),
    variable("CLOUDSDK_CONFIG", "directory of gcloud's files, in place of `~/.config/gcloud`"),
    variable("GCE_METADATA_HOST", "Google's metadata server"),
    variable("STORAGE_EMULATOR_HOST", "a stand-in for Google Cloud Storage, without credentials"),
    Variable {
        name: "DOCKER_CREDENTIAL_GCR_CONFIG",
        support: Support::ByDesign("Google's registries need no helper program"),
        effect: "settings of a helper program",
        missing: Missing::Silent,
    },
    missing("GGCR_EXPERIMENT_ESTARGZ", Missing::Warn, "layers with a table of contents"),
];
