//! Bases that are unpacked while they are downloaded.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use snapshot::Digest;
use tokio::sync::Barrier;
use zuwai::image::descriptor;

use super::build::{Build, Ended, NAME, port};
use super::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, noise};
use crate::regsim::{Auth, Fault, Recorded, RegSim, Rule};
use crate::skip::is_root;

/// More than what is read ahead of the layer that is written.
const LAYER_BYTES: usize = 3 << 20;

/// Returns layer `number` of a base: a file of its own, and one that all layers have.
fn layer(number: usize) -> (Digest, Vec<u8>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: String, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content).unwrap();
    };
    let mut content = noise(LAYER_BYTES);
    content[..8].copy_from_slice(&(number as u64).to_le_bytes());
    add(format!("of-{number}"), &content);
    add("last".to_owned(), format!("layer {number}").as_bytes());
    let tar = tar.into_inner().unwrap();
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(&tar).unwrap();
    (Digest::of(&tar), compressed.finish().unwrap())
}

/// Puts an image of these layers into a registry as `base:v1`.
pub fn put(sim: &RegSim, layers: &[(Digest, Vec<u8>)]) {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let diff_ids: Vec<String> = layers.iter().map(|(diff_id, _)| diff_id.to_string()).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": vec![json!({"created_by": "base"}); layers.len()],
    });
    let config = serde_json::to_vec(&config).unwrap();
    let describe = |(_, bytes): &(Digest, Vec<u8>)| {
        descriptor(OCI_LAYER, &sim.put_blob("base", bytes), bytes.len() as u64)
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &sim.put_blob("base", &config), config.len() as u64),
        "layers": layers.iter().map(describe).collect::<Vec<_>>(),
    });
    sim.put_manifest("base", "v1", OCI_MANIFEST, &serde_json::to_vec(&manifest).unwrap());
}

/// Copies the file that all layers have out of the base, into an image `app:v1`.
fn copy(sim: &RegSim) -> Build {
    let host = sim.host();
    Build::from("scratch")
        .dockerfile(&format!(
            "FROM {host}/base:v1 AS base\nFROM scratch\nCOPY --from=base /last /\n"
        ))
        .to(format!("{host}/app:v1"))
}

/// Copies a file onto the base, which needs no more of it than its headers.
fn onto(sim: &RegSim, destination: &str) -> Build {
    let base = format!("{}/base:v1", sim.host());
    Build::from(&base).dockerfile(&format!("FROM {base}\nCOPY Dockerfile /last\n")).to(destination)
}

/// Returns what is in the file that the build has copied.
fn copied(sim: &RegSim) -> String {
    let manifest: Value = serde_json::from_slice(&sim.manifest("app", "v1").unwrap()).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let layer = sim.blob("app", &digest).unwrap();
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(layer.as_slice()));
    let mut entries = tar.entries().unwrap().map(Result::unwrap);
    let mut entry = entries.find(|entry| &*entry.path_bytes() == b"last").unwrap();
    std::io::read_to_string(&mut entry).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_layer_may_be_the_last_to_come() {
    if !is_root("the_first_layer_may_be_the_last_to_come") {
        return;
    }
    let sim = RegSim::start().await;
    let layers: Vec<_> = (1..=9).map(layer).collect();
    put(&sim, &layers);
    // The config is one of those that come before it, with every other layer.
    let first = format!("/base/blobs/{}", Digest::of(&layers[0].1));
    sim.rule(Rule::new("GET", first, Fault::After("/base/blobs/", layers.len())));
    copy(&sim).run().await.works();
    assert_eq!(copied(&sim), "layer 9");
    for (_, bytes) in &layers {
        assert_eq!(sim.count("GET", &Digest::of(bytes).to_string()), 1, "each is asked for once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_base_comes_once_and_is_read_once() {
    if !is_root("every_byte_of_a_base_comes_once_and_is_read_once") {
        return;
    }
    let sim = RegSim::start().await;
    let (one, two) = (layer(1), layer(2));
    // A layer that is in the image twice is one blob.
    put(&sim, &[one.clone(), two.clone(), one.clone()]);
    let build = copy(&sim);
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("took.json");
    build.arg(format!("--benchmark-file={}", file.display())).run().await.works();
    assert_eq!(copied(&sim), "layer 1");
    let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let pull = |(_, bytes): &(Digest, Vec<u8>)| {
        let digest = Digest::of(bytes).to_string();
        json!({"digest": digest, "bytes": bytes.len(), "requests": 1, "resumed": 0})
    };
    assert_eq!(report["pulls"], json!([pull(&one), pull(&two)]));
    for phase in ["pull", "unpack"] {
        assert!(report["phases_ms"][phase].is_u64(), "{phase} {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_its_documents_and_one_request_a_layer() {
    if !is_root("a_base_is_its_documents_and_one_request_a_layer") {
        return;
    }
    let tls = super::trust::Tls::start(Auth::None).await;
    let plain = RegSim::start().await;
    let known = |sim: &RegSim| format!("{NAME}:{}", port(sim));
    let unverified = format!("--skip-tls-verify-registry={}", known(&tls.sim));
    // Where both schemes are possible, the manifest is asked for both ways at once.
    for (sim, flag, connections) in
        [(&tls.sim, unverified.as_str(), 2), (&plain, "--insecure-pull", 3)]
    {
        for count in [1, 6] {
            let layers: Vec<_> = (1..=count).map(layer).collect();
            put(sim, &layers);
            let before = sim.requests().len();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("took.json");
            let host = known(sim);
            let text =
                format!("FROM {host}/base:v1 AS base\nFROM scratch\nCOPY --from=base /last /\n");
            let build = Build::from("scratch").dockerfile(&text).arg("--no-push").arg(flag);
            build.arg(format!("--benchmark-file={}", file.display())).run().await.works();
            let mut log = sim.log().split_off(before);
            // A registry that takes long to answer is asked for a second connection.
            log.retain(|line| !line.starts_with("GET /v2/ "));
            let manifest: Value =
                serde_json::from_slice(&sim.manifest("base", "v1").unwrap()).unwrap();
            let get = |descriptor: &Value| {
                format!("GET /v2/base/blobs/{} 200", descriptor["digest"].as_str().unwrap())
            };
            // The manifest is needed for the others.
            let mut blobs = log.split_off(1);
            assert_eq!(log, ["GET /v2/base/manifests/v1 200"]);
            let named = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
            let mut expected: Vec<String> = named.map(get).collect();
            blobs.sort();
            expected.sort();
            assert_eq!(blobs, expected);
            if count == 1 {
                // One each, one that found that there is no TLS, or fewer where an answer was soon.
                let report: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
                let made = report["network"]["connections"].as_u64().unwrap();
                assert!((1..=connections + 2).contains(&made), "{report:#}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_whose_files_are_needed_comes_beside_its_config() {
    if !is_root("a_base_whose_files_are_needed_comes_beside_its_config") {
        return;
    }
    let sim = RegSim::start().await;
    let layers = [layer(1), layer(2)];
    put(&sim, &layers);
    // None of the three is answered before all were asked for.
    let all = Arc::new(Barrier::new(3));
    sim.rule(Rule::new("GET", "/base/blobs/", Fault::Meet(all)).times(3));
    copy(&sim).run().await.works();
    assert_eq!(copied(&sim), "layer 2");

    // One that turns out to be no base ends what was begun.
    let sim = RegSim::start().await;
    put(&sim, &layers);
    let manifest: Value = serde_json::from_slice(&sim.manifest("base", "v1").unwrap()).unwrap();
    let config = format!("/base/blobs/{}", manifest["config"]["digest"].as_str().unwrap());
    let nothing = Fault::Answer { status: 404, headers: Vec::new(), body: String::new() };
    sim.rule(Rule::new("GET", config, nothing));
    sim.rule(Rule::new("GET", "/base/blobs/", Fault::Stall(100)));
    let Ended { success, text } = copy(&sim).run().await;
    assert!(!success && text.contains("answered 404"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_all_cached_is_four_round_trips() {
    if !is_root("a_build_that_is_all_cached_is_four_round_trips") {
        return;
    }
    let tls = super::trust::Tls::start(Auth::None).await;
    let sim = &tls.sim;
    let layers: Vec<_> = (1..=6).map(layer).collect();
    put(sim, &layers);
    let host = format!("{NAME}:{}", port(sim));
    let build = || {
        Build::from("scratch")
            .dockerfile(&format!("FROM {host}/base:v1\nCOPY hosts /last\n"))
            .to(format!("{host}/app:v1"))
            .arg(format!("--skip-tls-verify-registry={host}"))
            .arg("--cache")
            .arg("--cache-copy-layers")
    };
    build().run().await.works();
    let before = sim.requests().len();
    // What does not wait for each other: none of a round trip is answered before all have come.
    let round_trip = |requests: &[(&'static str, &str, usize)]| {
        let count = requests.iter().map(|(_, _, count)| count).sum();
        let all = Arc::new(Barrier::new(count));
        for (method, path, count) in requests {
            sim.rule(Rule::new(method, *path, Fault::Meet(Arc::clone(&all))).times(*count));
        }
        count
    };
    let first = round_trip(&[
        ("GET", "/base/manifests/v1", 1),
        ("GET", "/app/cache/manifests/", 1),
        ("POST", "/app/blobs/uploads/", 1),
    ]);
    let second = round_trip(&[("GET", "/base/blobs/", 1)]);
    // The layers, and the config, which says when it was made and thus is new.
    let third = round_trip(&[("HEAD", "/app/blobs/", 7), ("PUT", "/app/blobs/uploads/", 1)]);
    let fourth = round_trip(&[("PUT", "/app/manifests/v1", 1)]);
    build().run().await.works();
    let log = sim.log().split_off(before);
    assert_eq!(log.len(), first + second + third + fourth, "{log:#?}");
    assert_eq!(sim.open_sessions(), 0, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_mounted_passes_by_and_is_written_nowhere() {
    if !is_root("a_base_that_is_mounted_passes_by_and_is_written_nowhere") {
        return;
    }
    let layers: Vec<_> = (1..=6).map(layer).collect();
    let (sim, other) = (RegSim::start().await, RegSim::start().await);
    put(&sim, &layers);
    let path = |(_, bytes): &(Digest, Vec<u8>)| Digest::of(bytes).to_string();

    onto(&sim, &format!("{}/app:v1", sim.host())).no_file_over(1024).run().await.works();
    assert!(sim.tag("app", "v1").is_some());
    for layer in &layers {
        assert_eq!(sim.count("GET", &path(layer)), 1, "each is read once");
        let mounts = |request: &Recorded| {
            request.method == "POST" && request.query("mount") == [path(layer)]
        };
        assert!(sim.requests().iter().any(mounts), "and mounted");
    }

    // Whoever has to send them on keeps them, and does not fetch them twice.
    let elsewhere = format!("{}/app:v1", other.host());
    // What this one has asked for may be seen only after its end.
    let same = RegSim::start().await;
    put(&same, &layers);
    let too_long = onto(&same, &elsewhere).no_file_over(1024).run().await;
    assert!(!too_long.success, "{}", too_long.text);
    onto(&sim, &elsewhere).run().await.works();
    for layer in &layers {
        assert_eq!(sim.count("GET", &path(layer)), 2, "and once again");
        assert!(other.blob("app", &path(layer).parse().unwrap()).is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_is_gone_on_with_while_it_is_unpacked() {
    if !is_root("a_download_that_breaks_is_gone_on_with_while_it_is_unpacked") {
        return;
    }
    let layers: Vec<_> = (1..=2).map(layer).collect();
    let path = format!("/blobs/{}", Digest::of(&layers[0].1));
    let busy = |status| Fault::Answer {
        status,
        headers: vec![("retry-after", "0".to_owned())],
        body: String::new(),
    };
    let half = LAYER_BYTES / 2;
    for faults in [
        vec![Fault::CutResponseAfter(half), Fault::CutResponseAfter(half)],
        vec![Fault::CutResponseAfter(half), Fault::IgnoreRange],
        vec![busy(503), Fault::CutResponseAfter(half), busy(429)],
    ] {
        let sim = RegSim::start().await;
        put(&sim, &layers);
        for fault in faults {
            sim.rule(Rule::new("GET", path.clone(), fault).times(1));
        }
        copy(&sim).run().await.works();
        assert_eq!(copied(&sim), "layer 2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_built_on_a_layer_that_turns_out_to_be_wrong() {
    if !is_root("nothing_is_built_on_a_layer_that_turns_out_to_be_wrong") {
        return;
    }
    let layers: Vec<_> = (1..=6).map(layer).collect();
    let length = layers[0].1.len();
    let truncated = Fault::CutResponseAfter(length - 1);
    for (fault, expected) in [
        // A gzip stream says that it is wrong long before the digest does, and of its time never.
        (Fault::Corrupt(length / 2), "served wrong content for a blob: digest is"),
        (Fault::Corrupt(4), "served wrong content for a blob: digest is"),
        (Fault::Shorten(length - 1), "served wrong content for blob"),
        (truncated, " broke"),
        (Fault::status(404), "answered 404"),
    ] {
        for (wrong, is_outline) in [(0, false), (5, false), (0, true), (5, true)] {
            let sim = RegSim::start().await;
            put(&sim, &layers);
            let digest = Digest::of(&layers[wrong].1).to_string();
            sim.rule(Rule::new("GET", digest.clone(), fault.clone()));
            let build = match is_outline {
                true => onto(&sim, &format!("{}/app:v1", sim.host())),
                false => copy(&sim),
            };
            let Ended { success, text } = build.arg("--image-download-retry=0").run().await;
            assert!(!success, "{text}");
            let errors: Vec<&str> =
                text.lines().filter(|line| line.starts_with("error: ")).collect();
            let of = format!("error: cannot fetch blob `{digest}` of `{}/base:v1`", sim.host());
            assert_eq!(errors, [of], "{fault:?} {wrong}: {text}");
            assert!(text.contains(expected), "{fault:?} {wrong}: {text}");
            assert_eq!((sim.tag("app", "v1"), sim.open_sessions()), (None, 0), "{text}");
        }
    }
}
