//! What the client is made from. No defaults that name paths: `cli` knows those.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// Everything that decides how connections are made.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// Where certificate authorities come from.
    pub roots: RootSources,
    /// Proxies, as the environment named them.
    pub proxies: ProxyOptions,
    /// Files that turn names into addresses.
    pub name_resolution: NameResolution,
    /// How long to wait for a sign of life.
    pub timeouts: Timeouts,
}

/// Where certificate authorities come from; all of them count, and an embedded set besides.
#[derive(Clone, Debug, Default)]
pub struct RootSources {
    /// A PEM bundle that the user named (`SSL_CERT_FILE`).
    pub file: Option<PathBuf>,
    /// Directories of PEM files that the user named (`SSL_CERT_DIR`).
    pub directories: Vec<PathBuf>,
    /// The system's usual bundles; the first that exists is read.
    pub system_bundles: Vec<PathBuf>,
}

/// Proxies, with the meaning that Go's HTTP client gives the environment.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// For `http://` URLs (`HTTP_PROXY`).
    pub http: Option<Secret>,
    /// For `https://` URLs (`HTTPS_PROXY`).
    pub https: Option<Secret>,
    /// Hosts reached directly, comma-separated (`NO_PROXY`).
    pub no_proxy: Option<String>,
}

/// Files that turn names into addresses, read when the client is made.
#[derive(Clone, Debug)]
pub struct NameResolution {
    /// The resolver's configuration, usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// Static names, usually `/etc/hosts`.
    pub hosts: PathBuf,
}

/// How long to wait for a sign of life. There is no limit on a whole transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// From the end of a request to the first byte of its response.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            first_byte: Duration::from_secs(60),
            stall: Duration::from_secs(60),
        }
    }
}
