//! `gix`'s requests on our own connections.
//!
//! Redirects are followed for the first question only, as git does; whoever is led to gets no
//! credentials that were meant for another.

use std::any::Any;
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use gix_error::ErrorExt;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::error::GitError;
use super::{GitCredentials, Job};
use crate::http::{
    HttpClient, HttpError, Origin, Outgoing, OutgoingBody, Reach, Response, Trust, TrustRequest,
    is_redirect, redact, redirect_target,
};
use crate::interrupt::Interrupt;
use crate::report::event::Gauge;

/// Most bytes of an error's text that are read.
const ERROR_BYTES: u64 = 4 << 10;

/// What is wrong with a request, kept aside while `gix` passes on a copy of its text.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<GitError>>>);

impl Trouble {
    /// Takes what was kept.
    pub(super) fn take(&self) -> Option<GitError> {
        self.lock().take()
    }

    /// Keeps an error; returns what to pass on.
    fn keep(&self, error: GitError) -> io::Error {
        let told = io::Error::other(error.to_string());
        // The first one is what the others come from.
        self.lock().get_or_insert(error);
        told
    }

    fn lock(&self) -> MutexGuard<'_, Option<GitError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections to one repository.
#[derive(Clone)]
pub(super) struct Wire {
    http: HttpClient,
    runtime: tokio::runtime::Handle,
    interrupt: Interrupt,
    gauge: Gauge,
    trust: Trust,
    reach: Reach,
    /// The repository as it was named.
    first: Url,
    credentials: Option<GitCredentials>,
    /// Where the repository is after a redirect, without `/info/refs`.
    moved: Option<String>,
    pub(super) trouble: Trouble,
}

impl Wire {
    pub(super) fn new(job: &Job<'_>, url: &Url) -> Result<Self, GitError> {
        let verification = job.source.verification;
        let request = TrustRequest { verification, ..TrustRequest::default() };
        // Of a submodule on another host they are not.
        let credentials = job.source.credentials.clone();
        let is_its_own = Origin::same(url, &job.source.url);
        Ok(Self {
            http: job.means.http.clone(),
            runtime: job.means.runtime.clone(),
            interrupt: job.means.interrupt.clone(),
            gauge: job.gauge.clone(),
            trust: job.means.http.trust(&request)?,
            reach: job.reach,
            first: url.clone(),
            credentials: credentials.filter(|_| is_its_own),
            moved: None,
            trouble: Trouble::default(),
        })
    }

    /// Waits for the network, or for the end of everything.
    fn wait<T>(&self, work: impl Future<Output = Result<T, HttpError>>) -> Result<T, GitError> {
        self.runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done?),
                _ = self.interrupt.raised() => Err(GitError::Interrupted),
            }
        })
    }

    fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response, GitError> {
        let mut headers = headers.clone();
        if let Some(credentials) = &self.credentials
            && Origin::same(url, &self.first)
        {
            headers.insert(AUTHORIZATION, basic(credentials)?);
        }
        self.wait(async {
            // The repository was named; where its server leads is another matter.
            let reach = match Origin::same(url, &self.first) {
                true => self.reach,
                false if self.http.is_private(&self.first).await => Reach::PublicAndPrivate,
                false => Reach::PublicOnly,
            };
            let body = body.map(OutgoingBody::Bytes);
            let (method, trust) = (method.clone(), &self.trust);
            self.http.send(Outgoing { method, url, headers, body, trust, reach }).await
        })
    }

    /// Passes a success on; reads what a refusal says.
    fn accept(&self, response: Response) -> Result<Response, GitError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let host = response.host().to_owned();
        let is_text =
            response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain"));
        let text = match is_text {
            true => self.wait(response.bytes(ERROR_BYTES)).unwrap_or_default(),
            false => Bytes::new(),
        };
        let words = String::from_utf8_lossy(&text);
        let words: Vec<&str> =
            words.split(char::is_whitespace).filter(|word| !word.is_empty()).collect();
        let message: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
        let has_credentials = self.credentials.is_some();
        Err(GitError::Status { host, status, message, has_credentials })
    }

    fn first_question(&mut self, url: &str, headers: &HeaderMap) -> Result<Response, GitError> {
        let mut at = parsed(url)?;
        let tail = url.rsplit_once("/info/refs").map_or("", |(_, tail)| tail);
        let mut followed = 0;
        loop {
            let response = self.send(&Method::GET, &at, headers, None)?;
            if !is_redirect(response.status()) {
                if followed > 0 {
                    let end = format!("/info/refs{tail}");
                    let base = at.as_str().strip_suffix(&end);
                    let base = base.ok_or_else(|| GitError::Moved { to: redact(&at) })?;
                    self.moved = Some(base.to_owned());
                }
                return self.accept(response);
            }
            at = redirect_target(&at, response.header("location"), followed)?;
            followed += 1;
        }
    }
}

fn parsed(url: &str) -> Result<Url, GitError> {
    Url::parse(url).map_err(|source| GitError::Url { reason: source.to_string() })
}

fn basic(credentials: &GitCredentials) -> Result<HeaderValue, GitError> {
    use base64::Engine as _;
    let (name, password) = (credentials.user_name.expose(), credentials.password.expose());
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {text}"))
        .map_err(|_| GitError::Url { reason: "its credentials cannot be sent".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads `Name: value` lines.
fn headers(lines: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.as_ref().split_once(':') else { continue };
        // All of them are `gix`'s own; one that cannot be sent says nothing that counts.
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.trim()), HeaderValue::try_from(value.trim()))
        {
            map.insert(name, value);
        }
    }
    map
}

/// Writes the one header that is looked at.
fn told(response: &Response) -> Vec<u8> {
    let kind = response.header("content-type").unwrap_or_default();
    format!("content-type: {kind}\n").into_bytes()
}

impl Http for Wire {
    type Headers = Part;
    type ResponseBody = Part;
    type PostBody = Question;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        lines: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Part, Part>> {
        let response = self
            .first_question(url, &headers(lines))
            .map_err(|error| self.trouble.keep(error).raise())?;
        let exchange = Exchange::answered(self.clone(), response);
        Ok(GetResponse { headers: Part::head(&exchange), body: Part::body(&exchange) })
    }

    /// The question is sent when its answer is asked for.
    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        lines: impl IntoIterator<Item = impl AsRef<str>>,
        _kind: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Part, Part, Question>> {
        let url = parsed(url).map_err(|error| self.trouble.keep(error).raise())?;
        let exchange = Exchange::asked(self.clone(), url, headers(lines));
        Ok(PostResponse {
            post_body: Question(exchange.clone()),
            headers: Part::head(&exchange),
            body: Part::body(&exchange),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix_error::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.moved.clone()
    }
}

/// One request and its answer, whose three parts `gix` holds one by one.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Mutex<State>>);

struct State {
    wire: Wire,
    /// Until it is sent.
    question: Option<(Url, HeaderMap, Vec<u8>)>,
    response: Option<Response>,
    head: Vec<u8>,
}

impl Exchange {
    fn answered(wire: Wire, response: Response) -> Self {
        let head = told(&response);
        let response = Some(response);
        Self(Arc::new(Mutex::new(State { wire, question: None, response, head })))
    }

    fn asked(wire: Wire, url: Url, headers: HeaderMap) -> Self {
        let question = Some((url, headers, Vec::new()));
        Self(Arc::new(Mutex::new(State { wire, question, response: None, head: Vec::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends the question if that is still to be done.
    fn ask(&mut self) -> io::Result<()> {
        let Some((url, headers, body)) = self.question.take() else { return Ok(()) };
        let answer = self
            .wire
            .send(&Method::POST, &url, &headers, Some(body.into()))
            .and_then(|response| self.wire.accept(response));
        let response = answer.map_err(|error| self.wire.trouble.keep(error))?;
        self.head = told(&response);
        self.response = Some(response);
        Ok(())
    }

    /// Returns the next bytes of the answer, none at its end.
    fn next(&mut self) -> io::Result<Bytes> {
        self.ask()?;
        while let Some(response) = &mut self.response {
            match self.wire.wait(response.chunk()) {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => {
                    self.wire.gauge.add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                    return Ok(piece);
                }
                Ok(None) => self.response = None,
                Err(error) => return Err(self.wire.trouble.keep(error)),
            }
        }
        Ok(Bytes::new())
    }
}

/// The body of a request, while it is written.
pub(super) struct Question(Exchange);

impl Write for Question {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0.lock().question {
            Some((_, _, body)) => body.extend_from_slice(bytes),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A part of an answer, asked for piece by piece.
pub(super) struct Part {
    exchange: Exchange,
    next: fn(&mut State) -> io::Result<Bytes>,
    piece: Bytes,
}

impl Part {
    /// The headers, as lines.
    fn head(exchange: &Exchange) -> Self {
        let next = |state: &mut State| {
            state.ask()?;
            Ok(std::mem::take(&mut state.head).into())
        };
        Self { exchange: exchange.clone(), next, piece: Bytes::new() }
    }

    /// The body.
    fn body(exchange: &Exchange) -> Self {
        Self { exchange: exchange.clone(), next: State::next, piece: Bytes::new() }
    }
}

impl BufRead for Part {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() {
            self.piece = (self.next)(&mut self.exchange.lock())?;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count.min(self.piece.len()));
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let count = piece.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
