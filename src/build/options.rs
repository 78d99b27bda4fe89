//! What a build was asked to do, after flags, environment and defaults were settled.
//!
//! Every path is absolute and every closed choice is an `enum`; nothing here has to be parsed
//! again. `cli::lower` makes these values from arguments, tests make them by hand.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use oci_client::Reference;
use url::Url;

pub use crate::context::ContextSource;
pub use crate::context::dockerfile::DockerfileSource;
use crate::image::Platform;
pub use crate::plan::StageSelection;
use crate::secret::Secret;

/// Everything that one build was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildOptions {
    /// Where the files come from.
    pub context: ContextOptions,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// Stage to build, a name in any case or an index; `None` is the last stage (`--target`).
    pub target: Option<String>,
    /// Which stages are built beside the target (`--skip-unused-stages`).
    pub stages: StageSelection,
    /// Values for `ARG`, in the order given; a later one of the same name wins (`--build-arg`).
    pub build_args: Vec<BuildArg>,
    /// Labels for the image's config, in the order given (`--label`).
    pub labels: Vec<Label>,
    /// The platform of the image; `None` is this machine's (`--custom-platform`).
    pub platform: Option<Platform>,
    /// How changes are found and when.
    pub snapshots: SnapshotChoices,
    /// How layers are written.
    pub layers: LayerChoices,
    /// What the image becomes outside.
    pub output: OutputOptions,
    /// How registries are reached.
    pub registry: RegistryAccess,
    /// Where and how commands run.
    pub execution: ExecutionOptions,
}

/// Where the files of a build come from.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextOptions {
    /// The main context (`--context`).
    pub source: ContextSource,
    /// Directory inside the unpacked context that is the real root (`--context-sub-path`);
    /// relative, never empty.
    pub sub_path: Option<PathBuf>,
    /// Contexts usable by name in `FROM` and `COPY --from` (`--build-context`), in the order given;
    /// a later one of the same name wins.
    pub named: Vec<NamedContext>,
}

/// One `--build-context NAME=VALUE`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedContext {
    /// The name, as typed; compared without case.
    pub name: String,
    /// What the name stands for.
    pub source: NamedContextSource,
}

/// What a named context stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum NamedContextSource {
    /// A directory of files.
    Directory(PathBuf),
    /// An image in an OCI layout on disk.
    OciLayout {
        /// The layout's directory.
        path: PathBuf,
        /// A tag (`org.opencontainers.image.ref.name`) or `sha256:…` digest; `None` when the
        /// layout holds one image.
        reference: Option<String>,
    },
    /// An image in a registry.
    Image(Reference),
}

/// One `--build-arg`, its value settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildArg {
    /// The variable's name.
    pub name: String,
    /// Its value; may be secret, so never log it.
    pub value: String,
}

/// One `--label`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label's key.
    pub key: String,
    /// The label's value.
    pub value: String,
}

/// How changes are found and when.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotChoices {
    /// What counts as a sign of change (`--snapshot-mode`).
    pub mode: SnapshotMode,
    /// After which steps (`--single-snapshot`).
    pub frequency: SnapshotFrequency,
    /// Paths kept out of snapshots: absolute, without `.` or `..`; components may hold the
    /// wildcards of Go's `path.Match` (`--ignore-path`).
    pub ignored_paths: Vec<String>,
    /// Whether `/var/run` is kept out too (`--ignore-var-run`).
    pub var_run: VarRun,
}

/// What counts as a sign of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Not said: the best way that is sound here.
    Auto,
    /// Every file's content is read.
    Full,
    /// All of a file's metadata.
    Redo,
    /// Timestamps only.
    Time,
}

/// After which steps a layer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFrequency {
    /// After each step that can change files.
    EveryStep,
    /// Once, after the last step of each stage.
    OncePerStage,
}

/// What happens to `/var/run` in snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarRun {
    /// Kept out of layers.
    Ignored,
    /// An ordinary directory.
    Included,
}

/// How layers are written.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerChoices {
    /// The compression asked for (`--compression`, `--compression-level`).
    pub compression: CompressionChoice,
    /// What becomes of timestamps (`--reproducible`).
    pub timestamps: Timestamps,
    /// Threads for walking and compressing; `None`: from the machine and the cgroup (`--threads`).
    pub threads: Option<NonZeroUsize>,
}

/// The compression asked for; `None` inside is the writer's own default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionChoice {
    /// gzip, level 1 to 9.
    Gzip {
        /// The level, if one was given.
        level: Option<u32>,
    },
    /// zstd, level 1 to 22; the image gets OCI media types.
    Zstd {
        /// The level, if one was given.
        level: Option<u32>,
    },
}

/// What becomes of timestamps in layers and config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// As the build left them.
    Kept,
    /// Set to the epoch, so that equal content gives equal bytes.
    Zeroed,
}

/// What the image becomes outside.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputOptions {
    /// References with a tag, in the order given (`--destination`). Filled even when nothing is
    /// pushed: tarball and digest files use the names.
    pub destinations: Vec<Destination>,
    /// Whether `destinations` are pushed (`--no-push`).
    pub push: Push,
    /// A `docker load` tarball (`--tar-path`).
    pub tar_path: Option<PathBuf>,
    /// An OCI layout directory (`--oci-layout-path`).
    pub oci_layout_path: Option<PathBuf>,
    /// Gets `sha256:…` without a newline (`--digest-file`).
    pub digest_file: Option<DigestSink>,
    /// Gets `registry/repository@sha256:…` lines (`--image-name-with-digest-file`).
    pub image_name_with_digest_file: Option<DigestSink>,
    /// Gets `registry/repository:tag@sha256:…` lines (`--image-name-tag-with-digest-file`).
    pub image_name_tag_with_digest_file: Option<DigestSink>,
}

/// One `--destination`.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The parsed reference; always has a tag, never a digest.
    pub reference: Reference,
    /// As the user wrote it, for messages.
    pub typed: String,
}

/// Whether the image is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// To every destination.
    Yes,
    /// Not at all.
    No,
}

/// Where the text of a digest file goes.
#[derive(Clone, Debug, PartialEq)]
pub enum DigestSink {
    /// A file, mode 0644; missing parents are made.
    File(PathBuf),
    /// An `https://` URL that gets the text with PUT.
    Put(Url),
}

/// How registries are reached. Hosts are `host[:port]`, without scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryAccess {
    /// For pushing (`--insecure`, `--skip-tls-verify`).
    pub push: TransportSecurity,
    /// For pulling (`--insecure-pull`, `--skip-tls-verify`, `--skip-tls-verify-pull`).
    pub pull: TransportSecurity,
    /// Hosts for which plain HTTP is allowed, push and pull (`--insecure-registry`).
    pub plain_http_hosts: Vec<String>,
    /// Hosts whose certificate is not verified, push and pull (`--skip-tls-verify-registry`).
    pub unverified_hosts: Vec<String>,
    /// Extra CA certificates by host (`--registry-certificate`).
    pub certificates: Vec<HostCertificate>,
    /// Client certificates by host (`--registry-client-cert`).
    pub client_certificates: Vec<HostClientCertificate>,
    /// Where pulls go instead, in the order to try (`--registry-map`, `--registry-mirror`).
    pub maps: Vec<RegistryMap>,
    /// What follows when every map of a registry failed (`--skip-default-registry-fallback`).
    pub fallback: RegistryFallback,
    /// Directories that may hold `config.json` (or a Secret's `.dockerconfigjson`), best first; the
    /// first that holds one is used.
    pub credential_directories: Vec<PathBuf>,
    /// Directories searched for credential helper programs (`PATH`).
    pub helper_directories: Vec<PathBuf>,
    /// The user's home directory, for helper programs.
    pub home: Option<PathBuf>,
    /// CA certificates (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// Directories of CA certificates (`SSL_CERT_DIR`, split at `:`).
    pub ca_directories: Vec<PathBuf>,
    /// Proxies (`HTTP_PROXY` and its kin).
    pub proxy: ProxySettings,
    /// Retries of a push after the first try (`--push-retry`).
    pub push_retry_count: RetryCount,
    /// Retries of fetching a manifest or blob after the first try (`--image-download-retry`).
    pub download_retry_count: RetryCount,
    /// What a refused overwrite of an immutable tag means (`--push-ignore-immutable-tag-errors`).
    pub immutable_tags: ImmutableTags,
    /// Whether pushing is tried before the build (`--skip-push-permission-check`).
    pub permission_check: PermissionCheck,
}

/// Whether plain HTTP and unverified TLS are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportSecurity {
    /// Whether plain HTTP may be used.
    pub plain_http: PlainHttp,
    /// Whether certificates are verified.
    pub verification: Verification,
}

/// Whether plain HTTP may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only https.
    Refused,
    /// https first, then http.
    Allowed,
}

/// Whether certificates are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Yes.
    Required,
    /// No.
    Skipped,
}

/// A CA certificate for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The registry's `host[:port]`.
    pub host: String,
    /// A PEM file.
    pub certificate: PathBuf,
}

/// A client certificate for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostClientCertificate {
    /// The registry's `host[:port]`.
    pub host: String,
    /// A PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
}

/// One redirection of pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMap {
    /// The registry named in references, such as `index.docker.io`.
    pub from: String,
    /// `host[:port][/path/prefix]` that is asked instead.
    pub to: String,
}

/// What follows when every map of a registry failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryFallback {
    /// The registry itself is asked.
    Origin,
    /// The pull fails.
    Fail,
}

/// Proxies from the environment; `None` where the variable is unset or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `http_proxy`, `HTTP_PROXY`.
    pub http: Option<Secret>,
    /// `https_proxy`, `HTTPS_PROXY`.
    pub https: Option<Secret>,
    /// `no_proxy`, `NO_PROXY`: hosts reached directly.
    pub no_proxy: Option<String>,
}

/// How often something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCount {
    /// Not said: the built-in policy.
    Default,
    /// Exactly so often after the first try.
    Exactly(u32),
}

/// What a refused overwrite of an immutable tag means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImmutableTags {
    /// The push fails.
    Fail,
    /// The tag is there already: done.
    Accept,
}

/// Whether pushing is tried before the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionCheck {
    /// An upload is started and cancelled at each destination.
    Checked,
    /// Nothing is asked.
    Skipped,
}

/// Where and how commands run.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionOptions {
    /// The sandbox asked for (`--isolation`).
    pub isolation: Isolation,
    /// Whether building in `/` outside a container is allowed (`--force`).
    pub host_overwrite: HostOverwrite,
    /// What becomes of the root file system at the end (`--cleanup`).
    pub cleanup: Cleanup,
    /// The directory that `store` owns; may not exist yet (`--kaniko-dir`, `KANIKO_DIR`).
    pub work_directory: PathBuf,
    /// This program, re-executed as supervisor of each RUN.
    pub supervisor: PathBuf,
}

/// The sandbox asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The best that this machine allows.
    Auto,
    /// Mount and PID namespaces, a root directory per stage.
    Namespaces,
    /// The same inside a user namespace.
    UserNamespace,
    /// `/` of a disposable container.
    InPlace,
}

/// Whether building in `/` outside a container is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostOverwrite {
    /// Refused.
    Refused,
    /// Allowed, with a warning.
    Forced,
}

/// What becomes of the root file system at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Left where that costs nothing to the next build.
    Kept,
    /// Removed, whatever the outcome.
    Removed,
}
