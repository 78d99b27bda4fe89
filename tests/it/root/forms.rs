//! The other forms of sandbox: in place, and in a user namespace.
//!
//! Both change the process that chooses them, or its root, so they are tried through
//! `examples/sandbox_run`, in a root or a mount namespace of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapshot::RootfsPath;
use zuwai::sandbox::{RunOutcome, RunSpec, StepNetwork};

use super::{Busybox, may_run, sandbox};
use crate::skip::{Reason, skip};
use crate::user::GIVE_IDS;

/// Returns the example that runs a command in a sandbox, if it was built.
fn sandbox_run(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_zuwai")).with_file_name("examples/sandbox_run");
    if path.exists() {
        return Some(path);
    }
    skip(test, Reason::Lacking("needs examples/sandbox_run (cargo build --examples)"));
    None
}

/// Returns the shared libraries and the loader that a program needs.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd runs");
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// A root with the executor in it, as a container has it.
fn container(test: &str) -> Option<Busybox> {
    let example = may_run(test).then(|| sandbox_run(test)).flatten()?;
    let root = Busybox::make(test)?;
    fs::create_dir(root.path("kaniko")).expect("mkdir");
    for (program, name) in [(Path::new(env!("CARGO_BIN_EXE_zuwai")), "zuwai"), (&example, "run")] {
        fs::copy(program, root.path("kaniko").join(name)).expect("copy");
        for library in libraries(program) {
            let place = root.path(library.to_str().expect("text").trim_start_matches('/'));
            fs::create_dir_all(place.parent().expect("a directory")).expect("mkdir");
            fs::copy(&library, place).expect("copy");
        }
    }
    Some(root)
}

/// Runs `script` in place of a container, which is a sandbox of ours.
fn run_in_place(root: &Busybox, script: &str) -> (RunOutcome, String) {
    let argv =
        ["/kaniko/run", "/kaniko/zuwai", "in-place", "/", "/kaniko", "--", "/bin/sh", "-c", script];
    let spec = RunSpec {
        argv: argv.map(str::to_owned).to_vec(),
        env: vec!["SECRET=of the executor".to_owned()],
        working_dir: RootfsPath::root(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        pipes: Vec::new(),
        mounts: Vec::new(),
        network: StepNetwork::Shared,
    };
    let mut output = Vec::new();
    let outcome = sandbox()
        .run(&root.rootfs(), &spec, &mut |line| output.extend_from_slice(line.bytes))
        .expect("the container starts");
    (outcome, String::from_utf8_lossy(&output).into_owned())
}

#[test]
fn in_place_is_refused_where_this_is_no_container() {
    let test = "in_place_is_refused_where_this_is_no_container";
    let Some(example) = may_run(test).then(|| sandbox_run(test)).flatten() else { return };
    let output = Command::new(example)
        .args([env!("CARGO_BIN_EXE_zuwai"), "in-place", "/", "--", "/bin/true"])
        .output()
        .expect("the example runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.starts_with("in place: a container") {
        skip(test, Reason::OtherKind("runs in a container itself"));
        return;
    }
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "cannot build in `/`, which is not that of a container");
    assert!(
        lines[1].starts_with("hint: run zuwai as root on a machine, or in a container"),
        "{said}"
    );
    assert!(lines[1].contains("`--force` builds here and overwrites"), "{said}");
    assert!(lines[1].contains("`/etc`"), "{said}");
}

#[test]
fn in_place_a_command_sees_the_root_and_nothing_else_of_the_executor() {
    let Some(root) = container("in_place_a_command_sees_the_root_and_nothing_else_of_the_executor")
    else {
        return;
    };
    let script = "env; ls /proc/self/fd | wc -l; readlink /proc/self/fd/0; umask; \
                  echo written > /file; wc -c < /proc/$PPID/environ";
    let (outcome, output) = run_in_place(&root, script);
    assert_eq!(outcome.exit_code(), 0, "{output}");
    let lines: Vec<&str> = output.lines().collect();
    // A sandbox of ours mounts the host table, as every container has it.
    assert_eq!(lines[0], "in place: a container (`/etc/hosts` is mounted); asked for");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines[1..], ["SHLVL=1", path, "PWD=/", "4", "/dev/null", "0022", "0"]);
    assert_eq!(fs::read_to_string(root.path("file")).expect("read"), "written\n");
}

#[test]
fn in_place_everything_left_behind_is_dead() {
    let Some(root) = container("in_place_everything_left_behind_is_dead") else { return };
    let script = "sleep 1000 & \
                  (setsid sh -c 'sleep 2000 &' &) ; \
                  setsid sh -c \"trap '' TERM HUP; while :; do echo x >> /log; done\" & \
                  while ! test -s /log; do :; done; exit 3";
    let (outcome, output) = run_in_place(&root, script);
    assert_eq!(outcome.exit_code(), 3, "{output}");
    let killed = output.lines().filter(|line| line.starts_with("killed: ")).count();
    assert!(killed >= 3, "{output}");
    // The inner supervisor left nothing for the outer one to do.
    assert_eq!(outcome.stragglers, []);
}

#[test]
fn in_place_exit_codes_and_signals_come_through() {
    let Some(root) = container("in_place_exit_codes_and_signals_come_through") else { return };
    for (script, code) in [("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        assert_eq!(run_in_place(&root, script).0.exit_code(), code, "{script}");
    }
}

/// Runs a command as user 1000, whose subordinate ids are those in `ids`, in a mount namespace of
/// its own, so that the machine's files stay as they are. With `programs` there are no other
/// programs in `/usr/bin` than those of that directory.
fn run_as_user(ids: &str, directory: &Path, programs: Option<&Path>, command: &[&str]) -> Output {
    let file = directory.join("ids");
    fs::write(&file, ids).expect("write");
    let script = "\
        programs=$1; \
        shift; \
        test -z \"$programs\" || mount --bind \"$programs\" /usr/bin; \
        exec setpriv --reuid=1000 --regid=1000 --clear-groups \"$@\"";
    let script = format!("ids=$0; {GIVE_IDS}{script}");
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .arg(&file)
        .arg(programs.unwrap_or(Path::new("")))
        .args(command)
        .output()
        .expect("unshare runs")
}

/// A root that belongs to user 1000, and the two programs where that user can reach them.
fn users_root(test: &str) -> Option<(Busybox, PathBuf, PathBuf)> {
    let example = may_run(test).then(|| sandbox_run(test)).flatten()?;
    if !Path::new("/usr/bin/newuidmap").exists() {
        skip(test, Reason::Lacking("needs newuidmap (Debian's package uidmap)"));
        return None;
    }
    let root = Busybox::make(test)?;
    let programs = root.path("programs");
    fs::create_dir(&programs).expect("mkdir");
    let zuwai = programs.join("zuwai");
    let run = programs.join("run");
    fs::copy(env!("CARGO_BIN_EXE_zuwai"), &zuwai).expect("copy");
    fs::copy(example, &run).expect("copy");
    let mut pending = vec![root.path("")];
    while let Some(path) = pending.pop() {
        std::os::unix::fs::lchown(&path, Some(1000), Some(1000)).expect("chown");
        if fs::symlink_metadata(&path).expect("stat").is_dir() {
            pending.extend(
                fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").path()),
            );
        }
    }
    Some((root, zuwai, run))
}

#[test]
fn an_ordinary_user_is_root_of_many_in_a_namespace() {
    let Some((root, zuwai, run)) = users_root("an_ordinary_user_is_root_of_many_in_a_namespace")
    else {
        return;
    };
    let ids = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(ids.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let script = "id -u; id -g; echo x > /theirs && /bin/busybox chown 33:44 /theirs; \
                  echo x > /dev/null && ls -l /dev/null | head -c 1; ls /proc/1/root; \
                  /bin/busybox hostname; touch /sys/x 2>/dev/null || echo read-only";
    let place = root.path("");
    let words = [run.to_str(), zuwai.to_str(), Some("best"), place.to_str()];
    let words = words.map(|word| word.expect("text"));
    let arguments: Vec<&str> = words.into_iter().chain(["--", "/bin/sh", "-c", script]).collect();
    let output = run_as_user("1000:500000:65536\n", ids.path(), None, &arguments);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "user namespace: started as user 1000\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "0\n0\ncbin\ndev\netc\nproc\nprograms\nsys\ntheirs\nbuildkitsandbox\nread-only\n"
    );
    assert_eq!(output.status.code(), Some(0));
    let metadata = fs::metadata(root.path("theirs")).expect("stat");
    assert_eq!((metadata.uid(), metadata.gid()), (500_032, 500_043));
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    let Some((root, zuwai, run)) = users_root("an_ordinary_user_is_told_what_is_missing") else {
        return;
    };
    let ids = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(ids.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let place = root.path("");
    let words = [run.to_str(), zuwai.to_str(), Some("best"), place.to_str()];
    let words = words.map(|word| word.expect("text"));
    let arguments: Vec<&str> = words.into_iter().chain(["--", "/bin/true"]).collect();
    let output = run_as_user("nobody-at-all:1:1\n", ids.path(), None, &arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut lines = said.lines();
    let first = lines.next().expect("an error");
    assert!(first.starts_with("cannot run commands here: user `"), "{said}");
    assert!(first.ends_with("has no subordinate ids in `/etc/subuid`"), "{said}");
    assert!(
        lines.next().expect("a hint").contains("usermod --add-subuids 100000-165535"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));

    // `/usr/bin` without the programs that map ids.
    let programs = ids.path().join("programs");
    fs::create_dir(&programs).expect("mkdir");
    fs::copy("/usr/bin/setpriv", programs.join("setpriv")).expect("copy");
    let output =
        run_as_user("1000:500000:65536\n", ids.path(), Some(programs.as_path()), &arguments);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "cannot run commands here: `newuidmap` is not installed\n\
         hint: install it (Debian and Ubuntu: `sudo apt-get install uidmap`)\n"
    );
    assert_eq!(output.status.code(), Some(1));
}
