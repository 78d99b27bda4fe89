//! TLS and proxies.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use zuwai::http::{HttpClient, HttpOptions, ProxyOptions, RootSources, Verification};
use zuwai::registry::{HostAuthority, Registry, RegistryError, RegistryOptions, TransportSecurity};
use zuwai::secret::Secret;

use super::{
    amd64, blob, http_options, layer, lines, noise, options, reference, small_image, with_config,
};
use crate::regsim::{Auth, Fault, RegSim, Rule};

/// A registry whose certificate for 127.0.0.1 is of an own authority.
pub struct Tls {
    pub sim: RegSim,
    directory: TempDir,
}

impl Tls {
    pub async fn start(auth: Auth) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, &authority_key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = own.signed_by(&key, &issuer).unwrap().pem();
        let sim = RegSim::start_tls(auth, &certificate, &key.serialize_pem()).await;
        small_image("linux", "amd64").put(&sim, "app", "v1");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority_pem).unwrap();
        Self { sim, directory }
    }

    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn trusting(&self) -> RegistryOptions {
        let certificates =
            vec![HostAuthority { host: self.sim.host(), certificate: self.authority() }];
        RegistryOptions { certificates, ..options() }
    }

    async fn resolve(
        &self,
        http: HttpOptions,
        options: RegistryOptions,
    ) -> Result<(), RegistryError> {
        let registry = Registry::new(&HttpClient::new(&http).unwrap(), options)?;
        registry.resolve(&reference(&self.sim, "app:v1"), &amd64()).await.map(|_| ())
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_advice() {
    let tls = Tls::start(Auth::None).await;
    let error = tls.resolve(http_options(), options()).await.unwrap_err();
    assert_eq!(
        lines(&error)[1..],
        [
            format!("TLS with `{}` failed", tls.sim.host()),
            "invalid peer certificate: UnknownIssuer".to_owned(),
        ]
    );
    assert_eq!(
        zuwai::report::fault::Fault::hint(&error).unwrap(),
        format!(
            "if the certificate is of an own authority, give it with \
             `--registry-certificate={}=/path/to/ca.pem`",
            tls.sim.host()
        )
    );
    assert_eq!(tls.sim.requests(), []);
}

#[tokio::test]
async fn an_authority_for_the_host_is_believed_for_that_host() {
    let (tls, other) = (Tls::start(Auth::None).await, Tls::start(Auth::None).await);
    tls.resolve(http_options(), tls.trusting()).await.unwrap();
    assert!(other.resolve(http_options(), tls.trusting()).await.is_err());
}

#[tokio::test]
async fn authorities_from_the_environment_are_believed_for_all() {
    let tls = Tls::start(Auth::None).await;
    let with = |roots: RootSources| HttpOptions { roots, ..http_options() };
    let file = RootSources { file: Some(tls.authority()), ..RootSources::default() };
    tls.resolve(with(file), options()).await.unwrap();
    let directories = vec![tls.directory.path().to_owned()];
    let directory = RootSources { directories, ..RootSources::default() };
    tls.resolve(with(directory), options()).await.unwrap();
    let system = RootSources { system_bundles: vec![tls.authority()], ..RootSources::default() };
    tls.resolve(with(system), options()).await.unwrap();
}

#[tokio::test]
async fn verification_can_be_skipped_for_a_host_or_a_direction() {
    let tls = Tls::start(Auth::None).await;
    let host = RegistryOptions { unverified_hosts: vec![tls.sim.host()], ..options() };
    tls.resolve(http_options(), host).await.unwrap();
    let skipped =
        TransportSecurity { verification: Verification::Skipped, ..TransportSecurity::default() };
    tls.resolve(http_options(), RegistryOptions { pull: skipped, ..options() }).await.unwrap();
    let push = RegistryOptions { push: skipped, ..options() };
    assert!(tls.resolve(http_options(), push).await.is_err());
}

#[tokio::test]
async fn certificates_are_read_before_they_are_needed() {
    let tls = Tls::start(Auth::None).await;
    let http = HttpClient::new(&http_options()).unwrap();
    let registry = Registry::new(&http, tls.trusting()).unwrap();
    std::fs::remove_file(tls.authority()).unwrap();
    registry.resolve(&reference(&tls.sim, "app:v1"), &amd64()).await.unwrap();
    let error = Registry::new(&http, tls.trusting()).map(|_| ()).unwrap_err();
    assert_eq!(
        lines(&error)[..2],
        [
            "cannot prepare access to registries".to_owned(),
            format!("cannot read `{}`", tls.authority().display()),
        ]
    );
}

#[tokio::test]
async fn https_is_never_left() {
    let canary = RegSim::start().await;
    let tls = Tls::start(Auth::None).await;
    let known = RegistryOptions { plain_http_hosts: vec![canary.host()], ..tls.trusting() };
    let http = HttpClient::new(&http_options()).unwrap();
    let registry = Registry::new(&http, known).unwrap();
    let target = canary.origin();
    tls.sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, target.clone())));
    let bytes = noise(100);
    let error = registry
        .pull_blob(&reference(&tls.sim, "app"), &layer(&bytes), &mut Vec::new())
        .await
        .unwrap_err();
    assert!(lines(&error)[1].ends_with("would leave https"), "{:?}", lines(&error));

    let location = Fault::Headers(vec![("location", format!("{target}/upload"))]);
    tls.sim.rule(Rule::new("POST", "/uploads/", location));
    let error = registry.push_blob(&reference(&tls.sim, "app"), &blob(bytes)).await.unwrap_err();
    assert!(lines(&error)[1].ends_with("upload location: it leaves https"), "{:?}", lines(&error));
    assert_eq!(canary.requests(), []);

    let tls = Tls::start(Auth::Bearer(Some(format!("{target}/token")))).await;
    let known = RegistryOptions { plain_http_hosts: vec![canary.host()], ..tls.trusting() };
    let error = tls.resolve(http_options(), known).await.unwrap_err();
    assert!(
        lines(&error)[1].ends_with("as its token server: it is not https"),
        "{:?}",
        lines(&error)
    );
    assert_eq!(canary.requests(), []);
}

#[tokio::test]
async fn a_registry_that_does_not_know_of_its_own_tls_is_put_right() {
    let tls = Tls::start(Auth::Basic("robot", "hunter2")).await;
    let session = tls.sim.session("app");
    let location = format!("http://{}/v2/app/blobs/uploads/{session}", tls.sim.host());
    tls.sim.rule(Rule::new("POST", "", Fault::Headers(vec![("location", location)])));
    let config = json!({"auths": {tls.sim.host(): {"username": "robot", "password": "hunter2"}}});
    let (_directory, registry) = with_config(&config, tls.trusting());
    let bytes = noise(1000);
    registry.push_blob(&reference(&tls.sim, "app"), &blob(bytes.clone())).await.unwrap();
    assert_eq!(tls.sim.blob("app", &snapshot::Digest::of(&bytes)), Some(bytes));
}

/// Answers CONNECT by connecting to `to`, and tells what was asked for.
pub async fn tunnel(to: String) -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, sender) = (to.clone(), sender.clone());
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    client.read_line(&mut line).await.unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push(line.trim().to_owned());
                }
                sender.send(head).unwrap();
                let mut server = TcpStream::connect(to).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn https_goes_through_a_proxys_tunnel_and_the_proxy_resolves_the_name() {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["r.example".to_owned()]).unwrap();
    let certificate = own.self_signed(&key).unwrap().pem();
    let sim = RegSim::start_tls(Auth::None, &certificate, &key.serialize_pem()).await;
    small_image("linux", "amd64").put(&sim, "app", "v1");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca.pem"), certificate).unwrap();
    let (proxy, mut asked) = tunnel(sim.host()).await;
    let proxies = ProxyOptions {
        https: Some(Secret::new(format!("http://me:word@{proxy}"))),
        ..ProxyOptions::default()
    };
    let roots =
        RootSources { file: Some(directory.path().join("ca.pem")), ..RootSources::default() };
    let http = HttpClient::new(&HttpOptions { proxies, roots, ..http_options() }).unwrap();
    let registry = Registry::new(&http, options()).unwrap();
    registry.resolve(&"r.example/app:v1".parse().unwrap(), &amd64()).await.unwrap();
    let head = asked.recv().await.unwrap();
    assert_eq!(head[0], "CONNECT r.example:443 HTTP/1.1");
    assert!(
        head.iter()
            .any(|line| line.eq_ignore_ascii_case("proxy-authorization: Basic bWU6d29yZA==")),
        "{head:?}"
    );
}

#[tokio::test]
async fn plain_http_goes_through_its_proxy_unless_the_host_is_excepted() {
    // To a proxy, the whole URL is sent; the scripted registry answers as if it were its own.
    let sim = RegSim::start().await;
    small_image("linux", "amd64").put(&sim, "app", "v1");
    let with = |no_proxy: &str| {
        let proxies = ProxyOptions {
            http: Some(Secret::new(sim.host())),
            no_proxy: Some(no_proxy.to_owned()),
            ..ProxyOptions::default()
        };
        let http = HttpClient::new(&HttpOptions { proxies, ..http_options() }).unwrap();
        let plain_http_hosts = vec!["r.internal".to_owned()];
        Registry::new(&http, RegistryOptions { plain_http_hosts, ..options() }).unwrap()
    };
    let image = "r.internal/app:v1".parse().unwrap();
    // https is tried first, directly, where the name is unknown.
    with("").resolve(&image, &amd64()).await.unwrap();
    assert_eq!(sim.requests()[0].header("host"), Some("r.internal"));
    let asked = sim.requests().len();
    let error = with("internal").resolve(&image, &amd64()).await.unwrap_err();
    assert!(lines(&error)[1].contains("cannot resolve `r.internal`"), "{:?}", lines(&error));
    assert_eq!(sim.requests().len(), asked);
}
