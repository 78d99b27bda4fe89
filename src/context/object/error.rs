//! Why an object cannot be had.

use std::path::PathBuf;

use super::refusal::Refusal;
use crate::http::{HttpError, is_temporary_status};
use crate::report::fault::Class;

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A server refused: the store, or one that gives credentials.
    #[error("{0}")]
    Refused(Refusal),
    /// A server refused one who has no credentials.
    #[error("{refusal} (asked without credentials: none were found)")]
    RefusedAnonymous {
        /// What it said.
        refusal: Refusal,
        /// Where credentials were looked for.
        looked: &'static str,
    },
    /// No response.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The name of the object cannot be asked for.
    #[error("`{key}` cannot be the name of an object")]
    Key {
        /// The name.
        key: String,
        /// Why.
        #[source]
        source: Box<object_store::path::Error>,
    },
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
    /// The request could not be made.
    #[error("{reason}")]
    Client {
        /// Why.
        reason: String,
    },
}

impl ObjectError {
    /// Adds that nobody was named, and where a name was looked for.
    pub(super) fn anonymous(self, looked: &'static str) -> Self {
        match self {
            Self::Refused(refusal) if refusal.is_about_identity() => {
                Self::RefusedAnonymous { refusal, looked }
            }
            other => other,
        }
    }

    /// Returns whose move it is.
    pub fn class(&self) -> Class {
        match self {
            Self::Refused(refusal) if refusal.is_about_identity() => Class::Auth,
            Self::Refused(refusal) if is_temporary_status(refusal.status) => Class::Infrastructure,
            Self::RefusedAnonymous { .. }
            | Self::ReadCredentials { .. }
            | Self::Credentials { .. }
            | Self::Metadata { .. } => Class::Auth,
            Self::Http(_) => Class::Infrastructure,
            Self::Refused(_) | Self::Key { .. } | Self::Client { .. } => Class::User,
        }
    }

    /// Returns what to do next, where that is clear.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::RefusedAnonymous { looked, .. } => {
                Some(format!("credentials were looked for in {looked}"))
            }
            _ => None,
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
