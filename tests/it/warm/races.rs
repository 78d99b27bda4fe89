//! Several warmers and builds at a time, and ends at any moment.

use std::hash::{BuildHasher, Hasher};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use snapshot::Digest;
use tokio::sync::watch;

use super::{Image, Shared, layer_requests, run, warnings, zuwai};
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip::is_root;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_warmers_one_downloads_each_layer() {
    let sim = RegSim::start().await;
    let image = Image::new(4, 100_000);
    image.put(&sim, "base", "v1");
    let shared = Shared::new();
    let flag = format!("--image={}/base:v1", sim.host());
    let arguments = [flag.as_str()];
    for ended in join_all((0..5).map(|_| shared.warm(&arguments))).await {
        ended.works();
    }
    assert_eq!(layer_requests(&sim, &image), 4);
    shared.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_beside_warmers_and_pruning_make_their_images() {
    if !is_root("builds_beside_warmers_and_pruning_make_their_images") {
        return;
    }
    let sim = RegSim::start().await;
    Image::new(3, 100_000).put(&sim, "base", "v1");
    let dockerfile = format!("FROM {}/base:v1\nCOPY file /\n", sim.host());
    let (cold, expected) = Shared::new().build(&dockerfile, &[]).await;
    cold.works();
    let shared = Shared::new();
    let (image, flag) = (format!("--image={}/base:v1", sim.host()), shared.flag());
    let warming = async {
        for _ in 0..4 {
            shared.warm(&[&image, "--force"]).await.works();
        }
    };
    let pruning = async {
        for _ in 0..12 {
            let mut command = zuwai();
            command.args(["cache", "prune", &flag]);
            run(command).await.works();
        }
    };
    let building = async || {
        for _ in 0..4 {
            let (ended, digest) = shared.build(&dockerfile, &[&flag]).await;
            let text = ended.works();
            assert_eq!(digest, expected, "{text}");
        }
    };
    tokio::join!(warming, pruning, building(), building());
    shared.warm(&[&image]).await.works();
    shared.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_pruned_while_another_comes_is_read_all_the_same() {
    let sim = RegSim::start().await;
    let image = Image::new(2, 100_000);
    image.put(&sim, "base", "v1");
    let shared = Shared::new();
    let (gate, closed) = watch::channel(false);
    let last = format!("/blobs/{}", Digest::of(&image.layers[1]));
    sim.rule(Rule::new("GET", &last, Fault::Hold(closed)));
    let pruning = async {
        let first = shared.blob(&image.layers[0]);
        while !first.exists() {
            tokio::task::yield_now().await;
        }
        let mut prune = zuwai();
        prune.args(["cache", "prune", &shared.flag()]);
        run(prune).await.works();
        assert!(!first.exists());
        gate.send_replace(true);
    };
    let name = format!("--image={}/base:v1", sim.host());
    let arguments = [name.as_str()];
    let (ended, ()) = tokio::join!(shared.warm(&arguments), pruning);
    let text = ended.works();
    assert_eq!(warnings(&text), [""; 0], "{text}");
    shared.warm(&arguments).await.works();
    shared.verify();
}

/// Kills that each kind of program gets.
const ROUNDS: u64 = 25;

/// Lets a program run for a random part of what it took when it was left alone, and kills it.
async fn killed(mut command: std::process::Command, whole: Duration) {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    tokio::task::spawn_blocking(move || {
        let mut child = child.unwrap();
        let random = std::hash::RandomState::new().build_hasher().finish() % 1000;
        let moment = whole.mul_f64(random as f64 / 1000.0);
        let start = Instant::now();
        while start.elapsed() < moment {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_when_leaves_the_directory_whole() {
    if !is_root("whoever_is_killed_when_leaves_the_directory_whole") {
        return;
    }
    let sim = RegSim::start().await;
    let image = Image::new(3, 300_000);
    image.put(&sim, "base", "v1");
    let dockerfile = format!("FROM {}/base:v1\nCOPY file /\n", sim.host());
    let (cold, expected) = Shared::new().build(&dockerfile, &[]).await;
    cold.works();
    let shared = Shared::new();
    let (name, flag) = (format!("--image={}/base:v1", sim.host()), shared.flag());
    let start = Instant::now();
    shared.warm(&[&name, "--force"]).await.works();
    let whole = start.elapsed();
    for _ in 0..ROUNDS {
        // Alone, and beside another that is killed at another moment.
        killed(shared.warmer(&[&name, "--force"]), whole).await;
        tokio::join!(
            killed(shared.warmer(&[&name, "--force"]), whole),
            killed(shared.warmer(&[&name]), whole),
        );
        let mut prune = zuwai();
        prune.args(["cache", "prune", &flag]);
        killed(prune, whole / 4).await;
        killed(shared.builder(&dockerfile), whole).await;
        for entry in std::fs::read_dir(shared.path().join("zuwai/blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let digest = Digest::of(&std::fs::read(&path).unwrap()).hex();
            assert_eq!(path.file_name().unwrap().to_str(), Some(digest.as_str()));
        }
    }
    let (ended, digest) = shared.build(&dockerfile, &[&flag]).await;
    let text = ended.works();
    assert_eq!(digest, expected, "{text}");
    shared.warm(&[&name]).await.works();
    shared.verify();
    let count = sim.requests().len();
    let (ended, digest) = shared.build(&dockerfile, &[&flag]).await;
    let text = ended.works();
    assert_eq!((digest, sim.requests().len()), (expected, count), "{text}");
}
