//! Flags whose effect only a whole build shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::{Build, bases, run};
use crate::skip_unless_available;

/// Builds a Dockerfile on the small base; returns what the build printed and the paths in the last
/// layer of the layout.
fn last_layer(dockerfile: &str, arguments: &[&str]) -> (String, BTreeSet<String>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    let layout = folder.path().join("layout");
    let build = Build::of(folder.path())
        .base("base-small", "busybox")
        .arg("--no-push")
        .arg(format!("--oci-layout-path={}", layout.display()));
    let built = arguments.iter().fold(build, |build, argument| build.arg(argument)).succeed();
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |digest: &serde_json::Value| {
        layout.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))
    };
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]["digest"]));
    let last = manifest["layers"].as_array().unwrap().last().unwrap();
    let listed = run(Command::new("tar").arg("-tzf").arg(blob(&last["digest"])));
    let names = String::from_utf8(listed.stdout).unwrap();
    (built.text(), names.lines().map(|name| name.trim_end_matches('/').to_owned()).collect())
}

#[test]
fn ignored_paths_stay_out_by_name_and_by_pattern() {
    skip_unless_available!();
    let dockerfile = "FROM base-small\nRUN mkdir -p /srv/a/tmp /srv/b/tmp /srv/b/kept /data \
                      /var/run && touch /srv/a/tmp/x /srv/b/kept/y /data/z /var/run/pid\n";
    let (_, all) = last_layer(dockerfile, &["--ignore-var-run=false"]);
    for name in ["srv/a/tmp/x", "srv/b/tmp", "srv/b/kept/y", "data/z", "var/run/pid"] {
        assert!(all.contains(name), "{name} is not in {all:?}");
    }
    let (_, some) = last_layer(dockerfile, &["--ignore-path=/srv/[ab]/t*", "--ignore-path=/data"]);
    let gone =
        ["srv/a/tmp", "srv/a/tmp/x", "srv/b/tmp", "data", "data/z", "var/run", "var/run/pid"];
    let expected: BTreeSet<String> =
        all.into_iter().filter(|name| !gone.contains(&name.as_str())).collect();
    assert_eq!(some, expected);
}

#[test]
fn isolation_is_what_was_asked_for() {
    skip_unless_available!();
    let dockerfile = "FROM base-small\nRUN echo in $(readlink /proc/self/ns/user) && touch /x\n";
    let ours = fs::read_link("/proc/self/ns/user").unwrap();
    let ours = format!("in {}", ours.display());
    assert!(last_layer(dockerfile, &["--isolation=namespaces"]).0.contains(&ours));
    assert!(last_layer(dockerfile, &[]).0.contains(&ours));
    let in_user_namespace = last_layer(dockerfile, &["--isolation=userns"]).0;
    assert!(in_user_namespace.contains("in user:["), "{in_user_namespace}");
    assert!(!in_user_namespace.contains(&ours), "{in_user_namespace}");
}

#[test]
fn the_projects_own_dockerfile_is_planned() {
    skip_unless_available!();
    let folder = tempfile::tempdir().unwrap();
    let base = format!("oci-layout://{}", bases().join("build").display());
    let plan = |target: &str| {
        let planned = run(Command::new(env!("CARGO_BIN_EXE_zuwai"))
            .args(["plan", "--no-push", "--context", env!("CARGO_MANIFEST_DIR")])
            .arg(format!("--build-context=rust:1.95-bookworm={base}"))
            .args(["--target", target])
            .current_dir(folder.path()));
        String::from_utf8(planned.stdout).unwrap()
    };
    // The last one, which is built without a target.
    assert_eq!(plan("executor"), plan("6"));
    for target in ["executor", "debug"] {
        let plan = plan(target);
        assert!(plan.contains("copies /files/executor from stage 4 `source`"), "{plan}");
        assert!(plan.contains("\"/kaniko/executor\""), "{plan}");
    }
}
