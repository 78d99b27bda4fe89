//! The program as it is called: names, streams, exit codes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program by a name, with an empty environment, in an empty directory.
fn run(name: &str, flags: &[&OsStr], variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join(name);
    symlink(env!("CARGO_BIN_EXE_zuwai"), &program).expect("a link");
    let output = Command::new(&program)
        .args(flags)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(directory.path())
        .output()
        .expect("the program runs");
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").collect();
    assert_eq!(left.len(), 1, "more than the link: {left:?}");
    output
}

fn words<'a>(flags: &'a [&'a str]) -> Vec<&'a OsStr> {
    flags.iter().map(OsStr::new).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Checks the whole outcome of a command line that is refused.
fn refused(name: &str, flags: &[&str], variables: &[(&str, &str)], stderr: &str) {
    let output = run(name, &words(flags), variables);
    assert_eq!(text(&output.stderr), stderr, "{name} {flags:?}");
    assert_eq!(text(&output.stdout), "", "{name} {flags:?}");
    assert_eq!(output.status.code(), Some(1), "{name} {flags:?}");
}

/// Returns what is printed to standard output.
fn printed(name: &str, flags: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(name, &words(flags), variables);
    assert_eq!(text(&output.stderr), "", "{name} {flags:?}");
    assert_eq!(output.status.code(), Some(0), "{name} {flags:?}");
    text(&output.stdout).to_owned()
}

#[test]
fn a_refused_command_line_is_an_error_with_a_hint_and_no_usage() {
    refused(
        "executor",
        &["--context=."],
        &[],
        "error: you must provide --destination, or use --no-push\n\
         hint: add `--destination=HOST/REPOSITORY:TAG` to push, or `--no-push`\n",
    );
    refused(
        "zuwai",
        &["build", "--no-push", "--cach"],
        &[],
        "error: unknown flag `--cach`\nhint: did you mean `--cache`?\n",
    );
    refused(
        "executor",
        &["--no-push", "--cache-ttl=2d"],
        &[],
        "error: invalid value `2d` for `--cache-ttl`\n\
         cause: expected a duration such as `336h` or `1h30m`\n",
    );
    refused(
        "executor",
        &["-d", "r/x"],
        &[("KANIKO_NO_PUSH", "flase")],
        "error: invalid value `flase` of the environment variable `KANIKO_NO_PUSH`\n\
         cause: expected a boolean: 1, t, T, TRUE, true, True, 0, f, F, FALSE, false or False\n",
    );
    refused(
        "warmer",
        &[],
        &[],
        "error: you must select at least one image to cache or a dockerfilepath to parse\n",
    );
}

#[test]
fn a_copy_goes_on_from_earlier_layers_only_where_it_can() {
    for (flags, reason) in [
        (&[][..], "it needs `--cache`"),
        (&["--cache-copy-layers"], "it needs `--cache`"),
        (&["--cache"], "it needs `--cache-copy-layers`"),
        (
            &["--cache", "--cache-copy-layers", "--reproducible"],
            "with `--reproducible` layers do not depend on what was built before",
        ),
        (
            &["--cache", "--cache-copy-layers", "--single-snapshot"],
            "with `--single-snapshot` no step has its own layer",
        ),
    ] {
        let stderr = format!("error: invalid value `true` for `--cache-copy-delta`: {reason}\n");
        let flags = [&["--destination=r/x", "--cache-copy-delta"], flags].concat();
        refused("executor", &flags, &[], &stderr);
        let named = [&["build"], flags.as_slice()].concat();
        refused("zuwai", &named, &[], &stderr);
    }
}

#[test]
fn once_the_format_is_known_an_error_has_it() {
    let flags = ["--no-push", "--log-format=json", "--snapshot-mode=fast"];
    let output = run("executor", &words(&flags), &[]);
    let mut error: Value = serde_json::from_slice(&output.stderr).expect("one JSON object");
    let time = error.as_object_mut().expect("an object").remove("time");
    assert!(time.is_some_and(|time| time.is_string()));
    assert_eq!(
        error,
        serde_json::json!({
            "causes": [],
            "class": "user",
            "exit_code": 1,
            "level": "error",
            "msg": "invalid value `fast` for `--snapshot-mode`: expected full, redo or time",
            "retryable": false,
        })
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_name_of_the_link_chooses_the_program() {
    let version = format!("zuwai {} (flags of kaniko v1.24.0)\n", env!("CARGO_PKG_VERSION"));
    for name in ["zuwai", "executor", "warmer", "anything"] {
        assert_eq!(printed(name, &["version"], &[]), version, "{name}");
    }
    assert!(printed("executor", &["--help"], &[]).contains("Usage: executor [OPTIONS]\n"));
    assert!(printed("warmer", &["--help"], &[]).contains("Usage: warmer [OPTIONS]\n"));
    assert!(printed("zuwai", &["--help"], &[]).contains("Usage: zuwai <COMMAND>\n"));
    assert!(printed("zuwai", &["build", "--help"], &[]).contains("Usage: zuwai build [OPTIONS]\n"));
}

#[test]
fn print_options_shows_flags_environment_and_defaults_and_touches_nothing() {
    let flags = [
        "--print-options",
        "--destination=r/x",
        "--context=s3://bucket/context.tar.gz",
        "--cache",
        "--build-arg=VERSION",
        "--build-arg=NPM_TOKEN",
        "--tarPath=/nowhere/image.tar",
    ];
    let variables = [
        ("VERSION", "1.2"),
        ("NPM_TOKEN", "hunter2"),
        ("HTTPS_PROXY", "http://me:hunter2@proxy:3128"),
        ("KANIKO_DIR", "/nowhere/work"),
    ];
    let text = printed("executor", &flags, &variables);
    assert!(!text.contains("hunter2"), "{text}");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["program"], "executor");
    assert_eq!(value["options"]["build-arg"], serde_json::json!(["VERSION=1.2", "NPM_TOKEN=***"]));
    assert_eq!(value["options"]["kaniko-dir"], "/nowhere/work");
    assert_eq!(value["options"]["cache-ttl"], "336h0m0s");
    assert_eq!(value["options"]["tar-path"], "/nowhere/image.tar");
    assert_eq!(value["sources"]["kaniko-dir"], "environment");
    assert_eq!(value["sources"]["cache"], "command line");
    assert_eq!(value["sources"]["cache-ttl"], "default");
    assert_eq!(value["support"]["cache"], "works");
    assert_eq!(value["support"]["destination"], "works");
    assert_eq!(value["environment"]["HTTPS_PROXY"], "http://***@proxy:3128");
    assert_eq!(
        value["warnings"],
        serde_json::json!(["Flag --tarPath is deprecated. Use: --tar-path"])
    );
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn arguments_that_are_not_text_are_refused() {
    let flags = [OsStr::new("--no-push"), OsStr::from_bytes(b"--context=/\xff")];
    let output = run("executor", &flags, &[]);
    assert_eq!(text(&output.stderr), "error: argument 2 is not valid UTF-8\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_comparison_that_cannot_be_made_is_refused_before_it_starts() {
    let refused = |flags: &[&str], stderr: &str| {
        let flags: Vec<&str> = ["compare-modes"].iter().chain(flags).copied().collect();
        refused("zuwai", &flags, &[("KANIKO_DIR", "/nowhere/work")], stderr);
    };
    refused(
        &[],
        "error: nothing to compare on: neither `--scenario` nor `--context`\n\
         hint: `zuwai compare-modes --help` lists scenarios\n",
    );
    refused(
        &["--scenario=fast"],
        "error: invalid value `fast` for `--scenario`: there is no scenario `fast`; those are \
         no-op-5k, no-op-50k, no-op-300k, no-op-1m, small-runs, many-files, npm, delete-heavy, \
         create-100k, open-100k, adversarial\n",
    );
    refused(
        &["--scenario=npm", "--modes=walk,fast"],
        "error: invalid value `walk,fast` for `--modes`: there is no mode `fast`; those are \
         overlay, fanotify, inotify, walk, content, auto, full, redo, time, kaniko-full, \
         kaniko-redo, kaniko-time, kaniko-new-run, bare-walk; `trackers` and `kaniko` are groups\n",
    );
    refused(&["--scenario=npm", "--runs=0"], "error: `--runs` must be 1 or more\n");
    refused(
        &["--scenario=npm", "--context=."],
        "error: `--scenario` has a build of its own; `--context` cannot go with it\n",
    );
    refused(
        &["--scenario=npm", "--base=/layout"],
        "error: invalid value `/layout` for `--base`: only the scenario `small-runs` takes one\n",
    );
    refused(
        &["--context=.", "--destination=r/x"],
        "error: `--destination` cannot be given: the comparison decides it for each build\n",
    );
    refused(&["npm"], "error: unknown command `npm` for `zuwai compare-modes`\n");
    let help = printed("zuwai", &["compare-modes", "--help"], &[]);
    assert!(help.contains("Usage: zuwai compare-modes [OPTIONS]\n"), "{help}");
    assert!(!Path::new("/nowhere").exists());
}
