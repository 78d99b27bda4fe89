//! Our own "no", in the form of the distribution specification.

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::json;

use crate::registry::Repository;

/// What we say in place of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// A repository that may not be used so.
    pub(super) fn denied(what: &str, repository: &Repository) -> Self {
        let Repository { host, name } = repository;
        let message = format!("the broker does not allow {what} `{host}/{name}`");
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    /// Nothing that a build asks for.
    pub(super) fn unsupported() -> Self {
        let message = "the broker passes on only what a build asks for";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    /// A request without the ticket.
    pub(super) fn stranger() -> Self {
        let message = "the broker serves only the build that has claimed it";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// An upload that is not known.
    pub(super) fn no_upload() -> Self {
        let message = "the broker knows no such upload";
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)
    }

    /// Returns the body of the answer.
    pub(super) fn body(&self) -> Bytes {
        errors(&[json!({"code": self.code, "message": self.message})])
    }
}

/// Returns a body that reports these errors.
pub(super) fn errors(errors: &[serde_json::Value]) -> Bytes {
    json!({"errors": errors}).to_string().into()
}
