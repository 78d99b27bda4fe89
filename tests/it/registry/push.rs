//! Pushing to registries with quirks and faults.

use std::sync::Arc;

use snapshot::Digest;
use zuwai::registry::{
    BlobUpload, ImmutableTags, Presence, PushedBlob, PushedManifest, RegistryError,
    RegistryOptions, TagOutcome,
};

use super::{
    OCI_MANIFEST, SmallImage, blob, lines, noise, options, reference, registry, small_image,
};
use crate::regsim::{Fault, Recorded, RegSim, Rule, shortened};

async fn push(sim: &RegSim, blob: &BlobUpload) -> Result<PushedBlob, RegistryError> {
    registry(options()).push_blob(&reference(sim, "app:v1"), blob).await
}

/// Pushes some bytes under `rules`; they must arrive, and no session may stay open.
async fn arrives(rules: Vec<Rule>, length: usize) -> Vec<String> {
    let sim = RegSim::start().await;
    for rule in rules {
        sim.rule(rule);
    }
    let bytes = noise(length);
    let blob = blob(bytes.clone());
    let pushed = push(&sim, &blob).await.unwrap();
    assert!(matches!(pushed, PushedBlob::Uploaded(_)), "{pushed:?}");
    assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes));
    assert_eq!(sim.open_sessions(), 0, "{:#?}", sim.log());
    uploads(&sim)
}

/// Returns what was asked for after the first HEAD, shortened.
fn uploads(sim: &RegSim) -> Vec<String> {
    sim.log()
        .into_iter()
        .filter(|line| !line.starts_with("GET /v2/ "))
        .map(|line| shortened(&line))
        .collect()
}

#[tokio::test]
async fn a_blob_goes_out_as_one_patch_without_range() {
    let sim = RegSim::start().await;
    let bytes = noise(700_000);
    let blob = blob(bytes.clone());
    let pushed = push(&sim, &blob).await.unwrap();
    assert!(
        matches!(pushed, PushedBlob::Uploaded(stats) if (stats.bytes, stats.requests) == (700_000, 1))
    );
    assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes));
    assert_eq!(sim.open_sessions(), 0);
    let patch = sim.requests().into_iter().find(|request| request.method == "PATCH").unwrap();
    assert_eq!(patch.header("content-range"), None);
    assert_eq!(patch.header("content-length"), Some("700000"));
    assert_eq!(patch.header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        uploads(&sim),
        ["HEAD blob 404", "POST  202", "PATCH session-1 202", "PUT session-1 201",]
    );
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_sent() {
    let sim = RegSim::start().await;
    let bytes = noise(100);
    sim.put_blob("app", &bytes);
    assert_eq!(push(&sim, &blob(bytes.clone())).await.unwrap(), PushedBlob::Existed);
    assert_eq!(uploads(&sim), ["HEAD blob 200"]);
    let doubted = BlobUpload { presence: Presence::Doubted, ..blob(bytes) };
    assert!(matches!(push(&sim, &doubted).await.unwrap(), PushedBlob::Uploaded(_)));
}

#[tokio::test]
async fn an_empty_blob_and_one_of_a_single_byte_arrive() {
    assert_eq!(arrives(Vec::new(), 0).await, ["HEAD blob 404", "POST  202", "PUT session-1 201"]);
    arrives(Vec::new(), 1).await;
}

#[tokio::test]
async fn a_mount_saves_the_upload_where_the_registry_has_the_blob() {
    let sim = RegSim::start().await;
    let bytes = noise(100);
    sim.put_blob("base/debian", &bytes);
    let mount_from = vec![
        "other.example/base/debian".parse().unwrap(),
        reference(&sim, "app:old"),
        reference(&sim, "empty:v1"),
        reference(&sim, "base/debian:12"),
        reference(&sim, "base/debian:13"),
    ];
    let wanted = BlobUpload { mount_from, ..blob(bytes.clone()) };
    assert_eq!(
        push(&sim, &wanted).await.unwrap(),
        PushedBlob::Mounted { from: "base/debian".into() }
    );
    assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes.clone()));
    // The session that the refused mount opened is not left behind.
    assert_eq!(sim.open_sessions(), 0);
    assert_eq!(uploads(&sim), ["HEAD blob 404", "POST  202", "POST  201", "DELETE session-1 204"]);
    let posts: Vec<_> = sim.requests().into_iter().filter(|r| r.method == "POST").collect();
    assert_eq!(posts[0].query("from"), ["empty"]);
    assert_eq!(posts[1].query("from"), ["base/debian"]);
    assert_eq!(posts[1].query("mount"), [Digest::of(&bytes).to_string()]);
}

#[tokio::test]
async fn a_refused_mount_becomes_an_upload() {
    let with_mount = |sim: &RegSim, bytes: &[u8]| BlobUpload {
        mount_from: vec![reference(sim, "base:v1")],
        ..blob(bytes.to_vec())
    };
    // 202: the session that the registry opened instead is used.
    let sim = RegSim::start().await;
    let bytes = noise(1000);
    push(&sim, &with_mount(&sim, &bytes)).await.unwrap();
    assert_eq!(
        uploads(&sim),
        ["HEAD blob 404", "POST  202", "PATCH session-1 202", "PUT session-1 201"]
    );
    for status in [400, 401, 403, 404, 405, 500] {
        let sim = RegSim::start().await;
        sim.put_blob("base", &bytes);
        let times = if status == 500 { 4 } else { 1 };
        sim.rule(Rule::new("POST", "/uploads/", Fault::status(status)).times(times));
        let pushed = push(&sim, &with_mount(&sim, &bytes)).await.unwrap();
        assert!(matches!(pushed, PushedBlob::Uploaded(_)), "{status} {pushed:?}");
        assert_eq!(sim.open_sessions(), 0, "{status}");
    }
}

#[tokio::test]
async fn any_success_is_taken_for_a_part() {
    for status in [201, 204] {
        arrives(vec![Rule::new("PATCH", "", Fault::Status(status))], 1000).await;
    }
}

#[tokio::test]
async fn every_request_may_fail_for_a_while() {
    for status in [429, 500, 503] {
        for method in ["HEAD", "POST", "PATCH", "PUT"] {
            for times in 1..=3 {
                let rule = Rule::new(method, "/blobs/", Fault::status(status)).times(times);
                arrives(vec![rule], 50_000).await;
            }
        }
    }
}

#[tokio::test]
async fn connections_may_be_cut_at_any_request() {
    for method in ["HEAD", "POST", "PATCH", "PUT"] {
        for fault in [Fault::Cut, Fault::LoseResponse] {
            let rule = Rule::new(method, "/blobs/", fault.clone()).times(1);
            let sim = RegSim::start().await;
            sim.rule(rule);
            let bytes = noise(300_000);
            push(&sim, &blob(bytes.clone())).await.unwrap();
            assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes), "{method} {fault:?}");
            // A session whose POST was never answered is one that nobody can name.
            let nameless = usize::from(method == "POST" && matches!(fault, Fault::LoseResponse));
            assert_eq!(sim.open_sessions(), nameless, "{method} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_the_registry_says() {
    for cut in [10, 100_000, 299_999, 300_000] {
        let rule = Rule::new("PATCH", "", Fault::CutRequestAfter(cut)).times(1);
        let log = arrives(vec![rule], 300_000).await;
        let mut expected = vec![
            "HEAD blob 404",
            "POST  202",
            "PATCH session-1 0",
            "HEAD blob 404",
            "GET session-1 204",
            "PATCH session-1 202",
            "PUT session-1 201",
        ];
        if cut == 300_000 {
            // Everything had arrived.
            expected.remove(5);
        }
        assert_eq!(log, expected, "{cut}");
    }
}

#[tokio::test]
async fn the_rest_of_a_broken_upload_is_sent_as_a_range() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PATCH", "", Fault::CutRequestAfter(100_000)).times(1));
    let bytes = noise(300_000);
    push(&sim, &blob(bytes)).await.unwrap();
    let last = sim.requests().into_iter().rfind(|request| request.method == "PATCH").unwrap();
    assert_eq!(last.header("content-range"), Some("100000-299999"));
    assert_eq!(last.header("content-length"), Some("200000"));
}

#[tokio::test]
async fn a_session_that_does_not_say_how_far_it_came_is_replaced() {
    for odd in ["", "0-0", "0-999999999", "nonsense"] {
        let rules = vec![
            Rule::new("PATCH", "", Fault::CutRequestAfter(1000)).times(1),
            Rule::new("GET", "/uploads/", Fault::Headers(vec![("range", odd.into())])),
        ];
        let log = arrives(rules, 5000).await;
        assert_eq!(
            log[4..],
            [
                "GET session-1 204",
                "DELETE session-1 204",
                "POST  202",
                "PATCH session-2 202",
                "PUT session-2 201",
            ],
            "{odd}"
        );
    }
    let rules = vec![
        Rule::new("PATCH", "", Fault::CutRequestAfter(1000)).times(1),
        Rule::new("GET", "/uploads/", Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "gone")),
    ];
    arrives(rules, 5000).await;
}

#[tokio::test]
async fn a_lost_answer_to_the_last_request_is_not_a_failure() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PUT", "/uploads/", Fault::LoseResponse).times(1));
    push(&sim, &blob(noise(1000))).await.unwrap();
    assert_eq!(
        uploads(&sim),
        [
            "HEAD blob 404",
            "POST  202",
            "PATCH session-1 202",
            "PUT session-1 0",
            "HEAD blob 200",
            // Had someone else sent the blob, the session would still be open.
            "DELETE session-1 404",
        ]
    );
}

#[tokio::test]
async fn a_registry_that_takes_no_streams_gets_one_put() {
    for status in [405, 411, 501] {
        let log = arrives(vec![Rule::new("PATCH", "", Fault::status(status))], 5000).await;
        assert_eq!(
            log,
            [
                "HEAD blob 404".to_owned(),
                "POST  202".to_owned(),
                format!("PATCH session-1 {status}"),
                "DELETE session-1 204".to_owned(),
                "POST  202".to_owned(),
                "PUT session-2 201".to_owned(),
            ]
        );
    }
}

#[tokio::test]
async fn a_small_blob_goes_with_the_request_that_completes_it() {
    let table = [
        (None, vec!["HEAD blob 404", "POST  202", "PUT session-1 201"]),
        (
            Some(405),
            vec![
                "HEAD blob 404",
                "POST  202",
                "PUT session-1 405",
                "DELETE session-1 204",
                "POST  202",
                "PATCH session-2 202",
                "PUT session-2 201",
            ],
        ),
        (Some(401), vec!["HEAD blob 404", "POST  202", "PUT session-1 401", "PUT session-1 201"]),
    ];
    for (refusal, expected) in table {
        let sim = RegSim::start().await;
        if let Some(status) = refusal {
            sim.rule(Rule::new("PUT", "/uploads/", Fault::status(status)).times(1));
        }
        let registry = registry(RegistryOptions { whole_upload_bytes: 1000, ..options() });
        let bytes = noise(1000);
        registry.push_blob(&reference(&sim, "app:v1"), &blob(bytes.clone())).await.unwrap();
        assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes), "{refusal:?}");
        assert_eq!(uploads(&sim), expected, "{refusal:?}");
        // One byte more is worth a request of its own.
        let before = sim.requests().len();
        registry.push_blob(&reference(&sim, "app:v1"), &blob(noise(1001))).await.unwrap();
        assert!(sim.log().split_off(before).iter().any(|line| line.starts_with("PATCH")));
        assert_eq!(sim.open_sessions(), 0);
    }
}

#[tokio::test]
async fn a_session_that_was_opened_for_nothing_is_used_or_closed() {
    let sim = RegSim::start().await;
    let registry = registry(RegistryOptions { whole_upload_bytes: 1000, ..options() });
    let to = reference(&sim, "app:v1");
    registry.begin_push(&to).await.unwrap();
    registry.push_blob(&to, &blob(noise(1000))).await.unwrap();
    assert_eq!(uploads(&sim), ["POST  202", "HEAD blob 404", "PUT session-1 201"]);
    registry.begin_push(&to).await.unwrap();
    registry.begin_push(&to).await.unwrap();
    assert_eq!(sim.open_sessions(), 2);
    registry.close_unused().await;
    assert_eq!(sim.open_sessions(), 0);
    // One that is gone is replaced.
    registry.begin_push(&to).await.unwrap();
    sim.rule(Rule::new("PUT", "session-4", Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "gone")));
    let bytes = noise(900);
    registry.push_blob(&to, &blob(bytes.clone())).await.unwrap();
    assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes));
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test]
async fn a_proxy_that_limits_the_body_gets_smaller_and_smaller_parts() {
    let sim = RegSim::start().await;
    // 6 MB in one piece, then in parts of 4 MiB: both too large.
    sim.rule(Rule::new("PATCH", "", Fault::status(413)).times(2));
    let bytes = noise(6_000_000);
    push(&sim, &blob(bytes.clone())).await.unwrap();
    assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes));
    assert_eq!(sim.open_sessions(), 0);
    let ranges: Vec<String> = sim
        .requests()
        .iter()
        .filter(|request| request.method == "PATCH" && request.status == 202)
        .map(|request| request.header("content-range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges.len(), 12);
    assert_eq!((ranges[0].as_str(), ranges[11].as_str()), ("0-524287", "5767168-5999999"));
}

/// Returns the refused bodies, and the ranges of those that were taken.
fn refused_and_ranges(sim: &RegSim) -> (usize, Vec<String>) {
    let patches: Vec<_> = sim.requests().into_iter().filter(|one| one.method == "PATCH").collect();
    let taken = patches.iter().filter(|patch| patch.status == 202);
    let range = |patch: &Recorded| patch.header("content-range").unwrap_or("whole").to_owned();
    (patches.iter().filter(|patch| patch.status == 413).count(), taken.map(range).collect())
}

#[tokio::test]
async fn a_limit_is_found_once_for_all_blobs() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PATCH", "", Fault::Limit(5_000_000)));
    let registry = registry(options());
    let push = async |length| {
        let bytes = noise(length);
        registry.push_blob(&reference(&sim, "app:v1"), &blob(bytes.clone())).await.unwrap();
        assert_eq!(sim.blob("app", &Digest::of(&bytes)), Some(bytes));
        refused_and_ranges(&sim)
    };
    let parts = ["0-4194303", "4194304-5999999", "0-4194303", "4194304-6999999", "whole"];
    assert_eq!(push(6_000_000).await, (1, parts[..2].iter().map(|&one| one.to_owned()).collect()));
    assert_eq!(push(7_000_000).await.0, 1);
    // What fits goes out as ever, without a range.
    assert_eq!(push(1000).await, (1, parts.map(str::to_owned).to_vec()));
    assert_eq!(sim.open_sessions(), 0);
    // Three that arrived, and one that was refused.
    assert_eq!((sim.count("POST", "/uploads/"), sim.count("DELETE", "")), (4, 1));
}

#[tokio::test]
async fn a_registry_without_streams_is_found_once_for_all_blobs() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PATCH", "", Fault::status(411)));
    let registry = registry(options());
    for length in [1000, 2000, 3000] {
        let pushed = registry.push_blob(&reference(&sim, "app:v1"), &blob(noise(length))).await;
        assert!(matches!(pushed, Ok(PushedBlob::Uploaded(_))), "{pushed:?}");
    }
    assert_eq!((sim.count("PATCH", ""), sim.count("PUT", ""), sim.open_sessions()), (1, 3, 0));
}

#[tokio::test]
async fn parts_are_never_smaller_than_the_registry_wants_them() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PATCH", "", Fault::status(413)).times(1));
    let least = vec![("oci-chunk-min-length", "5000000".to_owned())];
    sim.rule(Rule::new("POST", "", Fault::Headers(least)));
    push(&sim, &blob(noise(6_000_000))).await.unwrap();
    let last = sim.requests().into_iter().rfind(|request| request.method == "PATCH").unwrap();
    assert_eq!(last.header("content-range"), Some("5000000-5999999"));
}

#[tokio::test]
async fn a_body_that_is_too_large_in_every_way_is_an_error_with_advice() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PATCH", "", Fault::status(413)));
    let error = push(&sim, &blob(noise(1_000_000))).await.unwrap_err();
    assert_eq!(error.status(), Some(413));
    let hint = zuwai::report::fault::Fault::hint(&error).unwrap();
    assert!(hint.contains("client_max_body_size"), "{hint}");
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test]
async fn damage_on_the_way_is_repaired_once_and_then_reported() {
    let damage = Fault::error(400, "DIGEST_INVALID", "provided digest did not match");
    let rule = |times| Rule::new("PUT", "/uploads/", damage.clone()).times(times);
    arrives(vec![rule(1)], 1000).await;
    let sim = RegSim::start().await;
    sim.rule(rule(usize::MAX));
    let error = push(&sim, &blob(noise(1000))).await.unwrap_err();
    assert!(lines(&error)[1].contains("DIGEST_INVALID"), "{:?}", lines(&error));
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test]
async fn retries_end_and_leave_no_session() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PATCH", "", Fault::error(503, "UNAVAILABLE", "later")));
    let error = push(&sim, &blob(noise(1000))).await.unwrap_err();
    assert_eq!(
        lines(&error)[1],
        format!(
            "registry `{}` answered 503 Service Unavailable to PATCH: UNAVAILABLE: later",
            sim.host()
        )
    );
    assert!(zuwai::report::fault::Fault::is_temporary(&error));
    let patches = sim.requests().iter().filter(|request| request.method == "PATCH").count();
    assert_eq!(patches, 4);
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test]
async fn a_source_that_fails_or_is_too_short_ends_the_push() {
    let sim = RegSim::start().await;
    let mut short = blob(noise(1000));
    short.descriptor.size = 2000;
    let error = push(&sim, &short).await.unwrap_err();
    assert_eq!(
        lines(&error)[1..],
        [
            format!("cannot read what is to be sent to `{}`", sim.host()),
            "the blob is shorter than its descriptor says".to_owned()
        ]
    );
    let mut failing = blob(noise(1000));
    failing.open = Arc::new(|_| Err(std::io::ErrorKind::PermissionDenied.into()));
    let error = push(&sim, &failing).await.unwrap_err();
    assert_eq!(lines(&error).last().unwrap(), "permission denied");
    assert_eq!(sim.open_sessions(), 0);
}

async fn push_image(
    sim: &RegSim,
    image: &SmallImage,
    options: RegistryOptions,
) -> Result<PushedManifest, RegistryError> {
    let registry = registry(options);
    let to = reference(sim, "app:v1");
    registry.push_blob(&to, &blob(image.layer.clone())).await?;
    registry.push_blob(&to, &blob(image.config.clone())).await?;
    registry.push_manifest(&to, OCI_MANIFEST, &image.manifest).await
}

#[tokio::test]
async fn the_manifest_comes_last_and_under_its_tag() {
    let sim = RegSim::start().await;
    let image = small_image("linux", "amd64");
    let digest = Digest::of(&image.manifest);
    let pushed = push_image(&sim, &image, options()).await.unwrap();
    assert_eq!(pushed, PushedManifest { digest, tag: TagOutcome::Written });
    assert_eq!(sim.tag("app", "v1"), Some(digest));
    let put = sim.requests().pop().unwrap();
    assert_eq!((put.method.as_str(), put.path.as_str()), ("PUT", "/v2/app/manifests/v1"));
    assert_eq!(put.header("content-type"), Some(OCI_MANIFEST));
}

#[tokio::test]
async fn a_registry_that_stored_another_manifest_is_caught() {
    let sim = RegSim::start().await;
    let other = Digest::of(b"other");
    let lie = Fault::Headers(vec![("docker-content-digest", other.to_string())]);
    sim.rule(Rule::new("PUT", "/manifests/", lie));
    let image = small_image("linux", "amd64");
    let error = push_image(&sim, &image, options()).await.unwrap_err();
    assert_eq!(
        lines(&error)[1],
        format!(
            "`{}` served wrong content for the pushed manifest: digest is `{other}`, not `{}`",
            sim.host(),
            Digest::of(&image.manifest)
        )
    );
}

#[tokio::test]
async fn a_lost_answer_to_the_manifest_is_looked_up() {
    for fault in [Fault::LoseResponse, Fault::Status(500)] {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("PUT", "/manifests/", fault));
        push_image(&sim, &small_image("linux", "amd64"), options()).await.unwrap();
        let puts = sim.requests().iter().filter(|r| r.path.contains("/manifests/")).count();
        assert_eq!(puts, 2, "one PUT, one HEAD");
    }
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PUT", "/manifests/", Fault::status(503)).times(3));
    push_image(&sim, &small_image("linux", "amd64"), options()).await.unwrap();
}

#[tokio::test]
async fn blobs_that_vanished_are_named_for_another_push() {
    let sim = RegSim::start().await;
    let image = small_image("linux", "amd64");
    let registry = registry(options());
    let to = reference(&sim, "app:v1");
    registry.push_blob(&to, &blob(image.layer.clone())).await.unwrap();
    registry.push_blob(&to, &blob(image.config.clone())).await.unwrap();
    let layer = Digest::of(&image.layer);
    sim.remove_blob("app", &layer);
    let error = registry.push_manifest(&to, OCI_MANIFEST, &image.manifest).await.unwrap_err();
    assert_eq!(error.missing_blobs(), [layer]);
    assert_eq!(
        lines(&error)[1],
        format!("`{}` does not have 1 of the image's blobs, such as `{layer}`", sim.host())
    );
    assert_eq!(sim.tag("app", "v1"), None);
}

#[tokio::test]
async fn an_immutable_tag_fails_the_push_unless_that_is_accepted() {
    for (status, code, message) in [
        (
            400,
            "TAG_INVALID",
            "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the repository is immutable.",
        ),
        (403, "DENIED", "The repository has enabled tag immutability"),
        (412, "PRECONDITION", "configured as immutable"),
    ] {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("PUT", "/manifests/", Fault::error(status, code, message)));
        let image = small_image("linux", "amd64");
        let error = push_image(&sim, &image, options()).await.unwrap_err();
        assert_eq!(error.status(), Some(status));
        let hint = zuwai::report::fault::Fault::hint(&error).unwrap();
        assert!(hint.contains("--push-ignore-immutable-tag-errors"), "{hint}");
        let accepting = RegistryOptions { immutable_tags: ImmutableTags::Accept, ..options() };
        let pushed = push_image(&sim, &image, accepting.clone()).await.unwrap();
        assert_eq!(pushed.tag, TagOutcome::KeptImmutable);
    }
    let sim = RegSim::start().await;
    sim.rule(Rule::new("PUT", "/manifests/", Fault::error(403, "DENIED", "no")));
    let accepting = RegistryOptions { immutable_tags: ImmutableTags::Accept, ..options() };
    let error = push_image(&sim, &small_image("linux", "amd64"), accepting).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn the_permission_to_push_can_be_tried() {
    let sim = RegSim::start().await;
    let registry = registry(options());
    registry.check_push(&reference(&sim, "app:v1")).await.unwrap();
    assert_eq!(uploads(&sim), ["POST  202", "DELETE session-1 204"]);
    sim.rule(Rule::new("POST", "", Fault::error(403, "DENIED", "not yours")));
    let error = registry.check_push(&reference(&sim, "app:v1")).await.unwrap_err();
    assert_eq!(
        lines(&error)[..2],
        [
            format!("cannot push to `{}/app:v1`", sim.host()),
            format!("registry `{}` answered 403 Forbidden to POST: DENIED: not yours", sim.host()),
        ]
    );
}

#[tokio::test]
async fn push_retries_are_counted_as_asked() {
    for retries in [0, 1, 6] {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("POST", "", Fault::status(503)));
        let mut options = options();
        options.push_retry.retries = retries;
        registry(options).check_push(&reference(&sim, "app")).await.unwrap_err();
        let posts = sim.requests().iter().filter(|request| request.method == "POST").count();
        assert_eq!(posts, usize::try_from(retries).unwrap() + 1);
    }
}
