//! No secret of a build is anywhere but in the requests that it is for.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::json;

use super::amazon::{API, ECR, amazon};
use super::azure::azure;
use super::google::{REGISTRY, TOKENS, google};
use super::*;
use crate::skip::{Reason, skip};

const ACR: &str = "acme.azurecr.io";
const LOGIN: &str = "login.microsoftonline.com";
const BUCKET: &str = "s3.example";
const AUDIENCE: &str = "https://containerregistry.azure.net";

/// What a command of the build can see of processes and their environment goes into its layer.
const DOCKERFILE: &str = "\
FROM base
COPY hello /
RUN env > /environment; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline > /processes; echo marked
";

fn context() -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (name, text) in [("Dockerfile", DOCKERFILE), ("hello", "hello\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Returns bytes as they are, and decompressed where they are so.
fn seen(bytes: &[u8]) -> Vec<u8> {
    let mut seen = bytes.to_vec();
    // Of what is no gzip nothing is added.
    let _ = MultiGzDecoder::new(bytes).read_to_end(&mut seen);
    seen
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Asserts that no file below a directory holds a secret, nor has one in its name.
fn check_files(directory: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.to_string_lossy().contains(MARKER), "{}", path.display());
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            count += check_files(&path);
        } else if metadata.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!holds(&seen(&bytes), MARKER), "{}", path.display());
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn a_build_with_every_kind_of_credential_leaves_none_of_them_anywhere() {
    let test = "a_build_with_every_kind_of_credential_leaves_none_of_them_anywhere";
    if !crate::skip::is_root(test) {
        return;
    }
    let bases = crate::witness::harness::bases();
    if !bases.join("busybox").is_dir() {
        skip(test, Reason::Lacking("no base image `busybox`, made by hack/bases.sh"));
        return;
    }
    let cloud =
        Cloud::start(&[ECR, API, ACR, LOGIN, REGISTRY, TOKENS, BUCKET], |asked| {
            match asked.host.as_str() {
                BUCKET => {
                    assert!(asked.header("authorization").contains("Credential=AKIAENV/"));
                    Answer::new(200, context()).header("etag", "\"one\"")
                }
                ECR | API => amazon(asked, "AKIAENV", "session-hunter2"),
                ACR | LOGIN => azure(asked, ACR, LOGIN, AUDIENCE),
                _ => google(asked),
            }
        })
        .await;
    let user = json!({
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "client-hunter2",
        "refresh_token": "good-hunter2",
    });
    let run = cloud.run();
    let config = r#"{"auths": {"x.example": {"username": "robot", "password": "hunter2"}}}"#;
    run.file(".docker/config.json", config);
    run.file(".config/gcloud/application_default_credentials.json", &user.to_string());
    let token = run.file("token", "good-hunter2");
    let run = run
        .env("S3_ENDPOINT", format!("https://{BUCKET}"))
        .env("S3_FORCE_PATH_STYLE", "true")
        .env("AWS_ACCESS_KEY_ID", "AKIAENV")
        .env("AWS_SECRET_ACCESS_KEY", "key-hunter2")
        .env("AWS_SESSION_TOKEN", "session-hunter2")
        .env("AZURE_CLIENT_ID", "client")
        .env("AZURE_TENANT_ID", "tenant")
        .env("AZURE_FEDERATED_TOKEN_FILE", token)
        .env("AZURE_STORAGE_ACCESS_KEY", "hunter2")
        .env("GIT_TOKEN", "git-hunter2")
        .env("GIT_PASSWORD", "git-hunter2")
        .env("CI_REGISTRY", "y.example")
        .env("CI_REGISTRY_USER", "job")
        .env("CI_REGISTRY_PASSWORD", "job-hunter2")
        .env("DOCKER_AUTH_CONFIG", r#"{"auths": {"z.example": {"registrytoken": "hunter2"}}}"#);
    let output = run.folder.path().join("output");
    std::fs::create_dir(&output).unwrap();
    let arguments = [
        "--context=s3://bucket/context.tar.gz".to_owned(),
        format!("--build-context=base=oci-layout://{}", bases.join("busybox").display()),
        format!("--destination={ACR}/team/app:v1"),
        format!("--destination={REGISTRY}/team/app:v1"),
        format!("--oci-layout-path={}", output.join("layout").display()),
        format!("--tar-path={}", output.join("image.tar").display()),
        "--verbosity=trace".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = run.build(&format!("{ECR}/team/app:v1"), &arguments).await;
    // That no secret is in what was printed, the run itself has asserted.
    ended.says("marked");
    assert!(check_files(&output) > 4, "image and layout");
    check_files(&ended.folder.path().join("work"));
    let asked = cloud.web.asked();
    for host in [ECR, ACR, REGISTRY] {
        let pushed: Vec<u8> = asked
            .iter()
            .filter(|asked| asked.host == host && asked.path.starts_with("/v2/team/"))
            .flat_map(|asked| seen(&asked.body))
            .collect();
        assert!(holds(&pushed, "PATH="), "the layer of the RUN was pushed to {host}");
        assert!(!holds(&pushed, MARKER), "{host}");
    }
    // Nor in what servers and proxies write down of requests.
    for asked in &asked {
        assert!(!asked.path.contains(MARKER) && !asked.query.contains(MARKER), "{asked:?}");
    }
}
