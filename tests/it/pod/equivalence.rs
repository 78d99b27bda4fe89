//! Random steps under the trackers inside containers, by the program of the long run: its short run, where
//! nothing but what a Pod has is there. `hack/pod-equivalence.sh` has the long one.

#![expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::skip::{Reason, skip};

/// So many changes are made in each place at least, and each operation succeeds once.
const ENOUGH: [&str; 6] = ["--changes", "1000", "--each", "1", "--patience", "150"];

const ANYWHERE: [&str; 3] = ["inotify", "walk", "content"];

/// Blocks are shared on file systems of other kinds.
const CLONES: [&str; 2] = ["clone", "clone_keeping_mtime"];

/// What Docker's seccomp rules forbid.
const RINGS: [&str; 5] = [
    "uring_write_keeping_mtime",
    "uring_write",
    "uring_write_fixed",
    "uring_write_and_be_killed",
    "uring_map_write_and_be_killed",
];

/// A Pod and what is to come of its two places: on the root, which is an overlay, and in an empty
/// directory.
struct Kind {
    name: &'static str,
    /// Trackers beside those that work anywhere, in the empty directory.
    more: &'static [&'static str],
    /// Operations that never succeed, beside clones.
    impossible: &'static [&'static str],
}

/// The program of snapshot's example, as `hack/test.sh` has it compiled.
fn program(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("ZUWAI_EQUIVALENCE").map(PathBuf::from);
    let found = found.filter(|path| path.exists());
    let reason = match (crate::witness::harness_unavailable(), &found) {
        (Some(reason), _) => reason,
        (None, None) => "needs the compiled example `equivalence`: run hack/test.sh".to_owned(),
        (None, Some(_)) => return found,
    };
    skip(test, Reason::Lacking(&reason));
    None
}

fn run(program: &Path, pod: &str, more: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/pod-equivalence.sh");
    let mut command = Command::new(script);
    command.arg("--program").arg(program).args(["--pod", pod]).args(ENOUGH).args(more);
    // Failures are kept beside what cargo makes.
    let target = program.ancestors().nth(3).unwrap();
    command.env("CARGO_TARGET_DIR", target).output().unwrap()
}

/// Returns the trackers under which a place had changes, in the order that they are told in, and what
/// never succeeded there.
fn outcome(said: &str) -> (Vec<&str>, Vec<&str>) {
    let worked = said.lines().filter_map(|line| {
        let (tracker, counts) = line.split_once(" on Here: ")?;
        let (changes, rest) = counts.split_once(" changes in ")?;
        let has_some = changes.parse::<u64>().unwrap() > 0 && rest.contains(" 0 steps wrong;");
        has_some.then_some(tracker)
    });
    let impossible = said.lines().find_map(|line| line.split_once("but for [")).expect("a list").1;
    let impossible = impossible.trim_end_matches(']').split(", ");
    (worked.collect(), impossible.map(|name| name.trim_matches('"')).collect())
}

fn check(test: &str, kind: &Kind) {
    let Some(program) = program(test) else { return };
    let output = run(&program, kind.name, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let (root, volume) = said.split_once(&format!("== {}, in /work\n", kind.name)).expect("two");
    let impossible = [&CLONES[..], kind.impossible].concat();
    // Names are told in the order of the table of operations.
    let sorted = |(trackers, mut names): (Vec<_>, Vec<_>)| {
        names.sort_unstable();
        (trackers, names)
    };
    let expected =
        |more: &[&'static str]| sorted(([more, &ANYWHERE[..]].concat(), impossible.clone()));
    assert_eq!(sorted(outcome(root)), expected(&[]), "{said}");
    assert_eq!(sorted(outcome(volume)), expected(kind.more), "{said}");
}

#[test]
fn trackers_miss_nothing_in_an_ordinary_pod() {
    let test = "trackers_miss_nothing_in_an_ordinary_pod";
    check(test, &Kind { name: "ordinary", more: &[], impossible: &RINGS });
}

#[test]
fn trackers_miss_nothing_in_a_pod_without_a_seccomp_profile() {
    let test = "trackers_miss_nothing_in_a_pod_without_a_seccomp_profile";
    check(test, &Kind { name: "unconfined", more: &[], impossible: &[] });
}

#[test]
fn trackers_miss_nothing_in_a_privileged_pod() {
    let test = "trackers_miss_nothing_in_a_privileged_pod";
    let more = &["overlay", "fanotify"];
    check(test, &Kind { name: "privileged", more, impossible: &[] });
}

#[test]
fn trackers_miss_nothing_in_a_pod_with_a_user_namespace() {
    let test = "trackers_miss_nothing_in_a_pod_with_a_user_namespace";
    // A device is the machine's to make.
    check(test, &Kind { name: "user-namespace", more: &[], impossible: &["mknod"] });
}

/// Or the tests above prove nothing.
#[test]
fn a_tracker_that_leaves_something_out_is_found_out_in_a_pod() {
    let test = "a_tracker_that_leaves_something_out_is_found_out_in_a_pod";
    let Some(program) = program(test) else { return };
    let output = run(&program, "ordinary", &["--weakness", "DirectoriesOnly"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert_eq!(said.matches(" steps, 1 steps wrong;").count(), 2, "{said}");
    assert!(said.contains("shrunk, and in `/kept/Here-inotify-1-shrunk.txt`"), "{said}");
}
