//! Whole builds with each way to find changes: which is taken, what it looks at, and that the image
//! does not depend on it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::harness::{Build, Built};
use crate::skip::{Reason, skip};
use crate::skip_unless_available;

/// Two stages, the second on the first and copying from it; commands, copies and directories take
/// turns, and change what the others have made.
const STAGES: &str = r"FROM base AS first
RUN mkdir /data && echo one > /data/one && ln /data/one /data/other
COPY file /data/copied
RUN echo two >> /data/other && mv /data /moved && chmod 600 /moved/copied
FROM first AS second
WORKDIR /work/deep
RUN echo three > three && rm /moved/one
COPY --from=first /moved/copied /work/copied
RUN cat /work/copied >> three && mkdir -p new/dir && echo x > new/dir/f && ln three new/dir/four
RUN echo four >> new/dir/four && echo y >> new/dir/f
";

/// One stage with one command.
const ONCE: &str = "FROM base\nRUN echo x > /x\n";

fn context(dockerfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    fs::write(folder.path().join("file"), "copied\n").unwrap();
    folder
}

fn build(context: &Path, flags: &[&str]) -> Build {
    let mut build = Build::of(context).base("base", "busybox");
    for flag in ["--log-format=json", "--no-push", "--destination=x/y", "--reproducible"] {
        build = build.arg(flag);
    }
    flags.iter().fold(build, |build, flag| build.arg(flag))
}

/// Builds and returns the image's digest.
fn digest(context: &Path, flags: &[&str]) -> (String, Built) {
    let file = context.join("digest");
    let built = build(context, flags).arg(format!("--digest-file={}", file.display())).succeed();
    (fs::read_to_string(file).unwrap(), built)
}

impl Built {
    /// Returns what was said of the choice: tracker and reason.
    fn chosen(&self) -> Vec<(String, String)> {
        let log = String::from_utf8_lossy(&self.output.stderr);
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        lines
            .filter(|line| line["msg"] == "Change tracker chosen")
            .map(|line| (text(&line["tracker"]), text(&line["reason"])))
            .collect()
    }

    /// Checks that this tracker was used for all commands and relied upon. How little it looks at
    /// shows on a larger base: here every command opens the one file with all the names.
    fn assert_tracked_by(&self, tracker: &str) {
        let snapshots = self.snapshots_of_commands();
        assert!(!snapshots.is_empty(), "{}", self.text());
        for snapshot in snapshots {
            assert_eq!(snapshot["tracker"], tracker, "{snapshot}");
            assert_eq!(snapshot["fallback"], Value::Null, "{snapshot}");
            // Where timestamps do not tell, what the tracker named is read.
            let is_read = !snapshot["content_because"].is_null();
            assert!(is_read || snapshot["opened"].as_u64().unwrap() < 10, "{snapshot}");
        }
    }
}

/// Tells whether a tracker can be used where the tests build; if not, that part is skipped.
pub fn can_be_used(test: &str, tracker: &str) -> bool {
    if tracker == "inotify" {
        return true;
    }
    let context = context(ONCE);
    let built = build(context.path(), &[&format!("--tracker={tracker}")]).run();
    let is_refused = built.text().contains(&format!("`--tracker={tracker}` cannot be used here"));
    assert_ne!(built.output.status.success(), is_refused, "{}", built.text());
    if is_refused {
        skip(test, Reason::OtherKind("the work directory's file system does not carry it"));
    }
    !is_refused
}

#[test]
fn stages_are_the_same_however_they_are_tracked() {
    skip_unless_available!();
    let context = context(STAGES);
    let test = "stages_are_the_same_however_they_are_tracked";
    let mut trackers = vec!["overlay", "fanotify", "inotify"];
    trackers.retain(|tracker| can_be_used(test, tracker));
    for once in [false, true] {
        let build = |way: &str| {
            let flags = [way, "--single-snapshot"];
            digest(context.path(), if once { &flags } else { &flags[..1] })
        };
        let (full, built) = build("--tracker=content");
        let opened = |snapshot: &Value| snapshot["opened"].as_u64().unwrap();
        assert!(built.snapshots_of_commands().iter().all(|snapshot| opened(snapshot) > 0));
        assert_eq!(build("--tracker=walk").0, full);
        for tracker in &trackers {
            let (found, built) = build(&format!("--tracker={tracker}"));
            assert_eq!(found, full, "{tracker}, once: {once}");
            assert_eq!(built.chosen(), [((*tracker).to_owned(), "asked for".to_owned())]);
            built.assert_tracked_by(tracker);
        }
    }
}

#[test]
fn a_user_namespace_is_tracked_by_watches() {
    skip_unless_available!();
    let context = context(STAGES);
    let flags = |way| ["--isolation=userns", way];
    let (full, _) = digest(context.path(), &flags("--snapshot-mode=full"));
    let (found, built) = digest(context.path(), &flags("--use-new-run"));
    assert_eq!(found, full);
    let [(tracker, reason)] = &built.chosen()[..] else { panic!("{}", built.text()) };
    assert_eq!(tracker, "inotify");
    assert!(reason.starts_with("overlay: in a user namespace "), "{reason}");
    assert!(reason.contains("fanotify: cannot "), "{reason}");
    built.assert_tracked_by("inotify");
}

#[test]
fn one_command_is_looked_for_without_watches() {
    skip_unless_available!();
    let context = context(ONCE);
    let (_, built) = digest(context.path(), &["--isolation=userns"]);
    let chosen = built.chosen();
    let [(first, _), (second, reason)] = &chosen[..] else { panic!("{}", built.text()) };
    assert_eq!((first.as_str(), second.as_str()), ("inotify", "walk"));
    assert_eq!(reason, "inotify: one snapshot is not worth its watches");
    let [snapshot] = &built.snapshots_of_commands()[..] else { panic!("{}", built.text()) };
    assert_eq!((&snapshot["tracker"], &snapshot["fallback"]), (&"walk".into(), &Value::Null));
}

#[test]
fn a_tracker_that_cannot_be_used_is_an_error_and_no_other_is_taken() {
    skip_unless_available!();
    let context = context(ONCE);
    for (flags, reason) in [
        // Too few for a trial.
        (&["--watch-limit=10"][..], "10 may be (the limit given)"),
        // Enough for a trial, but not for the image.
        (&["--watch-limit=100"], "100 may be (the limit given)"),
    ] {
        let flags = [flags, &["--tracker=inotify"]].concat();
        let built = build(context.path(), &flags).run();
        assert_eq!(built.output.status.code(), Some(1), "{}", built.text());
        for expected in ["`--tracker=inotify` cannot be used here: ", reason] {
            assert!(built.text().contains(expected), "{expected}: {}", built.text());
        }
        assert_eq!(built.snapshots_of_commands(), Vec::<Value>::new());
    }
}

#[test]
fn a_tree_beyond_the_limit_is_looked_for_without_watches() {
    skip_unless_available!();
    let context = context(STAGES);
    let (_, built) = digest(context.path(), &["--isolation=userns", "--watch-limit=100"]);
    let chosen = built.chosen();
    let trackers: Vec<&str> = chosen.iter().map(|(tracker, _)| tracker.as_str()).collect();
    assert_eq!(trackers, ["inotify", "walk", "walk"]);
    for (_, reason) in &chosen[1..] {
        assert!(reason.ends_with("and 100 may be (the limit given)"), "{reason}");
    }
    for snapshot in built.snapshots_of_commands() {
        assert_eq!((&snapshot["tracker"], &snapshot["fallback"]), (&"walk".into(), &Value::Null));
    }
}
