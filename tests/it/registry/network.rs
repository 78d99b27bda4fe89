//! Where requests and credentials may go: redirects, upload locations, token realms, plain HTTP.
//!
//! A canary is another server that must hear nothing, or nothing secret.

use serde_json::json;
use snapshot::Digest;
use zuwai::http::{HttpClient, HttpOptions, NameResolution};
use zuwai::registry::{
    CredentialOptions, PlainHttp, Registry, RegistryError, RegistryOptions, TransportSecurity,
};

use super::{
    amd64, blob, http_options, layer, lines, noise, options, reference, registry, small_image,
    with_config,
};
use crate::regsim::{Auth, Fault, RegSim, Rule};

fn login(sim: &RegSim) -> serde_json::Value {
    json!({"auths": {sim.host(): {"username": "robot", "password": "hunter2"}}})
}

/// Options in which the user wrote the canary down, so that servers may lead to it.
fn knowing(canary: &RegSim) -> RegistryOptions {
    RegistryOptions { plain_http_hosts: vec![canary.host()], ..options() }
}

async fn basic() -> RegSim {
    RegSim::start_with(Auth::Basic("robot", "hunter2")).await
}

async fn pull(
    sim: &RegSim,
    options: RegistryOptions,
    bytes: &[u8],
) -> Result<Vec<u8>, RegistryError> {
    let (_directory, registry) = with_config(&login(sim), options);
    let mut sink = Vec::new();
    registry.pull_blob(&reference(sim, "app"), &layer(bytes), &mut sink).await?;
    Ok(sink)
}

#[tokio::test]
async fn a_redirect_is_followed_without_credentials() {
    let (sim, storage) = (basic().await, RegSim::start().await);
    let bytes = noise(1000);
    storage.put_blob("store", &bytes);
    let target = format!("{}/v2/store/blobs/{}?signature=x", storage.origin(), Digest::of(&bytes));
    sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, target)));
    assert_eq!(pull(&sim, knowing(&storage), &bytes).await.unwrap(), bytes);
    let asked = storage.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].header("authorization"), asked[0].query.as_str()), (None, "signature=x"));
}

#[tokio::test]
async fn a_redirect_within_the_registry_keeps_credentials() {
    let sim = basic().await;
    let bytes = noise(1000);
    sim.put_blob("store", &bytes);
    let to = format!("/v2/store/blobs/{}", Digest::of(&bytes));
    sim.rule(Rule::new("GET", "/v2/app/", Fault::redirect(302, to)));
    assert_eq!(pull(&sim, options(), &bytes).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_server_cannot_send_us_to_addresses_of_this_machine_or_cloud() {
    let bytes = noise(1000);
    let canary = RegSim::start().await;
    let port = canary.host().rsplit_once(':').unwrap().1.to_owned();
    for (location, host, address) in [
        (canary.origin(), "127.0.0.1", "127.0.0.1"),
        (format!("http://localhost:{port}/"), "localhost", "127.0.0.1"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "::ffff:127.0.0.1", "::ffff:127.0.0.1"),
        (format!("http://0x7f000001:{port}/"), "127.0.0.1", "127.0.0.1"),
        (format!("http://0.0.0.0:{port}/"), "0.0.0.0", "0.0.0.0"),
        ("http://169.254.169.254/latest".into(), "169.254.169.254", "169.254.169.254"),
        ("http://10.0.0.1/".into(), "10.0.0.1", "10.0.0.1"),
    ] {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, location)));
        let error = pull(&sim, options(), &bytes).await.unwrap_err();
        assert_eq!(
            lines(&error)[1],
            format!("`{host}` leads to address {address}, which a server may not send us to")
        );
    }
    let sim = RegSim::start().await;
    let metadata = "http://metadata.google.internal/computeMetadata/v1/";
    sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, metadata)));
    let error = pull(&sim, options(), &bytes).await.unwrap_err();
    assert_eq!(
        lines(&error)[1],
        "`metadata.google.internal` is a host that a server may not send us to"
    );
    assert_eq!(canary.requests(), []);
}

/// A client for which `names` are in the hosts file.
fn with_hosts(names: &str, options: RegistryOptions) -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    std::fs::write(&hosts, names).unwrap();
    let name_resolution = NameResolution { resolv_conf: "/nonexistent".into(), hosts };
    let http = HttpClient::new(&HttpOptions { name_resolution, ..http_options() }).unwrap();
    (directory, Registry::new(&http, options).unwrap())
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_it_stands_for() {
    let bytes = noise(1000);
    let canary = RegSim::start().await;
    let port = canary.host().rsplit_once(':').unwrap().1.to_owned();
    let hosts = "169.254.169.254 innocent.example\n127.0.0.1 rebound.example\n";
    for (name, address) in
        [("innocent.example", "169.254.169.254"), ("rebound.example", "127.0.0.1")]
    {
        let sim = RegSim::start().await;
        let location = format!("http://{name}:{port}/");
        sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, location)));
        let (_directory, registry) = with_hosts(hosts, options());
        let error = registry
            .pull_blob(&reference(&sim, "app"), &layer(&bytes), &mut Vec::new())
            .await
            .unwrap_err();
        assert_eq!(
            lines(&error)[1],
            format!("`{name}` leads to address {address}, which a server may not send us to")
        );
    }
    assert_eq!(canary.requests(), []);
}

#[tokio::test]
async fn an_expired_signed_url_is_replaced_by_a_new_one() {
    let (sim, storage) = (RegSim::start().await, RegSim::start().await);
    let bytes = noise(1000);
    storage.put_blob("store", &bytes);
    let target = format!("{}/v2/store/blobs/{}", storage.origin(), Digest::of(&bytes));
    sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, target)));
    storage.rule(Rule::new("GET", "/blobs/", Fault::status(403)).times(1));
    assert_eq!(pull(&sim, knowing(&storage), &bytes).await.unwrap(), bytes);
    assert_eq!(sim.count("GET", "/blobs/"), 2);
}

#[tokio::test]
async fn a_storage_host_cannot_ask_for_credentials() {
    let (sim, storage) = (basic().await, RegSim::start().await);
    let bytes = noise(1000);
    let target = format!("{}/v2/store/blobs/x", storage.origin());
    sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, target)));
    let challenge = Fault::Answer {
        status: 401,
        headers: vec![("www-authenticate", r#"Basic realm="give""#.to_owned())],
        body: String::new(),
    };
    storage.rule(Rule::new("GET", "", challenge));
    let error = pull(&sim, knowing(&storage), &bytes).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(307, "again")));
    let error = pull(&sim, options(), &noise(10)).await.unwrap_err();
    assert!(lines(&error)[1].starts_with("more than 5 redirects"), "{:?}", lines(&error));
    assert_eq!(sim.count("GET", "/blobs/"), 6);
}

#[tokio::test]
async fn an_upload_location_elsewhere_gets_the_body_but_no_credentials() {
    let (sim, storage) = (basic().await, RegSim::start().await);
    let session = storage.session("store");
    let location = format!("{}/v2/store/blobs/uploads/{session}", storage.origin());
    let elsewhere = Fault::Headers(vec![("location", location)]);
    sim.rule(Rule::new("POST", "/uploads/", elsewhere.clone()));
    let bytes = noise(1000);
    let (_directory, registry) = with_config(&login(&sim), knowing(&storage));
    registry.push_blob(&reference(&sim, "app"), &blob(bytes.clone())).await.unwrap();
    assert_eq!(storage.blob("store", &Digest::of(&bytes)), Some(bytes.clone()));
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));

    let canary = RegSim::start().await;
    let sim = basic().await;
    let location = format!("{}/v2/store/blobs/uploads/1", canary.origin());
    sim.rule(Rule::new("POST", "", Fault::Headers(vec![("location", location)])));
    let (_directory, registry) = with_config(&login(&sim), options());
    let error = registry.push_blob(&reference(&sim, "app"), &blob(bytes)).await.unwrap_err();
    assert!(lines(&error)[1].contains("which a server may not send us to"), "{:?}", lines(&error));
    assert_eq!(canary.requests(), []);
}

#[tokio::test]
async fn an_upload_needs_a_location() {
    let check = async |location: &str, reason: &str| {
        let sim = RegSim::start().await;
        let odd = Fault::Headers(vec![("location", location.to_owned())]);
        sim.rule(Rule::new("POST", "/uploads/", odd));
        let error = registry(options()).check_push(&reference(&sim, "app")).await.unwrap_err();
        let expected = format!("`{}` gave no usable upload location: {reason}", sim.host());
        assert_eq!(lines(&error)[1], expected);
    };
    check("ftp://r.example/", "it is neither http nor https").await;
    check("http://[bad", "it is not a URL").await;
    let sim = RegSim::start().await;
    sim.rule(Rule::new("POST", "/uploads/", Fault::status(202)));
    let error = registry(options()).check_push(&reference(&sim, "app")).await.unwrap_err();
    assert!(lines(&error)[1].ends_with("upload location: there is none"), "{:?}", lines(&error));
}

async fn with_realm(realm: &str, options: RegistryOptions) -> Result<(), Vec<String>> {
    let sim = RegSim::start_with(Auth::Bearer(Some(realm.to_owned()))).await;
    small_image("linux", "amd64").put(&sim, "app", "v1");
    let (_directory, registry) = with_config(&login(&sim), options);
    registry
        .resolve(&reference(&sim, "app:v1"), &amd64())
        .await
        .map(|_| ())
        .map_err(|error| lines(&error).iter().map(|l| l.replace(&sim.host(), "HOST")).collect())
}

#[tokio::test]
async fn a_token_realm_elsewhere_gets_no_password_in_clear_text() {
    let canary = RegSim::start().await;
    let port = canary.host().rsplit_once(':').unwrap().1.to_owned();
    let realm = format!("http://localhost:{port}/token");
    let error = with_realm(&realm, options()).await.unwrap_err();
    assert_eq!(
        error[1],
        format!(
            "`HOST` names `{realm}` as its token server: another host is only trusted over https"
        )
    );
    // Another port of this machine is only reached if the user named it.
    let realm = format!("{}/token", canary.origin());
    let error = with_realm(&realm, options()).await.unwrap_err();
    assert!(error[1].ends_with("which a server may not send us to"), "{error:?}");
    let error = with_realm("file:///etc/passwd", options()).await.unwrap_err();
    assert!(error[1].ends_with("it is neither http nor https"), "{error:?}");
    let error = with_realm("https://169.254.169.254/token", options()).await.unwrap_err();
    assert!(error[1].ends_with("which a server may not send us to"), "{error:?}");
    assert_eq!(canary.requests(), []);
}

#[tokio::test]
async fn a_token_server_that_the_user_named_may_be_anywhere() {
    let tokens = RegSim::start().await;
    let realm = format!("{}/token", tokens.origin());
    // It gives tokens that the registry does not know, so the pull fails after asking it once.
    let error = with_realm(&realm, knowing(&tokens)).await.unwrap_err();
    assert!(error[1].contains("401 Unauthorized"), "{error:?}");
    assert_eq!(tokens.count("GET", "/token"), 1);
}

#[tokio::test]
async fn a_token_server_cannot_pass_us_on() {
    let canary = RegSim::start().await;
    let sim = RegSim::start_with(Auth::Bearer(None)).await;
    let location = format!("{}/token", canary.origin());
    sim.rule(Rule::new("GET", "/token", Fault::redirect(307, location)));
    let (_directory, registry) = with_config(&login(&sim), knowing(&canary));
    let error = registry.resolve(&reference(&sim, "app"), &amd64()).await.unwrap_err();
    assert!(
        lines(&error)[1].ends_with("a token server must not redirect to another host"),
        "{:?}",
        lines(&error)
    );
    assert_eq!(canary.requests(), []);
}

/// Resolves an image of a registry known under `name`, with credentials for it.
async fn by_name(
    name: &str,
    auth: Auth,
    change: impl Fn(&mut RegistryOptions, &str),
) -> Result<RegSim, (RegSim, RegistryError)> {
    let sim = RegSim::start_with(auth).await;
    small_image("linux", "amd64").put(&sim, "app", "v1");
    let port = sim.host().rsplit_once(':').unwrap().1.to_owned();
    let host = format!("{name}:{port}");
    let directory = tempfile::tempdir().unwrap();
    let config = json!({"auths": {&host: {"username": "robot", "password": "hunter2"}}});
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let mut options = options();
    options.credentials = CredentialOptions {
        directories: vec![directory.path().to_owned()],
        ..CredentialOptions::default()
    };
    change(&mut options, &host);
    let (_hosts, registry) = with_hosts(&format!("127.0.0.1 {name}\n"), options);
    let image = format!("{host}/app:v1").parse().unwrap();
    match registry.resolve(&image, &amd64()).await {
        Ok(_) => Ok(sim),
        Err(error) => Err((sim, error)),
    }
}

#[tokio::test]
async fn plain_http_needs_permission() {
    let plain = |_: &mut RegistryOptions, _: &str| {};
    let (sim, error) = match by_name("r.example", Auth::None, plain).await {
        Ok(_) => panic!("plain HTTP was used unasked"),
        Err(failed) => failed,
    };
    assert!(lines(&error)[1].starts_with("TLS with `r.example:"), "{:?}", lines(&error));
    let hint = zuwai::report::fault::Fault::hint(&error).unwrap();
    assert!(hint.contains("--insecure-registry=r.example:"), "{hint}");
    assert_eq!(sim.requests(), []);

    let listed = |options: &mut RegistryOptions, host: &str| {
        options.plain_http_hosts = vec![host.to_owned()];
    };
    assert!(by_name("r.example", Auth::Basic("robot", "hunter2"), listed).await.is_ok());
    let all = |options: &mut RegistryOptions, _: &str| {
        options.pull =
            TransportSecurity { plain_http: PlainHttp::Allowed, ..TransportSecurity::default() };
    };
    assert!(by_name("r.example", Auth::Basic("robot", "hunter2"), all).await.is_ok());
    let other_way = |options: &mut RegistryOptions, _: &str| {
        options.push =
            TransportSecurity { plain_http: PlainHttp::Allowed, ..TransportSecurity::default() };
    };
    assert!(by_name("r.example", Auth::None, other_way).await.is_err());
}

#[tokio::test]
async fn a_local_network_gets_plain_http_but_no_password() {
    let plain = |_: &mut RegistryOptions, _: &str| {};
    assert!(by_name("registry.local", Auth::None, plain).await.is_ok());
    let auth = Auth::Basic("robot", "hunter2");
    let (sim, error) = match by_name("registry.local", auth, plain).await {
        Ok(_) => panic!("a password went out in clear text"),
        Err(failed) => failed,
    };
    assert!(
        lines(&error)[1].contains("wants credentials but only speaks plain HTTP (used entry"),
        "{:?}",
        lines(&error)
    );
    assert!(sim.requests().iter().all(|request| request.header("authorization").is_none()));
}
