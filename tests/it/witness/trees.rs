//! The image's tree equals the one that the commands left, whichever way changes are found.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::harness::{
    Build, Built, ReadBack, Tree, bases, has_package_mirror, registry, validate_layout,
    write_many_files,
};
use super::trackers::can_be_used;
use crate::skip::{Reason, skip};
use crate::skip_unless_available;

fn witness(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness").join(path)
}

/// Copies files of `tests/witness` into a fresh context.
fn context(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let source = witness(file);
        fs::copy(&source, folder.path().join(source.file_name().unwrap())).unwrap();
    }
    folder
}

/// Sockets are no layer content (OCI image-spec, `layer.md`), and what is mounted while a command
/// runs cannot be seen by it.
fn image_content(tree: Tree) -> Tree {
    let mounted = ["proc", "sys", "dev"];
    tree.without(|path, row| {
        row["kind"] == "socket" || mounted.iter().any(|top| Path::new(path).starts_with(top))
    })
}

/// Builds a context with changes found one way, pushes it, reads it back, and returns the manifest's
/// digest with what the build printed.
fn build_and_compare(context: &Path, way: &str, repository: &str) -> (String, Built) {
    let name = way.trim_start_matches("--").replace('=', "-");
    let tag = format!("{repository}:{name}");
    let digest = context.join(format!("digest-{name}"));
    let built = Build::of(context)
        .base("base", "build")
        .arg("--log-format=json")
        .arg(way)
        .arg("--reproducible")
        .arg(format!("--destination={}/{tag}", registry().host))
        .arg(format!("--insecure-registry={}", registry().host))
        .arg(format!("--digest-file={}", digest.display()))
        .succeed();
    let image = ReadBack::pull(&tag);
    validate_layout(&image.layout());
    let left = image_content(built.printed_tree()).without_mtimes();
    let unpacked = image_content(Tree::of(&image.unpack(), &[])).without_mtimes();
    left.assert_equals(&unpacked, &tag);
    (fs::read_to_string(digest).unwrap(), built)
}

impl Tree {
    /// Drops timestamps, which `--reproducible` zeroes.
    fn without_mtimes(mut self) -> Self {
        for row in self.0.values_mut() {
            if let Value::Object(fields) = row {
                fields.remove("mtime_ns");
            }
        }
        self
    }
}

#[test]
fn every_kind_of_change_reaches_the_image_with_its_times() {
    skip_unless_available!();
    let context =
        context(&["changes/Dockerfile", "changes/prepare.py", "changes/change.py", "tree.py"]);
    let tag = "changes:default";
    let built = Build::of(context.path())
        .base("base", "build")
        .arg(format!("--destination={}/{tag}", registry().host))
        .arg(format!("--insecure-registry={}", registry().host))
        .succeed();
    let image = ReadBack::pull(tag);
    validate_layout(&image.layout());
    image_content(built.printed_tree())
        .assert_equals(&image_content(Tree::of(&image.unpack(), &[])), tag);
}

#[test]
fn every_way_to_find_changes_gives_the_same_bytes_and_misses_nothing() {
    skip_unless_available!();
    let context =
        context(&["changes/Dockerfile", "changes/prepare.py", "changes/change.py", "tree.py"]);
    let build = |way: &str| build_and_compare(context.path(), way, "ways");
    let (full, _) = build("--snapshot-mode=full");
    for way in ["--snapshot-mode=redo", "--snapshot-mode=time"] {
        assert_eq!(build(way).0, full, "{way} differs from full");
    }
    for tracker in ["overlay", "fanotify", "inotify"] {
        let way = format!("--tracker={tracker}");
        let test = "every_way_to_find_changes_gives_the_same_bytes_and_misses_nothing";
        if !can_be_used(test, tracker) {
            continue;
        }
        let (digest, built) = build(&way);
        assert_eq!(digest, full, "{way} differs from full");
        let snapshots = built.snapshots_of_commands();
        let [prepare, change, print] = &snapshots[..] else { panic!("{snapshots:?}") };
        for snapshot in [prepare, change, print] {
            assert_eq!(
                (&snapshot["tracker"], &snapshot["fallback"]),
                (&way[10..].into(), &Value::Null)
            );
        }
        // The base has more than ten thousand; the last command opens every file.
        for snapshot in [prepare, change] {
            let count = |name: &str| snapshot[name].as_u64().unwrap();
            assert!(count("known") > 10_000, "{snapshot}");
            assert!(count("examined") < 2 * count("changed"), "{snapshot}");
            // Where timestamps do not tell, what the tracker named is read.
            let is_read = !snapshot["content_because"].is_null();
            assert!(is_read || count("opened") < 20, "{snapshot}");
        }
    }
}

/// Builds a Dockerfile of `tests/witness` in a prepared context, compares, and returns what was
/// said.
fn build_witness(context: &Path, dockerfile: &str) -> String {
    let tag = format!("witness/{}:v1", dockerfile.to_lowercase().replace("dockerfile", "of"));
    fs::copy(witness("tree.py"), context.join("tree.py")).unwrap();
    let built = Build::of(context)
        .base("base", "build")
        .arg("--dockerfile")
        .arg(witness(dockerfile))
        .arg(format!("--destination={}/{tag}", registry().host))
        .arg(format!("--insecure-registry={}", registry().host))
        .succeed();
    let image = ReadBack::pull(&tag);
    validate_layout(&image.layout());
    image_content(built.printed_tree())
        .assert_equals(&image_content(Tree::of(&image.unpack(), &[])), &tag);
    built.text()
}

/// Returns the rest of each line that begins with `mark`, whatever a log puts before it.
fn marked<'t>(said: &'t str, mark: &str) -> Vec<&'t str> {
    said.lines().filter_map(|line| line.split_once(mark)).map(|(_, rest)| rest.trim_end()).collect()
}

/// What a process is reported with that outlived its RUN.
const KILLED: &str = "a process outlived its RUN and was killed\" name=";

#[test]
fn dpkg_installs_real_packages_with_maintainer_scripts() {
    skip_unless_available!();
    let context = tempfile::tempdir().unwrap();
    let mut packages = 0;
    for entry in fs::read_dir(bases().join("packages")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), context.path().join(entry.file_name())).unwrap();
        packages += 1;
    }
    assert!(packages > 1, "hack/bases.sh keeps packages beside the bases");
    build_witness(context.path(), "packages/Dockerfile.dpkg");
}

#[test]
fn apt_installs_a_database_server_that_runs_inside_of_steps() {
    skip_unless_available!();
    if !has_package_mirror() {
        let reason = Reason::NoNetwork("no Debian mirror can be reached from here");
        skip("apt_installs_a_database_server_that_runs_inside_of_steps", reason);
        return;
    }
    let said = build_witness(tempfile::tempdir().unwrap().path(), "packages/Dockerfile.apt");
    let rows = marked(&said, "WITNESS of ");
    assert_eq!(rows, ["a server that was stopped", "a server that was killed"], "{said}");
    assert!(marked(&said, KILLED).contains(&"postgres"), "{said}");
}

#[test]
fn a_daemon_runs_inside_of_a_step_and_is_dead_before_its_snapshot() {
    skip_unless_available!();
    let context = context(&["daemon/daemon.py"]);
    let said = build_witness(context.path(), "daemon/Dockerfile");
    // One step stopped its daemon, the other did not.
    assert_eq!(marked(&said, KILLED), ["python3"], "{said}");
}

#[test]
fn twenty_thousand_copied_files_are_in_the_image() {
    skip_unless_available!();
    let context = tempfile::tempdir().unwrap();
    write_many_files(context.path());
    build_witness(context.path(), "packages/Dockerfile.copy");
}
