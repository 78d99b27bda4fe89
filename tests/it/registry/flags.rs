//! The flags and variables about registries, each with a build that goes otherwise without it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::build::{Build, Ended, NAME, base, port};
use super::trust::Tls;
use crate::regsim::{Auth, Fault, RegSim, Rule};
use crate::skip::is_root;

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

    let Some(real) = super::real::real("plain_http_is_allowed_by_direction_or_by_host") else {
        return;
    };
    let push = || {
        Build::from("scratch")
            .host(real.address(), "real.example")
            .to("real.example:5000/flags/plain:v1")
    };
    push().run().await.fails("--insecure-registry");
    push().arg("--insecure-registry=real.example:5000").run().await.works();
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
    // The check fails before anything is built, without it the push itself does.
    let built = "Image built";
    let Ended { success, text } = push().run().await;
    assert!(!success && text.contains("DENIED") && !text.contains(built), "{text}");
    let Ended { success, text } = push().arg("--skip-push-permission-check").run().await;
    assert!(!success && text.contains("DENIED") && text.contains(built), "{text}");
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

    // As Kubernetes mounts a Secret.
    let build = push();
    let secret = build.folder.path().join("secret");
    std::fs::create_dir_all(secret.join("..2024")).unwrap();
    std::fs::write(secret.join("..2024/.dockerconfigjson"), scoped.to_string()).unwrap();
    std::os::unix::fs::symlink("..2024", secret.join("..data")).unwrap();
    let file = secret.join(".dockerconfigjson");
    std::os::unix::fs::symlink("..data/.dockerconfigjson", file).unwrap();
    build.env("DOCKER_CONFIG", secret.to_str().unwrap()).run().await.works();

    let helpers = json!({"credHelpers": {&host: "test"}});
    for config in [&helpers, &json!({"credsStore": "test"})] {
        let build = push().config(config).env("HELPER_PASSWORD", "hunter2");
        let program = build.path("docker-credential-test");
        let script = "#!/bin/sh\n\
                      printf '{\"Username\":\"robot\",\"Secret\":\"%s\"}' \"$HELPER_PASSWORD\"\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let path = format!("{}:/usr/bin:/bin:/sbin", build.folder.path().display());
        build.env("PATH", path).run().await.works();
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn docker_hub_is_reached_through_a_tunnel_under_all_its_names() {
    if !is_root("docker_hub_is_reached_through_a_tunnel_under_all_its_names") {
        return;
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["index.docker.io".to_owned(), "registry-1.docker.io".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let sim = RegSim::start_tls(
        Auth::Basic("robot", "hunter2"),
        &certificate.pem(),
        &key.serialize_pem(),
    )
    .await;
    base().put(&sim, "library/base", "v1");
    let (proxy, mut asked) = super::trust::tunnel(sim.host()).await;
    let auth = STANDARD.encode("robot:hunter2");
    let config = json!({"auths": {"https://index.docker.io/v1/": {"auth": auth}}});
    for name in ["base:v1", "docker.io/base:v1", "index.docker.io/library/base:v1"] {
        let pull = || {
            let build = Build::from(name).arg("--no-push").arg("--image-download-retry=0");
            let authority = build.path("authority.pem");
            std::fs::write(&authority, certificate.pem()).unwrap();
            build.config(&config).env("SSL_CERT_FILE", authority).env("HTTPS_PROXY", &proxy)
        };
        pull().run().await.works();
        let head = asked.recv().await.unwrap();
        assert_eq!(head[0], "CONNECT index.docker.io:443 HTTP/1.1", "{name}");
        while asked.try_recv().is_ok() {}
        pull().env("NO_PROXY", "docker.io").run().await.fails("cannot resolve `index.docker.io`");
        assert!(asked.try_recv().is_err(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_needs_is_read_before_anything_is_unpacked() {
    if !is_root("what_a_push_needs_is_read_before_anything_is_unpacked") {
        return;
    }
    let from = plain().await;
    // A blob fails twice, and the files vanish while the build waits to try again.
    from.rule(Rule::new("GET", "/blobs/", Fault::status(503)).times(2));
    let tls = Tls::start(Auth::Basic("robot", "hunter2")).await;
    let host = tls.sim.host();
    let auth = STANDARD.encode("robot:hunter2");
    let build = Build::from("scratch")
        .dockerfile(&format!("FROM {}/base:v1\nCOPY Dockerfile /\n", from.host()))
        .config(&json!({"auths": {&host: {"auth": auth}}}))
        .env("SSL_CERT_FILE", tls.authority().to_str().unwrap())
        .to(format!("{host}/app:v1"));
    let (config, hosts) = (build.path("docker/config.json"), build.path("hosts"));
    let built = tokio::spawn(build.run());
    while from.count("GET", "/blobs/") < 2 && !built.is_finished() {
        tokio::task::yield_now().await;
    }
    if !built.is_finished() {
        std::fs::remove_file(config).unwrap();
        std::fs::remove_file(tls.authority()).unwrap();
        std::fs::write(hosts, "").unwrap();
    }
    built.await.unwrap().works();
    assert!(tls.sim.tag("app", "v1").is_some());
}
