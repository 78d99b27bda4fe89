//! What can be made to go wrong.

use std::sync::Arc;

use tokio::sync::{Barrier, watch};

/// When a request fails, and how.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: &'static str,
    pub path: String,
    pub times: usize,
    pub fault: Fault,
}

/// Ways to fail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this instead of doing anything.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Refuses with the request's own `Authorization` in the message.
    Echo,
    /// Answers this status without reading the request's body.
    Early(u16),
    /// Answers 413 as soon as the request's body has more bytes than these, as a proxy does.
    Limit(usize),
    /// Reads the request's body only once the gate is open.
    Hold(watch::Receiver<bool>),
    /// Answers only once so many requests were answered whose paths contain this.
    After(&'static str, usize),
    /// Answers no request before all that meet here have come.
    Meet(Arc<Barrier>),
    /// Answers as it should, where a later rule is not for this request.
    Nothing,
    /// Closes the connection without doing or answering anything.
    Cut,
    /// Does the work, then closes the connection without an answer.
    LoseResponse,
    /// Reads so much of the request's body, stores it, and closes the connection.
    CutRequestAfter(usize),
    /// Sends so much of the response's body and closes the connection.
    CutResponseAfter(usize),
    /// Sends so much of the response's body in an answer that pretends to be complete.
    Shorten(usize),
    /// Sends so much of the response's body, then nothing.
    Stall(usize),
    /// Flips a bit of this byte of the response's body.
    Corrupt(usize),
    /// Sends these bytes after the response's body, without announcing a length.
    Append(Vec<u8>),
    /// Sends a body without end.
    Endless,
    /// Answers as if there were no `Range` header.
    IgnoreRange,
    /// Does the work, then answers with this status instead.
    Status(u16),
    /// All of these at once.
    Several(Vec<Fault>),
    /// Does the work, and sets these headers on the answer.
    Headers(Vec<(&'static str, String)>),
}

impl Rule {
    /// Fails every request of `method` whose path contains `path`.
    pub fn new(method: &'static str, path: impl Into<String>, fault: Fault) -> Self {
        Self { method, path: path.into(), times: usize::MAX, fault }
    }

    /// Fails only the next `times` of them.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

impl Fault {
    /// Answers with a status and an empty body.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: String::new() }
    }

    /// Answers with a status and one error in the registry's form.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_string() }
    }

    /// Sends the client elsewhere.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        let headers = vec![("location", location.into())];
        Self::Answer { status, headers, body: String::new() }
    }
}
