//! Why what the Dockerfile mounts cannot be had.

use std::io;

use snapshot::RootfsPath;

use crate::build::error::{BuildError, StepError};
use crate::report::fault::{Class, Fault};
use crate::store::VolumeError;

/// Why a mount cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// A required secret was not given.
    #[error("the secret `{id}` is required, and no `--secret=id={id}` gives it")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// A secret that is no text is to be an environment variable.
    #[error("the secret `{id}` is no text, and cannot be in the variable `{variable}`")]
    NoText {
        /// Its id.
        id: String,
        /// The variable.
        variable: String,
    },
    /// What is to be mounted is not there.
    #[error("there is no `{path}` in {place}")]
    NoSource {
        /// The path that was looked for.
        path: RootfsPath,
        /// Where.
        place: &'static str,
    },
    /// What is to be mounted cannot be opened.
    #[error("cannot open `{path}`, which is to be mounted")]
    Source {
        /// The path.
        path: RootfsPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory of a cache cannot be had.
    #[error("cannot have the cache `{id}`")]
    Cache {
        /// Its id.
        id: String,
        /// Why not.
        #[source]
        source: VolumeError,
    },
    /// The list of what is in the place of mounts cannot be kept.
    #[error("cannot keep the list of what is mounted in `{}`", path.display())]
    Journal {
        /// Where it is kept.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is something where a mount is to be, which cannot be put aside.
    #[error("cannot mount on `{target}` in place: {reason}")]
    Occupied {
        /// The target.
        target: RootfsPath,
        /// What is in the way.
        reason: &'static str,
    },
    /// A command replaced what it was given.
    #[error("the command replaced the mount `{target}`, which no mount allows")]
    Replaced {
        /// The target.
        target: RootfsPath,
    },
}

impl Fault for MountsError {
    fn class(&self) -> Class {
        match self {
            Self::NoSecret { .. }
            | Self::NoText { .. }
            | Self::NoSource { .. }
            | Self::Occupied { .. }
            | Self::Replaced { .. } => Class::User,
            Self::Source { source, .. } | Self::Journal { source, .. } => Class::of_io(source),
            Self::Cache { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } | Self::Replaced { .. } => Some(
                "in place a copy stands in for a mount; where namespaces can be made \
                 (`securityContext.privileged: true`), it is a real one"
                    .to_owned(),
            ),
            Self::Cache { source, .. } => source.hint(),
            Self::NoSecret { .. }
            | Self::NoText { .. }
            | Self::NoSource { .. }
            | Self::Source { .. }
            | Self::Journal { .. } => None,
        }
    }

    fn is_temporary(&self) -> bool {
        matches!(self, Self::Cache { source, .. } if source.is_temporary())
    }
}

impl From<MountsError> for StepError {
    fn from(error: MountsError) -> Self {
        BuildError::Mounts(error).into()
    }
}
