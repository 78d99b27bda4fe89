//! The way through the places where credentials may be.

use super::Credential;
use super::origin::{CredentialOrigin, Look};

/// A credential, if there is one, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Found {
    pub(in crate::registry) credential: Option<Credential>,
    pub(in crate::registry) origin: CredentialOrigin,
    /// Every place that was looked at, in order; the last one gave the credential, if there is one.
    pub(in crate::registry) looks: Vec<Look>,
}

/// What has been found on the way through the places.
#[derive(Default)]
pub(super) struct Way {
    pub(super) looks: Vec<Look>,
    /// What was said of places that should have had something.
    pub(super) said: Vec<String>,
}

impl Way {
    pub(super) fn in_vain(&mut self, place: impl Into<String>, found: impl Into<String>) {
        self.looks.push(Look::new(place, found));
    }

    pub(super) fn found(
        mut self,
        place: impl Into<String>,
        credential: Credential,
        origin: CredentialOrigin,
    ) -> Found {
        let kind = match &credential {
            Credential::Password { .. } => "user name and password",
            Credential::Identity(_) => "refresh token",
            Credential::Registry(_) => "token for the registry",
        };
        self.looks.push(Look::new(place, kind));
        Found { credential: Some(credential), origin, looks: self.looks }
    }
}

/// How far a place led.
pub(super) enum Step {
    Found(Found),
    Further(Way),
}
