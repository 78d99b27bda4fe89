//! A registry's "no", read: status, its own codes and words, and what they usually mean.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::credentials::CredentialOrigin;
use crate::http::{Response, is_temporary_status, retry_after, said};
use crate::report::fault::Class;

/// Largest error body that is read, in bytes.
const LARGEST_BODY: u64 = 64 << 10;

/// Who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The registry, or a storage host it redirected to.
    Registry,
    /// The server that gives tokens for it.
    TokenServer,
}

/// One error as the registry reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReportedError {
    /// Such as `DENIED`; empty when the body had no codes.
    pub code: String,
    /// The registry's words.
    pub message: String,
    #[serde(deserialize_with = "any_detail")]
    /// Whatever else it said, as JSON; not shown.
    pub detail: serde_json::Value,
}

fn any_detail<'de, D: serde::Deserializer<'de>>(d: D) -> Result<serde_json::Value, D::Error> {
    serde_json::Value::deserialize(d)
}

/// A registry's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused.
    pub party: Party,
    /// `host[:port]`.
    pub host: String,
    /// The request's method.
    pub method: String,
    /// The response's status.
    pub status: u16,
    /// What the body reported.
    pub errors: Vec<ReportedError>,
    /// Which credentials were shown, or why none were.
    pub credential: Option<Box<ShownCredential>>,
    /// The server's name for this exchange, for its operators.
    pub request_id: Option<String>,
    /// How long the server wants us to wait.
    pub retry_after: Option<Duration>,
}

/// Which credentials a refused request showed; a cause line of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShownCredential(pub CredentialOrigin);

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.credential.as_deref().map(|shown| shown as _)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.party {
            Party::Registry => "registry",
            Party::TokenServer => "token server",
        };
        let status = StatusCode::from_u16(self.status)
            .map_or_else(|_| self.status.to_string(), |status| status.to_string());
        write!(f, "{who} `{}` answered {status} to {}", self.host, self.method)?;
        for (index, error) in self.errors.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { "; " })?;
            match (error.code.is_empty(), error.message.is_empty()) {
                (false, false) => write!(f, "{}: {}", error.code, error.message)?,
                (false, true) => f.write_str(&error.code)?,
                (true, _) => f.write_str(&error.message)?,
            }
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request `{id}`)")?;
        }
        Ok(())
    }
}

impl Refusal {
    /// Reads the refusal out of a response.
    pub(super) async fn read(party: Party, method: &Method, response: Response) -> Self {
        let request_id = ["x-request-id", "x-amzn-requestid", "x-ms-correlation-request-id"]
            .into_iter()
            .find_map(|name| response.header(name))
            .map(said);
        let mut refusal = Self {
            party,
            host: response.host().to_owned(),
            method: method.to_string(),
            status: response.status().as_u16(),
            errors: Vec::new(),
            credential: None,
            request_id,
            retry_after: retry_after(response.headers(), SystemTime::now()),
        };
        let is_html = response.header("content-type").is_some_and(|kind| kind.contains("html"));
        // The body only explains; without it the status still tells what happened.
        if *method != Method::HEAD
            && let Ok(body) = response.bytes(LARGEST_BODY).await
        {
            refusal.errors = reported(&body, is_html);
        }
        refusal
    }

    /// Notes which credentials were shown.
    pub(super) fn with_credential(mut self, origin: Option<CredentialOrigin>) -> Self {
        self.credential = origin.map(|origin| Box::new(ShownCredential(origin)));
        self
    }

    /// Hides `secret` wherever the server repeated it.
    pub(super) fn without(mut self, secret: &str) -> Self {
        if secret.is_empty() {
            return self;
        }
        for error in &mut self.errors {
            error.code = error.code.replace(secret, "***");
            error.message = error.message.replace(secret, "***");
            if error.detail.to_string().contains(secret) {
                error.detail = serde_json::Value::Null;
            }
        }
        self.request_id = self.request_id.map(|id| id.replace(secret, "***"));
        self
    }

    /// Returns whether trying the same again can help.
    pub fn is_temporary(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(is_temporary_status)
    }

    /// Returns whether the body reports `code`.
    pub fn has_code(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code == code)
    }

    /// Returns whether a tag was to be overwritten that may not be.
    ///
    /// Known forms: ECR 400 `TAG_INVALID` "… cannot be overwritten because the repository is
    /// immutable", later "… because the tag is immutable"; Artifact Registry 400 or 403 "The
    /// repository has enabled tag immutability"; Harbor 412 `PRECONDITION` "configured as
    /// immutable"; Quay and others 409 with a code of their own.
    pub fn is_immutable_tag(&self) -> bool {
        matches!(self.status, 400 | 403 | 409 | 412)
            && self.errors.iter().any(|error| {
                let message = error.message.to_ascii_lowercase();
                matches!(error.code.as_str(), "TAG_IMMUTABLE" | "ImageTagAlreadyExistsException")
                    || message.contains("immutab")
                    || message.contains("immutable")
                    || message.contains("cannot be overwritten")
            })
    }

    /// Returns whether the registry says that it cannot read a manifest: distribution, Harbor, Quay
    /// and Artifactory answer 400 `MANIFEST_INVALID` to media types that they do not know, gateways
    /// 415.
    pub fn is_unknown_manifest(&self) -> bool {
        self.status == 415
            || matches!(self.status, 400 | 422) && self.has_code("MANIFEST_INVALID")
            || self.status == 400 && self.has_code("UNSUPPORTED")
    }

    /// Returns whose move it is.
    pub fn class(&self) -> Class {
        match self.status {
            401 | 403 => Class::Auth,
            400 | 404 | 405 | 409 | 412 | 415 => Class::User,
            _ => Class::Infrastructure,
        }
    }

    /// Returns what to do next.
    pub fn hint(&self) -> Option<String> {
        let host = &self.host;
        let origin = self.credential.as_ref().map(|shown| &shown.0);
        match (self.status, origin) {
            _ if self.is_immutable_tag() => Some(
                "use another tag, or accept the existing one with \
                 `--push-ignore-immutable-tag-errors`"
                    .to_owned(),
            ),
            (401 | 403, Some(CredentialOrigin::NoFile { .. })) => Some(format!(
                "mount a Docker `config.json` with an entry for `{host}` and name its directory in \
                 DOCKER_CONFIG"
            )),
            (401 | 403, Some(CredentialOrigin::NoEntry { file, host, .. })) => {
                Some(format!("add an entry for `{host}` to `{}`", file.display()))
            }
            (401, Some(_)) => Some("check the user name and password or token".to_owned()),
            (403, Some(_)) => Some("check that this account may use this repository".to_owned()),
            (404, _) if self.has_code("NAME_UNKNOWN") && host.contains(".dkr.ecr.") => {
                Some("create the repository first: `aws ecr create-repository`".to_owned())
            }
            (404, _) if self.has_code("NAME_UNKNOWN") || self.has_code("MANIFEST_UNKNOWN") => {
                Some("check the image's name and tag".to_owned())
            }
            (405, _) => Some("the registry may be read-only".to_owned()),
            (413, _) => Some(format!(
                "a proxy before `{host}` may limit the size of requests \
                 (nginx: `client_max_body_size 0`)"
            )),
            (429, _) => Some("log in for a higher limit, or use `--registry-mirror`".to_owned()),
            _ => None,
        }
    }
}

fn reported(body: &[u8], is_html: bool) -> Vec<ReportedError> {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<ReportedError>,
    }
    // Token servers and proxies have other envelopes.
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Other {
        error: serde_json::Value,
        error_description: String,
        details: serde_json::Value,
        message: String,
    }
    if let Ok(Envelope { errors }) = serde_json::from_slice(body)
        && !errors.is_empty()
    {
        return errors
            .into_iter()
            .map(|error| ReportedError {
                code: said(&error.code),
                message: said(&error.message),
                detail: error.detail,
            })
            .collect();
    }
    let message = match serde_json::from_slice::<Other>(body) {
        Ok(other) => [
            other.error.as_str().unwrap_or_default(),
            &other.error_description,
            other.details.as_str().unwrap_or_default(),
            &other.message,
        ]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(": "),
        Err(_) if is_html => String::new(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let message = said(&message);
    if message.is_empty() {
        return Vec::new();
    }
    vec![ReportedError { message, ..ReportedError::default() }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::SAID_CHARACTERS;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal {
            party: Party::Registry,
            host: "r.example".into(),
            method: "PUT".into(),
            status,
            errors: reported(body.as_bytes(), false),
            credential: None,
            request_id: None,
            retry_after: None,
        }
    }

    #[test]
    fn bodies_of_all_kinds_become_one_line() {
        let check = |body: &str, expected: &str| {
            let text = refusal(403, body).to_string();
            let rest = text.strip_prefix("registry `r.example` answered 403 Forbidden to PUT");
            assert_eq!(rest, Some(expected), "{body}");
        };
        check("", "");
        check(r#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#, ": DENIED: no way");
        check(
            r#"{"errors":[{"code":"A","message":""},{"code":"B","message":"b","detail":{"x":1}}]}"#,
            ": A; B: b",
        );
        check(
            r#"{"details":"incorrect username or password"}"#,
            ": incorrect username or password",
        );
        check(r#"{"error":"invalid_grant","error_description":"bad"}"#, ": invalid_grant: bad");
        check("plain\x1b[31m text", ": plain [31m text");
        check(r#"{"errors":[]}"#, "");
        check(r#"{"errors":"x"}"#, "");
        check(&"x".repeat(1000), &format!(": {}…", "x".repeat(SAID_CHARACTERS)));
        assert_eq!(reported(b"<html>error</html>", true), []);
    }

    #[test]
    fn immutable_tags_are_known_in_every_wording() {
        let body = |code: &str, message: &str| {
            format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
        };
        for (status, code, message) in [
            (
                400,
                "TAG_INVALID",
                "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the repository is immutable.",
            ),
            (
                400,
                "TAG_INVALID",
                "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.",
            ),
            (400, "MANIFEST_INVALID", "The repository has enabled tag immutability"),
            (403, "DENIED", "The repository has enabled tag immutability"),
            (
                412,
                "PRECONDITION",
                "Failed to process request due to 'app:v1' configured as immutable.",
            ),
            (409, "TAG_IMMUTABLE", ""),
        ] {
            assert!(refusal(status, &body(code, message)).is_immutable_tag(), "{code} {message}");
        }
        for (status, code, message) in [
            (400, "TAG_INVALID", "manifest tag did not match URI"),
            (403, "DENIED", "requested access to the resource is denied"),
            (500, "UNKNOWN", "tag immutability check failed"),
        ] {
            assert!(!refusal(status, &body(code, message)).is_immutable_tag(), "{code} {message}");
        }
    }
}
