//! Whole builds that push while they run.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use super::*;
use crate::skip_unless_available;
use crate::witness::harness::{Build, Built};

/// Bytes of the file that makes a layer worth an upload of its own.
const BIG: usize = 4 << 20;

/// Starts a registry that a build's commands can reach, and a context with one big file.
pub(super) async fn prepare(dockerfile: impl Fn(&RegSim) -> String) -> (RegSim, TempDir) {
    let sim = RegSim::start().await;
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("Dockerfile"), dockerfile(&sim)).unwrap();
    fs::write(context.path().join("big"), noise(BIG)).unwrap();
    (sim, context)
}

/// A command that ends well once the registry has bytes of some layer.
fn wait(sim: &RegSim) -> String {
    let host = sim.host();
    let (address, port) = host.split_once(':').unwrap();
    format!(
        "nc -w 60 {address} {port} -e sh -c 'printf \"GET /received HTTP/1.0\\r\\n\\r\\n\"; grep -q some'"
    )
}

pub(super) async fn build(sim: &RegSim, context: &Path, arguments: &[&str]) -> Built {
    let build = prepared(sim, context, arguments);
    tokio::task::spawn_blocking(move || build.run()).await.unwrap()
}

pub(super) fn prepared(sim: &RegSim, context: &Path, arguments: &[&str]) -> Build {
    let mut build = Build::of(context).base("base-small", "busybox").arg("--insecure");
    if !arguments.contains(&"--no-push") {
        build = build.arg(format!("--destination={}/app:v1", sim.host()));
    }
    arguments.iter().fold(build, |build, argument| build.arg(argument))
}

/// Checks that every layer of a pushed image is there.
pub(super) fn assert_pushed(sim: &RegSim, repository: &str, built: &Built) {
    assert!(built.output.status.success(), "{}\n{:#?}", built.text(), sim.log());
    assert!(sim.tag(repository, "v1").is_some(), "{repository}");
    assert_eq!(sim.open_sessions(), 0, "{:#?}", sim.log());
}

/// Returns how many bodies of about a big layer's size were sent.
fn big_bodies(sim: &RegSim) -> usize {
    let big = |body| (BIG as u64 / 2..2 * BIG as u64).contains(&body);
    sim.requests().iter().filter(|one| one.method == "PATCH" && big(one.body)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_goes_out_while_the_next_instruction_runs() {
    skip_unless_available!();
    // The command ends only when bytes of the layer before it have arrived.
    let (sim, context) =
        prepare(|sim| format!("FROM base-small\nCOPY big /\nRUN {} && touch /x\n", wait(sim)))
            .await;
    let built = build(&sim, context.path(), &[]).await;
    assert_pushed(&sim, "app", &built);
    assert_eq!(big_bodies(&sim), 1, "{:#?}", sim.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_cancels_what_it_sent() {
    skip_unless_available!();
    let (sim, context) =
        prepare(|sim| format!("FROM base-small\nCOPY big /\nRUN {}; exit 7\n", wait(sim))).await;
    // The layer is still on its way when the command fails.
    sim.rule(Rule::new("PUT", "/uploads/", Fault::status(503)));
    let built = build(&sim, context.path(), &[]).await;
    assert_eq!(built.output.status.code(), Some(7), "{}", built.text());
    assert_eq!((sim.open_sessions(), sim.tag("app", "v1")), (0, None), "{:#?}", sim.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_layers_of_the_target_are_sent() {
    skip_unless_available!();
    let dockerfile = "FROM base-small AS one\nCOPY big /one\nFROM one AS two\nRUN touch /two\n\
                      FROM base-small AS three\nCOPY --from=two /one /three\n\
                      FROM three\nRUN touch /four\n";
    let (sim, context) = prepare(|_| dockerfile.to_owned()).await;
    let built = build(&sim, context.path(), &[]).await;
    assert_pushed(&sim, "app", &built);
    assert_eq!(big_bodies(&sim), 1, "{:#?}", sim.log());

    let (sim, context) = prepare(|_| dockerfile.to_owned()).await;
    let built = build(&sim, context.path(), &["--no-push"]).await;
    assert!(built.output.status.success(), "{}", built.text());
    assert_eq!(sim.log(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_layer_a_stage_goes_to_all_destinations() {
    skip_unless_available!();
    let (sim, context) =
        prepare(|_| "FROM base-small\nCOPY big /\nRUN touch /x\nLABEL a=b\n".to_owned()).await;
    let other = format!("--destination={}/team/app:v1", sim.host());
    let built = build(&sim, context.path(), &["--single-snapshot", &other]).await;
    assert_pushed(&sim, "app", &built);
    assert_pushed(&sim, "team/app", &built);
    assert_eq!(big_bodies(&sim), 1, "{:#?}", sim.log());
    assert_eq!(sim.tag("app", "v1"), sim.tag("team/app", "v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lost_a_layer_gets_it_again() {
    skip_unless_available!();
    let (sim, context) = prepare(|_| "FROM base-small\nRUN touch /x\n".to_owned()).await;
    let lost = serde_json::json!({"errors": [{
        "code": "MANIFEST_BLOB_UNKNOWN",
        "message": "blob unknown to registry",
        "detail": {"digest": Digest::of(b"one of them").to_string()},
    }]});
    let lost = Fault::Answer { status: 404, headers: Vec::new(), body: lost.to_string() };
    sim.rule(Rule::new("PUT", "/manifests/", lost).times(1));
    let built = build(&sim, context.path(), &[]).await;
    assert_pushed(&sim, "app", &built);
    assert_eq!(sim.count("PUT", "/manifests/"), 2, "{:#?}", sim.log());
    // The base's layer, the build's own, and the config, each twice.
    assert_eq!(sim.count("PUT", "/uploads/"), 6, "{:#?}", sim.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_while_the_build_runs_gets_all_at_the_end() {
    skip_unless_available!();
    let (sim, context) =
        prepare(|sim| format!("FROM base-small\nCOPY big /\nRUN {} && touch /x\n", wait(sim)))
            .await;
    sim.rule(Rule::new("PATCH", "", Fault::error(403, "DENIED", "not now")).times(1));
    let built = build(&sim, context.path(), &[]).await;
    assert_pushed(&sim, "app", &built);
    assert_eq!(big_bodies(&sim), 2, "{:#?}", sim.log());
}

/// Returns how long a gzip layer is unpacked.
fn unpacked(layer: &[u8]) -> u64 {
    let mut reader = flate2::read::MultiGzDecoder::new(layer);
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_byte_is_read_hashed_compressed_kept_and_sent_once() {
    skip_unless_available!();
    let (sim, context) =
        prepare(|_| "FROM base-small\nCOPY big /\nRUN cat /big > /copy\n".to_owned()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/benchmark.json");
    let flag = format!("--benchmark-file={}", file.display());
    let two_tags = format!("--destination={}/app:v2", sim.host());
    let built = build(&sim, context.path(), &[&flag, &two_tags]).await;
    assert_pushed(&sim, "app", &built);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let blob = |digest: &serde_json::Value| {
        sim.blob("app", &digest.as_str().unwrap().parse().unwrap()).unwrap()
    };
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2, "{report:#}");
    for layer in layers {
        let sent = blob(&layer["digest"]);
        assert_eq!(layer["opened"], 1, "{report:#}");
        assert_eq!(layer["read_bytes"], BIG, "{report:#}");
        assert_eq!(layer["hashed_bytes"], BIG, "{report:#}");
        assert_eq!(layer["compressed_bytes"], unpacked(&sent), "{report:#}");
        assert_eq!(layer["spooled_bytes"], sent.len(), "{report:#}");
        assert_eq!(layer["restarts"], 0, "{report:#}");
    }
    // The base's layer, both of the build's, and the config, for the first tag; nothing but the
    // manifest for the second.
    let pushes = report["pushes"].as_array().unwrap();
    let uploaded: Vec<_> = pushes.iter().filter(|push| push["route"] == "uploaded").collect();
    assert_eq!(uploaded.len(), 4, "{report:#}");
    for push in uploaded {
        let sent = blob(&push["digest"]);
        assert_eq!(push["repository"], format!("{}/app", sim.host()));
        assert_eq!(push["bytes"], sent.len(), "{report:#}");
        assert_eq!((&push["requests"], &push["resumed"]), (&1.into(), &0.into()), "{report:#}");
    }
    let in_background = pushes.iter().filter(|push| !push["background_ms"].is_null());
    assert_eq!(in_background.count(), 2, "{report:#}");
    let requests = sim.requests();
    let uploads = requests.iter().filter(|one| one.path.contains("/blobs/uploads/"));
    let sent: u64 = uploads.map(|one| one.body).sum();
    let told: u64 = pushes.iter().filter_map(|push| push["bytes"].as_u64()).sum();
    assert_eq!(told, sent, "{report:#}");
    // One more than the registry has seen: https was tried first.
    assert_eq!(report["network"]["requests"], sim.requests().len() + 1, "{report:#}");
    let connections = report["network"]["connections"].as_u64().unwrap();
    assert!((2..=20).contains(&connections), "{report:#}");
    for phase in ["unpack", "run", "layer", "upload", "push"] {
        assert!(report["phases_ms"][phase].is_u64(), "{phase} {report:#}");
    }
    assert!(report["overlap_ms"].is_u64() && report["total_ms"].is_u64(), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_asked_to_end_cancels_what_it_sent() {
    skip_unless_available!();
    let (sim, context) =
        prepare(|sim| format!("FROM base-small\nCOPY big /\nRUN {}; sleep 1000\n", wait(sim)))
            .await;
    // The layer is still on its way when the signal comes.
    sim.rule(Rule::new("PUT", "/uploads/", Fault::status(503)));
    let running = prepared(&sim, context.path(), &[]).start();
    got_bytes(&mut sim.received()).await;
    running.signal(Signal::SIGTERM);
    let built = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
    assert_eq!(built.output.status.code(), Some(143), "{}", built.text());
    assert!(built.text().contains("error: the build was ended by SIGTERM\n"), "{}", built.text());
    assert_eq!((sim.open_sessions(), sim.tag("app", "v1")), (0, None), "{:#?}", sim.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_asked_to_end_while_it_pushes_cancels_that() {
    skip_unless_available!();
    // The base's layer is nothing of the build's own, and goes out when all else is done.
    let (sim, context) = prepare(|_| "FROM base-small\nLABEL a=b\n".to_owned()).await;
    sim.rule(Rule::new("PUT", "/uploads/", Fault::status(503)));
    let running = prepared(&sim, context.path(), &["--push-retry=1000"]).start();
    got_bytes(&mut sim.received()).await;
    running.signal(Signal::SIGINT);
    let built = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
    assert_eq!(built.output.status.code(), Some(130), "{}", built.text());
    assert!(built.text().contains("error: the build was ended by SIGINT\n"), "{}", built.text());
    assert_eq!((sim.open_sessions(), sim.tag("app", "v1")), (0, None), "{:#?}", sim.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_fails_moves_no_tag_and_writes_no_digest() {
    skip_unless_available!();
    let denied = Fault::error(403, "DENIED", "no");
    for (method, path, fault) in [
        ("PATCH", "/uploads/", denied.clone()),
        ("PUT", "/uploads/", Fault::error(400, "DIGEST_INVALID", "provided digest did not match")),
        ("PUT", "/manifests/", denied),
        ("PUT", "/manifests/", Fault::Cut),
    ] {
        let text = format!("{method} {path} {fault:?}");
        let (sim, context) = prepare(|_| "FROM scratch\nCOPY big /\n".to_owned()).await;
        sim.rule(Rule::new(method, path, fault));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("digest");
        let flag = format!("--digest-file={}", file.display());
        let built = build(&sim, context.path(), &[&flag]).await;
        assert!(!built.output.status.success(), "{text} {}", built.text());
        assert_eq!((sim.tag("app", "v1"), file.exists()), (None, false), "{text}");
        assert_eq!(sim.open_sessions(), 0, "{text} {:#?}", sim.log());
    }
}
