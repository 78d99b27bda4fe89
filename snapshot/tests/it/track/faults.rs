//! What a tracker meets where not all goes well: each ends in the right layer, or in an error that
//! says what is wrong, and the stats tell of it.
//!
//! Limits and refusals are the kernel's own: a test that needs them runs itself again in a user
//! namespace with a limit, or under a seccomp filter. What needs the tracker's insides is among the
//! crate's own tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags};
use snapshot::track::{ChangeTracker, TrackError, TrackerKind, TrackerLimits, TrackerOptions};
use snapshot::{
    Digest, Index, Mode, Reason, Rootfs, Scope, SnapshotOptions, SnapshotStats, Snapshotter,
};
use tempfile::TempDir;

use super::ground::FileSystem;
use super::random::Mix;
use super::steps;
use super::table;
use super::trial::{Trial, Way};
use crate::fixture::{named, path};
use crate::skip::skip;

const LIMIT: &str = "/proc/sys/user/max_inotify_watches";

/// A root of some files, and one who reads everything beside the tracker.
struct Watched {
    directory: TempDir,
    tracked: Snapshotter,
    truth: Snapshotter,
}

impl Watched {
    fn start(kind: TrackerKind, file_count: usize, watch_count: Option<u64>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for number in 0..file_count {
            std::fs::write(directory.path().join(format!("f{number}")), "content").expect("a file");
        }
        let rootfs = Rootfs::open(directory.path()).expect("it is there");
        let snapshotter = |mode| {
            let options = SnapshotOptions { mode, ..SnapshotOptions::default() };
            let mut snapshotter = Snapshotter::new(rootfs.clone(), Index::new(), options);
            snapshotter.take(Scope::Everything(Reason::Mode)).expect("the first snapshot");
            snapshotter
        };
        let (mut tracked, truth) = (snapshotter(Mode::Redo), snapshotter(Mode::Full));
        let limits = TrackerLimits { watch_count, memory_bytes: None };
        let options = TrackerOptions { limits, ..TrackerOptions::default() };
        tracked.track_with(ChangeTracker::start(kind, &rootfs, options).expect("it starts"));
        Self { directory, tracked, truth }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str) {
        std::fs::write(self.at(name), "written to").expect("a file");
    }

    /// Does a step and compares what was found with the truth, which is not nothing.
    fn step(&mut self, act: impl FnOnce(&Self)) -> SnapshotStats {
        self.tracked.begin();
        act(self);
        let snapshot = self.tracked.take_step().expect("it can be looked at");
        let truth = self.truth.take(Scope::Everything(Reason::Mode)).expect("it can be read");
        assert_eq!(named(&snapshot.changeset), named(&truth.changeset));
        assert!(!truth.changeset.is_empty());
        // As whoever writes the layer does.
        for name in named(&truth.changeset).into_keys() {
            if let Ok(content) = std::fs::read(self.at(&name)) {
                self.tracked.record_content(&path(&name), &Digest::of(&content));
                self.truth.record_content(&path(&name), &Digest::of(&content));
            }
        }
        snapshot.stats
    }

    fn failure(&self) -> Option<String> {
        self.tracked.tracker().expect("one was given").failure().map(ToString::to_string)
    }
}

/// Runs the test `name` of this program again, after `launcher`; `false` where that cannot be done.
/// It tells by `word`, a filter that fits no test, that it is not to do so again.
fn run_again(launcher: &[&str], name: &str, word: &str) -> bool {
    let program = std::env::current_exe().expect("a program has a path");
    let tried = Command::new(launcher[0]).args(&launcher[1..]).arg("true").output();
    match tried {
        Ok(output) if output.status.success() => {}
        refused => {
            skip(name, format_args!("{refused:?}"));
            return false;
        }
    }
    let output = Command::new(launcher[0])
        .args(&launcher[1..])
        .arg(program)
        .args(["--exact", name, word, "--nocapture"])
        .output()
        .expect("it could be started before");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let said = said.concat();
    assert!(output.status.success() && said.contains("1 passed"), "{name} {word}: {said}");
    true
}

fn is_again(word: &str) -> bool {
    std::env::args().any(|argument| argument == word)
}

/// Whether this process may have only so many watches; where not, runs the test `name` so.
fn has_limit(name: &str, limit: &str) -> bool {
    let word = "in-a-user-namespace";
    if is_again(word) {
        return true;
    }
    let script = format!("echo {limit} > {LIMIT} && exec \"$@\"");
    run_again(&["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"], name, word);
    false
}

#[test]
fn a_limit_of_100_watches_is_no_loss() {
    if !has_limit("track::faults::a_limit_of_100_watches_is_no_loss", "100") {
        return;
    }
    let given_up = Reason::WatchLimit;
    // What is an eighth of 100, and what an ample share would be, if the kernel knew of it.
    for (watch_count, expected) in [
        (None, "may be (an eighth of fs.inotify.max_user_watches = 100)"),
        (Some(1000), "other users of the node would be left without inotify watches"),
    ] {
        let mut watched = Watched::start(TrackerKind::Inotify, 60, watch_count);
        let stats = watched.step(|root| root.write("f7"));
        assert_eq!(stats.everything_because, Some(given_up));
        let failure = watched.failure().expect("it was given up");
        assert!(failure.contains(expected), "{failure}");
        // All of them are free again, but the one of a tracker's own that is gone too.
        Neighbour::start().take(100).expect("nobody has any");
        let stats = watched.step(|root| root.write("f8"));
        assert_eq!(stats.everything_because, Some(given_up), "and it stays so");
    }
    // As many again are free here.
    let mut watched = Watched::start(TrackerKind::Inotify, 40, Some(1000));
    let stats = watched.step(|root| root.write("f7"));
    assert_eq!((stats.everything_because, watched.failure()), (None, None));
    let stats = watched.step(|root| (0..100).for_each(|number| root.write(&format!("g{number}"))));
    assert_eq!(stats.everything_because, None, "this step was recorded");
    let failure = watched.failure().expect("what came cannot be watched");
    assert_eq!(failure, "cannot watch an inode of the root file system");
    let stats = watched.step(|root| root.write("g50"));
    assert_eq!(stats.everything_because, Some(given_up));
    Neighbour::start().take(100).expect("nobody has any");
}

/// Another program of the same user: it takes watches, as it is told, and gives them back.
struct Neighbour {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

const NEIGHBOUR: &str = r#"
import ctypes, os, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
with tempfile.TemporaryDirectory() as directory:
    for line in sys.stdin:
        count, rounds = map(int, line.split())
        answer = "ok"
        for _ in range(rounds):
            queue = libc.inotify_init1(0)
            for number in range(count):
                path = os.fsencode(directory + "/%d" % number)
                if not os.path.exists(path):
                    os.close(os.open(path, os.O_CREAT))
                if libc.inotify_add_watch(queue, path, 2) == -1:
                    answer = "%d at %d" % (ctypes.get_errno(), number)
                    break
            os.close(queue)
        print(answer, flush=True)
"#;

impl Neighbour {
    fn start() -> Self {
        let mut child = Command::new("python3")
            .args(["-c", NEIGHBOUR])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed by hack/test.sh");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, answers }
    }

    /// Begins to take `count` watches, again and again.
    fn ask(&mut self, count: usize, rounds: usize) {
        let mut input = self.child.stdin.as_ref().expect("piped");
        writeln!(input, "{count} {rounds}").expect("it reads");
    }

    fn answer(&mut self) -> Result<(), String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        if answer == "ok\n" { Ok(()) } else { Err(answer) }
    }

    fn take(&mut self, count: usize) -> Result<(), String> {
        self.ask(count, 1);
        self.answer()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Two builds at once, of the largest trees that they may watch, and a third program that needs half
/// of all watches there are: more than half is never taken, not even while a reserve is looked for.
#[test]
fn a_neighbour_never_lacks_watches() {
    if !has_limit("track::faults::a_neighbour_never_lacks_watches", "1600") {
        return;
    }
    let mut neighbour = Neighbour::start();
    neighbour.take(1600).expect("all are free at first");
    neighbour.ask(800, 60);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..8 {
                    // With the root that makes an eighth, which is 200 …
                    let mut watched = Watched::start(TrackerKind::Inotify, 198, None);
                    let stats = watched.step(|root| root.write("f7"));
                    assert_eq!((stats.everything_because, watched.failure()), (None, None));
                    // … and with more than that, everything is given back.
                    watched
                        .step(|root| (0..9).for_each(|number| root.write(&format!("g{number}"))));
                    let stats = watched.step(|root| root.write("f8"));
                    assert_eq!(stats.everything_because, Some(Reason::WatchLimit));
                }
            });
        }
    });
    neighbour.answer().expect("it never lacked one");
}

/// How many events wait to be read is the kernel's to say, for everybody: only a machine of the test's
/// own (`hack/kernels.sh` starts one) has so small a queue.
#[test]
fn a_small_queue_is_no_loss() {
    let length = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let length: u64 = length.expect("it says").trim().parse().expect("a number");
    if length > 64 {
        // No script may change that here, so that it is no lack.
        return eprintln!("skipped a small event queue: here it holds {length} events");
    }
    let mut watched = Watched::start(TrackerKind::Inotify, 100, None);
    let mut overflow_count = 0;
    for _ in 0..20 {
        // More events than the queue holds, while whoever reads it naps.
        let stats = watched.step(|root| {
            (0..1000).for_each(|number| root.write(&format!("f{}", number % 100)));
        });
        match stats.everything_because {
            Some(Reason::QueueOverflow) => overflow_count += 1,
            other => assert_eq!(other, None),
        }
    }
    assert!(overflow_count > 0, "the queue never overflowed");
    let stats = watched.step(|root| root.write("f7"));
    assert_eq!((stats.everything_because, watched.failure()), (None, None));
    let mut trial = Trial::new(FileSystem::Here, Way::new(TrackerKind::Inotify));
    let trial = trial.as_mut().expect("inotify needs no privilege");
    let counts = steps::run(trial, 1, &Mix::default(), &mut |counts| counts.steps < 12);
    // Few steps do so much at once, and whether one overflows the queue is the scheduler's to say.
    counts.unwrap_or_else(|failure| panic!("{failure}"));
    trial.assert_not_given_up();
}

#[test]
fn a_mount_that_appears_is_everything() {
    for kind in [TrackerKind::Inotify, TrackerKind::Fanotify] {
        let way = Way::new(kind);
        if let Err(lacking) = Trial::new(FileSystem::Here, way) {
            skip(format_args!("{kind}, and a mount that appears"), lacking);
            continue;
        }
        let mut watched = Watched::start(kind, 9, None);
        watched.step(|root| {
            std::fs::create_dir(root.at("d")).expect("a directory");
            root.write("d/hidden");
        });
        let mut is_refused = false;
        let stats = watched.step(|root| {
            root.write("f2");
            let mounted =
                rustix::mount::mount("tmpfs", root.at("d"), "tmpfs", MountFlags::empty(), None);
            is_refused = mounted.is_err();
        });
        if is_refused {
            return skip("a mount that appears", "nothing can be mounted here");
        }
        let unmounted = rustix::mount::unmount(watched.at("d"), UnmountFlags::DETACH);
        unmounted.expect("it was mounted");
        assert_eq!(stats.everything_because, Some(Reason::MountsChanged), "{kind}");
        // Once only, and what was beneath is as it was.
        let stats = watched.step(|root| root.write("d/hidden"));
        assert_eq!((stats.everything_because, watched.failure()), (None, None), "{kind}");
    }
}

/// Answers system calls with errors, then becomes another program: `MODE PROGRAM ARGUMENT…`. `docker`
/// is what a container gets from Docker and containerd without further rights, `gvisor` where
/// there are no such calls at all, `watches` where only watches are refused.
const FILTER: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
EPERM, ENOSYS = 1, 38
NAME_TO_HANDLE_AT, INOTIFY_INIT = 303, 253
# syslog, mount, umount2, sethostname, setdomainname, quotactl, lookup_dcookie, unshare,
# perf_event_open, fanotify_init, open_by_handle_at, setns, bpf, io_uring_*, open_tree, move_mount,
# fsopen, fsconfig, fsmount, fspick, mount_setattr
DENIED = [103, 165, 166, 170, 171, 179, 212, 272, 298, 300, 304, 308, 321, 425, 426, 427, 428, 429,
          430, 431, 432, 433, 442]
FANOTIFY_INIT, INOTIFY_INIT1, INOTIFY_ADD_WATCH, CLONE, CLONE3 = 300, 294, 254, 56, 435
mode, program = sys.argv[1], sys.argv[2:]
errors = {"docker": {**{number: EPERM for number in DENIED}, CLONE3: ENOSYS},
          "gvisor": {FANOTIFY_INIT: ENOSYS, INOTIFY_INIT1: ENOSYS, INOTIFY_INIT: ENOSYS,
                     NAME_TO_HANDLE_AT: ENOSYS},
          "watches": {INOTIFY_ADD_WATCH: EPERM}}[mode]
code = [(0x20, 0, 0, 0)]
for number, error in errors.items():
    code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error)]
if mode == "docker":
    # clone with a flag for a new namespace.
    code += [(0x15, 0, 3, CLONE), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7E020000),
             (0x06, 0, 0, 0x00050000 | EPERM)]
code += [(0x06, 0, 0, 0x7FFF0000)]
rules = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
header = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(rules)))
if libc.prctl(22, 2, header, 0, 0) == -1:
    sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
if mode == "docker":
    kept = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw " \
           "sys_chroot mknod audit_write setfcap"
    kept = "-all," + ",".join("+" + name for name in kept.split())
    program = ["setpriv", "--bounding-set", kept, "--inh-caps", "-all", "--"] + program
os.execvp(program[0], program)
"#;

/// Whether this process is under that filter; where not, runs the test `name` so.
fn has_filter(name: &str, mode: &str) -> bool {
    if is_again(mode) {
        return true;
    }
    run_again(&["python3", "-c", FILTER, mode], name, mode);
    false
}

/// What Docker's rules refuse in `table`, for want of a capability or of the call.
const REFUSED_BY_DOCKER: [&str; 6] = [
    "write through a bind mount",
    "io_uring",
    "io_uring with a registered file",
    "io_uring, then SIGKILL",
    "io_uring, mapped write, then SIGKILL",
    "reflink",
];

#[test]
fn an_ordinary_pod_is_tracked() {
    if !has_filter("track::faults::an_ordinary_pod_is_tracked", "docker") {
        return;
    }
    let rootfs = Rootfs::open(std::path::Path::new("/")).expect("it is there");
    let error = ChangeTracker::start(TrackerKind::Fanotify, &rootfs, TrackerOptions::default());
    let error = error.expect_err("fanotify is refused");
    assert!(matches!(&error, TrackError::Queue(source) if source.raw_os_error() == Some(1)));
    assert_eq!(error.to_string(), "cannot make an event queue");
    let way = Way::new(TrackerKind::Inotify);
    let mut trial = Trial::new(FileSystem::Here, way).expect("inotify needs no privilege");
    let mut refused = table::run(&mut trial);
    refused.retain(|(name, _)| !REFUSED_BY_DOCKER.contains(name));
    assert_eq!(refused, []);
    let counts = steps::run(&mut trial, 1, &Mix::default(), &mut |counts| counts.steps < 12);
    let counts = counts.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(counts.fallbacks, 0);
    trial.assert_not_given_up();
}

#[test]
fn kernels_without_the_calls_are_walked() {
    if !has_filter("track::faults::kernels_without_the_calls_are_walked", "gvisor") {
        return;
    }
    let rootfs = Rootfs::open(std::path::Path::new("/")).expect("it is there");
    for kind in [TrackerKind::Fanotify, TrackerKind::Inotify] {
        let error = ChangeTracker::start(kind, &rootfs, TrackerOptions::default());
        let error = error.expect_err("there is no such call");
        assert!(matches!(&error, TrackError::Queue(source) if source.raw_os_error() == Some(38)));
        assert_eq!(error.reason(), Reason::NoTracker, "{kind}");
    }
    let mut watched = Watched::start(TrackerKind::Walk, 9, None);
    let stats = watched.step(|root| root.write("f1"));
    assert_eq!(stats.everything_because, Some(Reason::Mode));
}

#[test]
fn refused_watches_are_an_error() {
    if !has_filter("track::faults::refused_watches_are_an_error", "watches") {
        return;
    }
    let rootfs = Rootfs::open(std::path::Path::new("/")).expect("it is there");
    let error = ChangeTracker::start(TrackerKind::Inotify, &rootfs, TrackerOptions::default());
    let error = error.expect_err("not one watch is allowed");
    assert!(matches!(&error, TrackError::Queue(source) if source.raw_os_error() == Some(1)));
}
