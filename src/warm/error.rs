//! Why nothing could be fetched.

use std::io;
use std::path::PathBuf;

use crate::build::BuildError;
use crate::context::ContextError;
use crate::http::DownloadError;
use crate::image::{DescriptorError, ImageError, MediaTypeError, PlatformError};
use crate::interrupt::Interrupted;
use crate::registry::RegistryError;
use crate::report::fault::{Class, Excerpt, Fault};
use crate::unpack::UnpackError;

/// Why nothing, or an image, could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// A signal has ended it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The way to registries cannot be made, or the Dockerfile is wrong.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The Dockerfile cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The Dockerfile cannot be downloaded.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The threads cannot be started.
    #[error("cannot start the network threads")]
    Runtime(#[source] io::Error),
    /// The directory cannot be written.
    #[error("cannot keep images in `{}`: {why}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The platform cannot be read.
    #[error(transparent)]
    Platform(PlatformError),
    /// A reference cannot be read.
    #[error("`{text}` is not an image reference")]
    Reference {
        /// As typed.
        text: String,
        /// What is wrong with it.
        #[source]
        source: oci_client::ParseError,
    },
    /// A registry refused, failed or lied.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An image's manifest has a type that cannot be built upon.
    #[error("cannot build on `{image}`")]
    ImageType {
        /// The image.
        image: String,
        /// What is wrong with it.
        #[source]
        source: MediaTypeError,
    },
    /// An image's documents do not fit together.
    #[error("cannot build on `{image}`")]
    Image {
        /// The image.
        image: String,
        /// What is wrong with it.
        #[source]
        source: ImageError,
    },
    /// A descriptor of an image cannot be used.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// A layer is not what the image says.
    #[error(transparent)]
    Layer(#[from] UnpackError),
    /// A blob cannot be kept.
    #[error("the blob `{digest}` cannot be kept")]
    NotKept {
        /// The blob.
        digest: String,
    },
    /// A thread of its own has ended early.
    #[error("a thread that reads layers has ended early")]
    Thread,
    /// None of the images could be fetched.
    #[error("failed to warm any of the given images")]
    AllFailed(#[source] Box<WarmError>),
}

impl WarmError {
    fn fault(&self) -> Option<&dyn Fault> {
        Some(match self {
            Self::Interrupted(error) => error,
            Self::Build(error) => error,
            Self::Context(error) => error,
            Self::Registry(error) => error,
            Self::AllFailed(error) => error.as_ref(),
            Self::Download(_)
            | Self::Runtime(_)
            | Self::Directory { .. }
            | Self::Platform(_)
            | Self::Reference { .. }
            | Self::ImageType { .. }
            | Self::Image { .. }
            | Self::Descriptor(_)
            | Self::Layer(_)
            | Self::NotKept { .. }
            | Self::Thread => return None,
        })
    }
}

impl Fault for WarmError {
    fn class(&self) -> Class {
        match self {
            Self::Download(_) | Self::Runtime(_) | Self::Layer(_) => Class::Infrastructure,
            Self::Directory { .. } | Self::NotKept { .. } => Class::Disk,
            Self::Descriptor(_) | Self::Thread => Class::Internal,
            other => other.fault().map_or(Class::User, Fault::class),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Directory { .. } | Self::NotKept { .. } => Some(
                "mount a volume that can be written there, with room for the images, or name another \
                 directory with `--cache-dir`"
                    .to_owned(),
            ),
            other => other.fault().and_then(Fault::hint),
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Download(error) => error.is_temporary(),
            other => other.fault().is_some_and(Fault::is_temporary),
        }
    }

    fn exit_code(&self) -> u8 {
        self.fault().map_or(1, Fault::exit_code)
    }

    fn excerpt(&self) -> Option<Excerpt> {
        self.fault().and_then(Fault::excerpt)
    }
}
