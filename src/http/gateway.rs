//! All requests of a client through one Unix socket, to a broker that alone talks to registries.
//!
//! The socket's inode is opened once: whoever can write to its directory later cannot put another
//! in its place. And the broker is claimed for this process: it gives a ticket to the one client
//! that holds a connection open for it, and does nothing for those without.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use rustix::fs::{FileType, Mode, OFlags};
use url::Url;

use super::address::Reach;
use super::client::{HttpClient, Outgoing};
use super::error::HttpError;
use super::response::Response;
use super::retry::{Backoff, RetryPolicy};

/// Where a broker is claimed. No registry has this name: it has no dot and no port.
const CLAIM: &str = "http://broker/claim";

/// A broker's socket, and the right to use it.
pub(super) struct Gateway {
    socket: OwnedFd,
    ticket: OnceLock<HeaderValue>,
    /// Never read further: the claim holds for as long as it is there.
    lease: Mutex<Option<Response>>,
}

impl Gateway {
    fn open(path: &Path) -> io::Result<Self> {
        let socket = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode);
        if kind != FileType::Socket {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket"));
        }
        Ok(Self { socket, ticket: OnceLock::new(), lease: Mutex::new(None) })
    }

    /// Returns the path that leads to the socket that was opened, whatever is at its own now.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.socket.as_raw_fd()))
    }

    /// Returns what shows that the broker is claimed, once it is.
    pub(super) fn ticket(&self) -> Option<HeaderValue> {
        self.ticket.get().cloned()
    }
}

impl HttpClient {
    /// Returns a client that sends everything through the broker at the socket `path`, which is
    /// claimed for as long as one of the client's clones lives. Waits for a broker that is not there
    /// yet, or that an earlier process still holds.
    ///
    /// # Errors
    /// When there is no broker, or it does not let us in.
    pub async fn through(&self, path: &Path, retry: RetryPolicy) -> Result<Self, HttpError> {
        let mut backoff = Backoff::new(retry);
        loop {
            let error = match self.claim(path).await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let Some(wait) = error.is_temporary().then(|| backoff.next_wait(None)).flatten() else {
                return Err(error);
            };
            tracing::debug!(path = %path.display(), %error, "broker is not there yet");
            tokio::time::sleep(wait).await;
        }
    }

    async fn claim(&self, path: &Path) -> Result<Self, HttpError> {
        let gateway = Gateway::open(path)
            .map_err(|source| HttpError::Broker { path: path.to_owned(), source })?;
        let gateway = Arc::new(gateway);
        let client = self.with_gateway(Arc::clone(&gateway));
        let url = Url::parse(CLAIM).expect("a constant URL parses");
        let mut response = client
            .send(Outgoing {
                method: Method::GET,
                url: &url,
                headers: HeaderMap::new(),
                body: None,
                trust: client.usual_trust(),
                reach: Reach::Anywhere,
            })
            .await?;
        let refused = |status| HttpError::BrokerRefused { path: path.to_owned(), status };
        let status = response.status().as_u16();
        if status != 200 {
            return Err(refused(status));
        }
        // The first piece is the ticket, and there is no second one.
        let ticket = response.chunk().await?.unwrap_or_default();
        let mut ticket = HeaderValue::from_bytes(&ticket).map_err(|_| refused(status))?;
        ticket.set_sensitive(true);
        let _ = gateway.ticket.set(ticket);
        *gateway.lease.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        Ok(client)
    }
}
