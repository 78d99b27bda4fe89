//! Signals at random moments, told apart by how much a build has said: the next build in the same
//! container makes the same image, and leaves the same container.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use super::Pod;
use crate::witness::harness::{bases, run};

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

/// Signals that a build gets in one container.
const ROUNDS: u64 = 7;

/// All phases: two stages in `/`, one of them copied from; daemons, links, directories, deletions.
const DOCKERFILE: &str = "FROM base AS one\n\
    RUN mkdir -p /made/deep && echo one > /made/deep/file && ln /made/deep/file /made/link\n\
    RUN (sleep 1000 &) ; echo daemon >> /etc/passwd\n\
    FROM base\n\
    WORKDIR /workspace/app\n\
    COPY --from=one /made ./shown\n\
    RUN echo more >> shown/link && mv shown ../app/renamed && ls -lR .\n\
    WORKDIR /srv/app\n\
    COPY --from=one /made ./made\n\
    RUN rm -r /made 2> /dev/null; mv made moved && chmod 700 /tmp && echo two >> /etc/passwd\n\
    RUN for i in 1 2 3 4 5 6 7 8 9; do echo $i; echo $i > /srv/$i; done\n\
    RUN rm /srv/3 /bin/true && test \"$(cat moved/link)\" = one\n";

/// Pseudo-random numbers (xorshift) from a seed that a failure prints.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(u64::from(now.subsec_nanos()) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_build_that_is_ended_anywhere_leaves_nothing_to_the_next() {
    let test = "a_build_that_is_ended_anywhere_leaves_nothing_to_the_next";
    check(test, "/kaniko");
}

#[test]
fn nor_does_one_with_its_files_on_a_volume() {
    check("nor_does_one_with_its_files_on_a_volume", "/work");
}

/// Ends builds whose work directory is `work`.
fn check(test: &str, work: &str) {
    let Some(pod) = Pod::new(test) else { return };
    let mut pod = pod.option("--empty-dir", "/workspace").option("--empty-dir", "/work");
    pod.write("context/Dockerfile", DOCKERFILE);
    pod.write("other/Dockerfile", "FROM base\nRUN ls -R / > /dev/null; ! test -e /srv/1\n");
    let mut random = Random::seeded();
    let seed = random.0;
    // Moments in thousandths of what a whole build says.
    let mut rounds = String::new();
    for _ in 0..ROUNDS {
        let signal = ["TERM", "INT", "KILL"][usize::try_from(random.below(3)).unwrap()];
        write!(rounds, "{signal}:{} ", random.below(1000)).unwrap();
    }
    let said = pod.script(&format!(
        "talk=--verbosity=trace\n\
         export KANIKO_DIR={work}\n\
         list > /shared/before\n\
         (build context {BASE} $talk --cleanup > /shared/whole 2>&1)\n\
         lines=$($b wc -l < /shared/whole)\n\
         $b mkfifo /shared/said\n\
         number=0\n\
         for round in {rounds}; do\n\
         number=$((number + 1))\n\
         at=$((lines * ${{round#*:}} / 1000 + 1))\n\
         (build context {BASE} $talk > /shared/said 2>&1) & build=$!\n\
         count=0\n\
         while read -r line; do\n\
         count=$((count + 1))\n\
         [ $count != $at ] || kill -${{round%:*}} $build\n\
         done < /shared/said\n\
         wait $build && code=0 || code=$?\n\
         echo \"$round at line $at of $count: $code\"\n\
         (build other {BASE} > /shared/log 2>&1) || {{ $b cat /shared/log; exit 1; }}\n\
         (build context {BASE} --cleanup --digest-file=/shared/out/digest-$number \
            > /shared/log 2>&1) || {{ $b cat /shared/log; exit 1; }}\n\
         list > /shared/after-$number\n\
         $b find /workspace > /shared/volume-$number\n\
         $b ls -A {work}/builds > /shared/work-$number\n\
         done\n"
    ));
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    let before = read("before");
    for number in 1..=ROUNDS {
        let digest = read(&format!("out/digest-{number}"));
        assert_eq!(digest, expected, "seed {seed}, round {number}\n{said}");
        let after = read(&format!("after-{number}"));
        assert_eq!(after, before, "seed {seed}, round {number}\n{said}");
        let volume = read(&format!("volume-{number}"));
        assert_eq!(volume, "/workspace\n", "seed {seed}, round {number}\n{said}");
        assert_eq!(read(&format!("work-{number}")), "", "seed {seed}, round {number}\n{said}");
    }
}

/// Runs a build as process 1 of a container, and sends it a signal as a kubelet does when its command has
/// begun.
fn end_process_1(pod: &mut Pod, signal: &str) -> Output {
    let (ready, state) = (pod.path("ready"), pod.path("pod/state"));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            pod.run(&[
                "/kaniko/executor",
                "--log-format=text",
                "--context=/shared/context",
                "--no-push",
                "--destination=image:latest",
                "--oci-layout-path=/shared/out/never",
                BASE,
            ])
        });
        while !ready.exists() && !running.is_finished() {
            std::thread::yield_now();
        }
        let runc = |words: &[&str]| {
            let output = run(Command::new("runc").arg("--root").arg(&state).args(words));
            String::from_utf8(output.stdout).unwrap()
        };
        let name = runc(&["list", "--quiet"]);
        runc(&["kill", name.trim(), signal]);
        running.join().unwrap()
    })
}

#[test]
fn process_1_of_a_container_ends_as_it_is_told() {
    let test = "process_1_of_a_container_ends_as_it_is_told";
    // A command that heeds the signal, and two that do not.
    for (before, signal, code, name) in [
        ("", "TERM", 143, "SIGTERM"),
        ("trap '' TERM; setsid sleep 1000 & ", "TERM", 143, "SIGTERM"),
        ("trap '' INT TERM; ", "INT", 130, "SIGINT"),
    ] {
        let Some(mut pod) = Pod::new(test) else { return };
        let command = format!("{before}echo > /shared/ready; sleep 1000; sleep 1000");
        pod.write("context/Dockerfile", &format!("FROM base\nRUN {command}\n"));
        let output = end_process_1(&mut pod, signal);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{command}: {said}");
        let error = format!("error: the build was ended by {name}\n");
        assert!(said.contains(&error), "{command}: {said}");
        assert!(!pod.path("out/never").exists(), "{command}");
    }
}
