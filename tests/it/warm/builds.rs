//! Builds that find in the directory what they need, or what is not right.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;
use snapshot::Digest;

use super::{Image, Shared, layer_requests, run, warnings, zuwai};
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip::is_root;
use crate::tarball::{Member, archive};

/// A registry, a warm directory, and the digest that a build without it gives.
struct Warm {
    sim: RegSim,
    image: Image,
    digest: Digest,
    shared: Shared,
    dockerfile: String,
    expected: String,
}

async fn warm(test: &str) -> Option<Warm> {
    if !is_root(test) {
        return None;
    }
    let sim = RegSim::start().await;
    let image = Image::new(2, 50_000);
    let digest = image.put(&sim, "base", "v1");
    let dockerfile = format!("FROM {}/base:v1\nCOPY file /of/context\n", sim.host());
    let (cold, expected) = Shared::new().build(&dockerfile, &[]).await;
    cold.works();
    let shared = Shared::new();
    shared.warm(&[&format!("--image={}/base:v1", sim.host())]).await.works();
    Some(Warm { sim, image, digest, shared, dockerfile, expected })
}

impl Warm {
    /// Builds with the directory; returns what was said and how many requests were made.
    async fn build(&self, arguments: &[&str]) -> (String, usize) {
        self.build_after("true", arguments).await
    }

    async fn build_after(&self, before: &str, arguments: &[&str]) -> (String, usize) {
        let count = self.sim.requests().len();
        let flag = self.shared.flag();
        let arguments = [&[flag.as_str()], arguments].concat();
        let (ended, digest) = self.shared.build_after(before, &self.dockerfile, &arguments).await;
        let text = ended.works();
        assert_eq!(digest, self.expected, "{text}");
        (text, self.sim.requests().len() - count)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_build_asks_no_registry() {
    let Some(warm) = warm("a_warm_build_asks_no_registry").await else { return };
    warm.sim.rule(Rule::new("GET", "/", Fault::Cut));
    let (text, requests) = warm.build(&[]).await;
    assert_eq!((requests, warnings(&text)), (0, vec![]), "{text}");
    assert!(text.contains(&format!("Found {}/base:v1 in ", warm.sim.host())), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tag_named_counts_for_a_time() {
    let Some(warm) = warm("what_a_tag_named_counts_for_a_time").await else { return };
    let before = layer_requests(&warm.sim, &warm.image);
    let (_, requests) = warm.build(&["--cache-ttl=1ns"]).await;
    assert!(requests > 0);
    // The layers are the same, however old.
    assert_eq!(layer_requests(&warm.sim, &warm.image), before);
    let other = Image::new(3, 100);
    other.put(&warm.sim, "base", "v1");
    let (_, requests) = warm.build(&[]).await;
    assert_eq!(requests, 0, "the tag's move is not seen");
    let flag = warm.shared.flag();
    let (ended, digest) = warm.shared.build(&warm.dockerfile, &[&flag, "--cache-ttl=1ns"]).await;
    let text = ended.works();
    assert_ne!(digest, warm.expected, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_can_only_be_read_does() {
    let Some(warm) = warm("a_directory_that_can_only_be_read_does").await else { return };
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"";
    let used = |path: std::path::PathBuf| fs::metadata(path).unwrap().mtime_nsec();
    let before = used(warm.shared.blob(&warm.image.layers[0]));
    let (text, requests) = warm.build_after(script, &[]).await;
    assert_eq!((requests, warnings(&text)), (0, vec![]), "{text}");
    assert_eq!(used(warm.shared.blob(&warm.image.layers[0])), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_comes_from_the_registry_with_one_warning() {
    let test = "what_is_damaged_comes_from_the_registry_with_one_warning";
    let Some(warm) = warm(test).await else { return };
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let layer = &warm.image.layers[1];
    // The headers are known, or the layers are read: both have to see it.
    for are_headers_kept in [true, false] {
        for damaged in [flipped(layer), layer[..100].to_vec(), Vec::new()] {
            let headers = warm.shared.path().join("zuwai/headers");
            if !are_headers_kept {
                fs::remove_dir_all(&headers).unwrap();
            }
            fs::write(warm.shared.blob(layer), &damaged).unwrap();
            let (text, requests) = warm.build(&[]).await;
            let said = warnings(&text);
            // Whether it is there, and the layer.
            assert_eq!((requests, said.len()), (2, 1), "{} bytes: {text}", damaged.len());
            assert!(said[0].contains("damaged and was not used"), "{text}");
            // It was replaced.
            let (text, requests) = warm.build(&[]).await;
            assert_eq!((requests, warnings(&text)), (0, vec![]), "{text}");
        }
    }
    for document in [&warm.image.manifest, &warm.image.config] {
        fs::write(warm.shared.blob(document), flipped(document)).unwrap();
        let (text, requests) = warm.build(&[]).await;
        assert!(requests > 0 && warnings(&text).len() == 1, "{text}");
        shared_again(&warm).await;
    }
    for name in ["tags", "headers"] {
        for entry in fs::read_dir(warm.shared.path().join("zuwai").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
        let (text, _) = warm.build(&[]).await;
        assert_eq!(warnings(&text), [""; 0], "{text}");
        shared_again(&warm).await;
    }
}

async fn shared_again(warm: &Warm) {
    warm.shared.warm(&[&format!("--image={}/base:v1", warm.sim.host())]).await.works();
    let (text, requests) = warm.build(&[]).await;
    assert_eq!((requests, warnings(&text)), (0, vec![]), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_keeps_what_it_downloads() {
    if !is_root("a_build_keeps_what_it_downloads") {
        return;
    }
    let sim = RegSim::start().await;
    let image = Image::new(2, 50_000);
    let digest = image.put(&sim, "base", "v1");
    let shared = Shared::new();
    let flag = shared.flag();
    let build = async |name: &str| {
        let dockerfile = format!("FROM {}/{name}\nCOPY file /\n", sim.host());
        let before = sim.requests().len();
        let (ended, _) = shared.build(&dockerfile, &[&flag]).await;
        let text = ended.works();
        assert_eq!(warnings(&text), [""; 0], "{text}");
        shared.verify();
        sim.requests().len() - before
    };
    // A tag is what the registry says, unless a warmer was asked to remember it.
    assert!(build("base:v1").await > 2);
    assert_eq!(layer_requests(&sim, &image), 2);
    assert_eq!(build("base:v1").await, 2, "manifest and config");
    let pinned = format!("base@{digest}");
    assert_eq!(build(&pinned).await, 2, "manifest and config");
    assert_eq!(build(&pinned).await, 0, "what a digest names never changes");
    assert_eq!(layer_requests(&sim, &image), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_directory_fails_no_build() {
    if !is_root("a_full_directory_fails_no_build") {
        return;
    }
    let sim = RegSim::start().await;
    let image = Image::new(2, 200_000);
    image.put(&sim, "base", "v1");
    let dockerfile = format!("FROM {}/base:v1\nCOPY file /\n", sim.host());
    let (cold, expected) = Shared::new().build(&dockerfile, &[]).await;
    cold.works();
    let shared = Shared::new();
    let script = "mount -t tmpfs -o size=128k none \"$1\"";
    let flag = shared.flag();
    let (ended, digest) = shared.build_after(script, &dockerfile, &[&flag]).await;
    let text = ended.works();
    assert_eq!(digest, expected, "{text}");
    let said = warnings(&text);
    assert_eq!(said.len(), 1, "{text}");
    assert!(said[0].contains("nothing more is kept for later builds: cannot write to"), "{text}");
}

/// What kaniko's warmer writes, as `tarball.Write` of go-containerregistry does.
fn kanikos_files(shared: &Shared, image: &Image, digest: &Digest) {
    let config = Digest::of(&image.config).to_string();
    let names: Vec<String> =
        image.layers.iter().map(|layer| format!("{}.tar.gz", Digest::of(layer).hex())).collect();
    let manifest = json!([{"Config": config, "RepoTags": ["base:v1"], "Layers": names}]);
    let mut members = vec![Member::file(&config, &image.config)];
    members.extend(names.iter().zip(&image.layers).map(|(name, layer)| Member::file(name, layer)));
    members.push(Member::file("manifest.json", manifest.to_string()));
    fs::write(shared.path().join(digest.to_string()), archive(&members)).unwrap();
    fs::write(shared.path().join(format!("{digest}.json")), &image.manifest).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kanikos_own_warmer_has_left_is_used() {
    let Some(warm) = warm("what_kanikos_own_warmer_has_left_is_used").await else { return };
    let Warm { sim, image, digest, expected, dockerfile, .. } = &warm;
    let shared = Shared::new();
    kanikos_files(&shared, image, digest);
    let flag = shared.flag();
    let before = layer_requests(sim, image);
    // The registry says what the tag names, as it does with kaniko.
    let (ended, found) = shared.build(dockerfile, &[&flag]).await;
    let text = ended.works();
    assert_eq!((&found, layer_requests(sim, image)), (expected, before), "{text}");
    // By its digest nobody has to be asked.
    let pinned = dockerfile.replace(":v1", &format!("@{digest}"));
    let count = sim.requests().len();
    let (ended, found) = shared.build(&pinned, &[&flag]).await;
    let text = ended.works();
    assert_eq!((&found, sim.requests().len()), (expected, count), "{text}");

    // A tarball that is not whole, or another, is not used.
    let path = Shared::new();
    kanikos_files(&path, image, digest);
    let tarball = path.path().join(digest.to_string());
    let bytes = fs::read(&tarball).unwrap();
    let at = bytes.len() / 2;
    let mut flipped = bytes.clone();
    flipped[at] ^= 1;
    for damaged in [&flipped[..], &bytes[..at], b"no tar"] {
        fs::remove_dir_all(path.path().join("zuwai")).ok();
        fs::write(&tarball, damaged).unwrap();
        let (ended, found) = path.build(dockerfile, &[&path.flag()]).await;
        let text = ended.works();
        assert_eq!(&found, expected, "{text}");
        assert!(warnings(&text).len() <= 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_listed_and_removed() {
    let Some(warm) = warm("what_is_there_is_listed_and_removed").await else { return };
    let flag = warm.shared.flag();
    let look = async |words: &[&str]| {
        let mut command = zuwai();
        command.arg("cache").args(words).arg(&flag);
        run(command).await.works()
    };
    let text = look(&["ls"]).await;
    assert!(text.starts_with("KIND     SIZE      LAST USED             NAME\n"), "{text}");
    let listed: serde_json::Value =
        serde_json::from_str(&look(&["ls", "--log-format=json"]).await).unwrap();
    let kinds = |kind: &str| {
        listed["items"].as_array().unwrap().iter().filter(|item| item["kind"] == kind).count()
    };
    assert_eq!((kinds("blob"), kinds("tag"), kinds("headers")), (4, 1, 2), "{listed}");
    let text = look(&["prune", "--older-than=1h", "--keep=1G"]).await;
    assert!(text.starts_with("0 B in 0 things removed, "), "{text}");
    let pruned: serde_json::Value =
        serde_json::from_str(&look(&["prune", "--log-format=json"]).await).unwrap();
    assert_eq!(pruned["removed"].as_array().unwrap().len(), 7, "{pruned}");
    assert_eq!((&pruned["busy"], &pruned["kept_bytes"]), (&json!([]), &json!(0)));
    assert_eq!(look(&["ls"]).await, "0 B in 0 things\n");
    let (_, requests) = warm.build(&[]).await;
    assert!(requests > 0);
}
