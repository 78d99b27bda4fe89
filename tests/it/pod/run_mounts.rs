//! `RUN --mount` where nothing can be mounted: what stands in for a mount leaves no more behind.

use std::fs;

use super::Pod;
use crate::witness::harness::bases;

const BASE: &str =
    "--build-context=base=oci-layout:///bases/busybox --secret=id=key,src=/shared/key";

const MARKER: &str = "mark-71d0c55b-er";

/// Mounts on what the base has not, on an empty directory, on a full one, inside of each other, on
/// what is moved by the step itself, and on a file.
const DOCKERFILE: &str = "FROM base AS made\n\
    RUN mkdir -p /made/by && echo me > /made/by/whom && chown -R 7:8 /made\n\
    FROM base\n\
    RUN mkdir -p /srv/full/deep /srv/empty && echo kept > /srv/full/kept && \
        echo in > /srv/full/deep/file && ln /srv/full/kept /srv/full/deep/linked && chmod 711 /srv/full\n\
    WORKDIR /work-here\n\
    RUN --mount=type=cache,target=/root/.cache/deep --mount=target=/opt/a/b,rw \
        --mount=type=tmpfs,target=/scratch/t --mount=type=secret,id=key \
        --mount=type=cache,target=/srv/full --mount=from=made,source=/made,target=/srv/empty,rw \
        --mount=type=cache,id=inner,target=/opt/a/b/tree/inner \
        --mount=type=secret,id=key,target=/srv/file-key \
        set -e; cat /opt/a/b/tree/deep/one > /out; echo x > /root/.cache/deep/x; \
        echo y > /scratch/t/y; test -s /run/secrets/key; test ! -e /srv/full/kept; \
        echo z > /srv/full/z; echo beside > /opt/a/beside; echo lost > /srv/empty/by/whom; \
        test \"$(stat -c %u:%g /srv/empty/by)\" = 7:8; echo i > /opt/a/b/tree/inner/i; \
        test \"$(stat -c %a:%u /run/secrets/key)\" = 400:0\n\
    RUN test ! -e /run/secrets; test ! -e /scratch; test ! -e /root/.cache; test ! -e /srv/file-key; \
        test ! -e /opt/a/b; test -z \"$(ls -A /srv/empty)\"; echo more >> /srv/full/deep/linked; \
        test \"$(cat /srv/full/kept | wc -l)\" = 2\n\
    RUN --mount=type=cache,target=/srv/full --mount=type=cache,id=inner,target=/i,ro \
        --mount=from=made,source=/made/by/whom,target=/etc/group \
        set -e; cat /srv/full/z /i/i > /seen; rm /srv/full/z; touch /i/not-kept || true; cat /etc/group >> /seen\n\
    RUN --mount=type=cache,target=/srv/full --mount=type=cache,id=inner,target=/i \
        test ! -e /srv/full/z; test ! -e /i/not-kept; test -e /i/i\n\
    RUN --mount=type=secret,id=key,env=TOKEN test ${#TOKEN} = 16\n\
    RUN mv /srv/full /srv/moved && cat /srv/moved/deep/file && rm /srv/moved/deep/file\n";

fn context(pod: &Pod) {
    pod.write("context/Dockerfile", DOCKERFILE);
    pod.write("context/tree/deep/one", "1\n");
    pod.write("context/tree/two", "2\n");
    pod.write("key", MARKER);
}

#[test]
fn what_stands_in_for_a_mount_gives_the_image_of_a_real_one() {
    let test = "what_stands_in_for_a_mount_gives_the_image_of_a_real_one";
    let Some(mut pod) = Pod::new(test) else { return };
    context(&pod);
    let trackers = ["inotify", "walk", "content"];
    let mut script = "list > /shared/before\n".to_owned();
    for tracker in trackers {
        script.push_str(&format!(
            "(build context {BASE} --tracker={tracker} --cleanup --verbosity=trace \
             --digest-file=/shared/out/{tracker} > /shared/log-{tracker} 2>&1) || \
             {{ $b cat /shared/log-{tracker}; exit 1; }}\n\
             list > /shared/after\n\
             $b cmp /shared/before /shared/after\n\
             ! $b grep -r {MARKER} /kaniko /shared/log-{tracker} || exit 1\n"
        ));
    }
    pod.script(&script);
    let layout = bases().join("busybox");
    let secret = format!("--secret=id=key,src={}", pod.path("key").display());
    let build = pod.build("context").arg(secret);
    let expected = pod.digest_in_namespaces(build, &[("base", &layout)]);
    for tracker in trackers {
        let digest = fs::read_to_string(pod.path("out").join(tracker)).unwrap();
        assert_eq!(digest, expected, "{tracker}");
    }
}

#[test]
fn a_build_that_is_killed_leaves_no_stand_in() {
    let test = "a_build_that_is_killed_leaves_no_stand_in";
    for work in ["/kaniko", "/work"] {
        let Some(pod) = Pod::new(test) else { return };
        let mut pod = pod.option("--empty-dir", "/data").option("--empty-dir", "/work");
        context(&pod);
        // On a volume, where nothing else is looked for after a kill, and on the container's own.
        pod.write(
            "killed/Dockerfile",
            "FROM base\n\
             RUN --mount=type=secret,id=key,target=/data/key --mount=type=cache,target=/owned \
                 --mount=type=secret,id=key,target=/tmp/in/key \
                 test ! -e /owned/own && echo ready > /shared/ready && sleep 1000\n",
        );
        pod.write("next/Dockerfile", "FROM base\nRUN test ! -e /data/key; echo next\n");
        pod.script(&format!(
            "export KANIKO_DIR={work}\n\
             $b mkdir -p /data/full /owned && echo own > /data/full/own && echo own > /owned/own\n\
             $b touch -d @1000000000 /data/full/own /data/full /owned/own /owned /data\n\
             volume() {{ $b find /data -exec $b stat -c '%n %F %a %u:%g %Y' {{}} + | $b sort; }}\n\
             list > /shared/before; volume > /shared/volume-before\n\
             (build killed {BASE} > /shared/log 2>&1) & build=$!\n\
             while ! $b test -e /shared/ready; do $b kill -0 $build; done\n\
             $b test -e /data/key\n\
             kill -KILL $build; wait $build || true\n\
             (build next {BASE} --cleanup > /shared/log 2>&1) || {{ $b cat /shared/log; exit 1; }}\n\
             list > /shared/after; volume > /shared/volume-after\n\
             $b diff /shared/before /shared/after\n\
             $b diff /shared/volume-before /shared/volume-after\n\
             ! $b grep -r {MARKER} /data /owned /tmp {work} || exit 1\n"
        ));
    }
}

#[test]
fn a_command_that_replaces_a_stand_in_has_failed() {
    let test = "a_command_that_replaces_a_stand_in_has_failed";
    let Some(pod) = Pod::new(test) else { return };
    let mut pod = pod.option("--empty-dir", "/data");
    context(&pod);
    for (name, mount, act) in [
        ("one", "type=cache,target=/c/d", "rm -r /c/d && ln -s /data/canary /c/d"),
        ("two", "type=tmpfs,target=/c", "mv /c /d && ln -s /data/canary /c"),
        (
            "three",
            "type=secret,id=key",
            "rm /run/secrets/key && ln -s /data/canary/file /run/secrets/key",
        ),
        ("four", "target=/c/d", "rm -r /c && ln -s /data/canary /c && mkdir /data/canary/d"),
    ] {
        pod.write(
            &format!("{name}/Dockerfile"),
            &format!("FROM base\nRUN --mount={mount} {act}\n"),
        );
    }
    let said = pod.script(&format!(
        "$b mkdir -p /data/canary && echo alive > /data/canary/file\n\
         list > /shared/before\n\
         for name in one two three four; do\n\
         (build $name {BASE} --cleanup 2>&1) && exit 1\n\
         list > /shared/after\n\
         $b diff /shared/before /shared/after\n\
         $b test \"$($b cat /data/canary/file)\" = alive\n\
         done\n"
    ));
    let error = "which no mount allows";
    assert_eq!(said.matches(error).count(), 4, "{said}");
}

#[test]
fn what_nothing_can_stand_in_for_is_refused() {
    let test = "what_nothing_can_stand_in_for_is_refused";
    let Some(pod) = Pod::new(test) else { return };
    let mut pod = pod.option("--empty-dir", "/data");
    context(&pod);
    let cases = [
        ("one", "--mount=type=tmpfs,target=/dev/shm/x", "it is in a file system of the kernel's"),
        ("two", "--mount=type=cache,target=/kaniko/x", "the build's own files are there"),
        ("three", "--mount=type=tmpfs,target=/data", "what is there cannot be moved"),
        ("four", "--mount=type=tmpfs,target=/bin/busybox", "it is not a directory"),
        ("six", "--mount=target=/ground", "the build's own files are there"),
        ("five", "--network=none", "takes a network namespace, which cannot be made in place"),
    ];
    for (name, flags, _) in cases {
        pod.write(&format!("{name}/Dockerfile"), &format!("FROM base\nRUN {flags} true\n"));
    }
    let said = pod.script(&format!(
        "echo mine > /data/mine; $b mkdir /ground; echo mine > /ground/file\n\
         list > /shared/before\n\
         for name in one two three four five six; do\n\
         (build $name {BASE} --build-context=g=/ground --cleanup 2>&1) && exit 1\n\
         list > /shared/after\n\
         $b diff /shared/before /shared/after\n\
         $b test \"$($b cat /data/mine)\" = mine\n\
         done\n"
    ));
    for (_, flags, expected) in cases {
        assert!(said.contains(expected), "{flags}\n{said}");
    }
    assert_eq!(said.matches("the build's own files are there").count(), 2, "{said}");
}

#[test]
fn what_is_linked_is_the_same_in_place() {
    let Some(pod) = Pod::new("what_is_linked_is_the_same_in_place") else { return };
    let mut pod = pod.option("--empty-dir", "/data");
    pod.write("linked/file", "of the context");
    pod.write("linked/tree/deep/one", "1");
    pod.write(
        "linked/Dockerfile",
        "FROM base\n\
         RUN mkdir -p -m 700 /real /p && ln -s /real /link\n\
         COPY --link file /link/deep/file\n\
         COPY --link tree /data/app/\n\
         COPY --link file /p/\n\
         RUN cat /data/app/deep/one > /out && echo more >> /p/file && test ! -e /real/deep\n",
    );
    pod.write("key", "k");
    pod.script(&format!(
        "list > /shared/before\n\
         (build linked {BASE} --cleanup > /shared/log 2>&1) || {{ $b cat /shared/log; exit 1; }}\n\
         list > /shared/after\n\
         $b diff /shared/before /shared/after\n\
         $b test -z \"$($b ls -A /data)\"\n"
    ));
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("linked"), &[("base", &layout)]);
    assert_eq!(pod.digest("linked"), expected);
}
