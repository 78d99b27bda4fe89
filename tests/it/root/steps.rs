//! RUN and WORKDIR as the plan describes them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use snapshot::RootfsPath;
use zuwai::execute::{ExecuteError, make_working_dir, run};
use zuwai::plan::{RunNetwork, RunStep, Script, WorkdirStep};
use zuwai::report::fault::Fault;
use zuwai::sandbox::Exit;

use super::{Busybox, may_run, sandbox};

fn step(script: &str) -> RunStep {
    RunStep {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![("PATH".to_owned(), "/bin".to_owned())],
        undeclared: Vec::new(),
        user: String::new(),
        working_directory: RootfsPath::root(),
        script: None,
        mounts: Vec::new(),
        network: RunNetwork::Shared,
    }
}

fn output(root: &Busybox, step: &RunStep) -> Result<String, ExecuteError> {
    let mut output = Vec::new();
    let outcome = run(&sandbox(), &root.rootfs(), step.into(), &mut |line| {
        output.extend_from_slice(line.bytes);
    })?;
    let output = String::from_utf8(output).expect("text");
    assert_eq!(outcome.exit, Exit::Exited(0), "{output}");
    Ok(output)
}

fn with_users(test: &str) -> Option<Busybox> {
    let root = may_run(test).then(|| Busybox::make(test)).flatten()?;
    fs::create_dir(root.path("etc")).expect("mkdir");
    fs::write(root.path("etc/passwd"), "root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n")
        .expect("write");
    fs::write(root.path("etc/group"), "app:x:1001:\nstaff:x:50:app\n").expect("write");
    Some(root)
}

fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("a path")
}

#[test]
fn a_run_is_done_by_the_images_user_at_home() {
    let Some(root) = with_users("a_run_is_done_by_the_images_user_at_home") else { return };
    for (user, expected) in [
        ("", "0:0:0 /root\n"),
        ("app", "1000:1001:1001 50 /home/app\n"),
        ("app:staff", "1000:50:50 /home/app\n"),
        ("7", "7:0:0 /\n"),
        ("7:8", "7:8:8 /\n"),
    ] {
        let step =
            RunStep { user: user.to_owned(), ..step("echo $(id -u):$(id -g):$(id -G) $HOME") };
        assert_eq!(output(&root, &step).expect("runs"), expected, "{user}");
    }
    let unknown = RunStep { user: "nobody".to_owned(), ..step("true") };
    let error = output(&root, &unknown).expect_err("unknown");
    assert_eq!(error.to_string(), "cannot tell who `nobody` is");
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_missing_working_directory_is_made_for_its_user() {
    let Some(root) = with_users("a_missing_working_directory_is_made_for_its_user") else { return };
    let step = RunStep {
        user: "app".to_owned(),
        working_directory: path("srv/app"),
        ..step("pwd; touch here")
    };
    assert_eq!(output(&root, &step).expect("runs"), "/srv/app\n");
    for name in ["srv", "srv/app", "srv/app/here"] {
        let metadata = fs::metadata(root.path(name)).expect("stat");
        assert_eq!((metadata.uid(), metadata.gid()), (1000, 1001), "{name}");
    }
}

#[test]
fn a_script_is_run_as_a_program() {
    let Some(root) = with_users("a_script_is_run_as_a_program") else { return };
    let step = RunStep {
        script: Some(Script {
            path: path("dev/pipes/EOF"),
            content: b"#!/bin/cat\nread by cat\n".to_vec(),
        }),
        ..step("/dev/pipes/EOF")
    };
    assert_eq!(output(&root, &step).expect("runs"), "#!/bin/cat\nread by cat\n");
}

#[test]
fn a_command_that_cannot_start_ends_a_build_with_a_shells_exit_code() {
    let Some(root) = with_users("a_command_that_cannot_start_ends_a_build_with_a_shells_exit_code")
    else {
        return;
    };
    let step = RunStep { argv: vec!["bash".to_owned()], ..step("") };
    let error = output(&root, &step).expect_err("not there");
    assert_eq!(error.to_string(), "cannot start `bash`: command not found in PATH `/bin`");
    assert_eq!(error.exit_code(), 127);
}

#[test]
fn a_working_directory_is_made_with_what_is_missing_above_it() {
    let Some(root) = with_users("a_working_directory_is_made_with_what_is_missing_above_it") else {
        return;
    };
    std::os::unix::fs::symlink("/data/real", root.path("link")).expect("symlink");
    let rootfs = root.rootfs();
    for (name, user, expected) in [
        ("a/b/c", "app", vec!["/a", "/a/b", "/a/b/c"]),
        ("a/b/c", "", vec![]),
        ("a/d", "7", vec!["/a/d"]),
        ("link/e", "later", vec!["/data", "/data/real", "/data/real/e"]),
        ("", "app", vec![]),
    ] {
        let step = WorkdirStep { path: path(name), user: user.to_owned() };
        let made = make_working_dir(&rootfs, &step).expect("made");
        let made: Vec<String> = made.iter().map(ToString::to_string).collect();
        assert_eq!(made, expected, "{name}");
    }
    for (name, owner) in [("a/b", (1000, 1001)), ("a/d", (7, 7)), ("data/real/e", (0, 0))] {
        let metadata = fs::metadata(root.path(name)).expect("stat");
        assert_eq!((metadata.uid(), metadata.gid()), owner, "{name}");
        assert_eq!(metadata.mode() & 0o7777, 0o755, "{name}");
    }
    let step = WorkdirStep { path: path("etc/passwd/x"), user: String::new() };
    assert_eq!(
        make_working_dir(&rootfs, &step).expect_err("in the way").to_string(),
        "`/etc/passwd` in the image is a regular file, not a directory"
    );
}
