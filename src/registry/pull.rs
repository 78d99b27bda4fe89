//! Reading blobs as streams: verified, resumed where a connection broke, from any source that has them.

use std::io::Write;

use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, RANGE};
use snapshot::{Digest, Digester};

use super::Registry;
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
    /// Requests for the blob, redirects not counted.
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

    /// Brings a transfer to its end at one source, resuming what broke.
    pub(super) async fn transfer(
        &self,
        target: &Target,
        transfer: &mut Transfer<'_>,
    ) -> Result<(), Cause> {
        let mut backoff = Backoff::new(self.options.pull_retry);
        loop {
            let before = transfer.received;
            let error = match self.receive(target, transfer).await {
                Ok(()) => return transfer.verify(target.endpoint.host.as_str()),
                Err(error) => error,
            };
            backoff.progressed(transfer.received.saturating_sub(before));
            if !pause(&mut backoff, &error, target, &Method::GET).await {
                return Err(error);
            }
        }
    }

    /// Asks for what is still missing and receives it.
    async fn receive(&self, target: &Target, transfer: &mut Transfer<'_>) -> Result<(), Cause> {
        if transfer.received == transfer.size && transfer.stats.requests > 0 {
            return Ok(());
        }
        let host = target.endpoint.host.as_str();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let offset = transfer.received;
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(RANGE, range);
        }
        let scopes = Scopes::repository(&target.repository, "pull");
        let call = Call {
            target,
            method: Method::GET,
            url: self.transport.url(target, &format!("blobs/{}", transfer.expected)).await?,
            headers,
            body: None,
            scopes: &scopes,
        };
        transfer.stats.requests += 1;
        let mut response = self.fresh_redirect(&call).await?;
        check_encoding(&response, host)?;
        let skip = if response.status().as_u16() == 206 {
            check_range(&response, offset, transfer.size, host)?;
            transfer.stats.resumed += 1;
            0
        } else {
            // The range was ignored: the beginning comes again, and is passed over.
            transfer.check_size(response.content_length(), host)?;
            offset
        };
        let mut skip = skip;
        while let Some(chunk) = response.chunk().await? {
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            transfer.stats.bytes += length;
            let passed = skip.min(length);
            skip -= passed;
            let from = usize::try_from(passed).unwrap_or(usize::MAX);
            transfer.take(chunk.get(from..).unwrap_or_default(), host)?;
        }
        if transfer.received < transfer.size {
            // Closed in order, but early: as good as broken.
            return Err(crate::http::HttpError::ended_early(host).into());
        }
        Ok(())
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
    digester: Option<Digester>,
    stats: TransferStats,
}

impl<'a> Transfer<'a> {
    /// Starts with nothing received.
    pub(super) fn new(sink: &'a mut (dyn Write + Send), expected: Digest, size: u64) -> Self {
        let digester = Some(Digester::new());
        Self { sink, expected, size, received: 0, digester, stats: TransferStats::default() }
    }

    /// Takes the next bytes, never more than the descriptor promised.
    fn take(&mut self, bytes: &[u8], host: &str) -> Result<(), Cause> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
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
fn check_range(response: &Response, offset: u64, size: u64, host: &str) -> Result<(), Cause> {
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
