//! Why a Dockerfile cannot be planned.

use std::error::Error;
use std::fmt;

use super::mode::ModeError;
use super::repository::RepositoryError;
use super::step::ImageRequest;
use crate::dockerfile::instruction::MountError;
use crate::dockerfile::instruction::ports::PortError;
use crate::dockerfile::instruction::signal::InvalidSignal;
use crate::dockerfile::shell::ExpandError;
use crate::dockerfile::{ParseErrorKind, Snippet, Source, Span};
use crate::image::{Platform, PlatformError};
use crate::report::fault::{Class, Fault};

/// Why a Dockerfile cannot be planned, and where it says so.
#[derive(Debug, PartialEq)]
pub struct PlanError {
    /// What is wrong.
    pub kind: PlanErrorKind,
    /// Where: the flag or word if it is about one, else the instruction; `None` where it is about
    /// the whole file or an option.
    pub span: Option<Span>,
    /// The source lines.
    pub snippet: Option<Snippet>,
}

/// What can be wrong with a Dockerfile whose syntax is right.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PlanErrorKind {
    /// There is no `FROM`.
    #[error("the Dockerfile has no stages to build")]
    NoStages,
    /// `--target` names no stage.
    #[error("`--target={target}` names no stage of the Dockerfile")]
    UnknownTarget {
        /// As given.
        target: String,
        /// The names that exist, in order.
        known: Vec<String>,
    },
    /// `--custom-platform` is no platform.
    #[error("cannot build for the platform that was asked for")]
    Platform(#[source] PlatformError),
    /// Nothing but Linux images can be made.
    #[error("cannot build for `{platform}`: only Linux images are supported")]
    UnsupportedPlatform {
        /// What was asked for.
        platform: Platform,
    },
    /// Variables or quotes in a word are broken, or a `${…?}` says stop.
    #[error("cannot expand `{word}`")]
    Expand {
        /// As written.
        word: String,
        /// Why.
        #[source]
        source: ExpandError,
    },
    /// A `FROM` expands to nothing.
    #[error("the base `{word}` is empty after expansion")]
    EmptyBase {
        /// As written.
        word: String,
    },
    /// A `--platform` expands to nothing.
    #[error("the platform `{word}` is empty after expansion")]
    EmptyPlatform {
        /// As written.
        word: String,
    },
    /// A `--platform` is none.
    #[error("cannot read the platform of `--platform={word}`")]
    StagePlatform {
        /// As written.
        word: String,
        /// Why.
        #[source]
        source: PlatformError,
    },
    /// A base or a `--from` is neither a stage nor an image reference.
    #[error("`{name}` is neither a stage, a named context nor a valid image reference")]
    Reference {
        /// After expansion.
        name: String,
        /// Why.
        #[source]
        source: oci_client::ParseError,
    },
    /// A base is an image for Windows.
    #[error("cannot build on `{image}`: it is an image for Windows")]
    WindowsBase {
        /// The image as written.
        image: String,
    },
    /// A `--from` has variables or quotes.
    #[error("`--from={word}` is not expanded: variables and quotes have no meaning there")]
    FromVariable {
        /// As written.
        word: String,
    },
    /// A `--from` is a number that no stage has.
    #[error("`--from={index}` names no stage: the Dockerfile has {count}")]
    FromIndex {
        /// As written.
        index: String,
        /// How many stages there are.
        count: usize,
    },
    /// Stages copy from each other in a circle, or from themselves.
    #[error("stage {stage} needs its own result")]
    Cycle {
        /// The stage's name in backticks, or its index.
        stage: String,
    },
    /// A `--from` names a stage that comes later.
    #[error("cannot copy from stage {source_stage}: it comes after stage {stage}")]
    LaterStage {
        /// The stage copied from: its name in backticks, or its index.
        source_stage: String,
        /// The stage that copies.
        stage: String,
    },
    /// `COPY --from=scratch`.
    #[error("nothing can be copied from `scratch`: it is empty")]
    CopyFromScratch,
    /// Images have to be resolved first.
    #[error("{} base images are not resolved", .0.len())]
    Unresolved(
        /// Which ones.
        Vec<ImageRequest>,
    ),
    /// Something that is not built yet.
    #[error("`{feature}` is not supported yet")]
    NotSupported {
        /// The flag or source, as written.
        feature: String,
    },
    /// `COPY` of something that only `ADD` can take.
    #[error("COPY cannot take `{word}`: only ADD downloads")]
    CopyOfUrl {
        /// The source.
        word: String,
    },
    /// The URL of a source cannot be read.
    #[error("cannot read the URL `{word}`")]
    SourceUrl {
        /// As written.
        word: String,
        /// Why.
        #[source]
        source: url::ParseError,
    },
    /// The Git repository of a source cannot be read.
    #[error("cannot read the Git repository `{word}`")]
    Repository {
        /// As written.
        word: String,
        /// Why.
        #[source]
        source: RepositoryError,
    },
    /// `--checksum` is there for what has none, or for more than one source.
    #[error("`--checksum` is for an `ADD` of one URL or Git repository and nothing else")]
    ChecksumOfOthers,
    /// `--checksum` of a URL is no digest.
    #[error("`--checksum={text}` is not `sha256:` and 64 hexadecimal digits")]
    Checksum {
        /// After expansion.
        text: String,
    },
    /// A `--mount` means nothing.
    #[error("cannot read `--mount`")]
    Mount(#[source] MountError),
    /// A `--mount` would hide all of the image.
    #[error("cannot mount on `{target}`: it leads to the root")]
    MountOnRoot {
        /// The target after expansion.
        target: String,
    },
    /// `RUN --security=insecure`.
    #[error("`RUN --security=insecure` is refused: no command gets more rights than the build has")]
    Insecure,
    /// `--chmod` is no mode.
    #[error("cannot read `--chmod`")]
    Chmod(#[from] ModeError),
    /// An `EXPOSE` is no port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A `STOPSIGNAL` is no signal.
    #[error(transparent)]
    Signal(#[from] InvalidSignal),
    /// A `VOLUME` expands to nothing.
    #[error("a volume cannot be empty")]
    EmptyVolume,
    /// A `WORKDIR` expands to nothing and there is none to stay in.
    #[error("the working directory `{word}` is empty after expansion")]
    EmptyWorkdir {
        /// As written.
        word: String,
    },
    /// A heredoc's name that no file can have.
    #[error("`{name}` cannot be the name of a file")]
    InlineName {
        /// The heredoc's terminator.
        name: String,
    },
    /// A path has a NUL byte.
    #[error("cannot use `{word}` as a path")]
    Path {
        /// After expansion.
        word: String,
        /// Why.
        #[source]
        source: snapshot::PathError,
    },
    /// A trigger that came with the base cannot be read.
    #[error("cannot read the trigger `{trigger}` of the base")]
    TriggerSyntax {
        /// The instruction.
        trigger: String,
        /// Why.
        #[source]
        source: ParseErrorKind,
    },
    /// A trigger that came with the base cannot be planned.
    #[error("cannot plan the trigger `{trigger}` of the base")]
    Trigger {
        /// The instruction.
        trigger: String,
        /// Why.
        #[source]
        source: Box<PlanErrorKind>,
    },
}

impl PlanErrorKind {
    /// Returns the error as one about `span`.
    pub(super) fn at(self, span: Span) -> PlanError {
        PlanError { kind: self, span: Some(span), snippet: None }
    }
}

impl PlanError {
    /// Returns the error as one about a trigger that came with the base of the stage at `stage`.
    pub(super) fn in_trigger(self, trigger: &str, stage: Span) -> Self {
        let source = Box::new(self.kind);
        PlanErrorKind::Trigger { trigger: trigger.to_owned(), source }.at(stage)
    }

    /// Returns the error with the lines of `source` that it is about.
    pub(super) fn with_snippet(self, source: &Source) -> Self {
        let snippet = self.span.map(|span| source.snippet(span));
        Self { snippet, ..self }
    }
}

impl From<PlanErrorKind> for PlanError {
    fn from(kind: PlanErrorKind) -> Self {
        Self { kind, span: None, snippet: None }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.span {
            Some(span) => write!(out, "{span}: {}", self.kind),
            None => self.kind.fmt(out),
        }
    }
}

impl Error for PlanError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

impl Fault for PlanError {
    fn class(&self) -> Class {
        match self.kind {
            PlanErrorKind::Unresolved(_) => Class::Internal,
            _ => Class::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.kind {
            PlanErrorKind::UnknownTarget { known, .. } if !known.is_empty() => {
                Some(format!("the stages are: {}", known.join(", ")))
            }
            PlanErrorKind::FromVariable { word } => Some(format!(
                "give it a stage of its own, `FROM {word} AS source`, and copy from that"
            )),
            _ => None,
        }
    }
}
