//! Whole builds where no file system has locks, as on a volume of NFS without a lock service: with the
//! work directory and the directory that builds share there, one build makes what the next one takes.

use std::fs;

use super::Pod;
use crate::witness::harness::bases;

const DOCKERFILE: &str = "FROM base AS one\nRUN mkdir /made && echo made > /made/file\n\
    FROM base\nCOPY file /app/file\nCOPY --from=one /made /made\n\
    RUN --mount=type=cache,target=/kept cp /app/file /kept/ && cp /kept/file /from\n\
    RUN cat /made/file /from > /both\n";

/// Builds with nothing there, with all of it, and with what commands and bases have left but no layers.
/// What is on its way in or out of the volume is listed after each.
const SCRIPT: &str = r#"
export KANIKO_DIR=/data/work
base=--build-context=base=oci-layout:///bases/busybox
flags="--cache --cache-copy-layers --cache-repo=oci:/data/layers --cache-dir=/data/store"
list > /shared/before
for round in cold warm without; do
  [ $round != without ] || $b rm -r /data/layers
  (build context $base $flags --cleanup --digest-file=/shared/out/digest > /shared/log 2>&1) ||
    { $b cat /shared/log; exit 1; }
  $b cat /shared/log >> /shared/logs
  echo "$round $($b cat /shared/out/digest)" \
    "$($b grep -c 'Using caching version of cmd: ' /shared/log)" \
    "$($b grep -c 'the file system of `/data/store/zuwai` has no locks' /shared/log)"
  $b ls -A /data/work/builds /data/store/zuwai/drafts /data/store/zuwai/trash \
    /data/store/zuwai/trees > /shared/left-$round
done
list > /shared/after
"#;

const LEFT: &str = "/data/store/zuwai/drafts:\n\n/data/store/zuwai/trash:\n\n\
                    /data/store/zuwai/trees:\n\n/data/work/builds:\n";

/// Two builds at a time that share all of that: both may do the same work.
const AT_ONCE: &str = r#"
$b rm -r /data/layers /data/store /data/work
for name in context context-2; do
  (build $name $base $flags --cleanup --digest-file=/shared/out/digest-$name \
    > /shared/log-$name 2>&1) & eval "process_$(echo $name | $b tr -d -- -)=$!"
done
for name in context context-2; do
  eval "process=\$process_$(echo $name | $b tr -d -- -)"
  wait $process || { $b cat /shared/log-$name; exit 1; }
  echo "$name $($b cat /shared/out/digest-$name)"
done
$b ls -A /data/work/builds /data/store/zuwai/drafts /data/store/zuwai/trash \
  /data/store/zuwai/trees > /shared/left-at-once
"#;

#[test]
fn builds_need_no_locks() {
    // In `/` of the container, and in namespaces.
    for option in [None, Some("--privileged")] {
        let Some(pod) = Pod::new("builds_need_no_locks") else { return };
        for name in ["context", "context-2"] {
            pod.write(&format!("{name}/Dockerfile"), DOCKERFILE);
            pod.write(&format!("{name}/file"), "of the context\n");
        }
        let pod = pod.option("--no-locks", "").option("--empty-dir", "/data");
        let mut pod = match option {
            Some(option) => pod.option(option, ""),
            None => pod,
        };
        let at_once = option.map_or("", |_| AT_ONCE);
        let said = pod.script(&format!("{SCRIPT}{at_once}"));
        let layout = bases().join("busybox");
        let digest = pod.digest_in_namespaces(pod.build("context"), &[("base", &layout)]);
        let mut expected = format!("cold {digest} 0 1\nwarm {digest} 5 1\nwithout {digest} 0 1\n");
        let mut rounds = vec!["cold", "warm", "without"];
        if option.is_some() {
            expected.push_str(&format!("context {digest}\ncontext-2 {digest}\n"));
            rounds.push("at-once");
        }
        let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
        assert_eq!(said, expected, "{option:?}\n{}", read("logs"));
        for round in rounds {
            assert_eq!(read(&format!("left-{round}")), LEFT, "{option:?}: {round}");
        }
        assert_eq!(read("after"), read("before"), "{option:?}");
    }
}
