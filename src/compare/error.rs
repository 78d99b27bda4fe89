//! What can go wrong in a comparison.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::report::fault::{Class, Fault};

/// An error of a comparison.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A file or directory of the comparison cannot be used.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done, such as `create`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A layer that a build wrote cannot be read back.
    #[error("cannot read the layer `{digest}` that the build wrote")]
    Layer {
        /// Its digest.
        digest: String,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A document of our own has another shape than we gave it.
    #[error("`{}` is not what this program writes there", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// No mode could build.
    #[error("no mode could build; `{mode}` said: {reason}")]
    NothingBuilt {
        /// The first mode.
        mode: String,
        /// What its build said.
        reason: String,
    },
    /// One of our own modes lost changes.
    #[error("changes were missed by {modes}")]
    Missed {
        /// The modes with their counts.
        modes: String,
    },
    /// A chart cannot be drawn.
    #[error("cannot draw the chart `{chart}`: {reason}")]
    Chart {
        /// Its title.
        chart: String,
        /// What the plotting library says.
        reason: String,
    },
    /// A step of a scenario is asked for that there is none of.
    #[error("there is no scenario step `{0}`")]
    UnknownStep(String),
    /// The measured build failed; it has said why.
    #[error("the measured build failed: {0}")]
    Build(String),
}

impl CompareError {
    /// Returns a mapper that attaches what was done and to which path.
    pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl Fault for CompareError {
    fn class(&self) -> Class {
        match self {
            Self::Io { source, .. } => Class::of_io(source),
            Self::NothingBuilt { .. } | Self::Build(_) => Class::User,
            Self::Layer { .. }
            | Self::Document { .. }
            | Self::Missed { .. }
            | Self::Chart { .. }
            | Self::UnknownStep(_) => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missed { .. } => {
                Some("this is a bug: a sound mode misses nothing; the report names paths".into())
            }
            _ => None,
        }
    }
}
