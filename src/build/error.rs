//! Why a build ended: the phase's own error, and the Dockerfile's lines where it is about them.

use std::fmt;

use super::causes::{NO_ROOM, class_of_cause, is_for_want_of_room};
use super::in_dockerfile::InDockerfile;
use super::mounts::MountsError;
use super::secrets::SecretError;
use super::tracking::TrackerRefused;
use crate::cache::SigningKeyError;
use crate::context::{ContextError, FetchError};
use crate::dockerfile::ParseError;
use crate::execute::ExecuteError;
use crate::export::ExportError;
use crate::http::{DownloadError, HttpError};
use crate::image::{DescriptorError, ImageError, MediaTypeError};
use crate::interrupt::Interrupted;
use crate::plan::PlanError;
use crate::registry::RegistryError;
use crate::report::fault::{Class, Excerpt, Fault};
use crate::sandbox::{SandboxError, missing_ids_hint};
use crate::store::{LayoutError, StoreError};
use crate::unpack::UnpackError;

/// Why a build ended.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A signal has ended the build.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The sandbox cannot be made here.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The network side cannot be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The key of `--cache-signing-key` cannot be used.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// A registry refused, failed or lied.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The context cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// What an ADD names cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The Dockerfile does not parse.
    #[error(transparent)]
    Parse(Box<InDockerfile<ParseError>>),
    /// The Dockerfile cannot be planned.
    #[error(transparent)]
    Plan(Box<InDockerfile<PlanError>>),
    /// A step failed.
    #[error(transparent)]
    Step(Box<InDockerfile<FailedStep>>),
    /// The snapshot at the end of a stage failed.
    #[error(transparent)]
    Snapshot(StepError),
    /// The change tracker that was asked for cannot be used.
    #[error(transparent)]
    Tracker(#[from] TrackerRefused),
    /// The work directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A root file system cannot be opened.
    #[error(transparent)]
    Rootfs(#[from] snapshot::RootfsError),
    /// A base image cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The finished image cannot be written to disk.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A base image's layer that lives outside registries is needed.
    #[error("the base image's layer `{digest}` is not distributable and cannot be fetched")]
    ForeignLayer {
        /// The layer.
        digest: String,
    },
    /// A reference that the plan gave does not parse.
    #[error("`{text}` is not an image reference")]
    Reference {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: oci_client::ParseError,
    },
    /// A base image's manifest has a type that cannot be built upon.
    #[error("cannot build on `{image}`")]
    BaseType {
        /// The base.
        image: String,
        /// What is wrong with it.
        #[source]
        source: MediaTypeError,
    },
    /// A base image's documents do not fit together.
    #[error("cannot build on `{image}`")]
    BaseImage {
        /// The base.
        image: String,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
    /// A base in an OCI layout cannot be used.
    #[error("cannot use the build context `{name}`")]
    BaseLayout {
        /// The named context.
        name: String,
        /// What is wrong with it.
        #[source]
        source: LayoutError,
    },
    /// A layer of the layer cache turned out not to be what its entry says.
    #[error("cannot use the cached layer `{0}`")]
    CachedLayer(snapshot::Digest, #[source] Box<BuildError>),
    /// A descriptor of a base cannot be used.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// The image's documents cannot be written.
    #[error("cannot write the image's manifest and config")]
    Encode(#[source] ImageError),
    /// The list of what a build leaves in `/` cannot be kept.
    #[error("cannot keep the list of what is left in `/` in `{}`", path.display())]
    Record {
        /// Where it is kept.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The system does not say how much may be unpacked.
    #[error("cannot find out how much space is free for the root file system")]
    FreeSpace {
        /// What it says instead.
        #[source]
        source: std::io::Error,
    },
    /// The threads of the network side cannot be started.
    #[error("cannot start the network threads")]
    Runtime(#[source] std::io::Error),
    /// `--ignore-path` is no path.
    #[error("`--ignore-path={path}` is not a path")]
    IgnoredPath {
        /// As given.
        path: String,
        /// What is wrong with it.
        #[source]
        source: snapshot::PathError,
    },
    /// A server answered with an error.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// The redacted URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A file named by a URL cannot be had.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// What the Dockerfile mounts into a RUN cannot be had.
    #[error(transparent)]
    Mounts(#[from] MountsError),
    /// What `--secret` names cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A name given by `--build-context` is used as something it is not.
    #[error("the build context `{name}` is not {expected}")]
    NamedContext {
        /// The name.
        name: String,
        /// What the Dockerfile needs it to be.
        expected: &'static str,
    },
}

/// What went wrong in a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The command ended with another code than 0.
    #[error("the command `{command}` ended with exit code {code}")]
    Failed {
        /// The command.
        command: String,
        /// Its exit code; 128 and the number for a signal.
        code: u8,
        /// Whether the kernel killed a process of it for want of memory.
        out_of_memory: bool,
    },
    /// The step's effect could not be had.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// What the step needs of the rest of the build cannot be had.
    #[error(transparent)]
    Build(Box<BuildError>),
    /// The changes could not be found.
    #[error(transparent)]
    Snapshot(#[from] snapshot::SnapshotError),
    /// `--compression-level` is out of range.
    #[error(transparent)]
    Level(#[from] snapshot::layer::LevelError),
    /// The layer could not be written.
    #[error(transparent)]
    Layer(#[from] snapshot::layer::LayerError),
    /// The work directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A context's files cannot be listed.
    #[error(transparent)]
    Context(#[from] ContextError),
}

/// A step that failed.
#[derive(Debug)]
pub struct FailedStep {
    /// The instruction as written.
    pub(super) text: String,
    /// What went wrong.
    pub(super) error: StepError,
}

impl From<BuildError> for StepError {
    fn from(error: BuildError) -> Self {
        Self::Build(Box::new(error))
    }
}

impl From<snapshot::RootfsError> for StepError {
    fn from(error: snapshot::RootfsError) -> Self {
        Self::Execute(error.into())
    }
}

impl fmt::Display for FailedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot carry out `{}`", self.text)
    }
}

impl std::error::Error for FailedStep {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl BuildError {
    /// Returns the module's own error, where this one only passes it on.
    fn fault(&self) -> Option<&dyn Fault> {
        Some(match self {
            Self::Interrupted(error) => error,
            Self::Sandbox(error) => error,
            Self::Registry(error) => error,
            Self::Context(error) => error,
            Self::Fetch(error) => error,
            Self::Plan(inner) => &inner.error,
            Self::Step(inner) => &inner.error.error,
            Self::Snapshot(error) => error,
            Self::Tracker(error) => error,
            Self::Store(error) => error,
            Self::Mounts(error) => error,
            Self::Export(error) => error,
            Self::BaseLayout { source, .. } => source,
            Self::CachedLayer(_, source) => source.as_ref(),
            Self::Parse(_)
            | Self::Http(_)
            | Self::SigningKey(_)
            | Self::Rootfs(_)
            | Self::Unpack(_)
            | Self::IgnoredPath { .. }
            | Self::FreeSpace { .. }
            | Self::Record { .. }
            | Self::Status { .. }
            | Self::Download(_)
            | Self::ForeignLayer { .. }
            | Self::Reference { .. }
            | Self::BaseType { .. }
            | Self::BaseImage { .. }
            | Self::Descriptor(_)
            | Self::Encode(_)
            | Self::Runtime(_)
            | Self::Secret(_)
            | Self::NamedContext { .. } => return None,
        })
    }
}

impl Fault for BuildError {
    fn class(&self) -> Class {
        match self {
            Self::Encode(_) | Self::Descriptor(_) => Class::Internal,
            Self::Runtime(source) | Self::FreeSpace { source } | Self::Record { source, .. } => {
                Class::of_io(source)
            }
            Self::Http(_) | Self::Status { .. } | Self::Download(_) => Class::Infrastructure,
            Self::Rootfs(error) => class_of_cause(error),
            Self::Unpack(error) => class_of_cause(error),
            other => other.fault().map_or(Class::User, Fault::class),
        }
    }

    fn hint(&self) -> Option<String> {
        if is_for_want_of_room(self) {
            return Some(NO_ROOM.to_owned());
        }
        match self {
            Self::Parse(inner) => {
                inner.error.suggestion().map(|word| format!("did you mean `{word}`?"))
            }
            Self::ForeignLayer { .. } => {
                Some("build on a base image whose layers are in its registry".to_owned())
            }
            Self::Unpack(error) => missing_ids_hint(error),
            other => other.fault().and_then(Fault::hint),
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Http(error) => error.is_temporary(),
            Self::Download(error) => error.is_temporary(),
            Self::Status { status, .. } => *status >= 500,
            other => other.fault().is_some_and(Fault::is_temporary),
        }
    }

    fn exit_code(&self) -> u8 {
        self.fault().map_or(1, Fault::exit_code)
    }

    fn excerpt(&self) -> Option<Excerpt> {
        match self {
            Self::Parse(inner) => inner.excerpt(),
            Self::Plan(inner) => inner.excerpt(),
            Self::Step(inner) => inner.excerpt(),
            _ => None,
        }
    }
}

impl StepError {
    fn fault(&self) -> Option<&dyn Fault> {
        Some(match self {
            Self::Failed { .. } => return None,
            Self::Execute(error) => error,
            Self::Build(error) => error.as_ref(),
            Self::Snapshot(_) | Self::Layer(_) | Self::Level(_) => return None,
            Self::Store(error) => error,
            Self::Context(error) => error,
        })
    }
}

impl Fault for StepError {
    fn class(&self) -> Class {
        match self {
            Self::Snapshot(error) => class_of_cause(error),
            Self::Layer(error) => class_of_cause(error),
            other => other.fault().map_or(Class::User, Fault::class),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { out_of_memory: true, .. } => {
                Some("the kernel killed it for want of memory: raise the memory limit".to_owned())
            }
            other => other.fault().and_then(Fault::hint),
        }
    }

    fn is_temporary(&self) -> bool {
        self.fault().is_some_and(Fault::is_temporary)
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { code, .. } => *code,
            other => other.fault().map_or(1, Fault::exit_code),
        }
    }
}
