//! What Pods mount, and where a base or a Dockerfile has something of its own in its place.

use std::fs;
use std::path::Path;

use super::Pod;
use crate::witness::harness::{bases, unpack_layout};

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

#[test]
fn a_command_runs_in_a_directory_that_only_the_image_has() {
    let test = "a_command_runs_in_a_directory_that_only_the_image_has";
    let Some(pod) = Pod::new(test) else { return };
    // `/workspace` is a volume, as in most Pods, and the context.
    pod.write(
        "context/Dockerfile",
        "FROM base\n\
         USER 7:8\n\
         WORKDIR /workspace/app/deep\n\
         RUN pwd; stat -c '%n %a %u:%g' . ..\n\
         USER root\n\
         RUN test \"$PWD\" = /workspace/app/deep && echo for the image > /result\n\
         COPY . /copied\n\
         WORKDIR /workspace\n\
         RUN pwd\n",
    );
    pod.write("context/file", "of the context\n");
    let context = pod.path("context");
    let mut pod = pod.volume(&context, "/workspace");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build context --context=/workspace {BASE} --cleanup 2>&1)\n\
         list > /shared/after\n\
         $b find /workspace | $b sort\n"
    ));
    assert!(said.contains("\n/workspace/app/deep\n. 755 7:8\n.. 755 7:8\n"), "{said}");
    assert!(said.contains("\n/workspace\n"), "{said}");
    assert_eq!(said.matches("`/workspace` belongs to this container").count(), 1, "{said}");
    // What was made for the commands is gone.
    assert!(said.ends_with("\n/workspace\n/workspace/Dockerfile\n/workspace/file\n"), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    assert_eq!(pod.digest("context"), expected);
}

#[test]
fn a_program_is_made_below_a_volume_as_anywhere() {
    let Some(pod) = Pod::new("a_program_is_made_below_a_volume_as_anywhere") else { return };
    // What most Dockerfiles do, in the place where most Pods have a volume.
    pod.write(
        "context/Dockerfile",
        "FROM base AS made\n\
         WORKDIR /workspace/app\n\
         COPY . .\n\
         RUN cat source/one source/two > program && chmod 755 program && ln program again\n\
         RUN rm -r source/two && mkdir -p cache/deep && echo more >> source/one && mv again moved\n\
         RUN ./moved 2> /dev/null; ls -R . > /listing; ln -s program link; mkfifo pipe; rm -r cache\n\
         RUN test \"$(cat program)\" = \"$(cat moved)\" && chown 7:8 source && chmod 700 source\n\
         FROM base\n\
         COPY --from=made /workspace/app /app\n\
         COPY --from=made /listing /workspace/elsewhere/listing\n\
         RUN cat /app/program /workspace/elsewhere/listing\n",
    );
    pod.write("context/source/one", "one\n");
    pod.write("context/source/two", "two\n");
    pod.write("context/mine", "of the volume\n");
    let context = pod.path("context");
    let mut pod = pod.volume(&context, "/workspace");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         $b find /workspace > /shared/volume-before\n\
         (build context --context=/workspace {BASE} --cleanup 2>&1)\n\
         $b cp -r /shared/out/context /shared/out/all\n\
         (build context --context=/workspace {BASE} --cleanup --target=made 2>&1)\n\
         (build context --context=/workspace {BASE} --cleanup --target=made --single-snapshot \
            --oci-layout-path=/shared/out/single 2>&1)\n\
         list > /shared/after\n\
         $b find /workspace > /shared/volume-after\n"
    ));
    assert!(said.contains("\none\ntwo\n"), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    assert_eq!(read("volume-after"), read("volume-before"));
    let bases = [("base", bases().join("busybox"))];
    let bases: Vec<_> = bases.iter().map(|(name, path)| (*name, path.as_path())).collect();
    let all = pod.digest_in_namespaces(pod.build("context"), &bases);
    assert_eq!(super::digest(&pod.path("out/all")), all);
    let made = || pod.build("context").arg("--target=made");
    let expected = pod.digest_in_namespaces(made(), &bases);
    assert_eq!(pod.digest("context"), expected);
    let expected = pod.digest_in_namespaces(made().arg("--single-snapshot"), &bases);
    assert_eq!(pod.digest("single"), expected);
}

#[test]
fn ignored_paths_below_a_volume_stay_out_of_the_image() {
    let test = "ignored_paths_below_a_volume_stay_out_of_the_image";
    let Some(pod) = Pod::new(test) else { return };
    pod.write(
        "context/Dockerfile",
        "FROM base\n\
         WORKDIR /workspace/app\n\
         COPY source ./source\n\
         RUN mkdir cache && echo of the command > cache/new && echo kept > source/new\n\
         RUN cat cache/new source/new source/cached > /seen; rm -f source/one\n",
    );
    for name in ["one", "cached"] {
        pod.write(&format!("context/source/{name}"), &format!("{name}\n"));
    }
    pod.write("context/mine", "of the volume\n");
    let context = pod.path("context");
    let ignored = "--ignore-path=/workspace/app/cache --ignore-path=/workspace/*/source/cached";
    let mut pod = pod.volume(&context, "/workspace");
    let said = pod.script(&format!(
        "$b find /workspace > /shared/volume-before\n\
         (build context --context=/workspace {BASE} {ignored} --cleanup 2>&1)\n\
         $b cp -r /shared/out/context /shared/out/below\n\
         (build context --context=/workspace {BASE} --ignore-path=/workspace --cleanup 2>&1)\n\
         $b find /workspace > /shared/volume-after\n"
    ));
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("volume-after"), read("volume-before"), "{said}");
    let layout = bases().join("busybox");
    let bases = [("base", layout.as_path())];
    let build = pod.build("context").args(ignored.split(' '));
    let expected = pod.digest_in_namespaces(build, &bases);
    assert_eq!(super::digest(&pod.path("out/below")), expected, "{said}");
    // Where it is no mount, WORKDIR moves the time of `/`, which is a layer of its own there.
    let (ours, theirs) = (pod.path("out/context"), pod.path("in-namespaces"));
    let build = pod.build("context").arg("--ignore-path=/workspace");
    pod.build_in_namespaces(build, &bases, &theirs);
    super::witnesses::tree(&theirs, &[]).assert_equals(&super::witnesses::tree(&ours, &[]), test);
}

#[test]
fn the_files_of_a_volume_are_its_own() {
    let Some(pod) = Pod::new("the_files_of_a_volume_are_its_own") else { return };
    pod.write(
        "context/Dockerfile",
        "FROM base\n\
         WORKDIR /data/own\n\
         COPY file ./mine\n\
         COPY file /data/new\n\
         RUN cat mine ../new; echo kept > left; echo changed > ../new\n\
         RUN cat left ../new > /copy\n",
    );
    pod.write("context/file", "of the context\n");
    pod.write("data/own/mine", "of the volume\n");
    let data = pod.path("data");
    let mut pod = pod.volume(&data, "/data");
    let said = pod.script(&format!("(build context {BASE} --cleanup 2>&1)\n"));
    assert!(said.contains("of the volume\nof the context\n"), "{said}");
    assert!(said.contains("of what a RUN writes beside them"), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(
        (read("data/own/mine"), read("data/own/left")),
        ("of the volume\n".into(), "kept\n".into())
    );
    assert!(!pod.path("data/new").exists());
    let tree = pod.path("tree");
    unpack_layout(&format!("{}:latest", pod.path("out/context").display()), &tree);
    let read = |name: &str| fs::read_to_string(tree.join(name)).unwrap();
    assert_eq!(
        (read("data/own/mine"), read("data/new"), read("copy")),
        ("of the context\n".into(), "changed\n".into(), "kept\nchanged\n".into())
    );
    assert!(!tree.join("data/own/left").exists());
}

#[test]
fn what_was_shown_to_a_killed_command_is_taken_away() {
    let Some(pod) = Pod::new("what_was_shown_to_a_killed_command_is_taken_away") else { return };
    pod.write(
        "first/Dockerfile",
        "FROM base\nWORKDIR /data/app\nCOPY file .\nRUN echo > /shared/ready; sleep 1000\n",
    );
    pod.write("first/file", "old\n");
    pod.write("second/Dockerfile", "FROM base\nWORKDIR /data/app\nCOPY file .\nRUN cat file\n");
    pod.write("second/file", "new\n");
    fs::create_dir(pod.path("data")).unwrap();
    let data = pod.path("data");
    let mut pod = pod.volume(&data, "/data");
    let said = pod.script(&format!(
        "(build first {BASE} > /dev/null 2>&1) & first=$!\n\
         while ! test -e /shared/ready; do kill -0 $first; done\n\
         kill -9 $first\n\
         wait $first || true\n\
         $b find /data\n\
         (build second {BASE} --cleanup 2>&1)\n\
         $b find /data\n"
    ));
    assert!(said.starts_with("/data\n/data/app\n/data/app/file\n"), "{said}");
    assert!(said.contains("\nnew\n") && said.ends_with("\n/data\n"), "{said}");
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("second"), &[("base", &layout)]);
    assert_eq!(pod.digest("second"), expected);
}

#[test]
fn a_command_cannot_start_where_nothing_can_be_made() {
    let Some(pod) = Pod::new("a_command_cannot_start_where_nothing_can_be_made") else { return };
    pod.write("context/Dockerfile", "FROM base\nWORKDIR /sealed/app\nRUN true\n");
    let mut pod = pod.option("--read-only", "/sealed");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build context {BASE} --cleanup 2>&1) && exit 1\n\
         list > /shared/after\n"
    ));
    assert!(said.contains("`/sealed` belongs to this container"), "{said}");
    assert!(said.contains("cannot create directory `/sealed/app`"), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
}

#[test]
fn a_directory_of_the_container_is_made_where_workdir_or_copy_name_it() {
    let test = "a_directory_of_the_container_is_made_where_workdir_or_copy_name_it";
    let Some(pod) = Pod::new(test) else { return };
    // The container has `/srv/of-container` and so on; the base has neither.
    pod.write(
        "context/Dockerfile",
        "FROM base\n\
         USER 7:8\n\
         WORKDIR /of-container\n\
         RUN pwd\n\
         USER root\n\
         WORKDIR /of-container/sub/deep\n\
         COPY --chown=9:9 file /other/sub/\n\
         COPY tree /\n\
         RUN true\n",
    );
    pod.write("context/file", "file\n");
    pod.write("context/tree/third/sub/file", "file\n");
    let file = Path::new("/etc/hostname");
    let mut pod = pod
        .file(file, "/of-container/sub/file")
        .file(file, "/other/sub/another")
        .file(file, "/third/sub/another");
    pod.script(&format!(
        "list > /shared/before\n\
         (build context {BASE} --cleanup 2>&1)\n\
         list > /shared/after\n"
    ));
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    assert_eq!(pod.digest("context"), expected);
}

#[test]
fn mounts_of_every_kind_stay_out_of_the_image_and_in_the_container() {
    let test = "mounts_of_every_kind_stay_out_of_the_image_and_in_the_container";
    let Some(pod) = Pod::new(test) else { return };
    // A base with files where a GPU's are mounted, with a directory where the Pod has a volume, and
    // with a link in the place of the directory that the service account is in.
    pod.write(
        "base/Dockerfile",
        "FROM base\nCOPY files /\nRUN mkdir -p /run && rm -rf /var/run && ln -s /run /var/run\n",
    );
    for name in ["usr/bin/nvidia-smi", "usr/lib/libcuda.so.1", "var/lib/app/data", "busy/of-base"] {
        pod.write(&format!("base/files/{name}"), "the base's\n");
    }
    pod.write(
        "context/Dockerfile",
        "FROM base AS one\n\
         RUN cat /usr/bin/nvidia-smi; cat /var/lib/app/mine; ls /busy /sealed; true\n\
         RUN rm /usr/bin/nvidia-smi || echo busy; rmdir /busy || echo busy; echo done > /done\n\
         RUN echo into the pod > /var/run/file && ls -ld /var/run\n\
         FROM base\n\
         COPY --from=one /done /usr/lib/libcuda.so.1 /from-one/\n\
         RUN cat /from-one/*\n",
    );
    pod.write("gpu", "of the machine\n");
    pod.write("data/mine", "of the pod\n");
    let (gpu, data) = (pod.path("gpu"), pod.path("data"));
    let layout = pod.path("out/base");
    let base = pod.build("base").arg("--ignore-var-run=false");
    pod.build_in_namespaces(base, &[("base", &bases().join("busybox"))], &layout);
    let mut pod = pod
        .volume(&gpu, "/usr/bin/nvidia-smi")
        .volume(&gpu, "/usr/lib/libcuda.so.1")
        .volume(&data, "/var/lib/app")
        .option("--empty-dir", "/busy")
        .option("--read-only", "/sealed");
    let said = pod.script(
        "list > /shared/before\n\
         for number in 1 2; do\n\
         # Something holds a mount all the time.\n\
         (cd /busy && exec $b sleep 1000) & busy=$!\n\
         (build context --build-context=base=oci-layout:///shared/out/base --cleanup 2>&1)\n\
         kill $busy\n\
         done\n\
         list > /shared/after\n",
    );
    assert!(said.contains("of the machine\nof the pod\n"), "{said}");
    assert!(said.contains("\ndone\nthe base's\n"), "{said}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("gpu"), "of the machine\n");
    assert_eq!(read("data/mine"), "of the pod\n");
    assert_eq!(read("after"), read("before"));
    // `rm` and `rmdir` found mounts; in namespaces they find the base's own.
    let (ours, theirs) = (pod.path("out/context"), pod.path("in-namespaces"));
    pod.build_in_namespaces(pod.build("context"), &[("base", &layout)], &theirs);
    super::witnesses::tree(&theirs, &[]).assert_equals(&super::witnesses::tree(&ours, &[]), "one");
}
