//! Steps with a process that SIGKILL does not end: an error that names it, and no snapshot.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use snapshot::{Rootfs, RootfsPath};
use zuwai::report::fault::{Class, Fault};
use zuwai::sandbox::{
    Form, Overwrite, RunSpec, Sandbox, SandboxError, SandboxOptions, StepNetwork,
};

use super::{Busybox, may_run, options};
use crate::skip::{Reason, skip};

/// Long enough for what can be killed to go.
const GRACE: Duration = Duration::from_secs(2);

/// What the ones that stay are told by.
const FROZEN: &str = "87654321";
const NOT_OURS: &str = "87654322";

fn shell(script: &str, uid: u32) -> RunSpec {
    RunSpec {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin:/usr/bin".to_owned()],
        working_dir: RootfsPath::root(),
        uid,
        gid: uid,
        groups: Vec::new(),
        pipes: Vec::new(),
        mounts: Vec::new(),
        network: StepNetwork::Shared,
    }
}

/// Returns the processes that sleep so long.
fn sleepers(argument: &str) -> Vec<i32> {
    let is_sleeper = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words == format!("sleep\0{argument}\0").as_bytes()
    };
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(is_sleeper).collect()
}

fn assert_named(error: &SandboxError, pid: i32) {
    let expected = format!("1 process of this step cannot be ended: sleep ({pid})");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.class(), Class::Infrastructure);
    let hint = error.hint().expect("what to look for");
    assert!(hint.contains("frozen control group") && hint.contains("`KILL`"), "{hint}");
}

/// Processes that the kernel does not let run, not even to die, until this value goes.
struct Freezer(PathBuf);

impl Freezer {
    fn make() -> Option<Self> {
        // The second hierarchy of control groups lets the frozen be killed.
        let path = Path::new("/sys/fs/cgroup/freezer/zuwai-test-unkillable");
        match fs::create_dir(path) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Some(Self(path.to_owned()))
            }
            Err(_) => None,
        }
    }

    fn freeze(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
        fs::write(self.0.join("freezer.state"), "FROZEN").unwrap();
        while fs::read_to_string(self.0.join("freezer.state")).unwrap() != "FROZEN\n" {
            std::thread::yield_now();
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        fs::write(self.0.join("freezer.state"), "THAWED").unwrap();
        // It can be removed when those in it are gone, which they now can be.
        while fs::remove_dir(&self.0).is_err() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_frozen_process_is_an_error_that_names_it() {
    let test = "a_frozen_process_is_an_error_that_names_it";
    let Some(root) = may_run(test).then(|| Busybox::make(test)).flatten() else { return };
    let Some(freezer) = Freezer::make() else {
        let reason = "no control group of the first hierarchy can freeze processes here";
        return skip(test, Reason::OtherKind(reason));
    };
    let fifo = root.path("go");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // One that goes, one that stays, and the command ends when that is frozen.
    let script = format!("sleep 1000 & sleep {FROZEN} & echo ready; read line < /go");
    let options = SandboxOptions { grace: GRACE, ..options(env!("CARGO_BIN_EXE_zuwai")) };
    let sandbox = Sandbox::choose(options).expect("namespaces can be made by root");
    let mut frozen = None;
    let outcome = sandbox.run(&root.rootfs(), &shell(&script, 0), &mut |_| {
        // The shell's child may not have become another program yet.
        let pid = loop {
            if let [pid] = sleepers(FROZEN)[..] {
                break pid;
            }
            std::thread::yield_now();
        };
        freezer.freeze(pid);
        frozen = Some(pid);
        fs::OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"go\n").unwrap();
    });
    let error = outcome.expect_err("it is alive");
    assert_named(&error, frozen.expect("the command said that it was ready"));
    drop(freezer);
}

#[test]
fn in_place_a_process_that_may_not_be_killed_is_an_error_that_names_it() {
    let test = "in_place_a_process_that_may_not_be_killed_is_an_error_that_names_it";
    if !may_run(test) {
        return;
    }
    // As in a container that drops this capability, with a command of another user's.
    let directory = tempfile::tempdir().unwrap();
    let supervisor = directory.path().join("supervisor");
    let script = format!(
        "#!/bin/sh\nexec setpriv --bounding-set -kill --inh-caps -kill -- {} \"$@\"\n",
        env!("CARGO_BIN_EXE_zuwai")
    );
    fs::write(&supervisor, script).unwrap();
    fs::set_permissions(&supervisor, fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = Sandbox::choose(SandboxOptions {
        supervisor,
        form: Some(Form::InPlace),
        // Nothing is unpacked, and the command writes nothing.
        overwrite: Overwrite::Forced,
        grace: GRACE,
        ..options("")
    })
    .expect("in place can be had by force");
    let rootfs = Rootfs::open(Path::new("/")).unwrap();
    let script = format!("exec < /dev/null > /dev/null 2>&1; sleep {NOT_OURS} &");
    let error = sandbox.run(&rootfs, &shell(&script, 65_534), &mut |_| {});
    let left = sleepers(NOT_OURS);
    for pid in &left {
        let pid = rustix::process::Pid::from_raw(*pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    let error = error.expect_err("it is alive");
    let [pid] = left[..] else { panic!("{left:?}") };
    assert_named(&error, pid);
}
