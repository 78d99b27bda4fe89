//! A build that is asked to end while it waits for its cache.

use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::registries::pushed;
use super::*;
use crate::regsim::{Fault, RegSim, Rule};
use crate::skip_unless_available;

const WAITS: &str = "FROM base\nRUN head -c 40000 /bin/busybox > /a\nRUN sleep 1000\n";

/// Starts a build, asks it to end when so many requests wait at a gate and the image is there or not,
/// and returns what it said.
async fn ended(sim: &RegSim, context: &Path, is_pushed: bool) -> Built {
    let mut held = sim.held();
    let running = pushed(sim, context, &["--cache", "--cache-copy-layers"]).start();
    held.wait_for(|count| *count > 0).await.unwrap();
    while is_pushed && sim.tag("app", "v1").is_none() {
        tokio::task::yield_now().await;
    }
    running.signal(Signal::SIGTERM);
    tokio::task::spawn_blocking(|| running.end()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_while_the_cache_does_not_answer() {
    skip_unless_available!();
    let context = context("FROM base\nCOPY tree /t\nRUN echo a > /a\n");
    let sim = RegSim::start().await;
    let (_gate, closed) = watch::channel(false);
    sim.rule(Rule::new("GET", "/app/cache/", Fault::Hold(closed)));
    let built = ended(&sim, context.path(), false).await;
    assert_eq!(built.output.status.code(), Some(143), "{}", built.text());
    assert!(built.text().contains("error: the build was ended by SIGTERM\n"), "{}", built.text());
    assert_eq!((sim.open_sessions(), sim.tag("app", "v1")), (0, None), "{:#?}", sim.log());
    assert!(!digest_file(context.path()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_while_single_lookups_do_not_answer() {
    skip_unless_available!();
    let context = context("FROM base\nCOPY tree /t\nRUN echo a > /a\nRUN echo b > /b\n");
    let sim = RegSim::start().await;
    let (_gate, closed) = watch::channel(false);
    // The list of the last build is not there; then all steps are asked for at once.
    sim.rule(Rule::new("GET", "/app/cache/", Fault::Nothing).times(1));
    sim.rule(Rule::new("GET", "/app/cache/", Fault::Hold(closed)));
    let built = ended(&sim, context.path(), false).await;
    assert_eq!(built.output.status.code(), Some(143), "{}", built.text());
    assert_eq!((sim.open_sessions(), sim.tag("app", "v1")), (0, None), "{:#?}", sim.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_while_the_cache_takes_nothing() {
    skip_unless_available!();
    let context = context(WAITS);
    // Small blobs may go in one request or in two.
    for methods in [&["POST"][..], &["PATCH", "PUT"]] {
        let sim = RegSim::start().await;
        let (_gate, closed) = watch::channel(false);
        for method in methods {
            sim.rule(Rule::new(method, "/app/cache/", Fault::Hold(closed.clone())));
        }
        let built = ended(&sim, context.path(), false).await;
        assert_eq!(built.output.status.code(), Some(143), "{methods:?}\n{}", built.text());
        assert_eq!(sim.open_sessions(), 0, "{methods:?}\n{}\n{:#?}", built.text(), sim.log());
        assert_eq!(sim.tag("app", "v1"), None, "{methods:?}\n{:#?}", sim.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_image_is_pushed_ends_while_the_cache_takes_nothing() {
    skip_unless_available!();
    let context = context("FROM base\nRUN head -c 40000 /bin/busybox > /a\n");
    // Small blobs may go in one request or in two.
    for methods in [&["POST"][..], &["PATCH", "PUT"]] {
        let sim = RegSim::start().await;
        let (_gate, closed) = watch::channel(false);
        for method in methods {
            sim.rule(Rule::new(method, "/app/cache/", Fault::Hold(closed.clone())));
        }
        let built = ended(&sim, context.path(), true).await;
        // All that was asked for is done, and said to be.
        assert_eq!(built.output.status.code(), Some(0), "{methods:?}\n{}", built.text());
        assert_eq!(sim.open_sessions(), 0, "{methods:?}\n{}\n{:#?}", built.text(), sim.log());
    }
}
