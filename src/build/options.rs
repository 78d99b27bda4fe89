//! What a build was asked to do, after flags, environment and defaults were settled.
//!
//! Every path is absolute and every closed choice is an `enum`; nothing here has to be parsed
//! again. `cli::lower` makes these values from arguments, tests make them by hand.

mod cache;
mod registry;
mod shared;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use oci_client::Reference;
use snapshot::track::TrackerKind;
use url::Url;

pub use crate::context::ContextSource;
pub use crate::context::dockerfile::DockerfileSource;
use crate::image::PlatformText;
pub use crate::plan::StageSelection;
pub use crate::sandbox::{Overwrite, Surroundings};
use crate::secret::SecretBytes;

pub use cache::{CacheOptions, CachePlace, Cached, CopyDeltas, NewLayers};
pub use registry::{
    CredentialSource, HostCertificate, HostClientCertificate, ImmutableTags, PermissionCheck,
    PlainHttp, ProxySettings, RegistryAccess, RegistryFallback, RegistryMap, RetryCount,
    TransportSecurity, Verification,
};
pub use shared::{NewContent, SharedOptions, TagLookup};

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
    /// What commands may be given and no image has, in the order given; a later one of the same id
    /// wins (`--secret`).
    pub secrets: Vec<SecretSource>,
    /// Labels for the image's config, in the order given (`--label`).
    pub labels: Vec<Label>,
    /// The platform of the image; `None` is this machine's (`--custom-platform`).
    pub platform: Option<PlatformText>,
    /// How changes are found and when.
    pub snapshots: SnapshotChoices,
    /// How layers are written.
    pub layers: LayerChoices,
    /// What the image becomes outside.
    pub output: OutputOptions,
    /// How layers of earlier builds are used; `None`: not at all (`--cache`).
    pub cache: Option<CacheOptions>,
    /// What is done with the directory that builds and warmers share (`--cache-dir`).
    pub shared: SharedOptions,
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

/// One `--secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSource {
    /// What `RUN --mount=type=secret` calls it.
    pub id: String,
    /// Where it is.
    pub place: SecretPlace,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file, read when the build starts.
    File(PathBuf),
    /// Here, out of the environment.
    Value(SecretBytes),
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
    /// How it is found out what may have changed (`--snapshot-mode`, `--tracker`).
    pub mode: SnapshotMode,
    /// How many inotify watches may be taken; `None`: a share of the node's limit
    /// (`--watch-limit`).
    pub watch_limit: Option<u64>,
    /// After which steps (`--single-snapshot`).
    pub frequency: SnapshotFrequency,
    /// Paths kept out of snapshots with what is below them: absolute, without `.` or `..`, each
    /// component a well-formed pattern of Go's `filepath.Match` (`--ignore-path`).
    pub ignored_paths: Vec<String>,
    /// Whether `/var/run` is kept out too (`--ignore-var-run`).
    pub var_run: VarRun,
}

/// How it is found out what may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// The best way that works here (`--use-new-run`, and when nothing is said).
    Auto,
    /// This tracker (`--tracker`); `content` is kaniko's mode `full`, and `walk` is `redo`.
    Tracker(TrackerKind),
    /// As `walk`, by timestamps only.
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
    /// What becomes of steps that change nothing (`--force-build-metadata`).
    pub unchanged: UnchangedSteps,
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

/// What becomes of a step that changes no files, such as `LABEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnchangedSteps {
    /// It is in the image's history alone.
    NoLayer,
    /// It has a layer without entries.
    EmptyLayer,
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
    /// A directory that gets a file `images` with a line of JSON for each image that was pushed
    /// (`BUILDER_OUTPUT`).
    pub builder_output: Option<PathBuf>,
    /// Gets times and counts of the build as JSON (`--benchmark-file`).
    pub benchmark_file: Option<PathBuf>,
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

/// Where and how commands run.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionOptions {
    /// The sandbox asked for (`--isolation`).
    pub isolation: Isolation,
    /// Whether a root that is not a container's may be built in (`--force`).
    pub overwrite: Overwrite,
    /// What the environment says of where this runs.
    pub surroundings: Surroundings,
    /// What becomes of an image's own files in `/` before a build in it (`--pre-cleanup`,
    /// `--force`).
    pub inhabitants: Inhabitants,
    /// What becomes of `/` after a build in it (`--cleanup`).
    pub cleanup: Cleanup,
    /// The directory that `store` owns; may not exist yet (`--kaniko-dir`, `KANIKO_DIR`).
    pub work_directory: PathBuf,
    /// Further directories that a build in `/` leaves alone, where they exist.
    pub kept_directories: Vec<PathBuf>,
    /// This program, re-executed as supervisor of each RUN.
    pub supervisor: PathBuf,
    /// Where what layers say in their headers is kept from build to build; `None`: nowhere.
    pub header_indexes: Option<PathBuf>,
    /// Which stages have their files on disk; no flag says so.
    pub unpacking: Unpacking,
}

/// Which stages have their files on disk. The image is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpacking {
    /// Those that run a command, or that files are copied from.
    WhenNeeded,
    /// All that touch files: what is compared with the other.
    Always,
}

/// What becomes of programs and libraries that another image than ours has in `/`, where a build
/// is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inhabitants {
    /// Nothing: such a build is refused.
    Refused,
    /// They stay, and commands find them.
    Kept,
    /// They are removed, with everything else that is neither mounted nor the build's own.
    Removed,
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

/// What becomes of `/` after a build in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// The last stage stays there, until the next build in the container.
    Kept,
    /// What the build put there is removed, whatever its outcome.
    Removed,
}
