//! The flags and variables about registries, each with a build that goes otherwise without it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use snapshot::Digest;
use tempfile::TempDir;
use zuwai::image::descriptor;

use super::trust::Tls;
use super::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, SmallImage};
use crate::regsim::{Auth, Fault, RegSim, Rule};
use crate::skip::is_root;

/// The name by which builds know this machine where loopback would have privileges.
const NAME: &str = "registry.example";

/// An image with one empty layer, which a build can unpack.
fn base() -> SmallImage {
    let tar = vec![0; 1024];
    let mut layer = GzEncoder::new(Vec::new(), Compression::fast());
    layer.write_all(&tar).unwrap();
    let layer = layer.finish().unwrap();
    let config = json!({
        "architecture": match std::env::consts::ARCH { "aarch64" => "arm64", _ => "amd64" },
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar).to_string()]},
        "history": [{"created_by": "base"}],
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &Digest::of(&config), config.len() as u64),
        "layers": [descriptor(OCI_LAYER, &Digest::of(&layer), layer.len() as u64)],
    });
    SmallImage { config, layer, manifest: serde_json::to_vec(&manifest).unwrap() }
}

/// A build of one line upon a base.
struct Build {
    folder: TempDir,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

struct Ended {
    success: bool,
    text: String,
}

/// Returns the port of a scripted registry.
fn port(sim: &RegSim) -> String {
    sim.host().rsplit_once(':').unwrap().1.to_owned()
}

impl Build {
    fn from(base: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = format!("FROM {base}\nLABEL made=here\n");
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        std::fs::write(folder.path().join("hosts"), format!("127.0.0.1 localhost {NAME}\n"))
            .unwrap();
        Self { folder, arguments: Vec::new(), variables: BTreeMap::new() }
    }

    fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn to(self, destination: impl Into<String>) -> Self {
        let destination: String = destination.into();
        self.arg(format!("--destination={destination}"))
    }

    fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Writes a `config.json` and names its folder in `DOCKER_CONFIG`.
    fn config(self, config: &serde_json::Value) -> Self {
        let folder = self.folder.path().join("docker");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        self.env("DOCKER_CONFIG", folder.to_str().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs the build with our hosts file, in a mount namespace of its own.
    async fn run(self) -> Ended {
        let folder = self.folder;
        let script = "mount --bind \"$0/hosts\" /etc/hosts && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation=private", "sh", "-c", script])
            .arg(folder.path())
            .arg(env!("CARGO_BIN_EXE_zuwai"))
            .args(["build", "--log-format=text", "--context"])
            .arg(folder.path())
            .arg("--kaniko-dir")
            .arg(folder.path().join("work"))
            .args(self.arguments)
            // A Dockerfile in the current directory would win over the context's.
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.variables)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        drop(folder);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ended { success: output.status.success(), text }
    }
}

impl Ended {
    #[track_caller]
    fn works(&self) {
        assert!(self.success, "{}", self.text);
    }

    #[track_caller]
    fn fails(&self, expected: &str) {
        assert!(!self.success && self.text.contains(expected), "{}", self.text);
    }
}

async fn plain() -> RegSim {
    let sim = RegSim::start().await;
    base().put(&sim, "base", "v1");
    sim
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_allowed_by_direction_or_by_host() {
    if !is_root("plain_http_is_allowed_by_direction_or_by_host") {
        return;
    }
    let sim = plain().await;
    let host = format!("{NAME}:{}", port(&sim));
    let from = || Build::from(&format!("{host}/base:v1"));
    let local = |image: &str| format!("{}/{image}", sim.host());
    from().arg("--no-push").run().await.fails("--insecure-registry");
    from().arg("--no-push").arg("--insecure").run().await.fails("--insecure-registry");
    from().arg("--no-push").arg("--insecure-pull").run().await.works();
    from().arg("--no-push").arg(format!("--insecure-registry={host}")).run().await.works();
    let to = || Build::from(&local("base:v1")).to(format!("{host}/app:v1"));
    to().run().await.fails("--insecure-registry");
    to().arg("--insecure-pull").run().await.fails("--insecure-registry");
    to().arg("--insecure").run().await.works();
    assert!(sim.tag("app", "v1").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_believed_or_not_looked_at() {
    if !is_root("certificates_are_believed_or_not_looked_at") {
        return;
    }
    let tls = Tls::start(Auth::None).await;
    base().put(&tls.sim, "base", "v1");
    let host = tls.sim.host();
    let pull = || Build::from(&format!("{host}/base:v1")).arg("--no-push");
    let authority = tls.authority().to_str().unwrap().to_owned();
    pull().run().await.fails("UnknownIssuer");
    pull().arg(format!("--registry-certificate={host}={authority}")).run().await.works();
    pull().arg(format!("--skip-tls-verify-registry={host}")).run().await.works();
    pull().arg("--skip-tls-verify-pull").run().await.works();
    pull().arg("--skip-tls-verify").run().await.works();
    pull().env("SSL_CERT_FILE", &authority).run().await.works();
    let folder = Path::new(&authority).parent().unwrap().to_str().unwrap();
    pull().env("SSL_CERT_DIR", format!("/nonexistent:{folder}")).run().await.works();

    let push = || Build::from("scratch").to(format!("{host}/app:v1"));
    push().arg("--skip-tls-verify-pull").run().await.fails("UnknownIssuer");
    push().arg("--skip-tls-verify").run().await.works();
    assert!(tls.sim.tag("app", "v1").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_shown() {
    if !is_root("client_certificates_are_shown") {
        return;
    }
    let Some(real) = super::real::real("client_certificates_are_shown") else { return };
    let host = real.host(5444);
    let file = |name: &str| real.file(name).to_str().unwrap().to_owned();
    let push = || {
        Build::from("scratch")
            .to(format!("{host}/flags/app:v1"))
            .arg(format!("--registry-certificate={host}={}", file("ca.pem")))
    };
    push().run().await.fails("400 Bad Request");
    let own = format!("{},{}", file("client.pem"), file("client.key"));
    push().arg(format!("--registry-client-cert={host}={own}")).run().await.works();
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_go_to_maps_and_mirrors() {
    if !is_root("pulls_go_to_maps_and_mirrors") {
        return;
    }
    let mirror = RegSim::start().await;
    base().put(&mirror, "hub/library/base", "v1");
    base().put(&mirror, "library/base", "v1");
    let hub = || Build::from("base:v1").arg("--no-push").arg("--image-download-retry=0");
    hub().run().await.fails("cannot resolve `index.docker.io`");
    hub().arg(format!("--registry-mirror={}", mirror.host())).run().await.works();
    assert_eq!(mirror.count("GET", "/v2/library/base/manifests/v1"), 1);
    let target = format!("{}/hub", mirror.host());
    hub().arg(format!("--registry-map=index.docker.io={target}")).run().await.works();
    assert_eq!(mirror.count("GET", "/v2/hub/library/base/manifests/v1"), 1);
    hub().env("KANIKO_REGISTRY_MIRROR", mirror.host()).run().await.works();
    hub().env("KANIKO_REGISTRY_MAP", format!("docker.io={target}")).run().await.works();

    let origin = plain().await;
    let empty = RegSim::start().await;
    let mapped = || {
        Build::from(&format!("{}/base:v1", origin.host())).arg("--no-push").arg(format!(
            "--registry-map={}={}",
            origin.host(),
            empty.host()
        ))
    };
    mapped().run().await.works();
    let asked = origin.requests().len();
    mapped().arg("--skip-default-registry-fallback").run().await.fails("MANIFEST_UNKNOWN");
    assert_eq!(origin.requests().len(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_as_many_as_asked_for() {
    if !is_root("retries_are_as_many_as_asked_for") {
        return;
    }
    let sim = plain().await;
    sim.rule(Rule::new("GET", "/manifests/", Fault::status(503)));
    sim.rule(Rule::new("POST", "/uploads/", Fault::status(503)));
    let pull = || Build::from(&format!("{}/base:v1", sim.host())).arg("--no-push");
    pull().arg("--image-download-retry=0").run().await.fails("503");
    assert_eq!(sim.count("GET", "/manifests/"), 1);
    pull().arg("--image-download-retry=1").run().await.fails("503");
    assert_eq!(sim.count("GET", "/manifests/"), 3);
    let push = || Build::from("scratch").to(format!("{}/app:v1", sim.host()));
    push().arg("--push-retry=0").run().await.fails("503");
    assert_eq!(sim.count("POST", "/uploads/"), 1);
    push().arg("--push-retry=1").run().await.fails("503");
    assert_eq!(sim.count("POST", "/uploads/"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_tags_and_the_permission_check_can_be_passed_over() {
    if !is_root("immutable_tags_and_the_permission_check_can_be_passed_over") {
        return;
    }
    let sim = RegSim::start().await;
    let message = "The repository has enabled tag immutability";
    sim.rule(Rule::new("PUT", "/manifests/", Fault::error(400, "MANIFEST_INVALID", message)));
    let push = || Build::from("scratch").to(format!("{}/app:v1", sim.host()));
    push().run().await.fails(message);
    push().arg("--push-ignore-immutable-tag-errors").run().await.works();

    let denied = RegSim::start().await;
    denied.rule(Rule::new("POST", "/uploads/", Fault::error(403, "DENIED", "no")));
    let push = || Build::from("scratch").to(format!("{}/app:v1", denied.host()));
    // The check fails before the first HEAD of a blob, without it the push itself does.
    push().run().await.fails("DENIED");
    assert_eq!(denied.count("HEAD", "/blobs/"), 0);
    push().arg("--skip-push-permission-check").run().await.fails("DENIED");
    assert!(denied.count("HEAD", "/blobs/") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_docker_config_and_its_helpers() {
    if !is_root("credentials_come_from_docker_config_and_its_helpers") {
        return;
    }
    let sim = RegSim::start_with(Auth::Basic("robot", "hunter2")).await;
    let host = sim.host();
    let push = || Build::from("scratch").to(format!("{host}/team/app:v1"));
    push().run().await.fails("no credentials");
    let auth = STANDARD.encode("robot:hunter2");
    let scoped = json!({"auths": {
        &host: {"auth": STANDARD.encode("other:word")},
        format!("{host}/team"): {"auth": auth},
    }});
    push().config(&scoped).run().await.works();

    let helpers = json!({"credHelpers": {&host: "test"}});
    let build = push().config(&helpers).env("HELPER_PASSWORD", "hunter2");
    let program = build.path("docker-credential-test");
    let script =
        "#!/bin/sh\nprintf '{\"Username\":\"robot\",\"Secret\":\"%s\"}' \"$HELPER_PASSWORD\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let path = format!("{}:/usr/bin:/bin:/sbin", build.folder.path().display());
    build.env("PATH", path).run().await.works();
    push().config(&helpers).run().await.fails("no program `docker-credential-test`");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_come_from_the_environment() {
    if !is_root("proxies_come_from_the_environment") {
        return;
    }
    // The scripted registry answers a proxy's requests as if they were its own.
    let sim = plain().await;
    let pull = || {
        Build::from("far.example/base:v1")
            .arg("--no-push")
            .arg("--insecure-registry=far.example")
            .arg("--image-download-retry=0")
    };
    pull().run().await.fails("cannot resolve `far.example`");
    pull().env("HTTP_PROXY", sim.host()).run().await.works();
    pull()
        .env("HTTP_PROXY", sim.host())
        .env("NO_PROXY", "example")
        .run()
        .await
        .fails("cannot resolve `far.example`");
    pull().env("HTTPS_PROXY", "socks5://x").run().await.fails("HTTPS_PROXY");
}
