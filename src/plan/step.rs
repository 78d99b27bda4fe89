//! What a plan consists of: stages, steps, and what each step does.

use snapshot::RootfsPath;

use super::mode::FileMode;
use super::mount::RunMount;
use super::remote::RemoteFile;
use super::repository::RemoteRepository;
use crate::dockerfile::Span;
use crate::image::{ImageConfig, Platform, RuntimeConfig};

/// What will be built, with every name resolved and every variable expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The stages to build, in the Dockerfile's order: a stage comes after all that it needs.
    pub stages: Vec<PlannedStage>,
    /// The position in `stages` of the one whose image is the result.
    pub target: usize,
    /// Odd things that do not stop a build.
    pub warnings: Vec<PlanWarning>,
}

/// A stage that will be built.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStage {
    /// The position of its `FROM` among all of the Dockerfile's, from 0.
    pub index: usize,
    /// Its name, in lower case.
    pub name: Option<String>,
    /// Where its `FROM` stands.
    pub span: Span,
    /// Its `FROM` as written, continuations joined.
    pub text: String,
    /// What it starts from.
    pub base: Base,
    /// What its base was chosen for, and its commands run on.
    pub platform: Platform,
    /// The runtime config before the first step: the base's, with `PATH` set and its triggers
    /// taken out.
    pub base_config: RuntimeConfig,
    /// What is done, in order; a base's triggers come first.
    pub steps: Vec<Step>,
    /// The config of the image that the stage gives, as far as it is known before the build: the
    /// base's history and layers are in it, the stage's history too, its layers are not. `created`
    /// is unset. Of the target it is what `docker inspect` will show.
    pub image: ImageConfig,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image that has to be fetched or read.
    Image(ImageRequest),
    /// An earlier stage, by its position in [`Plan::stages`].
    Stage(usize),
}

/// An image that the build needs, and for which platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRequest {
    /// Which image.
    pub image: ImageName,
    /// The platform to choose from an index.
    pub platform: Platform,
}

/// The name of an image that is not built here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageName {
    /// A reference in full, `docker.io/library/debian:12` for `debian:12`.
    Reference(String),
    /// The OCI layout that a named context of this name stands for.
    Layout(String),
}

/// One instruction, or one trigger of the base.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where the instruction stands; for a trigger, the `FROM` that it comes from.
    pub span: Span,
    /// The instruction as written, continuations joined, heredocs left out.
    pub text: String,
    /// Whether it is the Dockerfile's own or came with the base.
    pub origin: Origin,
    /// `created_by` of the history entry, in BuildKit's form; `None`: the step has no entry.
    pub history: Option<String>,
    /// What is done to the files.
    pub kind: StepKind,
    /// The runtime config after the step.
    pub config: RuntimeConfig,
}

/// Where a step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Written in the stage.
    Instruction,
    /// An `ONBUILD` of the base.
    Trigger,
    /// A `FROM` of a directory, which is a copy of all of it.
    From,
}

/// What a step does to the files.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// Runs a command.
    Run(RunStep),
    /// `COPY` or `ADD`.
    Copy(CopyStep),
    /// Makes the working directory; its history entry has a layer unless it is the root.
    Workdir(WorkdirStep),
    /// Nothing: only the config changes, and the history entry has no layer.
    Metadata,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// The program and its arguments; may be empty for `RUN []`. A program without `/` is looked up
    /// in the `PATH` of `environment`, inside the stage.
    pub argv: Vec<String>,
    /// All variables, each name once; `HOME` is not added here.
    pub environment: Vec<(String, String)>,
    /// Those of its variables that came with build arguments which nothing declares, such as
    /// `HTTP_PROXY`: what the command makes is not taken to depend on them.
    pub undeclared: Vec<String>,
    /// `USER` as written after expansion; empty is root.
    pub user: String,
    /// Where the command starts; made when it is missing.
    pub working_directory: RootfsPath,
    /// A script that `argv` names, present while the command runs and not part of the layer.
    pub script: Option<Script>,
    /// What is mounted while the command runs, outer ones first.
    pub mounts: Vec<RunMount>,
    /// What the command can reach.
    pub network: RunNetwork,
}

/// What a command can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// What the build can.
    Shared,
    /// Nothing but itself.
    None,
}

/// The body of a heredoc that starts with `#!`; it is run as a program of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Where the command finds it, read-only, mode 0755, owned by root.
    pub path: RootfsPath,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Files to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// Where those `sources` are that are paths.
    pub from: CopySource,
    /// What is copied, in order.
    pub sources: Vec<CopyItem>,
    /// Files written in the Dockerfile; copied after `sources`.
    pub inline: Vec<InlineFile>,
    /// Where to.
    pub destination: Destination,
    /// `--chown` after expansion, `user[:group]`; names are those of the stage's own files. `None`:
    /// root for files of a context, the source's owner for others.
    pub owner: Option<String>,
    /// `--chmod`; `None`: the source's mode.
    pub mode: Option<FileMode>,
    /// What becomes of a path that is a tar archive.
    pub archives: Archives,
    /// `--exclude`: patterns of an ignore file for what is left out of each source.
    pub exclude: Vec<String>,
    /// Whether what the stage has already is looked at.
    pub footing: Footing,
}

impl CopyStep {
    /// Returns what has to be fetched, in the order of the sources.
    pub fn remotes(&self) -> impl Iterator<Item = Remote<'_>> {
        self.sources.iter().filter_map(|source| match source {
            CopyItem::File(file) => Some(Remote::File(file)),
            CopyItem::Repository(repository) => Some(Remote::Repository(repository)),
            CopyItem::Path(_) | CopyItem::WithParents { .. } => None,
        })
    }

    /// Copies one source to the root, as it is.
    pub fn whole(from: CopySource, source: RootfsPath) -> Self {
        Self {
            from,
            sources: vec![CopyItem::Path(source)],
            inline: Vec::new(),
            destination: Destination { path: RootfsPath::root(), is_directory: true },
            owner: None,
            mode: None,
            archives: Archives::Copied,
            exclude: Vec::new(),
            footing: Footing::Stage,
        }
    }
}

/// One source of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyItem {
    /// A path or pattern (of Go's `filepath.Match`) from the root of what is copied from, cleaned:
    /// it does not lead out.
    Path(RootfsPath),
    /// What a pattern leaves of a directory, with the directories that it is in (`--parents`).
    WithParents {
        /// The directory, as a path or pattern as above.
        directory: RootfsPath,
        /// From the directory; a pattern of an ignore file, so that `**` is any number of
        /// directories. The root is nothing.
        pattern: RootfsPath,
    },
    /// A file that has to be fetched.
    File(RemoteFile),
    /// The files of a repository that has to be fetched.
    Repository(RemoteRepository),
}

/// Something that has to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote<'a> {
    /// A file.
    File(&'a RemoteFile),
    /// The files of a repository.
    Repository(&'a RemoteRepository),
}

impl Remote<'_> {
    /// Tells whether it is said in full what it is, so that it is known without being fetched.
    pub fn is_pinned(self) -> bool {
        match self {
            Self::File(file) => file.checksum.is_some(),
            Self::Repository(repository) => repository.commit().is_some(),
        }
    }
}

/// What copied files are put upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footing {
    /// The stage's files: links are followed, directories stay as they are.
    Stage,
    /// Nothing, and the result covers the stage's files as a layer does (`--link`): directories on
    /// the way are made anew, and links in the way replaced.
    Nothing,
}

/// Where copied files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// The build context, without what its ignore file names.
    Context,
    /// The directory that a named context of this name (as given) stands for.
    NamedContext(String),
    /// An earlier stage, by its position in [`Plan::stages`].
    Stage(usize),
    /// An image that has to be fetched or read.
    Image(ImageRequest),
}

/// A file written in the Dockerfile; mode 0644, owned by root where nothing else is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// Its name: one component.
    pub name: String,
    /// What is in it, expanded.
    pub content: Vec<u8>,
}

/// Where files are copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The path, cleaned lexically; its symbolic links are still to be followed.
    pub path: RootfsPath,
    /// Whether it was written as a directory (`/` or `/.` at the end, or `.`): then sources go into
    /// it, whether or not it exists.
    pub is_directory: bool,
}

/// What becomes of a source that is a tar archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archives {
    /// It is copied (`COPY`, and what `ADD` fetches).
    Copied,
    /// It is unpacked, when it is a regular file named as a source (`ADD`).
    Unpacked,
}

/// A working directory to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkdirStep {
    /// The directory, made with its missing parents, mode 0755.
    pub path: RootfsPath,
    /// `USER` at this point: who owns what is made; empty is root.
    pub user: String,
}

/// Something odd that does not stop a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWarning {
    /// Values were given for arguments that no `ARG` declares.
    UnusedBuildArgs {
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// A base image is for another platform than the one asked for.
    PlatformMismatch {
        /// The `FROM`.
        span: Span,
        /// The image as written.
        image: String,
        /// The platform asked for.
        asked: Platform,
        /// The platform that the image's config names.
        found: Platform,
    },
}

impl Plan {
    /// Returns the stage whose image is the result.
    pub fn target_stage(&self) -> Option<&PlannedStage> {
        self.stages.get(self.target)
    }
}

impl PlannedStage {
    /// Returns the base as its FROM names it, which is what kaniko's log shows of it.
    pub fn base_name(&self) -> &str {
        let mut words = self.text.split_whitespace().skip(1);
        words.find(|word| !word.starts_with("--")).unwrap_or(&self.text)
    }
}

impl Step {
    /// Returns what it takes files from beside those of its stage; contexts among it.
    pub fn sources(&self) -> Vec<&CopySource> {
        match &self.kind {
            StepKind::Copy(copy) => vec![&copy.from],
            StepKind::Run(run) => run.mounts.iter().filter_map(RunMount::source).collect(),
            StepKind::Workdir(_) | StepKind::Metadata => Vec::new(),
        }
    }

    /// Returns the stages that it takes files from, by their positions.
    pub fn source_stages(&self) -> impl Iterator<Item = usize> + '_ {
        self.sources().into_iter().filter_map(|source| match source {
            CopySource::Stage(position) => Some(*position),
            CopySource::Context | CopySource::NamedContext(_) | CopySource::Image(_) => None,
        })
    }

    /// Tells whether the step's history entry is that of a layer, be it an empty one.
    pub fn makes_layer(&self) -> bool {
        match &self.kind {
            StepKind::Run(_) | StepKind::Copy(_) => true,
            StepKind::Workdir(workdir) => !workdir.path.is_root(),
            StepKind::Metadata => false,
        }
    }
}
