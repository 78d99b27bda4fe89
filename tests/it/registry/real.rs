//! Debian's docker-registry, plain and behind nginx, with skopeo as an independent reader.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::json;
use snapshot::Digest;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use zuwai::http::ClientCertificate;
use zuwai::image::Reference;
use zuwai::registry::{
    BlobUpload, HostAuthority, HostClientCertificate, PushedBlob, Registry, RegistryError,
    RegistryOptions,
};
use zuwai::report::event::EventLog;
use zuwai::store::Store;
use zuwai::uploads::{LayerSink, Uploads};

use crate::skip::{Reason, skip};

use super::{
    OCI_MANIFEST, SmallImage, amd64, blob, layer, lines, noise, options, registry, small_image,
    with_config,
};

/// A running `hack/registry.sh`. It ends when this process does, because its standard input ends.
pub struct Real {
    address: String,
    directory: TempDir,
    _child: Child,
    _stdin: ChildStdin,
}

/// Returns the registry that all tests share, or says why there is none.
pub fn real(test: &str) -> Option<&'static Real> {
    static REAL: OnceLock<Real> = OnceLock::new();
    let programs =
        ["/usr/bin/docker-registry", "/usr/sbin/nginx", "/usr/bin/openssl", "/usr/bin/skopeo"];
    if let Some(missing) = programs.iter().find(|path| !Path::new(path).exists()) {
        let lacking = format!("there is no {missing}; hack/test.sh installs it");
        skip(test, Reason::Lacking(&lacking));
        return None;
    }
    Some(REAL.get_or_init(start))
}

fn start() -> Real {
    let directory = tempfile::tempdir().unwrap();
    // An address of this process alone, so that ports are never taken.
    let [.., a, b, c] = std::process::id().to_be_bytes();
    let address = format!("127.{}.{b}.{}", a.wrapping_add(10).max(1), c.clamp(1, 254));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/registry.sh");
    let mut child = Command::new(script)
        .arg(directory.path())
        .arg(&address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("registry is ready"), "{line:?}");
    Real { address, directory, _child: child, _stdin: stdin }
}

impl Real {
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn host(&self, port: u16) -> String {
        format!("{}:{port}", self.address)
    }

    fn reference(&self, port: u16, name: &str) -> Reference {
        format!("{}/{name}", self.host(port)).parse().unwrap()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Options that trust the authority for a port.
    fn trusting(&self, port: u16) -> RegistryOptions {
        let certificates =
            vec![HostAuthority { host: self.host(port), certificate: self.file("ca.pem") }];
        RegistryOptions { certificates, ..options() }
    }

    /// Returns the names of a repository's open upload sessions on disk. Of a cancelled one this
    /// registry leaves an empty `hashstates` behind.
    pub fn sessions(&self, repository: &str) -> Vec<String> {
        let uploads =
            self.file("data/docker/registry/v2/repositories").join(repository).join("_uploads");
        let Ok(entries) = std::fs::read_dir(uploads) else { return Vec::new() };
        entries
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("startedat").exists())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    /// Has skopeo read an image over plain HTTP, and compares it byte by byte.
    fn expect_image(&self, name: &str, image: &SmallImage) {
        let copy = tempfile::tempdir().unwrap();
        let status = Command::new("skopeo")
            .args(["copy", "--quiet", "--src-tls-verify=false"])
            .arg(format!("docker://{}/{name}", self.host(5000)))
            .arg(format!("dir:{}", copy.path().display()))
            .status()
            .unwrap();
        assert!(status.success());
        let read = |name: &str| std::fs::read(copy.path().join(name)).unwrap();
        assert_eq!(read("manifest.json"), image.manifest);
        assert_eq!(read(&Digest::of(&image.config).hex()), image.config);
        assert_eq!(read(&Digest::of(&image.layer).hex()), image.layer);
    }
}

async fn push(
    registry: &Registry,
    to: &Reference,
    image: &SmallImage,
) -> Result<(), RegistryError> {
    registry.check_push(to).await?;
    registry.push_blob(to, &blob(image.layer.clone())).await?;
    registry.push_blob(to, &blob(image.config.clone())).await?;
    registry.push_manifest(to, OCI_MANIFEST, &image.manifest).await?;
    Ok(())
}

pub async fn push_and_pull(
    registry: &Registry,
    to: &Reference,
) -> Result<SmallImage, RegistryError> {
    let image = small_image("linux", "amd64");
    push(registry, to, &image).await?;
    let resolved = registry.resolve(to, &amd64()).await?;
    assert_eq!(resolved.manifest_bytes, image.manifest);
    let mut sink = Vec::new();
    registry.pull_blob(to, &layer(&image.layer), &mut sink).await?;
    assert_eq!(sink, image.layer);
    Ok(image)
}

#[tokio::test]
async fn an_image_goes_to_the_real_registry_and_back() {
    let Some(real) = real("an_image_goes_to_the_real_registry_and_back") else { return };
    let to = real.reference(5000, "plain/app:v1");
    let image = push_and_pull(&registry(options()), &to).await.unwrap();
    real.expect_image("plain/app:v1", &image);
    assert_eq!(real.sessions("plain/app"), [] as [&str; 0]);
}

#[tokio::test]
async fn an_image_of_another_program_is_read() {
    let Some(real) = real("an_image_of_another_program_is_read") else { return };
    let registry = registry(options());
    let image = push_and_pull(&registry, &real.reference(5000, "other/app:oci")).await.unwrap();
    let status = Command::new("skopeo")
        .args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .args(["--format", "v2s2"])
        .arg(format!("docker://{}/other/app:oci", real.host(5000)))
        .arg(format!("docker://{}/other/app:docker", real.host(5000)))
        .status()
        .unwrap();
    assert!(status.success());
    let resolved =
        registry.resolve(&real.reference(5000, "other/app:docker"), &amd64()).await.unwrap();
    assert_eq!(resolved.media_type, super::DOCKER_MANIFEST);
    assert_eq!(resolved.manifest.layers[0].digest, layer(&image.layer).digest);
}

#[tokio::test]
async fn tls_with_an_own_authority_works_and_without_it_says_what_to_do() {
    let Some(real) = real("tls_with_an_own_authority") else { return };
    let to = real.reference(5443, "tls/app:v1");
    let image = push_and_pull(&registry(real.trusting(5443)), &to).await.unwrap();
    real.expect_image("tls/app:v1", &image);

    let unverified = RegistryOptions { unverified_hosts: vec![real.host(5443)], ..options() };
    push_and_pull(&registry(unverified), &to).await.unwrap();

    let error = push_and_pull(&registry(options()), &to).await.map(|_| ()).unwrap_err();
    assert_eq!(lines(&error)[2], "invalid peer certificate: UnknownIssuer");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let Some(real) = real("a_client_certificate_is_shown_where_it_is_wanted") else { return };
    let to = real.reference(5444, "mtls/app:v1");
    let files =
        ClientCertificate { certificate: real.file("client.pem"), key: real.file("client.key") };
    let client_certificates = vec![HostClientCertificate { host: real.host(5444), files }];
    let with = RegistryOptions { client_certificates, ..real.trusting(5444) };
    let image = push_and_pull(&registry(with), &to).await.unwrap();
    real.expect_image("mtls/app:v1", &image);

    let without = registry(real.trusting(5444));
    let error = push_and_pull(&without, &to).await.map(|_| ()).unwrap_err();
    assert_eq!(error.status(), Some(400));
    assert!(
        lines(&error)[1].starts_with(&format!("registry `{}` answered 400", real.host(5444))),
        "{:?}",
        lines(&error)
    );
}

#[tokio::test]
async fn basic_authentication_works_plain_and_with_tls() {
    let Some(real) = real("basic_authentication_works_plain_and_with_tls") else { return };
    for port in [5001, 5445] {
        let host = real.host(port);
        let to = real.reference(port, "auth/app:v1");
        let login =
            |password: &str| json!({"auths": {&host: {"username": "robot", "password": password}}});
        let (_directory, good) = with_config(&login("hunter2"), real.trusting(port));
        push_and_pull(&good, &to).await.unwrap();

        let (directory, bad) = with_config(&login("wrong"), real.trusting(port));
        let error = push_and_pull(&bad, &to).await.map(|_| ()).unwrap_err();
        assert_eq!(error.status(), Some(401));
        let file = directory.path().join("config.json");
        assert_eq!(
            lines(&error).last().unwrap(),
            &format!("used entry `{host}` of `{}`", file.display())
        );
    }
}

#[tokio::test]
async fn a_proxy_that_limits_requests_gets_the_blob_in_parts() {
    let Some(real) = real("a_proxy_that_limits_requests_gets_the_blob_in_parts") else { return };
    let bytes = noise(6_000_000);
    let registry = registry(real.trusting(5446));
    let pushed = registry
        .push_blob(&real.reference(5446, "parts/app:v1"), &blob(bytes.clone()))
        .await
        .unwrap();
    assert!(matches!(pushed, PushedBlob::Uploaded(_)), "{pushed:?}");
    let mut sink = Vec::new();
    let from = real.reference(5446, "parts/app:v1");
    registry.pull_blob(&from, &layer(&bytes), &mut sink).await.unwrap();
    assert!(sink == bytes);
    assert_eq!(real.sessions("parts/app"), [] as [&str; 0]);
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let Some(real) = real("a_blob_is_mounted_from_another_repository") else { return };
    let registry = registry(options());
    let bytes = noise(100_000);
    let base = real.reference(5000, "mount/base:v1");
    registry.push_blob(&base, &blob(bytes.clone())).await.unwrap();
    let wanted =
        BlobUpload { mount_from: vec![real.reference(5000, "mount/none:v1"), base], ..blob(bytes) };
    let to = real.reference(5000, "mount/app:v1");
    assert_eq!(
        registry.push_blob(&to, &wanted).await.unwrap(),
        PushedBlob::Mounted { from: "mount/base".into() }
    );
    assert_eq!(registry.push_blob(&to, &wanted).await.unwrap(), PushedBlob::Existed);
    assert_eq!(real.sessions("mount/app"), [] as [&str; 0]);
}

#[tokio::test]
async fn a_read_only_registry_is_named_as_such() {
    let Some(real) = real("a_read_only_registry_is_named_as_such") else { return };
    let to = real.reference(5002, "readonly/app:v1");
    let error = registry(options()).check_push(&to).await.unwrap_err();
    assert_eq!(error.status(), Some(405));
    let hint = zuwai::report::fault::Fault::hint(&error).unwrap();
    assert_eq!(hint, "the registry may be read-only");
}

/// Passes bytes on to `to`, and cuts the first connection that has sent more than `limit` of them.
async fn cutting_proxy(to: String, limit: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cuts = Arc::new(AtomicUsize::new(1));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, cuts) = (to.clone(), Arc::clone(&cuts));
            tokio::spawn(async move {
                let server = TcpStream::connect(to).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back =
                    tokio::spawn(
                        async move { tokio::io::copy(&mut from_server, &mut to_client).await },
                    );
                let (mut buffer, mut passed) = (vec![0; 4096], 0);
                while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                    if to_server.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                    passed += count;
                    if passed > limit
                        && cuts
                            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                            .is_ok()
                    {
                        // Both halves end with this task: no answer comes back.
                        back.abort();
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_broken_push_to_the_real_registry_recovers() {
    let Some(real) = real("a_broken_push_to_the_real_registry_recovers") else { return };
    for (index, limit) in [10_000, 1_000_000, 2_900_000].into_iter().enumerate() {
        let proxy = cutting_proxy(real.host(5000), limit).await;
        let name = format!("broken{index}/app");
        let to: Reference = format!("{proxy}/{name}:v1").parse().unwrap();
        let bytes = noise(3_000_000);
        let registry = registry(options());
        registry.push_blob(&to, &blob(bytes.clone())).await.unwrap();
        let mut sink = Vec::new();
        registry.pull_blob(&to, &layer(&bytes), &mut sink).await.unwrap();
        assert!(sink == bytes, "{limit}");
        // This registry signs the offset into a session's URL and answers 404 to everything, DELETE
        // too, once a broken request has moved it: such a session cannot be resumed or cancelled by
        // anyone, and is purged by age. Only a new session helps, and that one is closed.
        assert!(real.sessions(&name).len() <= 1, "{limit}");
    }
}

/// Uploads to one repository, and the store they come from.
pub struct Growing {
    uploads: Uploads,
    store: Store,
    _work: TempDir,
}

impl Growing {
    pub fn to(to: &Reference, registry: &Registry) -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path()).unwrap();
        let uploads = Uploads::new(Handle::current(), registry.clone(), &[to]);
        Self { uploads, store, _work: work }
    }

    fn sink(&self) -> LayerSink {
        self.uploads.sink(&self.store, &EventLog::default()).unwrap()
    }

    /// Writes a layer of these bytes and expects it at the registry.
    pub async fn arrives(&self, to: &Reference, bytes: &[u8], registry: &Registry) {
        let mut sink = self.sink();
        sink.write_all(bytes).unwrap();
        let digest = Digest::of(bytes);
        sink.commit(Some((&digest, bytes.len() as u64))).unwrap();
        let arrival = self.uploads.arrived(to, &digest).await;
        assert!(matches!(arrival.unwrap().pushed, PushedBlob::Uploaded(_)));
        let mut there = Vec::new();
        registry.pull_blob(to, &layer(bytes), &mut there).await.unwrap();
        assert!(there == bytes);
    }

    pub async fn close(&self) {
        let uploads = self.uploads.clone();
        tokio::task::spawn_blocking(move || uploads.close()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_given_up_leaves_no_session() {
    let Some(real) = real("a_layer_that_is_given_up_leaves_no_session") else { return };
    let to = real.reference(5000, "growing/app:v1");
    let registry = registry(options());
    let growing = Growing::to(&to, &registry);
    growing.arrives(&to, &noise(3_000_000), &registry).await;
    assert_eq!(real.sessions("growing/app"), [] as [&str; 0]);

    let mut sink = growing.sink();
    sink.write_all(&noise(2 << 20)).unwrap();
    while real.sessions("growing/app").is_empty() {
        tokio::task::yield_now().await;
    }
    drop(sink);
    growing.close().await;
    assert_eq!(real.sessions("growing/app"), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_passes_a_proxy_that_limits_requests_while_it_grows() {
    let Some(real) = real("a_layer_passes_a_proxy_that_limits_requests") else { return };
    let to = real.reference(5446, "growing/parts:v1");
    let registry = registry(real.trusting(5446));
    let growing = Growing::to(&to, &registry);
    growing.arrives(&to, &noise(6_000_000), &registry).await;
    // Of the request that nginx refuses half-way it has passed some on, or nothing yet: if some, that
    // session cannot be cancelled by anyone, as in the test above. Nothing may be left of the parts.
    growing.close().await;
    let open = real.sessions("growing/parts");
    assert!(open.len() <= 1, "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_whose_upload_breaks_arrives_all_the_same() {
    let Some(real) = real("a_layer_whose_upload_breaks_arrives_all_the_same") else { return };
    for (index, limit) in [10_000, 1_500_000, 2_900_000].into_iter().enumerate() {
        let proxy = cutting_proxy(real.host(5000), limit).await;
        let name = format!("growing/broken{index}");
        let to: Reference = format!("{proxy}/{name}:v1").parse().unwrap();
        let registry = registry(options());
        Growing::to(&to, &registry).arrives(&to, &noise(3_000_000), &registry).await;
        // As above: what this registry lost count of, nobody can cancel.
        assert!(real.sessions(&name).len() <= 1, "{limit}");
    }
}
