//! The directory that builds share, where a build is in `/`: in the container's own files, and on a
//! volume.

use std::fs;

use super::Pod;
use crate::witness::harness::bases;

const BASE: &str = "--build-context=base=oci-layout:///bases/busybox";

#[test]
fn the_shared_directory_outlives_builds_and_is_in_no_image() {
    let test = "the_shared_directory_outlives_builds_and_is_in_no_image";
    let Some(pod) = Pod::new(test) else { return };
    pod.write("context/Dockerfile", "FROM base\nCOPY file /app/file\nRUN cat /app/file > /made\n");
    pod.write("context/file", "of the context");
    let mut pod = pod.option("--empty-dir", "/volume");
    pod.script(&format!(
        "for place in /store /volume/store; do\n\
         for round in 1 2; do\n\
         (build context {BASE} --cache --cache-copy-layers --cache-repo=oci:$place/layers \
            --cache-dir=$place --cleanup --digest-file=/shared/out/digest > /shared/log 2>&1) \
            || {{ $b cat /shared/log; exit 1; }}\n\
         $b cat /shared/out/digest >> /shared/digests\n\
         echo >> /shared/digests\n\
         $b grep -c 'Using caching version' /shared/log >> /shared/hits || true\n\
         $b test -f $place/zuwai/oci-layout\n\
         $b ls $place/zuwai/drafts >> /shared/left\n\
         done\n\
         done\n"
    ));
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("digests"), format!("{expected}\n").repeat(4));
    assert_eq!((read("hits"), read("left")), ("0\n2\n0\n2\n".to_owned(), String::new()));
}

#[test]
fn the_default_directory_is_written_to_with_a_cache_alone_and_where_it_is() {
    let test = "the_default_directory_is_written_to_with_a_cache_alone_and_where_it_is";
    let Some(pod) = Pod::new(test) else { return };
    pod.write("context/Dockerfile", "FROM base\nCOPY file /app/file\n");
    pod.write("context/file", "of the context");
    let cached = "--cache --cache-repo=oci:/volume/layers";
    let script = format!(
        "(build context {BASE} > /dev/null 2>&1)\n\
         $b ls /cache || echo none\n\
         (build context {BASE} {cached} > /dev/null 2>&1)\n\
         $b ls /cache || echo none\n"
    );
    let mut without = pod.option("--empty-dir", "/volume");
    assert_eq!(without.script(&script), "none\nnone\n");
    let Some(pod) = Pod::new(test) else { return };
    pod.write("context/Dockerfile", "FROM base\nCOPY file /app/file\n");
    pod.write("context/file", "of the context");
    let mut with = pod.option("--empty-dir", "/volume").option("--empty-dir", "/cache");
    assert_eq!(with.script(&script), "zuwai\n");
}
