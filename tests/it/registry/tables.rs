//! Bases whose layers have a table of contents, made by skopeo.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use snapshot::Digest;

use super::build::Build;
use super::{noise, pipeline};
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip::{Reason, is_root, skip};
use crate::tarball::{Member, archive};

/// Two layers: everything that a header can say, and more bytes than a table is not worth.
fn layers() -> [(Digest, Vec<u8>); 2] {
    let passwd = "root:x:0:0::/:/bin/sh\napp:x:71:72::/:/bin/sh\n";
    let lower = [
        Member::new(b'5', "usr/"),
        Member::new(b'5', "usr/bin/").mode(0o1775).owner(3, 4),
        Member::link(b'2', "bin", "usr/bin"),
        Member::file("usr/bin/tool", noise(600_000)).mode(0o4755).owner(5, 6),
        Member::link(b'1', "usr/bin/again", "usr/bin/tool"),
        Member::new(b'5', "etc/"),
        Member::file("etc/passwd", passwd),
        Member::file("etc/group", "app:x:72:\n"),
        Member::new(b'6', "usr/pipe"),
        Member::new(b'3', "usr/null").device(1, 3),
        Member::file("usr/gone", "gone"),
        Member::new(b'5', "opt/"),
        Member::file("opt/hidden", ""),
    ];
    let upper = [
        Member::file("usr/.wh.gone", ""),
        Member::new(b'5', "opt/"),
        Member::file("opt/.wh..wh..opq", ""),
        Member::file("opt/large", noise(700_000)),
    ];
    [&lower[..], &upper[..]].map(|members| {
        let tar = archive(members);
        let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
        compressed.write_all(&tar).unwrap();
        (Digest::of(&tar), compressed.finish().unwrap())
    })
}

/// Copies, makes directories and names users, all of which the base has a say in.
fn onto(sim: &RegSim, base: &str, to: &str) -> Build {
    let host = sim.host();
    Build::from("scratch")
        .dockerfile(&format!(
            "FROM {host}/{base}:v1\nCOPY --chown=app hosts /bin/new\nWORKDIR /opt/new\n\
             COPY --chown=app:app hosts /usr/gone\nUSER app\nWORKDIR /opt\n"
        ))
        .arg("--reproducible")
        .to(format!("{host}/{to}:v1"))
}

/// Returns the digest of an image's config, which has those of all layers' content in it, and the
/// digest of the last layer.
fn made(sim: &RegSim, repository: &str) -> (Value, Value) {
    let manifest: Value = serde_json::from_slice(&sim.manifest(repository, "v1").unwrap()).unwrap();
    let last = manifest["layers"].as_array().unwrap().last().unwrap();
    (manifest["config"]["digest"].clone(), last["digest"].clone())
}

/// Has skopeo compress the image `base` anew; by way of a folder, since it mounts what a registry has.
fn compress(host: &str) {
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:v1", folder.path().join("layout").display());
    let (base, chunked) =
        (format!("docker://{host}/base:v1"), format!("docker://{host}/chunked:v1"));
    for words in [
        ["--src-tls-verify=false", "--dest-compress-format=zstd:chunked", &base, &layout],
        ["--dest-tls-verify=false", "--preserve-digests", &layout, &chunked],
    ] {
        let output = Command::new("skopeo").args(["copy", "--quiet"]).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Returns the digests of an image's layers.
fn layers_of(sim: &RegSim, repository: &str) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(&sim.manifest(repository, "v1").unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_contents_says_what_the_layer_does() {
    let name = "a_table_of_contents_says_what_the_layer_does";
    if !is_root(name) {
        return;
    }
    if Command::new("skopeo").arg("--version").output().is_err() {
        return skip(name, Reason::Lacking("needs skopeo"));
    }
    let sim = RegSim::start().await;
    pipeline::put(&sim, &layers());
    let host = sim.host();
    tokio::task::spawn_blocking(move || compress(&host)).await.unwrap();
    let layers = layers_of(&sim, "chunked");
    onto(&sim, "base", "read").run().await.works();
    let expected = made(&sim, "read");

    // Nothing but tables, and what two files hold, is fetched.
    let before = sim.requests().len();
    let told = onto(&sim, "chunked", "told").arg("--verbosity=debug").run().await;
    told.works();
    assert_eq!(made(&sim, "told"), expected);
    let mut bytes = 0;
    for request in sim.requests().iter().skip(before) {
        if request.method == "GET" && layers.iter().any(|digest| request.path.contains(digest)) {
            let range = request.header("range").unwrap_or_else(|| panic!("{}", told.text));
            let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            bytes += 1 + end.parse::<u64>().unwrap() - start.parse::<u64>().unwrap();
        }
    }
    assert!((100..4000).contains(&bytes), "{bytes} {:#?}", sim.log());

    // A table that is not what the manifest promises is not believed, and one that cannot be had is
    // no reason to fail.
    let faults = [Fault::Corrupt(40), Fault::IgnoreRange, Fault::status(416)];
    for (number, fault) in faults.into_iter().enumerate() {
        let path = format!("/chunked/blobs/{}", layers[0]);
        sim.rule(Rule::new("GET", path, fault.clone()).times(1));
        let to = format!("fault-{number}");
        let built = onto(&sim, "chunked", &to).run().await;
        built.works();
        assert_eq!(made(&sim, &to), expected, "{fault:?}: {}", built.text);
    }
}
