//! Why a cloud knows nobody here.

use std::path::{Path, PathBuf};

use super::refusal::Refusal;
use crate::http::{HttpError, is_temporary_status};
use crate::report::fault::Class;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A server refused.
    #[error("{0}")]
    Refused(Refusal),
    /// No response.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A file with credentials cannot be read.
    #[error("cannot read the credentials in `{}`", path.display())]
    ReadCredentials {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file with credentials has none that can be used.
    #[error("cannot use the credentials in `{}`: {reason}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A metadata server's answer is no credential.
    #[error("the metadata server `{host}` gave no credential: {reason}")]
    Metadata {
        /// `host[:port]`.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A server's answer is not what it should be.
    #[error("`{host}` gave an answer that is not usable: {reason}")]
    Answer {
        /// `host[:port]`.
        host: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A variable of the environment cannot be used.
    #[error("cannot use `{variable}`: {reason}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The request could not be made.
    #[error("{reason}")]
    Client {
        /// Why.
        reason: String,
    },
}

impl IdentityError {
    pub(super) fn unusable(path: &Path, reason: impl Into<String>) -> Self {
        Self::Credentials { path: path.to_owned(), reason: reason.into() }
    }

    /// Returns whose move it is.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused(refusal) if refusal.is_about_identity() => Class::Auth,
            Self::Refused(refusal) if is_temporary_status(refusal.status) => Class::Infrastructure,
            Self::ReadCredentials { .. }
            | Self::Credentials { .. }
            | Self::Variable { .. }
            | Self::Metadata { .. } => Class::Auth,
            Self::Http(_) | Self::Answer { .. } => Class::Infrastructure,
            Self::Refused(_) | Self::Client { .. } => Class::User,
        }
    }

    /// Returns whether trying again can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(refusal) => is_temporary_status(refusal.status),
            Self::Http(error) => error.is_temporary(),
            _ => false,
        }
    }
}
