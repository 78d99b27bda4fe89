//! `--registry-map`, `--registry-mirror` and the fallback to the registry itself.

use snapshot::Digest;
use zuwai::image::Reference;
use zuwai::registry::{Fallback, RegistryMap, RegistryOptions};

use super::{amd64, layer, lines, noise, options, reference, registry, small_image};
use crate::regsim::{Fault, RegSim, Rule};

fn map(from: &str, to: &str) -> RegistryMap {
    RegistryMap { from: from.to_owned(), to: to.to_owned() }
}

fn mapped(maps: Vec<RegistryMap>, fallback: Fallback) -> RegistryOptions {
    RegistryOptions { maps, fallback, ..options() }
}

#[tokio::test]
async fn docker_hub_is_mapped_under_all_its_names() {
    let mirror = RegSim::start().await;
    small_image("linux", "amd64").put(&mirror, "cache/hub/library/debian", "12");
    small_image("linux", "amd64").put(&mirror, "cache/hub/team/app", "v1");
    for from in ["index.docker.io", "docker.io", "registry-1.docker.io"] {
        let to = format!("{}/cache/hub/", mirror.host());
        let registry = registry(mapped(vec![map(from, &to)], Fallback::Fail));
        for name in [
            "debian:12",
            "docker.io/debian:12",
            "docker.io/library/debian:12",
            "index.docker.io/debian:12",
            "registry-1.docker.io/debian:12",
            "team/app:v1",
        ] {
            let image: Reference = name.parse().unwrap();
            registry
                .resolve(&image, &amd64())
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn sources_are_tried_in_order_and_the_registry_itself_last() {
    let (first, second, origin) =
        (RegSim::start().await, RegSim::start().await, RegSim::start().await);
    let image = small_image("linux", "amd64");
    let digest = image.put(&origin, "app", "v1");
    first.rule(Rule::new("GET", "/manifests/", Fault::status(500)));
    let maps = vec![
        map(&origin.host(), &first.host()),
        map("other.example", "nowhere.example"),
        map(&origin.host(), &format!("{}/prefix", second.host())),
    ];
    let resolved = registry(mapped(maps.clone(), Fallback::Origin))
        .resolve(&reference(&origin, "app:v1"), &amd64())
        .await
        .unwrap();
    assert_eq!(resolved.digest, digest);
    assert_eq!(first.count("GET", "/v2/app/manifests/v1"), 4, "temporary, so retried");
    assert_eq!(second.count("GET", "/v2/prefix/app/manifests/v1"), 1);
    assert_eq!(origin.count("GET", "/v2/app/manifests/v1"), 1);

    let error = registry(mapped(maps, Fallback::Fail))
        .resolve(&reference(&origin, "app:v1"), &amd64())
        .await
        .unwrap_err();
    assert_eq!(
        lines(&error)[1],
        format!(
            "cannot use `{0}/app`: registry `{0}` answered 500 Internal Server Error to GET; cannot \
             use `{1}/prefix/app`: registry `{1}` answered 404 Not Found to GET: \
             MANIFEST_UNKNOWN: so it is",
            first.host(),
            second.host()
        )
    );
    assert_eq!(origin.count("GET", "/v2/app/manifests/v1"), 1, "not asked again");
}

#[tokio::test]
async fn a_mirror_that_lies_or_lacks_is_passed_over() {
    let (mirror, origin) = (RegSim::start().await, RegSim::start().await);
    let image = small_image("linux", "amd64");
    let digest = image.put(&origin, "app", "v1");
    small_image("linux", "arm64").put(&mirror, "app", "v1");
    let registry = registry(mapped(vec![map(&origin.host(), &mirror.host())], Fallback::Origin));
    // By tag the mirror's word counts, by digest only the right bytes do.
    let pinned = reference(&origin, &format!("app@{digest}"));
    mirror.put_manifest("app", &digest.to_string(), super::OCI_MANIFEST, b"{}");
    let resolved = registry.resolve(&pinned, &amd64()).await.unwrap();
    assert_eq!(resolved.manifest_bytes, image.manifest);
    let mut sink = Vec::new();
    registry.pull_blob(&pinned, &layer(&image.layer), &mut sink).await.unwrap();
    assert_eq!(sink, image.layer);
}

#[tokio::test]
async fn a_blob_that_one_source_broke_off_is_finished_by_another() {
    let (mirror, origin) = (RegSim::start().await, RegSim::start().await);
    let bytes = noise(300_000);
    mirror.put_blob("app", &bytes);
    origin.put_blob("app", &bytes);
    mirror.rule(Rule::new("GET", "/blobs/", Fault::CutResponseAfter(100_000)).times(1));
    mirror.rule(Rule::new("GET", "/blobs/", Fault::error(404, "BLOB_UNKNOWN", "gone")));
    let registry = registry(mapped(vec![map(&origin.host(), &mirror.host())], Fallback::Origin));
    let mut sink = Vec::new();
    let stats =
        registry.pull_blob(&reference(&origin, "app"), &layer(&bytes), &mut sink).await.unwrap();
    assert_eq!(Digest::of(&sink), Digest::of(&bytes));
    assert_eq!((stats.bytes, stats.resumed), (300_000, 1));
    let asked = origin.requests().pop().unwrap();
    assert_eq!(asked.header("range"), Some("bytes=100000-"));
}

#[tokio::test]
async fn pushes_are_never_mapped() {
    let (mirror, origin) = (RegSim::start().await, RegSim::start().await);
    let registry = registry(mapped(vec![map(&origin.host(), &mirror.host())], Fallback::Fail));
    registry.check_push(&reference(&origin, "app")).await.unwrap();
    assert_eq!(mirror.requests(), []);
}

#[tokio::test]
async fn a_scheme_in_a_map_is_taken_for_what_it_says() {
    let mirror = RegSim::start().await;
    small_image("linux", "amd64").put(&mirror, "library/debian", "12");
    let to = format!("{}/", mirror.origin());
    let registry = registry(mapped(vec![map("docker.io", &to)], Fallback::Fail));
    registry.resolve(&"debian:12".parse().unwrap(), &amd64()).await.unwrap();
}

#[tokio::test]
async fn a_map_to_something_that_is_no_host_is_named() {
    let registry = registry(mapped(vec![map("docker.io", "not a host")], Fallback::Fail));
    let error = registry.resolve(&"debian:12".parse().unwrap(), &amd64()).await.unwrap_err();
    assert_eq!(lines(&error)[1], "`not a host` is not the host of a registry");
}
