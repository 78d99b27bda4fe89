//! Large blobs, fetched in parts over several connections.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use snapshot::Digest;
use tokio::sync::{Barrier, watch};
use zuwai::registry::{PartsAhead, RegistryError, RegistryOptions, TransferStats};
use zuwai::store::Store;

use super::{amd64, layer, lines, noise, options, reference, registry, small_image};
use crate::regsim::{Fault, RegSim, Rule};

const PART: u64 = 10_000;
const SIZE: usize = 95_000;

/// Pulls with as many parts ahead, from a registry that is always far enough.
async fn pull(sim: &RegSim, count: usize) -> Result<(Vec<u8>, TransferStats), RegistryError> {
    pull_from(sim, PartsAhead { part_bytes: PART, count, latency: Duration::ZERO }).await
}

async fn pull_from(
    sim: &RegSim,
    parts_ahead: PartsAhead,
) -> Result<(Vec<u8>, TransferStats), RegistryError> {
    let bytes = noise(SIZE);
    sim.put_blob("app", &bytes);
    let mut sink = Vec::new();
    let stats = registry(RegistryOptions { parts_ahead, ..options() })
        .pull_blob(&reference(sim, "app:v1"), &layer(&bytes), &mut sink)
        .await?;
    Ok((sink, stats))
}

/// Returns the ranges that were asked for, each with how often, in their order.
fn ranges(sim: &RegSim) -> Vec<String> {
    let requests = sim.requests();
    let blobs = requests.iter().filter(|request| request.path.contains("/blobs/"));
    let mut ranges: Vec<String> = blobs
        .map(|request| request.header("range").unwrap_or("all").replace("bytes=", ""))
        .collect();
    ranges.sort_by_key(|range| range.split('-').next().and_then(|start| start.parse::<u64>().ok()));
    ranges
}

/// Every part once.
fn all_parts() -> Vec<String> {
    (0..10)
        .map(|part| format!("{}-{}", part * PART, (part * PART + PART).min(95_000) - 1))
        .collect()
}

#[tokio::test]
async fn every_part_is_asked_for_once_however_many_are_ahead() {
    for count in [1, 3, 8, 100] {
        let sim = RegSim::start().await;
        let (received, stats) = pull(&sim, count).await.unwrap();
        assert_eq!(received, noise(SIZE));
        assert_eq!(ranges(&sim), all_parts(), "{count}");
        assert_eq!(stats, TransferStats { bytes: 95_000, requests: 10, resumed: 0 }, "{count}");
    }
}

#[tokio::test]
async fn without_a_connection_to_spare_a_blob_comes_in_one_go() {
    let sim = RegSim::start().await;
    let (received, stats) = pull(&sim, 0).await.unwrap();
    assert_eq!(received, noise(SIZE));
    assert_eq!(ranges(&sim), ["all"]);
    assert_eq!(stats, TransferStats { bytes: 95_000, requests: 1, resumed: 0 });
}

#[tokio::test]
async fn a_registry_that_is_near_is_asked_for_the_rest_in_one_go() {
    let sim = RegSim::start().await;
    let policy = PartsAhead { part_bytes: PART, count: 8, latency: Duration::MAX };
    let (received, stats) = pull_from(&sim, policy).await.unwrap();
    assert_eq!(received, noise(SIZE));
    assert_eq!(ranges(&sim), ["0-9999", "10000-"]);
    assert_eq!(stats, TransferStats { bytes: 95_000, requests: 2, resumed: 0 });
}

#[tokio::test]
async fn what_is_known_to_be_far_is_asked_for_all_at_once() {
    let sim = RegSim::start().await;
    small_image("linux", "amd64").put(&sim, "app", "v1");
    let bytes = noise(SIZE);
    sim.put_blob("app", &bytes);
    let parts_ahead = PartsAhead { part_bytes: PART, count: 4, latency: Duration::ZERO };
    let registry = registry(RegistryOptions { parts_ahead, ..options() });
    let reference = reference(&sim, "app:v1");
    registry.resolve(&reference, &amd64()).await.unwrap();
    // The first parts come in one request, which is answered no sooner than those beside it.
    let all = Arc::new(Barrier::new(5));
    sim.rule(Rule::new("GET", "/blobs/", Fault::Meet(all)).times(5));
    let mut sink = Vec::new();
    let stats = registry.pull_blob(&reference, &layer(&bytes), &mut sink).await.unwrap();
    assert_eq!(sink, bytes);
    assert_eq!(stats, TransferStats { bytes: 95_000, requests: 8, resumed: 0 });
    // The config was asked for before.
    let asked: Vec<String> = ranges(&sim).into_iter().filter(|range| range != "all").collect();
    let expected: Vec<String> =
        std::iter::once("0-29999".to_owned()).chain(all_parts().split_off(3)).collect();
    assert_eq!(asked, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_to_a_far_registry_is_made_beside_the_first_request() {
    let sim = RegSim::start().await;
    small_image("linux", "amd64").put(&sim, "app", "v1");
    let bytes = noise(SIZE);
    sim.put_blob("app", &bytes);
    let registry = |latency| {
        let parts_ahead = PartsAhead { part_bytes: PART, count: 0, latency };
        registry(RegistryOptions { parts_ahead, ..options() })
    };
    let reference = reference(&sim, "app:v1");
    let meeting = |count: usize| {
        let all = Arc::new(Barrier::new(count));
        sim.rule(Rule::new("GET", "/", Fault::Meet(all)).times(count));
    };

    // The root is asked for beside the manifest.
    meeting(2);
    let far = registry(Duration::ZERO);
    let mut knocking = far.knock(&reference).unwrap();
    let found = far.find_manifest(&reference, &amd64()).await.unwrap();
    knocking.wait().await;
    // It is asked, but may not have been answered.
    while sim.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut log = sim.log();
    log.sort();
    assert_eq!(log, ["GET /v2/ 200", "GET /v2/app/manifests/v1 200"]);
    // And the config beside the layer.
    meeting(2);
    let mut sink = Vec::new();
    let (layer, platform) = (layer(&bytes), amd64());
    let (completed, pulled) =
        tokio::join!(far.complete(found, &platform), far.pull_blob(&reference, &layer, &mut sink),);
    assert!(completed.is_ok() && pulled.is_ok() && sink == bytes);

    // One that answers soon is not asked.
    let before = sim.requests().len();
    let near = registry(Duration::MAX);
    let _knocking = near.knock(&reference);
    near.find_manifest(&reference, &amd64()).await.unwrap();
    assert_eq!(sim.log().split_off(before), ["GET /v2/app/manifests/v1 200"]);
}

#[tokio::test]
async fn parts_may_come_in_any_order() {
    let sim = RegSim::start().await;
    // The first part says that there are parts; the second one comes last.
    sim.rule(Rule::new("GET", "/blobs/", Fault::Nothing).times(1));
    sim.rule(Rule::new("GET", "/blobs/", Fault::After("/blobs/", 9)).times(1));
    let (received, _) = pull(&sim, 9).await.unwrap();
    assert_eq!(received, noise(SIZE));
    assert_eq!(ranges(&sim), all_parts());
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_sends_everything_once() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/blobs/", Fault::IgnoreRange));
    let (received, stats) = pull(&sim, 8).await.unwrap();
    assert_eq!(received, noise(SIZE));
    assert_eq!(stats, TransferStats { bytes: 95_000, requests: 1, resumed: 0 });
}

#[tokio::test]
async fn parts_that_fail_are_asked_for_again_where_they_broke() {
    let all: BTreeSet<String> = all_parts().into_iter().collect();
    let busy = || Fault::Answer {
        status: 429,
        headers: vec![("retry-after", "0".to_owned())],
        body: String::new(),
    };
    for (fault, bytes) in [
        (Fault::CutResponseAfter(4_000), 95_000),
        (Fault::CutResponseAfter(0), 95_000),
        (Fault::Cut, 95_000),
        (busy(), 95_000),
        (Fault::status(503), 95_000),
        (Fault::IgnoreRange, 95_000),
        (Fault::Shorten(5_000), 95_000),
    ] {
        for failures in [1, 2, 4] {
            let sim = RegSim::start().await;
            // The first part is served, those after it are not.
            sim.rule(Rule::new("GET", "/blobs/", Fault::Nothing).times(1));
            sim.rule(Rule::new("GET", "/blobs/", fault.clone()).times(failures));
            let (received, stats) = pull(&sim, 4).await.unwrap();
            assert_eq!(received, noise(SIZE), "{fault:?} {failures}");
            assert_eq!(stats.bytes, bytes, "{fault:?} {failures}");
            let asked = ranges(&sim);
            assert_eq!(stats.requests as usize, asked.len(), "{fault:?} {failures}");
            if matches!(fault, Fault::CutResponseAfter(4_000)) && failures == 1 {
                let extra: Vec<_> = asked.iter().filter(|range| !all.contains(*range)).collect();
                assert_eq!(extra, ["14000-19999"]);
                assert_eq!(stats.resumed, 1);
            }
        }
    }
}

#[tokio::test]
async fn wrong_parts_are_an_error_and_never_success() {
    let check = async |rules: Vec<(Fault, usize)>, expected: &str| {
        let sim = RegSim::start().await;
        for (fault, times) in rules {
            sim.rule(Rule::new("GET", "/blobs/", fault).times(times));
        }
        let error = pull(&sim, 4).await.unwrap_err();
        assert!(lines(&error)[1].contains(expected), "{:?}", lines(&error));
    };
    let good = || (Fault::Nothing, 1);
    check(vec![(Fault::Corrupt(10), 1)], "served wrong content for a blob: digest is").await;
    check(vec![good(), (Fault::Corrupt(10), 1)], "served wrong content for a blob: digest is")
        .await;
    let range = |text: &str| Fault::Headers(vec![("content-range", text.to_owned())]);
    let all = usize::MAX;
    check(vec![good(), (range("bytes 0-9999/95000"), all)], "not from byte 10000 of 95000").await;
    check(vec![good(), (range("bytes 10000-19999/7"), all)], "not from byte 10000 of 95000").await;
    check(vec![good(), (Fault::status(404), all)], "answered 404").await;
    check(vec![(Fault::status(404), all)], "answered 404").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_part_is_read_before_the_next_is_sent() {
    let sim = RegSim::start().await;
    let bytes = noise(SIZE);
    sim.put_blob("app", &bytes);
    let (gate, closed) = watch::channel(false);
    sim.rule(Rule::new("GET", "/blobs/", Fault::Nothing).times(1));
    sim.rule(Rule::new("GET", "/blobs/", Fault::Hold(closed)));
    let work = tempfile::tempdir().unwrap();
    let store = Store::open(work.path()).unwrap();
    let expected = store.expect_blob();
    let arriving = expected.arriving();
    let reader = tokio::task::spawn_blocking(move || {
        let mut reader = arriving.open().unwrap();
        let mut read = vec![0; PART as usize];
        reader.read_exact(&mut read).unwrap();
        gate.send_replace(true);
        reader.read_to_end(&mut read).unwrap();
        read
    });
    let parts_ahead = PartsAhead { part_bytes: PART, count: 3, latency: Duration::ZERO };
    let mut writer = expected.begin(bytes.len() as u64).unwrap();
    registry(RegistryOptions { parts_ahead, ..options() })
        .pull_blob(&reference(&sim, "app:v1"), &layer(&bytes), &mut writer)
        .await
        .unwrap();
    let blob = writer.commit(&Digest::of(&bytes)).unwrap();
    assert_eq!((blob.size_bytes, reader.await.unwrap()), (SIZE as u64, bytes));
}

#[tokio::test]
async fn a_part_that_is_longer_than_asked_for_is_cut_off() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/blobs/", Fault::Append(vec![7; 100])).times(9));
    let (received, _) = pull(&sim, 4).await.unwrap();
    assert_eq!(received, noise(SIZE));
}
