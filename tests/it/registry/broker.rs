//! What goes through `zuwai broker`, and what does not.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;
use zuwai::http::{HttpClient, Outgoing, Reach, Response, RetryPolicy};
use zuwai::registry::{PushedBlob, Registry};

use super::{
    OCI_MANIFEST, amd64, blob, build, http_options, layer, lines, noise, options, reference,
    small_image,
};
use crate::regsim::{Auth, Fault, RegSim, Rule};

/// Tries until a broker is there, or free.
const PATIENT: RetryPolicy = RetryPolicy {
    retries: 10_000,
    first_wait: Duration::from_millis(1),
    longest_wait: Duration::from_millis(10),
    longest_retry_after: Duration::ZERO,
    progress_bytes: 1 << 20,
};

const PASSWORD: &str = "hunter2-of-the-broker";

/// A broker, as a sidecar has it: with files of its own, of which builds see the directory of the
/// socket alone.
pub struct Broker {
    child: Child,
    folder: TempDir,
}

impl Broker {
    /// Starts one with a `config.json` and flags.
    pub fn start(config: &Value, flags: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docker")).unwrap();
        fs::create_dir(folder.path().join("socket")).unwrap();
        fs::write(folder.path().join("docker/config.json"), config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_zuwai"))
            .args(["broker", "--log-format=text", "--verbosity=debug"])
            .arg(format!("--listen={}", folder.path().join("socket/broker").display()))
            .args(flags)
            .env_clear()
            .env("DOCKER_CONFIG", folder.path().join("docker"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Returns the directory of the socket, which is called `broker` there.
    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn socket(&self) -> PathBuf {
        self.directory().join("broker")
    }

    /// Returns a client that has claimed it.
    async fn client(&self) -> HttpClient {
        let http = HttpClient::new(&http_options()).unwrap();
        http.through(&self.socket(), PATIENT).await.unwrap()
    }

    /// Ends it as a kubelet does, and returns what it said.
    pub fn end(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(status.success(), "{status} {log}");
        log
    }
}

impl Drop for Broker {
    /// A test that failed, or that does not ask what was said, leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A registry that gives tokens to one user, and the broker before it.
async fn sim_and_broker(flags: &[&str]) -> (RegSim, Broker) {
    let sim = RegSim::start_with(Auth::Bearer(None)).await;
    sim.policy(|policy| policy.user = Some(("user", PASSWORD)));
    let config = json!({"auths": {sim.host(): {"username": "user", "password": PASSWORD}}});
    let flags = flags.iter().map(|flag| flag.replace("HOST", &sim.host()));
    let broker = Broker::start(&config, &flags.collect::<Vec<_>>());
    (sim, broker)
}

async fn send(client: &HttpClient, method: Method, url: &str) -> Response {
    let url = Url::parse(url).unwrap();
    let (trust, reach) = (client.usual_trust(), Reach::Anywhere);
    let outgoing =
        Outgoing { method, url: &url, headers: HeaderMap::new(), body: None, trust, reach };
    client.send(outgoing).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_credentials_pulls_and_pushes_through_a_broker() {
    let storage = RegSim::start().await;
    let known = format!("--insecure-registry={}", storage.host());
    let flags = ["--allow-pull=HOST/base", "--allow-push=HOST/app:v1", &known];
    let (sim, broker) = sim_and_broker(&flags).await;
    let image = small_image("linux", "amd64");
    image.put(&sim, "base", "1");
    // The layer is elsewhere, behind a signed URL that only the broker learns.
    let digest = storage.put_blob("x", &image.layer);
    let elsewhere = format!("{}/v2/x/blobs/{digest}?signature=s3cret", storage.origin());
    let path = format!("/v2/base/blobs/{digest}");
    sim.rule(Rule::new("GET", path, Fault::redirect(307, elsewhere)));

    let client = broker.client().await;
    let registry = Registry::new(&client, options()).unwrap();
    let base = reference(&sim, "base:1");
    registry.resolve(&base, &amd64()).await.unwrap();
    let mut pulled = Vec::new();
    registry.pull_blob(&base, &layer(&image.layer), &mut pulled).await.unwrap();
    assert_eq!(pulled, image.layer);

    let app = reference(&sim, "app:v1");
    registry.check_push(&app).await.unwrap();
    let large = noise(700_000);
    for bytes in [&image.config, &image.layer, &large] {
        registry.push_blob(&app, &blob(bytes.clone())).await.unwrap();
    }
    let again = registry.push_blob(&app, &blob(large.clone())).await.unwrap();
    assert_eq!(again, PushedBlob::Existed);
    registry.push_manifest(&app, OCI_MANIFEST, &image.manifest).await.unwrap();
    assert_eq!(sim.blob("app", &snapshot::Digest::of(&large)), Some(large));
    assert_eq!(sim.manifest("app", "v1"), Some(image.manifest));
    assert_eq!(sim.open_sessions(), 0);
    assert!(storage.requests().iter().all(|one| one.header("authorization").is_none()));
    let log = broker.end();
    assert!(!log.contains(PASSWORD) && !log.contains("token-") && !log.contains("s3cret"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused_by_the_broker_itself() {
    let (sim, broker) =
        sim_and_broker(&["--allow-pull=HOST/base", "--allow-push=HOST/app:v1"]).await;
    let client = broker.client().await;
    let registry = Registry::new(&client, options()).unwrap();
    let other = registry.check_push(&reference(&sim, "other:v1")).await.unwrap_err();
    let denied = format!("DENIED: the broker does not allow writes to `{}/other`", sim.host());
    assert!(lines(&other)[1].ends_with(&denied), "{:?}", lines(&other));
    let tag = reference(&sim, "app:v2");
    let tag = registry.push_manifest(&tag, OCI_MANIFEST, b"{}").await.unwrap_err();
    assert_eq!(tag.status(), Some(403));
    let read = registry.resolve(&reference(&sim, "secret:1"), &amd64()).await.unwrap_err();
    assert_eq!(read.status(), Some(403));
    assert_eq!(sim.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_nothing_that_is_the_brokers_own() {
    let (sim, broker) = sim_and_broker(&["--allow-push=HOST/app"]).await;
    let client = broker.client().await;
    let url = format!("http://{}/v2/app/blobs/uploads/", sim.host());
    let extra = vec![("set-cookie", "session=s3cret".to_owned())];
    sim.rule(Rule::new("POST", "/uploads/", Fault::Headers(extra)));
    let response = send(&client, Method::POST, &url).await;
    assert_eq!(response.status().as_u16(), 202);
    let names: Vec<&str> = response.headers().keys().map(|name| name.as_str()).collect();
    let harmless =
        ["content-length", "date", "docker-distribution-api-version", "location", "range"];
    assert!(names.iter().all(|name| harmless.contains(name)), "{names:?}");
    let name = response.header("location").unwrap();
    let name = name.strip_prefix("/v2/app/blobs/uploads/").unwrap();
    assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");

    // What a registry repeats of a token is not passed back.
    sim.rule(Rule::new("PUT", "/manifests/", Fault::Echo));
    let registry = Registry::new(&client, options()).unwrap();
    let app = reference(&sim, "app:v1");
    let error = registry.push_manifest(&app, OCI_MANIFEST, b"{}").await.unwrap_err();
    assert!(lines(&error)[1].ends_with("DENIED: you said Bearer ***"), "{:?}", lines(&error));

    // The upload that nobody will go on with is cancelled.
    assert_eq!(sim.open_sessions(), 1);
    broker.end();
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_serves_one_build_at_a_time() {
    let (sim, broker) = sim_and_broker(&["--allow-push=HOST/app"]).await;
    let first = broker.client().await;
    let http = HttpClient::new(&http_options()).unwrap();
    let once = RetryPolicy { retries: 0, ..PATIENT };
    let refused = http.through(&broker.socket(), once).await.err().unwrap();
    let socket = broker.socket();
    let answer = format!("the broker at `{}` answered 409 instead of a ticket", socket.display());
    assert_eq!(refused.to_string(), answer);
    let upload = format!("http://{}/v2/app/blobs/uploads/", sim.host());
    let started = send(&first, Method::POST, &upload).await;
    let location = started.header("location").unwrap().to_owned();
    drop((started, first));
    // Free again, and what the first has begun is not the second's.
    let second = broker.client().await;
    let foreign = format!("http://{}{location}", sim.host());
    assert_eq!(send(&second, Method::DELETE, &foreign).await.status().as_u16(), 404);
    broker.end();
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_needs_nothing_but_the_broker() {
    let (sim, broker) =
        sim_and_broker(&["--allow-pull=HOST/base", "--allow-push=HOST/app:v1"]).await;
    build::base().put(&sim, "base", "1");
    let ended = build::Build::from(&format!("{}/base:1", sim.host()))
        .arg(format!("--registry-broker={}", broker.socket().display()))
        .to(format!("{}/app:v1", sim.host()))
        .run()
        .await;
    ended.works();
    assert!(sim.manifest("app", "v1").is_some(), "{}", ended.text);
    broker.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_cache_is_used_through_a_broker() {
    let allowed =
        ["--allow-pull=HOST/base", "--allow-push=HOST/app:v1", "--allow-push=HOST/layers"];
    let (sim, broker) = sim_and_broker(&allowed).await;
    build::base().put(&sim, "base", "1");
    let build = |cache: &str| {
        build::Build::from("nothing")
            .dockerfile(&format!("FROM {}/base:1\nCOPY hosts /one\nCOPY hosts /two\n", sim.host()))
            .arg(format!("--registry-broker={}", broker.socket().display()))
            .arg("--reproducible")
            .arg("--cache")
            .arg("--cache-copy-layers")
            .arg(format!("--cache-repo={}/{cache}", sim.host()))
            .to(format!("{}/app:v1", sim.host()))
    };
    let hits = |text: &str| text.matches("Using caching version of cmd: ").count();
    let warnings = |text: &str| text.matches("level=warn").count();
    let ended = build("layers").run().await;
    ended.works();
    assert_eq!((hits(&ended.text), warnings(&ended.text)), (0, 0), "{}", ended.text);
    let first = sim.manifest("app", "v1").unwrap();
    let ended = build("layers").run().await;
    ended.works();
    assert_eq!((hits(&ended.text), warnings(&ended.text)), (2, 0), "{}", ended.text);
    assert_eq!(sim.manifest("app", "v1"), Some(first.clone()));

    // A cache that the broker does not allow is told of, and costs no more.
    let ended = build("elsewhere").run().await;
    ended.works();
    assert_eq!((hits(&ended.text), warnings(&ended.text)), (0, 1), "{}", ended.text);
    assert!(ended.text.contains("the broker does not allow"), "{}", ended.text);
    assert_eq!(sim.manifest("app", "v1"), Some(first));
    assert!(sim.requests().iter().all(|one| !one.path.contains("elsewhere")));
    broker.end();
    assert_eq!(sim.open_sessions(), 0);
}
