//! Pulling from a registry that breaks, lies or stalls.

use std::time::Duration;

use snapshot::Digest;
use zuwai::http::{HttpClient, Timeouts};
use zuwai::registry::{Registry, RegistryError, TransferStats};

use super::{
    DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, amd64, http_options, layer, lines, noise, options,
    reference, registry, small_image,
};
use crate::regsim::{Fault, RegSim, Rule};

async fn pull(sim: &RegSim, bytes: &[u8]) -> Result<(Vec<u8>, TransferStats), RegistryError> {
    sim.put_blob("app", bytes);
    let mut sink = Vec::new();
    let stats =
        registry(options()).pull_blob(&reference(sim, "app:v1"), &layer(bytes), &mut sink).await?;
    Ok((sink, stats))
}

#[tokio::test]
async fn resolve_reads_manifest_and_config() {
    let sim = RegSim::start().await;
    let image = small_image("linux", "amd64");
    let digest = image.put(&sim, "team/app", "v1");
    let resolved =
        registry(options()).resolve(&reference(&sim, "team/app:v1"), &amd64()).await.unwrap();
    assert_eq!(resolved.digest, digest);
    assert_eq!(resolved.root_digest, digest);
    assert_eq!(resolved.media_type, OCI_MANIFEST);
    assert_eq!(resolved.manifest_bytes, image.manifest);
    assert_eq!(resolved.config_bytes, image.config);
    assert_eq!(resolved.config.config.cmd, ["sh"]);
    assert_eq!(resolved.manifest.layers[0].digest, Digest::of(&image.layer).to_string());
    assert_eq!(
        sim.log(),
        [
            "GET /v2/team/app/manifests/v1 200".to_owned(),
            format!("GET /v2/team/app/blobs/{} 200", Digest::of(&image.config)),
        ]
    );
}

#[tokio::test]
async fn resolve_follows_an_index_to_the_wanted_platform() {
    let sim = RegSim::start().await;
    let (amd, arm) = (small_image("linux", "amd64"), small_image("linux", "arm64"));
    let amd_digest = amd.put(&sim, "app", "amd");
    let arm_digest = arm.put(&sim, "app", "arm");
    let entry = |digest: Digest, size: usize, architecture: &str| {
        serde_json::json!({
            "mediaType": OCI_MANIFEST, "digest": digest.to_string(), "size": size,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [
            entry(arm_digest, arm.manifest.len(), "arm64"),
            entry(amd_digest, amd.manifest.len(), "amd64"),
        ],
    });
    let index = serde_json::to_vec(&index).unwrap();
    let root = sim.put_manifest("app", "v1", OCI_INDEX, &index);
    let registry = registry(options());
    for (platform, digest) in [("linux/amd64", amd_digest), ("linux/arm64/v8", arm_digest)] {
        let resolved =
            registry.resolve(&reference(&sim, "app:v1"), &platform.parse().unwrap()).await.unwrap();
        assert_eq!((resolved.digest, resolved.root_digest), (digest, root), "{platform}");
    }
    let error = registry
        .resolve(&reference(&sim, "app:v1"), &"linux/s390x".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        lines(&error)[1],
        "no image for platform `linux/s390x`, only for `linux/amd64`, `linux/arm64`"
    );
}

#[tokio::test]
async fn a_blob_is_resumed_where_the_connection_broke() {
    let bytes = noise(200_000);
    for cut in [0, 1, 511, 512, 65_536, 199_999] {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("GET", "/blobs/", Fault::CutResponseAfter(cut)).times(1));
        let (received, stats) = pull(&sim, &bytes).await.unwrap();
        assert_eq!(received, bytes, "{cut}");
        let ranges: Vec<Option<String>> = sim
            .requests()
            .iter()
            .filter(|request| request.path.contains("/blobs/"))
            .map(|request| request.header("range").map(str::to_owned))
            .collect();
        let expected = if cut == 0 { None } else { Some(format!("bytes={cut}-")) };
        assert_eq!(ranges, [None, expected], "{cut}");
        assert_eq!(stats.requests, 2, "{cut}");
        assert_eq!(stats.bytes, 200_000, "{cut}");
    }
}

#[tokio::test]
async fn a_registry_that_ignores_range_is_read_from_the_start() {
    let bytes = noise(100_000);
    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/blobs/", Fault::CutResponseAfter(70_000)).times(1));
    sim.rule(Rule::new("GET", "/blobs/", Fault::IgnoreRange).times(1));
    let (received, stats) = pull(&sim, &bytes).await.unwrap();
    assert_eq!(received, bytes);
    assert_eq!(stats, TransferStats { bytes: 170_000, requests: 2, resumed: 0 });
}

#[tokio::test]
async fn a_partial_answer_must_be_the_part_that_was_asked_for() {
    let bytes = noise(1000);
    for (range, shown) in
        [("bytes 0-999/1000", "bytes 0-999/1000"), ("bytes 500-999/2000", "bytes 500-999/2000")]
    {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("GET", "/blobs/", Fault::CutResponseAfter(500)).times(1));
        let wrong = Fault::Headers(vec![("content-range", range.to_owned())]);
        sim.rule(Rule::new("GET", "/blobs/", wrong));
        let error = pull(&sim, &bytes).await.unwrap_err();
        assert_eq!(
            lines(&error)[1],
            format!(
                "`{}` served a partial answer that is not usable: its range is `{shown}`, not from \
                 byte 500 of 1000",
                sim.host()
            )
        );
    }
}

#[tokio::test]
async fn wrong_content_is_an_error_and_never_success() {
    let bytes = noise(5000);
    let digest = Digest::of(&bytes);
    let check = async |fault: Fault, expected: &str| {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("GET", "/blobs/", fault));
        let error = pull(&sim, &bytes).await.unwrap_err();
        let text = lines(&error)[1].replace(&sim.host(), "HOST");
        assert_eq!(text, expected);
        assert_eq!(
            lines(&error)[0],
            format!("cannot fetch blob `{digest}` of `{}/app:v1`", sim.host())
        );
    };
    let mut flipped = bytes.clone();
    flipped[4999] ^= 1;
    check(
        Fault::Corrupt(4999),
        &format!(
            "`HOST` served wrong content for a blob: digest is `{}`, not `{digest}`",
            Digest::of(&flipped)
        ),
    )
    .await;
    check(
        Fault::Shorten(4999),
        &format!("`HOST` served wrong content for blob `{digest}`: size is 4999 bytes, not 5000"),
    )
    .await;
    check(
        Fault::Append(vec![0]),
        &format!("`HOST` served wrong content for blob `{digest}`: size is 5001 bytes, not 5000"),
    )
    .await;
    check(
        Fault::Headers(vec![("content-encoding", "gzip".into())]),
        "`HOST` served a response that is not usable: it is encoded as `gzip`, which was not asked \
         for",
    )
    .await;
}

#[tokio::test]
async fn an_endless_body_ends_at_the_promised_size() {
    let bytes = noise(100);
    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/blobs/", Fault::Endless));
    let error = pull(&sim, &bytes).await.unwrap_err();
    assert!(lines(&error)[1].contains("served wrong content for blob"), "{:?}", lines(&error));
    let image = small_image("linux", "amd64");
    image.put(&sim, "app", "v1");
    sim.rule(Rule::new("GET", "/manifests/", Fault::Endless));
    let error =
        registry(options()).resolve(&reference(&sim, "app:v1"), &amd64()).await.unwrap_err();
    assert_eq!(
        lines(&error)[1],
        format!("response from `{}` is larger than 4194304 bytes", sim.host())
    );
}

#[tokio::test]
async fn silence_is_an_error_that_is_retried() {
    let bytes = noise(100_000);
    let sim = RegSim::start().await;
    sim.put_blob("app", &bytes);
    sim.rule(Rule::new("GET", "/blobs/", Fault::Stall(30_000)).times(1));
    let stall = Duration::from_millis(100);
    let timeouts = Timeouts { stall, ..http_options().timeouts };
    let http = HttpClient::new(&zuwai::http::HttpOptions { timeouts, ..http_options() }).unwrap();
    let registry = Registry::new(&http, options()).unwrap();
    let mut sink = Vec::new();
    let stats =
        registry.pull_blob(&reference(&sim, "app"), &layer(&bytes), &mut sink).await.unwrap();
    assert_eq!(sink, bytes);
    assert_eq!(stats, TransferStats { bytes: 100_000, requests: 2, resumed: 1 });
}

#[tokio::test]
async fn temporary_refusals_are_retried_and_then_reported() {
    for status in [408, 429, 500, 502, 503, 504] {
        for failures in 0..=4 {
            let sim = RegSim::start().await;
            let image = small_image("linux", "amd64");
            image.put(&sim, "app", "v1");
            let headers = vec![("retry-after", "31536000".to_owned())];
            let fault = Fault::Answer { status, headers, body: "busy".into() };
            sim.rule(Rule::new("GET", "/manifests/", fault).times(failures));
            let result = registry(options()).resolve(&reference(&sim, "app:v1"), &amd64()).await;
            if failures <= 3 {
                assert!(result.is_ok(), "{status} {failures}");
            } else {
                let error = result.unwrap_err();
                let text = lines(&error)[1].clone();
                assert!(text.starts_with(&format!("registry `{}` answered {status}", sim.host())));
                assert!(text.ends_with("to GET: busy"), "{text}");
                assert!(zuwai::report::fault::Fault::is_temporary(&error));
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_that_will_not_change_is_not_retried() {
    for status in [400, 403, 404, 405, 416, 501] {
        let sim = RegSim::start().await;
        sim.rule(Rule::new("GET", "/manifests/", Fault::error(status, "CODE", "words")));
        let error =
            registry(options()).resolve(&reference(&sim, "app:v1"), &amd64()).await.unwrap_err();
        assert_eq!(error.status(), Some(status));
        let asked = sim.requests().iter().filter(|r| r.path.contains("/manifests/")).count();
        assert_eq!(asked, 1, "{status}");
    }
}

#[tokio::test]
async fn manifests_that_do_not_fit_their_digest_or_type_are_refused() {
    let image = small_image("linux", "amd64");
    let check = async |fault: Fault, expected: &str| {
        let sim = RegSim::start().await;
        image.put(&sim, "app", "v1");
        sim.rule(Rule::new("GET", "/manifests/", fault));
        let error =
            registry(options()).resolve(&reference(&sim, "app:v1"), &amd64()).await.unwrap_err();
        let text = lines(&error)[1].replace(&sim.host(), "HOST");
        assert_eq!(text, expected);
    };
    let digest = Digest::of(&image.manifest);
    let other = Digest::of(b"other");
    check(
        Fault::Headers(vec![("docker-content-digest", other.to_string())]),
        &format!(
            "`HOST` served wrong content for manifest `v1`: digest is `{digest}`, not `{other}`"
        ),
    )
    .await;
    check(
        Fault::Headers(vec![("content-type", DOCKER_MANIFEST.into())]),
        &format!(
            "`HOST` served a manifest that is not usable: it is `{OCI_MANIFEST}` but was sent as \
             `{DOCKER_MANIFEST}`"
        ),
    )
    .await;
    check(
        Fault::Headers(vec![(
            "content-type",
            "application/vnd.docker.distribution.manifest.v1+prettyjws".into(),
        )]),
        "the image has a schema 1 manifest, a form that Docker gave up in 2017",
    )
    .await;
}

#[tokio::test]
async fn a_pinned_digest_is_verified() {
    let sim = RegSim::start().await;
    let image = small_image("linux", "amd64");
    let digest = image.put(&sim, "app", "v1");
    let pinned = reference(&sim, &format!("app:moved@{digest}"));
    let resolved = registry(options()).resolve(&pinned, &amd64()).await.unwrap();
    assert_eq!(resolved.digest, digest);
    sim.rule(Rule::new("GET", "/manifests/", Fault::Corrupt(20)));
    let error = registry(options()).resolve(&pinned, &amd64()).await.unwrap_err();
    assert!(lines(&error)[1].contains("served wrong content for manifest"), "{:?}", lines(&error));
    let sha512 = reference(&sim, &format!("app@sha512:{}", "0".repeat(128)));
    let error = registry(options()).resolve(&sha512, &amd64()).await.unwrap_err();
    assert!(lines(&error)[1].contains("is not of the form `sha256:`"), "{:?}", lines(&error));
}

#[tokio::test]
async fn a_registry_of_version_one_is_named_as_such() {
    let sim = RegSim::start().await;
    sim.rule(Rule::new("GET", "/v2/", Fault::status(404)));
    let error =
        registry(options()).resolve(&reference(&sim, "app:v1"), &amd64()).await.unwrap_err();
    assert_eq!(
        lines(&error)[1],
        format!("`{}` does not speak version 2 of the registry protocol", sim.host())
    );
}

#[tokio::test]
async fn windows_images_are_refused_by_name() {
    let sim = RegSim::start().await;
    small_image("windows", "amd64").put(&sim, "app", "v1");
    let error =
        registry(options()).resolve(&reference(&sim, "app:v1"), &amd64()).await.unwrap_err();
    assert_eq!(lines(&error)[1], "the image is for Windows");
}

#[tokio::test]
async fn a_sink_that_fails_is_not_retried() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sim = RegSim::start().await;
    let bytes = noise(1000);
    sim.put_blob("app", &bytes);
    let error = registry(options())
        .pull_blob(&reference(&sim, "app"), &layer(&bytes), &mut Full)
        .await
        .unwrap_err();
    assert_eq!(lines(&error)[1], format!("cannot write what `{}` sent", sim.host()));
    assert_eq!(zuwai::report::fault::Fault::class(&error).name(), "disk");
    assert_eq!(sim.requests().iter().filter(|r| r.path.contains("/blobs/")).count(), 1);
}
