//! Reading blobs as streams: verified, resumed where a connection broke, from any source that has them.

use std::io::Write;
use std::ops::Range;
use std::time::Instant;

use futures_util::future::join;
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RANGE};
use snapshot::{Digest, Digester};

use super::Registry;
use super::ahead::Ahead;
use super::endpoint::Target;
use super::error::{Cause, RegistryError};
use super::manifest;
use super::scope::Scopes;
use super::transport::{Call, pause};
use crate::http::{Backoff, Response, write_blocking};
use crate::image::{Descriptor, Reference};

/// What one transfer cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferStats {
    /// Bytes of the blob that crossed the network, repeated ones included.
    pub bytes: u64,
    /// Requests for the blob or a part of it, redirects not counted.
    pub requests: u32,
    /// Requests that went on where an earlier one broke.
    pub resumed: u32,
}

impl Registry {
    /// Fetches a blob of `reference`'s repository into `sink`. When this returns, exactly the bytes
    /// that `descriptor` describes were written; on error, what was written must be thrown away.
    ///
    /// # Errors
    /// When no source has it, it is not what the descriptor says, or the sink fails.
    pub async fn pull_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        sink: &mut (dyn Write + Send),
    ) -> Result<TransferStats, RegistryError> {
        let action = format!("fetch blob `{}` of `{reference}`", descriptor.digest);
        let (digest, size) = match manifest::check_descriptor(reference.registry(), descriptor) {
            Ok(checked) => checked,
            Err(cause) => return Err(RegistryError::new(action, cause)),
        };
        let mut transfer = Transfer::new(sink, digest, size);
        let mut sources = self.sources(reference, action);
        while let Some(target) = sources.next() {
            match self.transfer(&target, &mut transfer).await {
                Ok(()) => return Ok(transfer.stats),
                // Once the sink has failed, or has taken wrong bytes, no other source can help.
                Err(cause @ (Cause::Sink { .. } | Cause::Digest { .. })) => {
                    return Err(sources.into_final(cause));
                }
                Err(cause) => sources.failed(&target, cause),
            }
        }
        Err(sources.into_error())
    }

    /// Fetches some bytes of a blob of `reference`'s repository. Whether they are the right ones is for
    /// the caller to find out.
    ///
    /// # Errors
    /// When no source has it, or none gives the part alone.
    pub async fn pull_part(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        span: Range<u64>,
    ) -> Result<Vec<u8>, RegistryError> {
        let action = format!("fetch a part of blob `{}` of `{reference}`", descriptor.digest);
        let (digest, size) = match manifest::check_descriptor(reference.registry(), descriptor) {
            Ok(checked) => checked,
            Err(cause) => return Err(RegistryError::new(action, cause)),
        };
        let mut sources = self.sources(reference, action);
        while let Some(target) = sources.next() {
            match self.part(&target, &digest, size, &span).await {
                Ok(bytes) => return Ok(bytes),
                Err(cause) => sources.failed(&target, cause),
            }
        }
        Err(sources.into_error())
    }

    async fn part(
        &self,
        target: &Target,
        digest: &Digest,
        size: u64,
        span: &Range<u64>,
    ) -> Result<Vec<u8>, Cause> {
        let host = target.endpoint.host.as_str();
        let mut response = self.ask(target, digest, span.start, Some(span.end)).await?;
        check_range(&response, span.start, size, host)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if length_of(&bytes) > span.end - span.start {
                break;
            }
        }
        match length_of(&bytes) == span.end - span.start {
            true => Ok(bytes),
            false => Err(crate::http::HttpError::ended_early(host).into()),
        }
    }

    /// Brings a transfer to its end at one source, resuming what broke.
    pub(super) async fn transfer(
        &self,
        target: &Target,
        transfer: &mut Transfer<'_>,
    ) -> Result<(), Cause> {
        let mut ahead = Ahead::new(self, target, transfer.expected, transfer.size);
        let mut backoff = Backoff::new(self.options.pull_retry);
        loop {
            let before = transfer.received;
            let error = match self.receive(target, transfer, &mut ahead).await {
                Ok(()) => return transfer.verify(target.endpoint.host.as_str()),
                Err(error) => error,
            };
            transfer.is_resuming = true;
            backoff.progressed(transfer.received.saturating_sub(before));
            if !pause(&mut backoff, &error, target, &Method::GET).await {
                return Err(error);
            }
        }
    }

    /// Takes what was fetched ahead, and asks for what is still missing and receives it.
    async fn receive(
        &self,
        target: &Target,
        transfer: &mut Transfer<'_>,
        ahead: &mut Ahead,
    ) -> Result<(), Cause> {
        let host = target.endpoint.host.as_str();
        while transfer.received < transfer.size || transfer.stats.requests == 0 {
            let Some(mut part) = ahead.take(transfer.received) else {
                self.receive_from_here(target, transfer, ahead).await?;
                continue;
            };
            transfer.stats.requests += ahead.fill(part.span.end);
            let bytes = part.received().await;
            transfer.stats.bytes += length_of(&bytes);
            transfer.take(&bytes, host)?;
            ahead.done_with(bytes);
            if transfer.received < part.span.end {
                ahead.has_failed();
                transfer.is_resuming = true;
            }
        }
        Ok(())
    }

    /// Asks for the next bytes, as many as make sense in one request, and receives them.
    async fn receive_from_here(
        &self,
        target: &Target,
        transfer: &mut Transfer<'_>,
        ahead: &mut Ahead,
    ) -> Result<(), Cause> {
        let host = target.endpoint.host.as_str();
        let start = transfer.received;
        let asked_end = ahead.end_of_request(start);
        let asked = Instant::now();
        // First, so that it gets the connection that is there.
        let expected = transfer.expected;
        let asking = self.ask(target, &expected, start, asked_end);
        let beside = async { asked_end.map_or(0, |end| ahead.fill(end)) };
        let (response, beside) = join(asking, beside).await;
        transfer.stats.requests += 1 + beside;
        let mut response = response?;
        let mut skip = 0;
        let end = if response.status().as_u16() == 206 {
            check_range(&response, start, transfer.size, host)?;
            if std::mem::take(&mut transfer.is_resuming) && start > 0 {
                transfer.stats.resumed += 1;
            }
            if let Some(end) = asked_end {
                ahead.is_served(asked.elapsed());
                transfer.stats.requests += ahead.fill(end);
            }
            asked_end.unwrap_or(transfer.size)
        } else {
            // The range was ignored: the beginning comes again, and is passed over.
            ahead.is_ignored();
            transfer.check_size(response.content_length(), host)?;
            skip = start;
            transfer.size
        };
        while let Some(chunk) = response.chunk().await? {
            let length = length_of(&chunk);
            transfer.stats.bytes += length;
            let passed = skip.min(length);
            skip -= passed;
            let from = usize::try_from(passed).unwrap_or(usize::MAX);
            let bytes = chunk.get(from..).unwrap_or_default();
            if end == transfer.size {
                transfer.take(bytes, host)?;
                continue;
            }
            // More than was asked for is fetched by somebody else.
            let left = usize::try_from(end - transfer.received).unwrap_or(usize::MAX);
            if bytes.len() > left {
                transfer.take(bytes.get(..left).unwrap_or_default(), host)?;
                break;
            }
            transfer.take(bytes, host)?;
        }
        if transfer.received < end {
            // Closed in order, but early: as good as broken.
            return Err(crate::http::HttpError::ended_early(host).into());
        }
        Ok(())
    }

    /// Asks for a blob's bytes from `start` on, up to `end` or to its own end.
    pub(super) async fn ask(
        &self,
        target: &Target,
        digest: &Digest,
        start: u64,
        end: Option<u64>,
    ) -> Result<Response, Cause> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let range = match end {
            Some(end) => Some(format!("bytes={start}-{}", end.saturating_sub(1))),
            None if start > 0 => Some(format!("bytes={start}-")),
            None => None,
        };
        if let Some(range) = range
            && let Ok(range) = HeaderValue::from_str(&range)
        {
            headers.insert(RANGE, range);
        }
        let scopes = Scopes::repository(&target.repository, "pull");
        let call = Call {
            target,
            method: Method::GET,
            url: self.transport.url(target, &format!("blobs/{digest}")).await?,
            headers,
            body: None,
            scopes: &scopes,
        };
        let asked = Instant::now();
        let response = self.fresh_redirect(&call).await?;
        target.endpoint.manners.has_answered(asked.elapsed());
        check_encoding(&response, target.endpoint.host.as_str())?;
        Ok(response)
    }

    /// Sends a blob request. A storage host that refuses a signed URL is given one more chance with
    /// a new one: they expire.
    async fn fresh_redirect(&self, call: &Call<'_>) -> Result<Response, Cause> {
        let reply = self.transport.exchange(call, None).await?;
        let elsewhere = *reply.response.url() != call.url;
        let reply = if elsewhere && matches!(reply.response.status().as_u16(), 400 | 401 | 403) {
            super::transport::drain(reply.response).await;
            self.transport.exchange(call, None).await?
        } else {
            reply
        };
        let expected: &[u16] = if call.headers.contains_key(RANGE) { &[200, 206] } else { &[200] };
        reply.accept(expected).await
    }
}

/// A blob on its way into a sink.
pub(super) struct Transfer<'a> {
    sink: &'a mut (dyn Write + Send),
    expected: Digest,
    size: u64,
    received: u64,
    /// Whether the next request goes on where another one broke.
    is_resuming: bool,
    digester: Option<Digester>,
    stats: TransferStats,
}

/// Bytes of a blob, the end not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl<'a> Transfer<'a> {
    /// Starts with nothing received.
    pub(super) fn new(sink: &'a mut (dyn Write + Send), expected: Digest, size: u64) -> Self {
        let digester = Some(Digester::new());
        let stats = TransferStats::default();
        Self { sink, expected, size, received: 0, is_resuming: false, digester, stats }
    }

    /// Takes the next bytes, never more than the descriptor promised.
    fn take(&mut self, bytes: &[u8], host: &str) -> Result<(), Cause> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = length_of(bytes);
        let total = self.received.saturating_add(length);
        if total > self.size {
            return Err(self.wrong_size(total, host));
        }
        if let Some(digester) = &mut self.digester {
            digester.update(bytes);
        }
        write_blocking(self.sink, bytes)
            .map_err(|source| Cause::Sink { host: host.to_owned(), source })?;
        self.received = total;
        Ok(())
    }

    fn verify(&mut self, host: &str) -> Result<(), Cause> {
        let Some(digester) = self.digester.take() else { return Ok(()) };
        let actual = digester.finish();
        if actual != self.expected {
            return Err(Cause::Digest {
                host: host.to_owned(),
                what: "a blob".to_owned(),
                expected: self.expected.to_string(),
                actual: actual.to_string(),
            });
        }
        Ok(())
    }

    fn check_size(&self, announced: Option<u64>, host: &str) -> Result<(), Cause> {
        match announced {
            Some(announced) if announced != self.size => Err(self.wrong_size(announced, host)),
            _ => Ok(()),
        }
    }

    fn wrong_size(&self, actual: u64, host: &str) -> Cause {
        Cause::Size {
            host: host.to_owned(),
            what: format!("blob `{}`", self.expected),
            expected: self.size,
            actual,
        }
    }
}

/// We ask for bytes as they are; a proxy that compresses them would break digest and size.
pub(super) fn check_encoding(response: &Response, host: &str) -> Result<(), Cause> {
    match response.header("content-encoding") {
        None | Some("identity" | "") => Ok(()),
        Some(other) => Err(Cause::Content {
            host: host.to_owned(),
            what: "a response",
            reason: format!("it is encoded as `{other}`, which was not asked for"),
        }),
    }
}

/// Checks that a partial answer is the part that was asked for.
pub(super) fn check_range(
    response: &Response,
    offset: u64,
    size: u64,
    host: &str,
) -> Result<(), Cause> {
    let wrong = |shown: &str| Cause::Content {
        host: host.to_owned(),
        what: "a partial answer",
        reason: format!("its range is `{shown}`, not from byte {offset} of {size}"),
    };
    let text = response.header("content-range").unwrap_or_default();
    let parsed = text.strip_prefix("bytes ").and_then(|range| {
        let (span, total) = range.split_once('/')?;
        let (first, _) = span.split_once('-')?;
        let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
        Some((first.parse::<u64>().ok()?, total))
    });
    match parsed {
        Some((first, total)) if first == offset && total.is_none_or(|total| total == size) => {
            Ok(())
        }
        _ => Err(wrong(text)),
    }
}
