//! Commands that want more memory, or more processes, than the container may have.

use std::fs;

use super::Pod;
use crate::witness::harness::bases;

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

#[test]
fn a_command_that_the_kernel_kills_for_memory_is_told_so() {
    let test = "a_command_that_the_kernel_kills_for_memory_is_told_so";
    let Some(pod) = Pod::new(test) else { return };
    pod.write(
        "large/Dockerfile",
        "FROM base\nRUN awk 'BEGIN { s = \"x\"; while (1) s = s s }' && touch /done\n",
    );
    pod.write("killed/Dockerfile", "FROM base\nRUN sh -c 'kill -9 $$'\n");
    pod.write("small/Dockerfile", "FROM base\nRUN echo small > /small\n");
    let mut pod = pod.option("--memory", "268435456");
    let said = pod.script(&format!(
        "(build large {BASE} 2>&1) && exit 1\n\
         echo now killed by somebody else\n\
         (build killed {BASE} 2>&1) && exit 1\n\
         echo now something small\n\
         (build small {BASE} --cleanup 2>&1)\n"
    ));
    let (large, rest) = said.split_once("now killed by somebody else\n").unwrap();
    let (killed, _) = rest.split_once("now something small\n").unwrap();
    let hint = "hint: the kernel killed it for want of memory: raise the memory limit";
    assert!(large.contains("ended with exit code 137") && large.contains(hint), "{large}");
    assert!(killed.contains("ended with exit code 137") && !killed.contains(hint), "{killed}");
    assert!(!fs::exists(pod.path("out/large")).unwrap());
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("small"), &[("base", &layout)]);
    assert_eq!(pod.digest("small"), expected);
}

#[test]
fn commands_that_use_up_the_containers_processes_leave_none_to_the_next() {
    let test = "commands_that_use_up_the_containers_processes_leave_none_to_the_next";
    let Some(pod) = Pod::new(test) else { return };
    let start = "i=0; while [ $i -lt 500 ]; do setsid sleep 1000 & i=$((i+1)); done";
    // The shell gives up at the first process that it cannot have.
    pod.write("many/Dockerfile", &format!("FROM base\nRUN {start}; echo never > /never\n"));
    // One that goes on, and whose processes come again when they are killed.
    pod.write(
        "heedless/Dockerfile",
        "FROM base\n\
         RUN (while true; do (while true; do (sleep 1000 &); done); done) > /dev/null 2>&1 & \
         sh -c 'while (sh -c : ); do :; done' 2> /dev/null; echo full > /full\n\
         RUN test -e /full && echo next > /next\n",
    );
    let mut pod = pod.option("--pids", "120");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build many {BASE} 2>&1) && exit 1\n\
         $b ps -o comm | $b grep -c sleep || true\n\
         echo now one that goes on\n\
         (build heedless {BASE} --cleanup 2>&1)\n\
         $b ps -o comm | $b grep -c sleep || true\n\
         list > /shared/after\n"
    ));
    let (many, heedless) = said.split_once("now one that goes on\n").unwrap();
    assert!(many.contains("can't fork: Resource temporarily unavailable"), "{many}");
    assert!(many.contains("ended with exit code 2") && many.ends_with("\n0\n"), "{many}");
    assert!(heedless.ends_with("\n0\n"), "{heedless}");
    assert!(!fs::exists(pod.path("out/many")).unwrap());
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    // Its history tells another command.
    pod.write("heedless/Dockerfile", "FROM base\nRUN echo full > /full\nRUN echo next > /next\n");
    let (ours, theirs) = (pod.path("out/heedless"), pod.path("in-namespaces"));
    let layout = bases().join("busybox");
    pod.build_in_namespaces(pod.build("heedless"), &[("base", &layout)], &theirs);
    super::witnesses::tree(&theirs, &[]).assert_equals(&super::witnesses::tree(&ours, &[]), test);
}
