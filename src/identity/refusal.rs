//! What a cloud's server says when it refuses: its code and message, out of XML or JSON. Pure.

use std::fmt;

use reqwest::StatusCode;
use serde_json::Value;

use crate::http::said;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `host[:port]` of the server.
    pub host: String,
    /// The status.
    pub status: StatusCode,
    /// The server's code, such as `AccessDenied`.
    pub code: Option<String>,
    /// The server's message, on one line.
    pub message: Option<String>,
}

impl Refusal {
    /// Reads the text that came with the status.
    pub fn read(host: String, status: StatusCode, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (code, message) = from_json(&text).unwrap_or_else(|| from_xml(&text));
        Self {
            host,
            status,
            code: code.map(|text| said(&text)),
            message: message.map(|text| said(&text)),
        }
    }

    /// Hides `secret` wherever the server repeated it.
    pub(super) fn without(mut self, secret: &str) -> Self {
        if !secret.is_empty() {
            let hide = |text: String| text.replace(secret, "***");
            self.code = self.code.map(hide);
            self.message = self.message.map(hide);
        }
        self
    }

    /// Tells whether a server meant that it does not know who asks, or not any more.
    pub fn is_about_identity(&self) -> bool {
        let codes = ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"];
        matches!(self.status.as_u16(), 401 | 403)
            || self.code.as_deref().is_some_and(|code| {
                codes.iter().any(|known| code.starts_with(known))
                    || matches!(code, "invalid_grant" | "invalid_client" | "InvalidIdentityToken")
            })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` answered {}", self.host, self.status.as_u16())?;
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, ": {code}: {message}"),
            (Some(one), None) | (None, Some(one)) => write!(f, ": {one}"),
            (None, None) => match self.status.canonical_reason() {
                Some(reason) => write!(f, " {reason}"),
                None => Ok(()),
            },
        }
    }
}

type Words = (Option<String>, Option<String>);

/// `{"error": {"status": …, "message": …}}` of Google, `{"error": …, "error_description": …}` of
/// OAuth, `{"code": …, "message": …}` of metadata servers, `{"__type": …, "message": …}` of Amazon.
fn from_json(text: &str) -> Option<Words> {
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(text) else { return None };
    let word = |map: &serde_json::Map<String, Value>, keys: &[&str]| {
        keys.iter().find_map(|key| map.get(*key)?.as_str().map(str::to_owned))
    };
    Some(match map.get("error") {
        Some(Value::Object(error)) => (word(error, &["status", "code"]), word(error, &["message"])),
        _ => (
            word(&map, &["error", "code", "Code", "__type"]),
            word(&map, &["error_description", "message", "Message"]),
        ),
    })
}

/// `<Error><Code>…</Code><Message>…</Message></Error>` of S3, Azure and Google's XML interface;
/// otherwise the text itself, if it is one.
fn from_xml(text: &str) -> Words {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inner, _) = rest.split_once(&format!("</{name}>"))?;
        Some(unescaped(inner))
    };
    match (element("Code"), element("Message")) {
        // Google's has what is missing in a third element.
        (code, message) if code.is_some() || message.is_some() => {
            let message = match (message, element("Details")) {
                (Some(message), Some(details)) => Some(format!("{message} {details}")),
                (message, details) => message.or(details),
            };
            (code, message)
        }
        _ if text.trim().is_empty() || text.trim_start().starts_with('<') => (None, None),
        _ => (None, Some(text.to_owned())),
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::SAID_CHARACTERS;

    fn check(status: u16, text: &str, expected: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal::read("store.example".to_owned(), status, text.as_bytes());
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn the_words_of_every_cloud_are_found() {
        check(
            403,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
             <Message>Access Denied</Message><RequestId>1</RequestId></Error>",
            "`store.example` answered 403: AccessDenied: Access Denied",
        );
        check(
            403,
            "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server \
             failed to authenticate.\nRequestId:8\nTime:now</Message></Error>",
            "`store.example` answered 403: AuthenticationFailed: Server failed to authenticate. \
             RequestId:8 Time:now",
        );
        check(
            403,
            "<Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>a@b does not \
             have storage.objects.get access &amp; more</Details></Error>",
            "`store.example` answered 403: AccessDenied: Access denied. a@b does not have \
             storage.objects.get access & more",
        );
        check(
            401,
            r#"{"error": {"code": 401, "message": "Invalid Credentials", "status": "UNAUTHENTICATED"}}"#,
            "`store.example` answered 401: UNAUTHENTICATED: Invalid Credentials",
        );
        check(
            400,
            r#"{"error": "invalid_grant", "error_description": "Token has been expired"}"#,
            "`store.example` answered 400: invalid_grant: Token has been expired",
        );
        check(404, "no such bucket\n", "`store.example` answered 404: no such bucket");
        check(502, "<html><h1>Bad Gateway</h1></html>", "`store.example` answered 502 Bad Gateway");
        check(503, "", "`store.example` answered 503 Service Unavailable");
    }

    #[test]
    fn long_texts_are_cut_and_control_characters_are_not_shown() {
        let status = StatusCode::BAD_REQUEST;
        let refusal = Refusal::read("h".to_owned(), status, "é\u{1b}[2J".repeat(400).as_bytes());
        let message = refusal.message.unwrap();
        assert_eq!(message.chars().count(), SAID_CHARACTERS + 1);
        assert!(!message.chars().any(char::is_control), "{message}");
    }
}
