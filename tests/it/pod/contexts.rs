//! Contexts of every kind, in a Pod, with the arguments that kaniko's users give.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::Pod;
use crate::contexts::Tls;
use crate::contexts::git::Repositories;
use crate::contexts::server::{Answer, Web, tunnel_to};
use crate::witness::harness::{bases, run};

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

const DOCKERFILE: &str = "FROM base\nCOPY hello /srv/\nRUN cat /srv/hello > /said && mkdir /made\n";

const AZURE: &str = "acme.blob.core.windows.net";

#[tokio::test(flavor = "multi_thread")]
async fn contexts_of_every_kind_give_one_image() {
    let test = "contexts_of_every_kind_give_one_image";
    let Some(pod) = Pod::new(test) else { return };
    pod.write("context/Dockerfile", DOCKERFILE);
    pod.write("context/hello", "hello from the context\n");
    let archive = |flags: &str, name: &str| {
        run(Command::new("tar")
            .args([flags, &pod.path(name).display().to_string(), "-C"])
            .arg(pod.path("context"))
            .arg("."));
        fs::read(pod.path(name)).unwrap()
    };
    archive("-cf", "context.tar");
    let archive = archive("-czf", "context.tar.gz");

    let object = move |path: &str| match path {
        "/bucket/path/to/context.tar.gz" | "/container/dir/context.tar.gz" | "/context.tar.gz" => {
            Answer::new(200, archive.clone())
                .header("etag", "\"one\"")
                .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        }
        _ => Answer::new(404, ""),
    };
    let objects = object.clone();
    let buckets = Web::start(move |asked| {
        let signed = asked.header("authorization").contains("Credential=AKIATEST/");
        // Google's emulators ask for nothing.
        let google = asked.header("authorization").is_empty();
        if signed || google { objects(&asked.path) } else { Answer::new(403, "") }
    })
    .await;
    let tls = Tls::of(&["127.0.0.1", AZURE]);
    let objects = object.clone();
    let azure = Web::start_tls(tls.pair(), move |asked| {
        match asked.header("authorization").starts_with("SharedKey acme:") {
            true => objects(&asked.path),
            false => Answer::new(403, ""),
        }
    })
    .await;
    let proxy = tunnel_to(azure.address).await;
    let https = Web::start_tls(tls.pair(), move |asked| object(&asked.path)).await;
    pod.write("certificates/ca.pem", &tls.certificate);
    let repositories = Repositories::new();
    repositories.create("app");
    repositories.write("app", "Dockerfile", DOCKERFILE);
    repositories.commit("app");
    let git = repositories.start(|_| true).await;

    let trust = "SSL_CERT_DIR=/shared/certificates";
    let s3 = format!(
        "S3_ENDPOINT={} S3_FORCE_PATH_STYLE=true AWS_ACCESS_KEY_ID=AKIATEST \
         AWS_SECRET_ACCESS_KEY=secret AWS_REGION=eu-west-1",
        buckets.url()
    );
    let emulator = format!("STORAGE_EMULATOR_HOST={}", buckets.url());
    let key = format!("{trust} HTTPS_PROXY={proxy} AZURE_STORAGE_ACCESS_KEY=c2VjcmV0");
    let kinds = [
        ("directory", "", "/shared/context".to_owned()),
        ("dir", "", "dir:///shared/context".to_owned()),
        ("tar", "", "tar:///shared/context.tar".to_owned()),
        ("tar-gz", "", "tar:///shared/context.tar.gz".to_owned()),
        ("stdin", "", "tar://stdin".to_owned()),
        ("s3", &s3, "s3://bucket/path/to/context.tar.gz".to_owned()),
        ("gs", &emulator, "gs://bucket/path/to/context.tar.gz".to_owned()),
        ("azure", &key, format!("https://{AZURE}/container/dir/context.tar.gz")),
        ("https", trust, format!("https://{}/context.tar.gz", https.address)),
        ("git", "GIT_PULL_METHOD=http", format!("git://{}/app#refs/heads/main", git.address)),
    ];
    let mut script = "list > /shared/before\n".to_owned();
    for (name, variables, context) in &kinds {
        let redirected = if *name == "stdin" { "< /shared/context.tar.gz" } else { "" };
        let export =
            if variables.is_empty() { String::new() } else { format!("export {variables};") };
        writeln!(
            script,
            "({export} exec /kaniko/executor --dockerfile=Dockerfile \
             --context='{context}' --destination=image:latest \
             --no-push --reproducible --oci-layout-path=/shared/out/{name} --cleanup {BASE} \
             --log-format=text {redirected} 2>&1)"
        )
        .unwrap();
    }
    script.push_str("list > /shared/after\n");
    let (pod, said) = tokio::task::spawn_blocking(move || {
        let mut pod = pod;
        let said = pod.script(&script);
        (pod, said)
    })
    .await
    .unwrap();
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"), "{said}");
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    for (name, _, _) in &kinds {
        assert_eq!(pod.digest(name), expected, "{name}\n{said}");
    }
}
