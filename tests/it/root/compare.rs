//! `compare-modes` on the scenario that is made to be missed.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::may_run;

/// Returns what a mode missed: the number, and the names of some of the cases.
fn missed(report: &Value) -> BTreeMap<String, (u64, String)> {
    let modes = report["modes"].as_array().expect("modes").iter();
    modes
        .map(|mode| {
            assert_eq!(mode["error"], Value::Null, "{mode}");
            let count = mode["missed"].as_u64().expect("checked");
            let examples = mode["missed_examples"].to_string();
            (mode["mode"].as_str().expect("a name").to_owned(), (count, examples))
        })
        .collect()
}

#[test]
fn kanikos_algorithms_miss_what_metadata_hides_and_ours_do_not() {
    if !may_run("kanikos_algorithms_miss_what_metadata_hides_and_ours_do_not") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .args(["compare-modes", "--scenario=adversarial", "--modes=content,walk,inotify,kaniko"])
        .args(["--runs=1", "--json", "report.json", "--html", "report.html"])
        .arg(format!("--kaniko-dir={}", file("work").display()))
        .current_dir(directory.path())
        .output()
        .expect("the program runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    let report = std::fs::read(file("report.json")).expect("written");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let missed = missed(&report);
    let names: Vec<&str> = missed.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "content",
            "inotify",
            "kaniko-full",
            "kaniko-new-run",
            "kaniko-redo",
            "kaniko-time",
            "walk"
        ]
    );
    for mode in ["content", "inotify", "walk"] {
        assert_eq!(missed[mode].0, 0, "{mode}: {stdout}");
    }
    for mode in report["modes"].as_array().expect("modes") {
        let found_by = mode["steps"][0]["found_by"].as_str().expect("text");
        let is_emulated = mode["emulated"] == Value::Bool(true);
        assert!(is_emulated || mode["mode"] == found_by, "{mode}");
    }
    for (mode, cases) in [
        ("kaniko-full", &["user-attribute"][..]),
        ("kaniko-redo", &["same-size-old-mtime", "mapped-store", "capability", "swapped-a"]),
        ("kaniko-time", &["same-size-old-mtime", "mapped-store", "mode", "owner"]),
        ("kaniko-new-run", &["same-size-old-mtime", "mapped-store", "removed"]),
    ] {
        let (count, examples) = &missed[mode];
        assert!(*count >= cases.len() as u64, "{mode}: {stdout}");
        for case in cases {
            assert!(examples.contains(&format!("adversarial/{case}:")), "{mode}: {examples}");
        }
    }
    assert!(stdout.contains("UNSOUND"), "{stdout}");
    let page = std::fs::read_to_string(file("report.html")).expect("written");
    assert!(page.contains("</html>") && !page.contains("src="));
    let left: Vec<_> = std::fs::read_dir(file("work")).expect("there").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
