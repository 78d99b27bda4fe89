//! Files of credentials as they were at the start.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::IdentityError;
use crate::secret::Secret;

/// A file as it was when it was read: a build that replaces files under `/` must not choose as whom
/// clouds are asked, nor what is sent to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptFile {
    path: PathBuf,
    /// `None` when there is none.
    text: Result<Option<Secret>, ErrorKind>,
}

impl KeptFile {
    pub(super) fn read(path: &Path) -> Self {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.kind()),
        };
        Self { path: path.to_owned(), text }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what it held; `None` when there was none.
    pub(super) fn text(&self) -> Result<Option<&str>, IdentityError> {
        match &self.text {
            Ok(text) => Ok(text.as_ref().map(Secret::expose)),
            Err(kind) => Err(self.unreadable(*kind)),
        }
    }

    /// Returns what it held.
    pub(super) fn needed(&self) -> Result<&str, IdentityError> {
        self.text()?.ok_or_else(|| self.unreadable(ErrorKind::NotFound))
    }

    fn unreadable(&self, kind: ErrorKind) -> IdentityError {
        IdentityError::ReadCredentials { path: self.path.clone(), source: kind.into() }
    }
}
