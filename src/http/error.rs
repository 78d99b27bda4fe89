//! What can go wrong below HTTP itself. A response of any status is not an error here.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::resolver::ResolveError;

/// Why a request got no response, or a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A proxy's URL cannot be parsed.
    #[error("cannot parse the proxy in `{variable}`")]
    ProxyUrl {
        /// The environment variable that holds it.
        variable: &'static str,
        /// What is wrong.
        #[source]
        source: url::ParseError,
    },
    /// A proxy of a kind that is not supported.
    #[error("proxy in `{variable}` is of kind `{scheme}`, not http or https")]
    ProxyKind {
        /// The environment variable that holds it.
        variable: &'static str,
        /// Its scheme.
        scheme: String,
    },
    /// A certificate or key file that the user named cannot be read.
    #[error("cannot read `{path}`")]
    ReadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A certificate or key file holds nothing usable.
    #[error("no {expected} in `{path}`")]
    NoCertificate {
        /// What was looked for.
        expected: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up with these certificates.
    #[error("cannot set up TLS with `{path}`")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// TLS cannot be set up at all.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The client cannot be made.
    #[error("cannot make an HTTP client")]
    Build(#[source] reqwest::Error),
    /// A broker's socket cannot be opened.
    #[error("cannot open the broker's socket `{path}`")]
    Broker {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// A broker does not let us in.
    #[error("the broker at `{path}` answered {status} instead of a ticket")]
    BrokerRefused {
        /// The socket.
        path: PathBuf,
        /// Its answer's status; 409 is that it serves another build.
        status: u16,
    },
    /// A server's URL leads to an address that it must not name.
    #[error("`{host}` leads to address {address}, which a server may not send us to")]
    AddressRefused {
        /// The URL's host.
        host: String,
        /// What it stands for.
        address: IpAddr,
    },
    /// A server's URL names a host that it must not name.
    #[error("`{host}` is a host that a server may not send us to")]
    HostRefused {
        /// The URL's host.
        host: String,
    },
    /// The name has no address.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: ResolveError,
    },
    /// The server's certificate is not accepted, or TLS failed in another way.
    #[error("TLS with `{host}` failed")]
    TlsHandshake {
        /// `host:port` of the server.
        host: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No connection.
    #[error("cannot connect to `{host}`")]
    Connect {
        /// `host:port` of the server.
        host: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The connection broke while a request or response was under way.
    #[error("connection to `{host}` broke")]
    Broken {
        /// `host:port` of the server.
        host: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Nothing came or went for too long.
    #[error("`{host}` was silent for {seconds} seconds")]
    Silent {
        /// `host:port` of the server.
        host: String,
        /// How long we waited.
        seconds: u64,
    },
    /// A body that is kept in memory is larger than it may be.
    #[error("response from `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// `host:port` of the server.
        host: String,
        /// The limit.
        limit: u64,
    },
    /// What was to be sent could not be read.
    #[error("cannot read what is to be sent to `{host}`")]
    Source {
        /// `host:port` of the server.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The innermost reason of a failed connection, without the layers that only say "error".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl HttpError {
    /// Returns whether trying again can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Silent { .. } => true,
            // It may be about to start, or about to be free.
            Self::Broker { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::BrokerRefused { status, .. } => *status == 409,
            Self::Resolve { source, .. } => source.is_temporary(),
            // A handshake cut short by a restarting server looks like a protocol error; one about
            // certificates will not change.
            Self::TlsHandshake { source, .. } => {
                matches!(source, rustls::Error::InvalidMessage(_) | rustls::Error::General(_))
            }
            Self::ProxyUrl { .. }
            | Self::ProxyKind { .. }
            | Self::ReadCertificate { .. }
            | Self::NoCertificate { .. }
            | Self::Certificate { .. }
            | Self::Tls(_)
            | Self::Build(_)
            | Self::AddressRefused { .. }
            | Self::HostRefused { .. }
            | Self::TooLarge { .. }
            | Self::Source { .. } => false,
        }
    }

    /// Makes the error for a body that was closed in order but before its end.
    pub fn ended_early(host: &str) -> Self {
        Self::Broken {
            host: host.to_owned(),
            source: Cause("it was closed before the end of the body".to_owned()),
        }
    }

    /// Returns whether the server never got to speak HTTP, so that another scheme may be tried (for
    /// which another proxy may resolve the name).
    pub fn is_connection_failure(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::TlsHandshake { .. } | Self::Resolve { .. })
    }

    /// Returns whether the server did speak TLS, but one side's certificate was not accepted.
    pub fn is_certificate_failure(&self) -> bool {
        use rustls::Error::{AlertReceived, InvalidCertificate};
        matches!(self, Self::TlsHandshake { source: InvalidCertificate(_) | AlertReceived(_), .. })
    }

    /// Sorts an error of reqwest into ours. `host` is `host:port` of the URL that was asked.
    pub(super) fn from_reqwest(host: &str, error: reqwest::Error) -> Self {
        // The URL may hold a signature, so it never stays in an error.
        let error = error.without_url();
        let host = host.to_owned();
        let mut link: Option<&(dyn StdError + 'static)> = Some(&error);
        let mut innermost = String::new();
        while let Some(current) = link {
            if let Some(refused) = current.downcast_ref::<super::resolver::Refused>() {
                return Self::AddressRefused {
                    host: refused.host.clone(),
                    address: refused.address,
                };
            }
            if let Some(resolve) = current.downcast_ref::<ResolveError>() {
                return Self::Resolve { host: resolve.host.clone(), source: resolve.clone() };
            }
            if let Some(tls) = find_rustls(current) {
                return Self::TlsHandshake { host, source: tls };
            }
            if let Some(read) = current.downcast_ref::<super::body::SourceError>() {
                return Self::Source { host, source: io::Error::new(read.kind, read.text.clone()) };
            }
            innermost = current.to_string();
            link = current.source();
        }
        let source = Cause(innermost);
        if error.is_connect() {
            Self::Connect { host, source }
        } else {
            Self::Broken { host, source }
        }
    }
}

/// Finds an error of rustls inside `io::Error`s, whose `source` skips the error they hold.
fn find_rustls(error: &(dyn StdError + 'static)) -> Option<rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls.clone());
    }
    find_rustls(error.downcast_ref::<io::Error>()?.get_ref()?)
}
