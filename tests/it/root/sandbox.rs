//! A command in namespaces: what it sees, what it leaves behind, how it ends.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::mount::MountFlags;
use snapshot::RootfsPath;
use zuwai::interrupt::{Interrupt, Interrupted};
use zuwai::report::fault::Fault;
use zuwai::sandbox::{
    Exit, PipeFile, RunOutcome, RunSpec, SandboxError, StartFailure, StepNetwork,
};

use super::{Busybox, may_run, options, sandbox};

fn spec(argv: &[&str]) -> RunSpec {
    RunSpec {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec!["PATH=/bin:/usr/bin".to_owned()],
        working_dir: RootfsPath::root(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        pipes: Vec::new(),
        mounts: Vec::new(),
        network: StepNetwork::Shared,
    }
}

fn shell(script: &str) -> RunSpec {
    spec(&["/bin/sh", "-c", script])
}

fn try_run(root: &Busybox, spec: &RunSpec) -> Result<(RunOutcome, String), SandboxError> {
    let mut output = Vec::new();
    let outcome = sandbox().run(&root.rootfs(), spec, &mut |line| {
        output.extend_from_slice(line.bytes);
    })?;
    Ok((outcome, String::from_utf8_lossy(&output).into_owned()))
}

/// Runs `spec`, which must end well, and returns what it wrote.
fn output(root: &Busybox, spec: &RunSpec) -> String {
    let (outcome, output) = try_run(root, spec).expect("the command starts");
    assert_eq!(outcome.exit, Exit::Exited(0), "{output}");
    output
}

/// Names every entry of the root with everything a layer would keep of it.
fn listing(root: &Busybox) -> Vec<String> {
    fn walk(directory: &std::path::Path, found: &mut Vec<String>) {
        let metadata = fs::symlink_metadata(directory).expect("stat");
        found.push(format!(
            "{} {:o} {}:{} {} {}.{}",
            directory.display(),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            if metadata.is_dir() { 0 } else { metadata.size() },
            metadata.mtime(),
            metadata.mtime_nsec(),
        ));
        if metadata.is_dir() {
            let mut names: Vec<_> = fs::read_dir(directory)
                .expect("list")
                .map(|entry| entry.expect("entry").path())
                .collect();
            names.sort();
            for name in names {
                walk(&name, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root.path(""), &mut found);
    found
}

macro_rules! root {
    ($test:expr) => {
        match may_run($test).then(|| Busybox::make($test)).flatten() {
            Some(root) => root,
            None => return,
        }
    };
}

#[test]
fn a_command_gets_its_environment_and_nothing_of_ours() {
    let root = root!("a_command_gets_its_environment_and_nothing_of_ours");
    let mut run = spec(&["env"]);
    run.env.push("A=b c".to_owned());
    assert_eq!(output(&root, &run), "PATH=/bin:/usr/bin\nA=b c\n");
    assert_eq!(output(&root, &shell("cat /proc/1/environ | wc -c")), "0\n");
}

#[test]
fn a_command_has_three_descriptors_and_an_empty_input() {
    let root = root!("a_command_has_three_descriptors_and_an_empty_input");
    // The shell's own listing opens one more, the directory.
    assert_eq!(output(&root, &spec(&["/bin/ls", "/proc/self/fd"])), "0\n1\n2\n3\n");
    assert_eq!(output(&root, &shell("wc -c; readlink /proc/self/fd/0")), "0\n/dev/null\n");
}

#[test]
fn a_command_sees_its_own_root_and_kernel_file_systems() {
    let root = root!("a_command_sees_its_own_root_and_kernel_file_systems");
    assert_eq!(output(&root, &shell("ls /")), "bin\ndev\netc\nproc\nsys\n");
    assert_eq!(
        output(&root, &shell("ls /dev")),
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"
    );
    assert_eq!(output(&root, &shell("head -c 3 /dev/zero | od -An -tx1")), " 00 00 00\n");
    assert_eq!(output(&root, &shell("echo x > /dev/shm/x && cat /dev/shm/x")), "x\n");
    assert_eq!(
        output(&root, &shell("test -d /sys/class && ! touch /sys/x 2>/dev/null; echo $?")),
        "0\n"
    );
    assert_eq!(
        output(&root, &shell("echo 1 > /proc/sys/kernel/panic && echo written || echo refused"))
            .lines()
            .last(),
        Some("refused")
    );
    assert_eq!(output(&root, &shell("cat /proc/1/comm; echo $$")), "zuwai-init\n2\n");
    assert_eq!(output(&root, &shell("hostname")), "buildkitsandbox\n");
    // Nothing of the machine's mounts is left.
    let table = output(&root, &shell("cat /proc/self/mountinfo"));
    for point in table.lines().filter_map(|line| line.split(' ').nth(4)) {
        let top = point.split('/').nth(1).expect("an absolute path");
        assert!(["", "proc", "dev", "sys", "etc"].contains(&top), "{point}");
    }
}

#[test]
fn resolver_and_hosts_are_the_machines_and_leave_no_trace() {
    let root = root!("resolver_and_hosts_are_the_machines_and_leave_no_trace");
    let before = listing(&root);
    assert_eq!(
        output(&root, &shell("cat /etc/resolv.conf /etc/hosts; echo changed > /etc/hosts")),
        "nameserver 192.0.2.53\n192.0.2.1 machine\n"
    );
    assert_eq!(listing(&root), before);
}

#[test]
fn resolver_and_hosts_of_the_image_stay_as_they_are() {
    let root = root!("resolver_and_hosts_of_the_image_stay_as_they_are");
    fs::create_dir_all(root.path("etc")).expect("mkdir");
    fs::write(root.path("etc/hosts"), "of the image\n").expect("write");
    // As systemd-resolved has it: a link to a file that does not exist in an image.
    symlink("../run/systemd/resolve/stub-resolv.conf", root.path("etc/resolv.conf"))
        .expect("symlink");
    let before = listing(&root);
    assert_eq!(
        output(&root, &shell("cat /etc/resolv.conf /etc/hosts")),
        "nameserver 192.0.2.53\n192.0.2.1 machine\n"
    );
    assert_eq!(listing(&root), before);
}

#[test]
fn what_a_command_makes_of_a_mount_point_is_kept() {
    let root = root!("what_a_command_makes_of_a_mount_point_is_kept");
    output(&root, &shell("echo kept > /etc/passwd"));
    assert_eq!(fs::read_to_string(root.path("etc/passwd")).expect("kept"), "kept\n");
    let mut names: Vec<_> = fs::read_dir(root.path("etc"))
        .expect("list")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["passwd"]);
}

#[test]
fn a_mount_point_of_the_wrong_kind_is_an_error() {
    let root = root!("a_mount_point_of_the_wrong_kind_is_an_error");
    symlink("/etc", root.path("proc")).expect("symlink");
    let error = try_run(&root, &shell("true")).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "`/proc` in the image is a symbolic link, where RUN needs a directory"
    );
}

#[test]
fn user_groups_umask_and_directory_are_set() {
    let root = root!("user_groups_umask_and_directory_are_set");
    fs::create_dir(root.path("home")).expect("mkdir");
    fs::create_dir(root.path("work")).expect("mkdir");
    symlink("/work", root.path("home/link")).expect("symlink");
    let mut run =
        shell("id -u; id -g; id -G; umask; pwd; echo through > /dev/stdout; : > /dev/stderr");
    run.uid = 1234;
    run.gid = 5;
    run.groups = vec![7, 8];
    run.working_dir = RootfsPath::new("home/link").expect("a path");
    assert_eq!(output(&root, &run), "1234\n5\n5 7 8\n0022\n/work\nthrough\n");
}

#[test]
fn a_working_directory_cannot_lead_out() {
    let root = root!("a_working_directory_cannot_lead_out");
    for (path, reason) in [
        ("proc/self/fd/1", "Too many levels of symbolic links (os error 40)"),
        ("proc/1/cwd", "Too many levels of symbolic links (os error 40)"),
        ("missing", "No such file or directory (os error 2)"),
        ("bin/busybox", "Not a directory (os error 20)"),
    ] {
        let mut run = shell("pwd");
        run.working_dir = RootfsPath::new(path).expect("a path");
        let error = try_run(&root, &run).expect_err(path);
        assert_eq!(
            error.to_string(),
            format!(
                "cannot start `/bin/sh`: cannot enter the working directory `/{path}`: {reason}"
            )
        );
    }
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let root = root!("exit_codes_and_signals_are_told_apart");
    for (script, exit, code) in [
        ("exit 0", Exit::Exited(0), 0),
        ("exit 42", Exit::Exited(42), 42),
        ("kill -9 $$", Exit::Signaled(9), 137),
        ("kill -TERM $$", Exit::Signaled(15), 143),
        ("no-such-command 2>/dev/null", Exit::Exited(127), 127),
    ] {
        let (outcome, _) = try_run(&root, &shell(script)).expect(script);
        let expected = RunOutcome { exit, stragglers: Vec::new(), out_of_memory: false };
        assert_eq!(outcome, expected, "{script}");
        assert_eq!(outcome.exit_code(), code, "{script}");
    }
    // Not ignored, as Rust's start-up leaves it.
    let (outcome, _) = try_run(&root, &shell("kill -PIPE $$")).expect("starts");
    assert_eq!(outcome.exit, Exit::Signaled(13));
}

#[test]
fn a_command_that_cannot_start_says_why() {
    let root = root!("a_command_that_cannot_start_says_why");
    let program = |name: &str, content: &[u8], mode: u32| {
        fs::write(root.path(name), content).expect("write");
        fs::set_permissions(root.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    };
    let mut foreign = b"\x7fELF\x02\x01\x01".to_vec();
    foreign.resize(64, 0);
    foreign[16] = 2;
    foreign[18] = 22;
    foreign[4] = 2;
    program("foreign", &foreign, 0o755);
    program("script", b"#!/bin/bash\necho\n", 0o755);
    program("text", b"echo\n", 0o755);
    program("plain", b"#!/bin/sh\necho\n", 0o644);
    program("bin/plain", b"#!/bin/sh\necho\n", 0o644);
    fs::create_dir(root.path("bin/folder")).expect("mkdir");
    let path = |path: &str| path.to_owned();
    for (argv, failure, code) in [
        (vec!["nothing"], StartFailure::NotFound { path: Some(path("/bin:/usr/bin")) }, 127),
        (vec!["folder"], StartFailure::NotFound { path: Some(path("/bin:/usr/bin")) }, 127),
        (vec!["/nothing"], StartFailure::NotFound { path: None }, 127),
        (vec!["/plain"], StartFailure::Denied { path: path("/plain") }, 126),
        (vec!["plain"], StartFailure::Denied { path: path("/bin/plain") }, 126),
        (vec!["/text"], StartFailure::NotExecutable { path: path("/text") }, 126),
        (
            vec!["/script"],
            StartFailure::MissingInterpreter {
                path: path("/script"),
                interpreter: path("/bin/bash"),
            },
            127,
        ),
        (
            vec!["/foreign"],
            StartFailure::ForeignArchitecture { path: path("/foreign"), machine: path("s390x") },
            126,
        ),
    ] {
        let error = try_run(&root, &spec(&argv)).expect_err(argv[0]);
        assert_eq!(error.exit_code(), code, "{argv:?}");
        match error {
            SandboxError::Start { program, failure: found } => {
                assert_eq!((program.as_str(), found), (argv[0], failure));
            }
            other => panic!("{argv:?}: {other}"),
        }
    }
    assert!(matches!(try_run(&root, &spec(&[])), Err(SandboxError::EmptyCommand)));
}

#[test]
fn everything_a_command_leaves_behind_is_dead_and_named() {
    let root = root!("everything_a_command_leaves_behind_is_dead_and_named");
    // One in the shell's group, one in a session of its own with an ignorant parent, one that
    // shrugs at SIGTERM and goes on writing.
    let script = "sleep 1000 & \
                  (setsid sh -c 'sleep 2000 &' &) ; \
                  setsid sh -c \"trap '' TERM HUP; while :; do echo x >> /log; done\" & \
                  while ! test -s /log; do :; done; exit 3";
    let start = Instant::now();
    let (outcome, _) = try_run(&root, &shell(script)).expect("starts");
    assert!(start.elapsed() < Duration::from_secs(500), "nothing was waited for");
    assert_eq!(outcome.exit, Exit::Exited(3));
    // Helpers of the shell may be among them; what they are called is busybox's business.
    assert!(outcome.stragglers.len() >= 3, "{:?}", outcome.stragglers);
    let size = fs::metadata(root.path("log")).expect("log").len();
    assert_eq!(fs::metadata(root.path("log")).expect("log").len(), size);
}

#[test]
fn a_step_dies_with_its_caller() {
    let root = root!("a_step_dies_with_its_caller");
    let fifo = root.path("alive");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)
        .expect("mkfifo");
    // Every process of the step holds the pipe open for writing.
    let script = "exec 3<>/alive; (setsid sleep 1000 &) ; echo started; sleep 1000";
    let step = std::panic::AssertUnwindSafe(|| {
        sandbox()
            .run(&root.rootfs(), &shell(script), &mut |_| std::panic::resume_unwind(Box::new(())))
    });
    assert!(std::panic::catch_unwind(step).is_err());
    assert!(is_unread(&fifo));
}

#[test]
fn a_signal_that_ends_the_build_reaches_the_command_before_it_is_killed() {
    let root = root!("a_signal_that_ends_the_build_reaches_the_command_before_it_is_killed");
    let fifo = root.path("alive");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)
        .expect("mkfifo");
    let interrupted = |script: &str, grace| {
        let interrupt = Interrupt::new(|_| ()).expect("a descriptor is free").with_grace(grace);
        let mut output = Vec::new();
        let outcome =
            sandbox().heeding(&interrupt).run(&root.rootfs(), &shell(script), &mut |line| {
                output.extend_from_slice(line.bytes);
                interrupt.raise(Signal::SIGTERM);
            });
        (outcome, String::from_utf8_lossy(&output).into_owned())
    };
    // Without a child, which the signal could come before.
    let script = "trap 'echo ended; exit 5' TERM; echo ready; while :; do :; done";
    let (outcome, output) = interrupted(script, Duration::from_secs(500));
    let outcome = outcome.expect("it ended by itself");
    assert_eq!((outcome.exit, output.as_str()), (Exit::Exited(5), "ready\nended\n"));
    // What does not heed it is killed, with all that the step has started.
    let script = "trap '' TERM; exec 3<>/alive; (setsid sleep 1000 &); echo ready; sleep 1000";
    let (outcome, output) = interrupted(script, Duration::ZERO);
    let error = outcome.expect_err("it was killed");
    assert!(matches!(error, SandboxError::Interrupted(Interrupted(Signal::SIGTERM))), "{error}");
    assert_eq!((output.as_str(), error.exit_code()), ("ready\n", 143));
    assert!(is_unread(&fifo));
}

/// Tells whether nobody has a named pipe open for reading; then it cannot be opened for writing.
fn is_unread(fifo: &std::path::Path) -> bool {
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    let opened = rustix::fs::open(fifo, flags, rustix::fs::Mode::empty());
    opened.err() == Some(rustix::io::Errno::NXIO)
}

#[test]
fn output_comes_in_order_and_unchanged() {
    let root = root!("output_comes_in_order_and_unchanged");
    assert_eq!(
        output(&root, &shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done; echo -n end")),
        "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nend"
    );
    let mut bytes = Vec::new();
    let script = "dd if=/dev/zero bs=65536 count=300 2>/dev/null; echo; printf '\\377\\001'";
    let outcome = sandbox()
        .run(&root.rootfs(), &shell(script), &mut |line| bytes.extend_from_slice(line.bytes))
        .expect("starts");
    assert_eq!(outcome.exit, Exit::Exited(0));
    let mut expected = vec![0; 65536 * 300];
    expected.extend_from_slice(b"\n\xff\x01");
    assert!(bytes == expected, "{} bytes", bytes.len());
}

#[test]
fn heredoc_files_can_be_run_and_not_changed() {
    let root = root!("heredoc_files_can_be_run_and_not_changed");
    let before = listing(&root);
    let mut run = shell("/dev/pipes/EOF; echo x >> /dev/pipes/EOF");
    run.uid = 1234;
    run.gid = 1234;
    run.pipes =
        vec![PipeFile { name: "EOF".to_owned(), content: b"#!/bin/cat\nthe body\n".to_vec() }];
    let (outcome, text) = try_run(&root, &run).expect("starts");
    assert_eq!(outcome.exit, Exit::Exited(1));
    assert!(text.starts_with("#!/bin/cat\nthe body\n"), "{text}");
    run.uid = 0;
    run.argv[2] = "echo x >> /dev/pipes/EOF".to_owned();
    let (outcome, text) = try_run(&root, &run).expect("starts");
    assert_eq!(outcome.exit, Exit::Exited(1));
    assert!(text.contains("Read-only file system"), "{text}");
    assert_eq!(listing(&root), before);

    run.pipes[0].name = "../x".to_owned();
    let error = try_run(&root, &run).expect_err("refused");
    assert_eq!(error.to_string(), "`../x` cannot be the name of a file in `/dev/pipes`");
}

#[test]
fn a_step_runs_where_its_directory_forbids_set_user_ids_and_devices() {
    let root = root!("a_step_runs_where_its_directory_forbids_set_user_ids_and_devices");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let directory = Mounted(tempfile::tempdir().expect("a temporary directory"));
    let place = directory.0.path();
    rustix::mount::mount("none", place, "tmpfs", flags, Some(c"mode=755")).expect("mount");
    fs::create_dir(place.join("bin")).expect("mkdir");
    for name in ["cat", "sh"] {
        fs::copy(root.path("bin/busybox"), place.join("bin").join(name)).expect("copy");
    }
    let run = shell("cat /proc/self/mountinfo");
    let mut text = Vec::new();
    let rootfs = snapshot::Rootfs::open(place).expect("open the root");
    let outcome = sandbox()
        .run(&rootfs, &run, &mut |line| text.extend_from_slice(line.bytes))
        .expect("programs may be executed");
    assert_eq!(outcome.exit, Exit::Exited(0));
    let table = String::from_utf8(text).expect("text");
    let flags = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields[4] == "/")
        .map(|fields| fields[5].to_owned());
    assert_eq!(flags.as_deref(), Some("rw,relatime"));
}

/// A directory with a mount on it.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_supervisor_that_is_none_is_an_error() {
    if !may_run("a_supervisor_that_is_none_is_an_error") {
        return;
    }
    let choose = |supervisor: &str| {
        zuwai::sandbox::Sandbox::choose(options(supervisor)).expect_err("no supervisor").to_string()
    };
    assert_eq!(choose("/nonexistent"), "cannot start the supervisor `/nonexistent`");
    assert_eq!(
        choose("/bin/false"),
        "the supervisor of this step ended without an answer (exit status: 1)"
    );
}
