//! Commands that want more memory than the container may have.

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
