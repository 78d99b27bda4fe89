//! What a build leaves in its container, for whom, and for how long.

use std::fs;
use std::path::Path;

use super::Pod;
use crate::witness::harness::bases;

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

fn busybox() -> std::path::PathBuf {
    bases().join("busybox")
}

#[test]
fn a_killed_build_leaves_nothing_to_the_next_one() {
    let Some(mut pod) = Pod::new("a_killed_build_leaves_nothing_to_the_next_one") else { return };
    pod.write(
        "first/Dockerfile",
        "FROM base AS one\n\
         RUN echo aside > /aside\n\
         FROM base\n\
         COPY --from=one /aside /aside\n\
         RUN <<EOF\n\
         echo evil:x:1000:1000::/home/evil:/bin/sh >> /etc/passwd && mkdir -p /home/evil\n\
         mkdir -p /evil/dir /bin/more /tmp/evil\n\
         ln /bin/busybox /bin/another\n\
         chmod 700 /tmp /etc\n\
         echo > /shared/ready\n\
         sleep 1000\n\
         EOF\n",
    );
    // What a directory that was left would hide: it is made again, and so is a change.
    pod.write(
        "second/Dockerfile",
        "FROM base\n\
         RUN ! grep evil /etc/passwd && ! test -e /home/evil && ! test -e /aside\n\
         RUN <<EOF\n\
         mkdir -p /evil/dir\n\
         EOF\n",
    );
    let said = pod.script(&format!(
        "list > /shared/before\n\
         build first {BASE} > /dev/null 2>&1 &\n\
         first=$!\n\
         while ! test -e /shared/ready; do kill -0 $first; done\n\
         (build second {BASE} 2>&1) && exit 1\n\
         $b kill -9 $first\n\
         wait $first || true\n\
         $b ls -d /evil /home/evil /aside /bin/another\n\
         (build second {BASE} --cleanup > /dev/null)\n\
         list > /shared/after\n"
    ));
    let occupied = "another build is under way in `/` of this container";
    assert!(said.contains(occupied), "{said}");
    assert!(said.contains("\n/aside\n/bin/another\n/evil\n/home/evil\n"), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let layout = busybox();
    let expected = pod.digest_in_namespaces(pod.build("second"), &[("base", &layout)]);
    assert_eq!(pod.digest("second"), expected);
}

#[test]
fn what_others_put_into_the_container_outlives_builds() {
    let Some(pod) = Pod::new("what_others_put_into_the_container_outlives_builds") else { return };
    pod.write(
        "first/Dockerfile",
        "FROM base\nRUN echo first:x:1000:1000:::/bin/sh >> /etc/passwd && mkdir -p /data/first\n",
    );
    pod.write(
        "fails/Dockerfile",
        "FROM base\n\
         RUN ! test -e /data/first && ! grep first /etc/passwd && mkdir /data/more && false\n",
    );
    let mut pod = pod.file(Path::new("/etc/hostname"), "/data-of-mine/file");
    let said = pod.script(&format!(
        "echo mine > /data-of-mine/other\n\
         (build first {BASE} > /dev/null)\n\
         $b ls -d /data/first\n\
         echo result > /data/result\n\
         echo result > /result\n\
         (build fails {BASE} > /dev/null 2>&1) && exit 1\n\
         $b ls -d /data/more\n\
         (build first {BASE} --cleanup > /dev/null)\n\
         $b cat /data/result /result /data-of-mine/other\n\
         $b ls / /data\n"
    ));
    assert_eq!(
        said,
        "/data/first\n/data/more\nresult\nresult\nmine\n\
         /:\nbases\ndata\ndata-of-mine\ndev\netc\nkaniko\nproc\nresult\nrun\nshared\nsys\ntmp\nvar\nworkspace\n\n\
         /data:\nresult\n"
    );
}

#[test]
fn the_context_stays_whatever_the_base_has_in_its_place() {
    let test = "the_context_stays_whatever_the_base_has_in_its_place";
    let Some(pod) = Pod::new(test) else { return };
    let dockerfile = "FROM base\n\
                      RUN mkdir -p /builds/other && echo x > /builds/other/file\n\
                      COPY . /copied\n";
    // Two stages and a base that has a file and a directory where the context lies.
    pod.write("base/Dockerfile", "FROM base\nCOPY builds /builds\n");
    pod.write("base/builds/project/Dockerfile", "the base's\n");
    pod.write("base/builds/project/more/file", "the base's\n");
    pod.write("context/Dockerfile", dockerfile);
    pod.write("context/more", "the context's\n");
    let layout = pod.path("out/base");
    pod.build_in_namespaces(pod.build("base"), &[("base", &busybox())], &layout);
    let (file, more) = (pod.path("context/Dockerfile"), pod.path("context/more"));
    let mut pod = pod.file(&file, "/builds/project/Dockerfile").file(&more, "/builds/project/more");
    let said = pod.script(
        "list > /shared/before\n\
         for cleanup in false true; do\n\
         (build context --context=/builds/project --cleanup=$cleanup \
          --build-context=base=oci-layout:///shared/out/base > /dev/null)\n\
         $b find /builds/project -type f -exec $b cat {} +\n\
         done\n\
         list > /shared/after\n",
    );
    let content = format!("{dockerfile}the context's\n");
    let other = format!("the context's\n{dockerfile}");
    assert!(said == content.repeat(2) || said == other.repeat(2), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    assert_eq!(pod.digest("context"), expected);
}

#[test]
fn the_work_directory_may_be_on_a_mount() {
    let Some(pod) = Pod::new("the_work_directory_may_be_on_a_mount") else { return };
    pod.write(
        "stages/Dockerfile",
        "FROM base AS one\n\
         RUN mkdir -p /made/deep && echo 1 > /made/deep/file && ln /made/deep/file /made/link\n\
         FROM base AS two\n\
         RUN echo 2 > /two\n\
         COPY --from=one /made /made\n\
         RUN test \"$(cat /made/link)\" = 1\n\
         FROM scratch\n\
         COPY --from=two / /\n",
    );
    let mut pod = pod.option("--empty-dir", "/work");
    pod.script(&format!(
        "list > /shared/before\n\
         (build stages {BASE} --kaniko-dir=/work --cleanup > /dev/null)\n\
         list > /shared/after\n\
         $b ls /work/builds > /shared/left\n"
    ));
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    assert_eq!(read("left"), "");
    let layout = busybox();
    let expected = pod.digest_in_namespaces(pod.build("stages"), &[("base", &layout)]);
    assert_eq!(pod.digest("stages"), expected);
}
