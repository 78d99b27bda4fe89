//! Makes connections; one reqwest client per class of connection, cached.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use tower::util::MapRequestLayer;
use url::Url;

use super::address::{Reach, is_private};
use super::body::{OutgoingBody, Progress, watch};
use super::error::HttpError;
use super::gateway::Gateway;
use super::options::{HttpOptions, Timeouts};
use super::origin::host_text;
use super::proxy::Proxies;
use super::resolver::{FilteredLookup, NameLookup};
use super::response::Response;
use super::roots;
use super::traffic::{Traffic, TrafficCounter};
use super::trust::{Trust, TrustRequest};

/// The factory and cache of all HTTP connections; cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    user_agent: String,
    timeouts: Timeouts,
    proxies: Proxies,
    names: Arc<NameLookup>,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    usual_trust: Trust,
    clients: Mutex<HashMap<(usize, Reach), (Trust, reqwest::Client)>>,
    traffic: Arc<TrafficCounter>,
    /// What everything goes through, if not to its own host.
    gateway: Option<Arc<Gateway>>,
}

/// One request. It is sent as it is: no redirect is followed, nothing is tried again.
pub struct Outgoing<'a> {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: &'a Url,
    /// Headers beside those of the client.
    pub headers: HeaderMap,
    /// The body, if there is one.
    pub body: Option<OutgoingBody>,
    /// What to believe and show.
    pub trust: &'a Trust,
    /// Which addresses may be dialed.
    pub reach: Reach,
}

impl HttpClient {
    /// Reads every file that `options` names and prepares connections.
    ///
    /// # Errors
    /// When a proxy's URL cannot be used or TLS cannot be set up. Missing files are no error here.
    pub fn new(options: &HttpOptions) -> Result<Self, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots::load(&options.roots));
        let usual_trust = Trust::load(&provider, &roots, &TrustRequest::default())?;
        Ok(Self {
            inner: Arc::new(Inner {
                user_agent: options.user_agent.clone(),
                timeouts: options.timeouts,
                proxies: Proxies::new(&options.proxies)?,
                names: Arc::new(NameLookup::new(&options.name_resolution)),
                provider,
                roots,
                usual_trust,
                clients: Mutex::new(HashMap::new()),
                traffic: Arc::default(),
                gateway: None,
            }),
        })
    }

    /// Returns a client with the same settings and counters that sends everything elsewhere.
    pub(super) fn with_gateway(&self, gateway: Arc<Gateway>) -> Self {
        let own = &self.inner;
        Self {
            inner: Arc::new(Inner {
                user_agent: own.user_agent.clone(),
                timeouts: own.timeouts,
                proxies: Proxies::default(),
                names: Arc::clone(&own.names),
                provider: Arc::clone(&own.provider),
                roots: Arc::clone(&own.roots),
                usual_trust: own.usual_trust.clone(),
                clients: Mutex::new(HashMap::new()),
                traffic: Arc::clone(&own.traffic),
                gateway: Some(gateway),
            }),
        }
    }

    /// Returns whether everything goes through a broker, which speaks plain HTTP for every host.
    pub fn has_gateway(&self) -> bool {
        self.inner.gateway.is_some()
    }

    /// Reads the files of `request` now, so that they may vanish later.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should.
    pub fn trust(&self, request: &TrustRequest) -> Result<Trust, HttpError> {
        if *request == TrustRequest::default() {
            return Ok(self.inner.usual_trust.clone());
        }
        Trust::load(&self.inner.provider, &self.inner.roots, request)
    }

    /// Returns the trust in public and configured authorities, with nothing to show.
    pub fn usual_trust(&self) -> &Trust {
        &self.inner.usual_trust
    }

    /// Returns how much was asked of the network so far.
    pub fn traffic(&self) -> Traffic {
        self.inner.traffic.now()
    }

    /// Returns how long sides wait for each other.
    pub fn timeouts(&self) -> Timeouts {
        self.inner.timeouts
    }

    /// Returns whether `url`'s host is, or may resolve to, a private address. Behind a proxy only
    /// literal addresses are known.
    pub async fn is_private(&self, url: &Url) -> bool {
        let Some(host) = host_text(url) else { return false };
        if let Ok(address) = host.parse::<IpAddr>() {
            return is_private(address);
        }
        if self.inner.proxies.for_url(url).is_some() {
            return false;
        }
        match self.inner.names.lookup(&host).await {
            Ok(addresses) => addresses.into_iter().any(is_private),
            Err(error) => {
                tracing::debug!(host, %error, "cannot tell whether the host is private");
                false
            }
        }
    }

    /// Sends one request and waits for the head of its response.
    ///
    /// The first byte must come within [`Timeouts::first_byte`]; while a stream is sent,
    /// [`Timeouts::stall`] applies instead to each piece that the network takes, but not to pieces
    /// that we are slow to make.
    ///
    /// # Errors
    /// When there is no response. A response of any status is a success here.
    pub async fn send(&self, outgoing: Outgoing<'_>) -> Result<Response, HttpError> {
        let host = authority(outgoing.url);
        self.check_reach(outgoing.url, outgoing.reach)?;
        let client = self.client(outgoing.trust, outgoing.reach)?;
        let mut headers = outgoing.headers;
        if let Some(ticket) = self.inner.gateway.as_ref().and_then(|gateway| gateway.ticket()) {
            headers.insert(AUTHORIZATION, ticket);
        }
        let mut request = client.request(outgoing.method, outgoing.url.clone()).headers(headers);
        let progress = match outgoing.body {
            None => Progress::finished(),
            Some(OutgoingBody::Bytes(bytes)) => {
                request = request.body(bytes);
                Progress::finished()
            }
            Some(OutgoingBody::Stream { length, pieces }) => {
                let (body, progress) = watch(pieces);
                if let Some(length) = length {
                    request = request.header(CONTENT_LENGTH, length);
                }
                request = request.body(body);
                progress
            }
        };
        let timeouts = self.inner.timeouts;
        self.inner.traffic.count_request();
        tokio::select! {
            response = request.send() => match response {
                Ok(response) => Ok(Response::new(response, host, timeouts.stall)),
                Err(error) => Err(HttpError::from_reqwest(&host, error)),
            },
            waited = progress.silence(timeouts) => Err(silent(host, waited)),
        }
    }

    /// Literal addresses never reach the resolver, and a proxy resolves names for us.
    fn check_reach(&self, url: &Url, reach: Reach) -> Result<(), HttpError> {
        let host = host_text(url).unwrap_or_default();
        if !reach.allows_name(&host) {
            return Err(HttpError::HostRefused { host });
        }
        let proxied = self.inner.proxies.for_url(url).is_some();
        match host.parse::<IpAddr>() {
            Ok(address) if !reach.allows(address) => {
                Err(HttpError::AddressRefused { host, address })
            }
            Err(_) if proxied && (host == "localhost" || host.ends_with(".localhost")) => {
                match reach {
                    Reach::Anywhere | Reach::AllButMetadata => Ok(()),
                    Reach::PublicAndPrivate | Reach::PublicOnly => {
                        Err(HttpError::HostRefused { host })
                    }
                }
            }
            _ => Ok(()),
        }
    }

    fn client(&self, trust: &Trust, reach: Reach) -> Result<reqwest::Client, HttpError> {
        // The address identifies the trust for as long as the cache holds a clone of it.
        let key = (Arc::as_ptr(&trust.config).addr(), reach);
        // Nothing is half-done while the lock is held, so a poisoned map is as good as any.
        let mut clients = self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.get(&key) {
            return Ok(client.clone());
        }
        let proxies = self.inner.proxies.clone();
        let lookup =
            FilteredLookup::new(Arc::clone(&self.inner.names), reach, self.inner.proxies.hosts());
        let traffic = Arc::clone(&self.inner.traffic);
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.inner.user_agent)
            .no_proxy()
            .proxy(reqwest::Proxy::custom(move |url| proxies.for_url(url).cloned()))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .dns_resolver(Arc::new(lookup))
            .tls_backend_preconfigured(ClientConfig::clone(&trust.config))
            .connect_timeout(self.inner.timeouts.connect)
            .connector_layer(MapRequestLayer::new(move |destination| {
                traffic.count_connection();
                destination
            }))
            // Shorter than any load balancer's: an upload cannot be repeated by the client when
            // the idle connection it was sent on turns out to be closed.
            .pool_idle_timeout(Duration::from_secs(15))
            .tcp_keepalive(Duration::from_secs(30));
        if let Some(gateway) = &self.inner.gateway {
            builder = builder.unix_socket(gateway.path());
        }
        let client = builder.build().map_err(HttpError::Build)?;
        clients.insert(key, (trust.clone(), client.clone()));
        Ok(client)
    }
}

/// Returns `host:port` for messages.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Makes the error for a silence of `waited`.
pub(super) fn silent(host: String, waited: Duration) -> HttpError {
    HttpError::Silent { host, seconds: waited.as_secs() }
}
