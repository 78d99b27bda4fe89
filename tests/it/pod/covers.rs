//! What the image has where the container has something mounted.

use std::process::Command;

use super::Pod;
use crate::witness::harness::{bases, run};

#[test]
fn what_is_copied_onto_a_mount_is_in_the_image_and_not_on_the_mount() {
    let test = "what_is_copied_onto_a_mount_is_in_the_image_and_not_on_the_mount";
    let Some(pod) = Pod::new(test) else { return };
    pod.write(
        "base/Dockerfile",
        "FROM base\nCOPY files /\nCOPY --chown=5:6 --chmod=700 files/data /data/owned\n",
    );
    for name in ["etc/hosts", "data/of-base", "data/replaced", "usr/of-base"] {
        pod.write(&format!("base/files/{name}"), "the base's\n");
    }
    pod.write(
        "covered/Dockerfile",
        "FROM base AS one\n\
         WORKDIR /data/app/deep\n\
         COPY --chown=7:8 one ./\n\
         COPY one /data/replaced\n\
         COPY one /etc/resolv.conf\n\
         COPY tree /\n\
         ADD some.tar /\n\
         WORKDIR /\n\
         RUN cat /data/mine || true; echo run > /run-was-here\n\
         FROM one AS two\n\
         COPY <<EOF /data/inline\n\
         inline\n\
         EOF\n\
         FROM scratch\n\
         COPY --from=two / /all\n\
         COPY --from=two /etc/hosts /data /some/\n",
    );
    pod.write("covered/one", "copied\n");
    for name in ["etc/hosts", "data/app/tree", "data/new/tree", "usr/tree"] {
        pod.write(&format!("covered/tree/{name}"), "of the tree\n");
    }
    pod.write("data/mine", "the pod's");
    pod.write("archive/data/archived/file", "archived\n");
    pod.write("archive/etc/archived", "archived\n");
    let archive = pod.path("covered/some.tar");
    run(Command::new("tar").arg("-cf").arg(archive).arg("-C").arg(pod.path("archive")).arg("."));
    let layout = pod.path("out/base");
    pod.build_in_namespaces(pod.build("base"), &[("base", &bases().join("busybox"))], &layout);
    let (data, arguments) =
        (pod.path("data"), "--build-context=base=oci-layout:///shared/out/base --cleanup");
    let mut pod = pod.volume(&data, "/data");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build covered {arguments} 2>&1)\n\
         $b cp -r /shared/out/covered /shared/out/all\n\
         (build covered {arguments} --target=two > /dev/null 2>&1)\n\
         list > /shared/after\n\
         $b find /data\n\
         $b grep zuwai-pod /etc/hosts\n"
    ));
    assert!(said.contains("`/data` belongs to this container"), "{said}");
    assert!(said.contains("`/etc/hosts` belongs to this container"), "{said}");
    assert!(said.ends_with("\n/data\n/data/mine\n10.0.0.7\tzuwai-pod\n"), "{said}");
    let read = |name: &str| std::fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));

    // A command sees the mount, and the image does not have it.
    assert!(said.contains("the pod's"), "{said}");
    let bases = [("base", layout.as_path())];
    let all = pod.digest_in_namespaces(pod.build("covered"), &bases);
    assert_eq!(super::digest(&pod.path("out/all")), all);
    let two = pod.digest_in_namespaces(pod.build("covered").arg("--target=two"), &bases);
    assert_eq!(pod.digest("covered"), two);
}
