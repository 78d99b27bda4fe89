//! Where this is no container, and what commands see of the one that it is.

use super::Pod;

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

#[test]
fn a_machine_is_built_in_by_force_alone() {
    let Some(pod) = Pod::new("a_machine_is_built_in_by_force_alone") else { return };
    pod.write(
        "context/Dockerfile",
        "FROM base\nRUN echo someone:x:1000:1000:::/bin/sh >> /etc/passwd\n",
    );
    let mut pod = pod.option("--machine", "");
    let arguments = format!("{BASE} --kaniko-dir=/kaniko");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build context {arguments} 2>&1) && exit 1\n\
         (build context {arguments} --isolation=in-place 2>&1) && exit 1\n\
         list > /shared/after\n\
         $b cmp /shared/before /shared/after\n\
         echo now by force\n\
         (build context {arguments} --force 2>&1)\n\
         $b grep someone /etc/passwd\n"
    ));
    let (refused, forced) = said.split_once("now by force\n").expect("both");
    let error = "error: cannot build in `/`, which is not that of a container\n";
    assert_eq!(refused.matches(error).count(), 2, "{refused}");
    let hint = "`--force` builds here and overwrites `/etc`";
    assert!(refused.contains(hint), "{refused}");
    let warning = "this is not a container: the build overwrites files in `/etc`";
    assert!(forced.contains(warning), "{forced}");
    assert!(forced.contains("\nsomeone:x:1000:"), "{forced}");
}

#[test]
fn commands_do_not_see_the_executors_environment() {
    let test = "commands_do_not_see_the_executors_environment";
    let Some(mut pod) = Pod::new(test) else { return };
    pod.write(
        "context/Dockerfile",
        "FROM base\n\
         RUN env; for process in /proc/[0-9]*; do \
         echo \"$process $(cat $process/environ 2>&1 | tr '\\0' ' ')\"; done\n",
    );
    // As process 1, which is how a Pod starts it.
    let output = pod.run(&[
        "/kaniko/executor",
        "--log-format=text",
        "--context=/shared/context",
        "--no-push",
        BASE,
    ]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("\n/proc/1 cat: can't open '/proc/1/environ': Permission denied"),
        "{said}"
    );
    assert!(said.contains("HOME=/root"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}
