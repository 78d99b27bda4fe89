//! What the warmer brings into the directory, and what it says.

use std::fs;

use serde_json::json;
use snapshot::Digest;

use super::{Image, Shared, layer_requests, read_json, warnings};
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip::is_root;

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_brought_once_and_its_tag_looked_up_each_time() {
    let sim = RegSim::start().await;
    let image = Image::new(3, 5000);
    let digest = image.put(&sim, "base", "v1");
    let shared = Shared::new();
    let reference = format!("{}/base:v1", sim.host());
    let flag = format!("--image={reference}");

    let text = shared.warm(&[&flag]).await.works();
    assert!(text.contains(&format!("Wrote {reference} to cache")), "{text}");
    assert_eq!(layer_requests(&sim, &image), 3);
    shared.verify();
    let store = shared.path().join("zuwai");
    for layer in &image.layers {
        assert_eq!(fs::read(shared.blob(layer)).unwrap(), *layer);
        assert!(store.join("headers").join(Digest::of(layer).hex()).exists());
    }
    // Any tool can read it.
    let index = read_json(&store.join("index.json"));
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], json!(digest));
    assert_eq!(entry["size"], json!(image.manifest.len()));
    assert_eq!(entry["annotations"], json!({"org.opencontainers.image.ref.name": reference}));

    let text = shared.warm(&[&flag]).await.works();
    assert!(text.contains(&format!("Image already in cache: {reference}")), "{text}");
    assert_eq!(layer_requests(&sim, &image), 3);
    shared.warm(&[&flag, "--force"]).await.works();
    assert_eq!(layer_requests(&sim, &image), 6);

    // The tag moves: what both images have is there.
    let other = Image::new(4, 5000);
    let moved = other.put(&sim, "base", "v1");
    shared.warm(&[&flag]).await.works();
    assert_eq!(layer_requests(&sim, &other), 6 + 1);
    let index = read_json(&store.join("index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(index["manifests"][0]["digest"], json!(moved));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_fails_is_a_warning_beside_one_that_does_not() {
    let sim = RegSim::start().await;
    let image = Image::new(1, 100);
    image.put(&sim, "base", "v1");
    let shared = Shared::new();
    let (good, bad) =
        (format!("--image={}/base:v1", sim.host()), format!("--image={}/none:v1", sim.host()));
    let text = shared.warm(&[&bad, &good]).await.works();
    let said = warnings(&text);
    assert_eq!(said.len(), 1, "{text}");
    let expected = format!("Error while trying to warm image: {}/none:v1 cannot fetch", sim.host());
    assert!(said[0].contains(&expected), "{text}");
    shared.verify();
    let ended = shared.warm(&[&bad]).await;
    assert!(!ended.success);
    assert!(
        ended.text.contains("error: failed to warm any of the given images\n"),
        "{}",
        ended.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_an_image_stays_what_it_was_for_a_time() {
    let sim = RegSim::start().await;
    Image::new(1, 100).put(&sim, "base", "v1");
    let shared = Shared::new();
    let flag = format!("--image={}/base:v1", sim.host());
    shared.warm(&[&flag]).await.works();
    sim.rule(Rule::new("GET", "/manifests/", Fault::error(429, "TOOMANYREQUESTS", "slow down")));
    let retry = "--skip-default-registry-fallback";
    let text = shared.warm(&[&flag, retry]).await.works();
    let said = warnings(&text);
    assert!(said.iter().any(|line| line.contains("stays what it was")), "{text}");
    shared.verify();
    let ended = shared.warm(&[&flag, "--cache-ttl=1ns"]).await;
    assert!(!ended.success, "{}", ended.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_what_the_image_says_is_no_image() {
    let sim = RegSim::start().await;
    let mut image = Image::new(2, 100);
    // Its DiffIDs are in the wrong order.
    let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().reverse();
    image.config = config.to_string().into_bytes();
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["config"]["digest"] = json!(Digest::of(&image.config));
    manifest["config"]["size"] = json!(image.config.len());
    image.manifest = manifest.to_string().into_bytes();
    image.put(&sim, "base", "v1");
    let shared = Shared::new();
    let ended = shared.warm(&[&format!("--image={}/base:v1", sim.host())]).await;
    assert!(!ended.success && ended.text.contains("cannot unpack layer"), "{}", ended.text);
    shared.verify();
    assert_eq!(fs::read_dir(shared.path().join("zuwai/tags")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_images_of_a_dockerfile_are_brought() {
    let sim = RegSim::start().await;
    for (repository, bytes) in [("one", 10), ("two", 20), ("three", 30), ("typed", 40)] {
        Image::new(1, bytes).put(&sim, repository, "v1");
    }
    let shared = Shared::new();
    let host = sim.host();
    let dockerfile = shared.folder.path().join("Dockerfile");
    let text = format!(
        "ARG NAME=none\nFROM {host}/$NAME:v1 AS a\nFROM scratch\nFROM a AS b\n\
         FROM {host}/two:v1\nCOPY --from={host}/three:v1 /file-0 /\n"
    );
    fs::write(&dockerfile, text).unwrap();
    let dockerfile = format!("--dockerfile={}", dockerfile.display());
    let typed = format!("-i={host}/typed:v1");
    shared.warm(&[&dockerfile, "--build-arg=NAME=one", &typed]).await.works();
    shared.verify();
    let index = read_json(&shared.path().join("zuwai/index.json"));
    let mut names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let expected = ["one", "three", "two", "typed"].map(|name| format!("{host}/{name}:v1"));
    assert_eq!(names, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_written_is_an_error_that_names_it() {
    let sim = RegSim::start().await;
    Image::new(1, 100).put(&sim, "base", "v1");
    let shared = Shared::new();
    fs::remove_dir(shared.path()).unwrap();
    fs::write(shared.path(), "a file").unwrap();
    let ended = shared.warm(&[&format!("--image={}/base:v1", sim.host())]).await;
    assert!(!ended.success);
    let expected = format!("error: cannot keep images in `{}`: ", shared.path().display());
    assert!(ended.text.contains(&expected), "{}", ended.text);
    assert_eq!(sim.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_stays_within_its_limit() {
    if !is_root("the_directory_stays_within_its_limit") {
        return;
    }
    let sim = RegSim::start().await;
    let (old, new) = (Image::new(2, 200_000), Image::new(1, 150_000));
    old.put(&sim, "old", "v1");
    new.put(&sim, "new", "v1");
    let shared = Shared::new();
    let flag = |name: &str| format!("--image={}/{name}:v1", sim.host());
    shared.warm(&[&flag("old")]).await.works();
    shared.warm(&[&flag("new"), "--cache-dir-limit=300k"]).await.works();
    assert!(shared.blob(&new.layers[0]).exists());
    assert!(!shared.blob(&old.layers[0]).exists() && !shared.blob(&old.layers[1]).exists());
    // An image that was removed in part is made whole from the registry.
    let dockerfile = format!("FROM {}/old:v1\nCOPY file /\n", sim.host());
    let before = layer_requests(&sim, &old);
    shared.build(&dockerfile, &[]).await.0.works();
    assert_eq!(layer_requests(&sim, &old), before + 2);
}
