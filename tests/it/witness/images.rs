//! Images as readers see them: config, outputs, digest files.

use std::fs;
use std::process::Command;

use super::harness::{Build, ReadBack, registry, run, validate_layout};
use crate::skip_unless_available;

/// The hello example, built as `hack/demo.sh` does and pushed: outputs agree with each other, and
/// the result runs.
#[test]
fn the_hello_example_is_the_same_image_in_every_output_and_runs() {
    skip_unless_available!();
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).display().to_string();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");
    let repository = format!("{}/hello", registry().host);
    let built = Build::of(example.as_ref())
        .base("base-build", "build")
        .base("base-small", "busybox")
        .arg("--build-arg=GREETING=Hello from a test")
        .arg("--label=tested=yes")
        .arg(format!("--destination={repository}:one"))
        .arg(format!("--destination={repository}:two"))
        .arg(format!("--insecure-registry={}", registry().host))
        .arg(format!("--oci-layout-path={}", path("layout")))
        .arg(format!("--tar-path={}", path("image.tar")))
        .arg(format!("--digest-file={}", path("deep/er/digest")))
        .arg(format!("--image-name-with-digest-file={}", path("names")))
        .arg(format!("--image-name-tag-with-digest-file={}", path("tags")))
        .succeed();
    assert!(built.text().contains("Hello from a test"), "{}", built.text());

    let digest = fs::read_to_string(path("deep/er/digest")).unwrap();
    let names = fs::read_to_string(path("names")).unwrap();
    assert_eq!(names, format!("{repository}@{digest}\n{repository}@{digest}\n"));
    let tags = fs::read_to_string(path("tags")).unwrap();
    assert_eq!(tags, format!("{repository}:one@{digest}\n{repository}:two@{digest}\n"));

    let layout = out.path().join("layout");
    validate_layout(&layout);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"].as_str(), Some(digest.as_str()));
    let inspected = run(Command::new("skopeo").args([
        "inspect",
        "--tls-verify=false",
        "--format={{.Digest}}",
        &format!("docker://{repository}:two"),
    ]));
    assert_eq!(String::from_utf8(inspected.stdout).unwrap().trim(), digest);

    let config = ReadBack::config("hello:one");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/hello"]));
    assert_eq!(config["config"]["User"], "nobody");
    assert_eq!(config["config"]["Labels"]["tested"], "yes");
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.title"], "hello");
    let from_tarball = run(Command::new("skopeo").args([
        "inspect",
        "--config",
        &format!("docker-archive:{}", path("image.tar")),
    ]));
    let from_tarball: serde_json::Value = serde_json::from_slice(&from_tarball.stdout).unwrap();
    assert_eq!(from_tarball["rootfs"], config["rootfs"]);

    let image = ReadBack::pull("hello:one");
    let rootfs = image.unpack();
    let said = image.run_in_container(&[]);
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "Hello from a test\n");
    let installed = fs::read_to_string(rootfs.join("etc/hello.installed")).unwrap();
    assert_eq!(installed, "configured by its postinst as root\n");
}
