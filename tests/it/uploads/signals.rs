//! Builds that are asked to end twice.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::builds::{prepare, prepared};
use super::*;
use crate::skip_unless_available;
use crate::witness::harness::run;

/// Makes what stops a program's clock: a build waits for its clean-up then until it is asked again.
fn stopped_clock(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/uploads/stopped_clock.c");
    let library = folder.join("stopped_clock.so");
    run(Command::new("gcc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source));
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_ends_a_build_whose_clean_up_hangs() {
    skip_unless_available!();
    let folder = tempfile::tempdir().unwrap();
    let clock = stopped_clock(folder.path());
    for (first, second, code) in [
        (Signal::SIGTERM, Signal::SIGTERM, 143),
        (Signal::SIGTERM, Signal::SIGINT, 143),
        (Signal::SIGINT, Signal::SIGTERM, 130),
    ] {
        // The base's layer goes out when all else is done.
        let (sim, context) = prepare(|_| "FROM base-small\nLABEL a=b\n".to_owned()).await;
        let (_gate, closed) = watch::channel(false);
        // What fails is tried again later, which does not come.
        sim.rule(Rule::new("PUT", "/uploads/", Fault::status(503)));
        sim.rule(Rule::new("DELETE", "/uploads/", Fault::Hold(closed)));
        let digest = folder.path().join("digest");
        let flag = format!("--digest-file={}", digest.display());
        let build = prepared(&sim, context.path(), &[&flag, "--skip-push-permission-check"]);
        let mut held = sim.held();
        let running = build.env("LD_PRELOAD", &clock).start();
        got_bytes(&mut sim.received()).await;
        running.signal(first);
        // It is cleaning up: what it has sent is cancelled, and nobody answers that.
        held.wait_for(|count| *count > 0).await.unwrap();
        running.signal(second);
        let ended = tokio::task::spawn_blocking(|| running.end_anyhow()).await.unwrap();
        let (built, left, work) = ended;
        let text = built.text();
        assert_eq!(built.output.status.code(), Some(code), "{first} {second}\n{text}");
        assert!(text.contains("the build is asked to end"), "{text}");
        // Nobody has answered: neither was it done with its clean-up, nor has it pushed anything.
        assert!(sim.open_sessions() > 0, "{:#?}", sim.log());
        assert!(sim.tag("app", "v1").is_none() && !digest.exists(), "{:#?}", sim.log());
        // What it leaves is left to the next one, as after a crash.
        assert_eq!(left.len(), 1, "{text}");
        let next = Store::open(work.path()).unwrap();
        assert!(!left[0].exists() && next.folder().exists());
    }
}
