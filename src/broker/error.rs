//! Why a broker cannot serve.

use std::io;
use std::path::PathBuf;

use crate::build::BuildError;
use crate::report::fault::{Class, Fault};
use crate::sandbox::SandboxError;

/// Why a broker ended.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The process cannot be hidden.
    #[error(transparent)]
    Hide(#[from] SandboxError),
    /// The way to registries cannot be made.
    #[error(transparent)]
    Network(#[from] BuildError),
    /// The threads cannot be started.
    #[error("cannot start the network threads")]
    Runtime(#[source] io::Error),
    /// The socket cannot be made.
    #[error("cannot listen on `{path}`")]
    Listen {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Fault for BrokerError {
    fn class(&self) -> Class {
        match self {
            Self::Hide(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Runtime(_) => Class::Infrastructure,
            Self::Listen { .. } => Class::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Hide(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Runtime(_) => None,
            Self::Listen { .. } => Some(
                "name a path in a directory that this container and that of the build share, such \
                 as an `emptyDir`"
                    .to_owned(),
            ),
        }
    }
}
