//! The one HTTP client: TLS roots, client certificates, proxies, resolver, redaction, retry.
//!
//! Used by `registry`, `context` and ADD of URLs; must not know what travels through it, and reads
//! no environment: everything that a user can set arrives in [`HttpOptions`].
//!
//! The idea to hold in mind: a build may replace the root file system under the running program, so
//! every file that a connection needs (certificates, `resolv.conf`, `hosts`) is read once, in
//! [`HttpClient::new`] and [`HttpClient::trust`]. After that nothing is looked up on disk, and a
//! name that cannot be resolved with what was read is an error, never a guess.

mod address;
mod body;
mod client;
mod download;

mod error;
mod gateway;
mod hosts;
mod options;
mod origin;
mod proxy;
mod redact;
mod redirect;
mod resolver;
mod response;
mod retry;
mod roots;
mod said;
mod sink;
mod traffic;
mod trust;

pub use address::Reach;
pub use body::OutgoingBody;
pub use client::{HttpClient, Outgoing};

pub use download::{Download, DownloadError, Downloaded};
pub use error::HttpError;
pub use options::{HttpOptions, NameResolution, ProxyOptions, RootSources, Timeouts};
pub use origin::Origin;
pub use redact::redact;
pub use redirect::{RedirectError, is_redirect, redirect_target};
pub use response::Response;
pub use retry::{Backoff, RetryPolicy, is_temporary_status, retry_after};
pub use said::{SAID_CHARACTERS, said};
pub use sink::write_blocking;
pub use traffic::Traffic;
pub use trust::{ClientCertificate, Trust, TrustRequest, Verification};
