//! Builds without commands in a Pod that the restricted security standard admits: no root, no
//! capability, a read-only root file system.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Pod;
use crate::witness::harness::bases;

const ARGUMENTS: &str = "--build-context=base=oci-layout:///bases/busybox --kaniko-dir=/work";

fn restricted(test: &str) -> Option<Pod> {
    let pod = Pod::new(test)?;
    fs::set_permissions(pod.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    Some(pod.option("--restricted", "").option("--empty-dir", "/work"))
}

#[test]
fn a_build_without_commands_needs_no_rights() {
    let Some(mut pod) = restricted("a_build_without_commands_needs_no_rights") else { return };
    pod.write(
        "app/Dockerfile",
        "FROM base AS files\n\
         COPY tree /\n\
         FROM files\n\
         WORKDIR /srv/app\n\
         COPY --chown=7:8 --chmod=4755 tree/bin/app .\n\
         COPY --chown=root:root <<EOF /etc/motd\n\
         hello\n\
         EOF\n\
         USER 7\n\
         ENTRYPOINT [\"/srv/app/app\"]\n",
    );
    pod.write("app/tree/bin/app", "program\n");
    pod.write("app/tree/etc/app.conf", "configuration\n");
    let said = pod.script(&format!(
        "(build app {ARGUMENTS} --verbosity=debug 2>&1)\n\
         $b id -u; $b grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status\n\
         (echo > /x) 2> /dev/null || echo read-only\n\
         $b ls /work/builds\n"
    ));
    let nothing = "0000000000000000";
    let end =
        format!("\n1000\nCapPrm:\t{nothing}\nCapEff:\t{nothing}\nCapBnd:\t{nothing}\nread-only\n");
    assert!(said.ends_with(&end), "{said}");
    assert!(said.contains("no sandbox: the Dockerfile runs no command"), "{said}");
    assert!(!said.contains("Unpacking rootfs"), "{said}");
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("app"), &[("base", &layout)]);
    assert_eq!(pod.digest("app"), expected);
}

#[test]
fn a_command_in_such_a_pod_is_refused_before_anything_is_built() {
    let test = "a_command_in_such_a_pod_is_refused_before_anything_is_built";
    let Some(mut pod) = restricted(test) else { return };
    pod.write("app/Dockerfile", "FROM base\nRUN true\n");
    let said = pod.script(&format!("(build app {ARGUMENTS} 2>&1) || echo refused\n"));
    assert!(said.ends_with("refused\n") && said.contains("error: "), "{said}");
    assert!(!said.contains("Retrieving image manifest"), "{said}");
}
