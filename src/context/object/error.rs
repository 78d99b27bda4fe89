//! Why an object cannot be had.

use crate::identity::{IdentityError, Refusal};
use crate::report::fault::Class;

/// Why an object cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A store refused or cannot be reached, or nobody could be found to ask it as.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A server refused one who has no credentials.
    #[error("{refusal} (asked without credentials: none were found)")]
    RefusedAnonymous {
        /// What it said.
        refusal: Refusal,
        /// Where credentials were looked for.
        looked: &'static str,
    },
    /// The name of the object cannot be asked for.
    #[error("`{key}` cannot be the name of an object")]
    Key {
        /// The name.
        key: String,
        /// Why.
        #[source]
        source: Box<object_store::path::Error>,
    },
}

impl ObjectError {
    /// Adds that nobody was named, and where a name was looked for.
    pub(super) fn anonymous(self, looked: &'static str) -> Self {
        match self {
            Self::Identity(IdentityError::Refused(refusal)) if refusal.is_about_identity() => {
                Self::RefusedAnonymous { refusal, looked }
            }
            other => other,
        }
    }

    /// Returns whose move it is.
    pub fn class(&self) -> Class {
        match self {
            Self::Identity(error) => error.class(),
            Self::RefusedAnonymous { .. } => Class::Auth,
            Self::Key { .. } => Class::User,
        }
    }

    /// Returns what to do next, where that is clear.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::RefusedAnonymous { looked, .. } => {
                Some(format!("credentials were looked for in {looked}"))
            }
            Self::Identity(_) | Self::Key { .. } => None,
        }
    }

    /// Returns whether trying again can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Identity(error) => error.is_temporary(),
            Self::RefusedAnonymous { .. } | Self::Key { .. } => false,
        }
    }
}
