//! Layers of earlier builds in an ordinary Pod, where all stages are made in `/`, with the cache on a
//! volume: whatever it has or lacks, the image is the one that is built without it, and one container
//! does it all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use super::Pod;
use crate::witness::harness::bases;

const DOCKERFILES: [&str; 9] = [
    "FROM base\nRUN echo a > /a\nRUN echo b > /b\nRUN rm /a /bin/true\n",
    "FROM base\nCOPY one /one\nRUN cat /one > /b\nCOPY two /two\nRUN cat /two /b > /c\n",
    // Two stages after another in `/`, and one that begins where the first ended.
    "FROM base AS one\nRUN echo a > /a && rm /bin/false\nFROM base AS other\nRUN echo other > /o\n\
     FROM one\nCOPY --from=other /o /o\nRUN cat /a /o > /both && test ! -e /bin/false\n",
    "FROM base AS one\nRUN echo a > /a\nFROM base AS two\nCOPY --from=one /a /a\nRUN echo 2 >> /a\n\
     FROM scratch\nCOPY --from=two /a /a\nCOPY --from=one /a /b\n",
    // A directory that goes and comes, a link that is followed, one inode with two names.
    "FROM base\nRUN mkdir /d && echo a > /d/a\nRUN rm -r /d && ln -s /srv /d && mkdir -p /srv\n\
     COPY tree /d/tree\nRUN ln /srv/tree/a /hard && echo more >> /srv/tree/a\n",
    "FROM base\nCOPY users /etc/users\nRUN cat /etc/users > /etc/passwd\n\
     COPY --chown=app --chmod=4711 one /one\nUSER app\nWORKDIR /home/app\nRUN id -u > me\n",
    // Places of the container's own: a volume, and files that are mounted.
    "FROM base\nWORKDIR /workspace/app\nCOPY tree .\nRUN cat a > b && rm link\nCOPY one /etc/hosts\n\
     RUN ls /workspace/app > /listing\n",
    "FROM base\nARG A=1\nRUN echo $A > /a\nLABEL x=y\nRUN true\nRUN chmod 700 /tmp && chown 5:6 /etc\n",
    "FROM base\nCOPY . /all\nRUN find /all | sort > /list\nRUN <<EOF\nrm -r /all\nmkdir /all\nEOF\n",
];

/// What the cache is like, and what of it a build may use.
const STATES: [&str; 7] = ["none", "cold", "warm", "first", "middle", "last", "commands"];

const SCRIPT: &str = r#"
base=--build-context=base=oci-layout:///bases/busybox
# Documents of steps' entries, oldest first.
entries() {
  for file in $($b grep -L '"mediaType": *"[^"]*parts' $place/entries/*); do
    echo "$($b tr -d '\n' < $file | $b sed 's/.*image.created": *"\([^"]*\)".*/\1/') $file"
  done | $b sort | $b cut -d ' ' -f 2
}
# Without the lists of what whole builds have.
forget() { $b grep -l '"mediaType": *"[^"]*parts' $place/entries/* | $b xargs $b rm -f; }
state() {
  name=$1 state=$2 place=/data/$1/layers
  flags="--cache --cache-copy-layers --cache-repo=oci:$place --cache-dir=/data/$1/shared"
  case $state in
    none) flags=--cache-dir=/data/$1/shared ;;
    commands) flags="--cache --cache-repo=oci:$place --cache-dir=/data/$1/shared" ;;
    first) forget; $b rm "$(entries | $b head -n 1)" ;;
    middle) forget; $b rm "$(entries | $b sed -n "$(($(entries | $b wc -l) / 2 + 1))p")" ;;
    last) forget; $b rm "$(entries | $b tail -n 1)" ;;
  esac
  (build $name $base $flags $more --digest-file=/shared/out/$name-$state > /shared/log 2>&1) ||
    { $b cat /shared/log; exit 1; }
  say() { $b grep -c "$1" /shared/log || true; }
  count=0
  [ $state = none ] || count=$(entries | $b wc -l)
  echo "$name $state $(say 'Using caching version of cmd: ') $(say 'No cached layer found for cmd ')" \
    "$(say 'Taking snapshot') $count $($b cat /shared/out/$name-$state)"
}
more=
list > /shared/before
"#;

/// What one build said: steps of the cache, steps that it lacked, snapshots, entries afterwards, and the
/// image's digest.
struct Said {
    hits: u64,
    misses: u64,
    snapshots: u64,
    entries: u64,
    digest: String,
}

fn parse(text: &str) -> BTreeMap<(String, String), Said> {
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, state, hits, misses, snapshots, entries, digest] = words[..] else {
            panic!("{line}")
        };
        let [hits, misses, snapshots, entries] =
            [hits, misses, snapshots, entries].map(|number| number.parse().unwrap());
        let said = Said { hits, misses, snapshots, entries, digest: digest.to_owned() };
        ((name.to_owned(), state.to_owned()), said)
    });
    lines.collect()
}

fn write_context(pod: &Pod, name: &str, dockerfile: &str) {
    for (file, content) in [
        ("Dockerfile", dockerfile),
        ("one", "1"),
        ("two", "2"),
        ("tree/a", "a"),
        ("tree/deep/er/b", "b"),
        ("users", "root:x:0:0::/:\napp:x:1234:1235::/app:\n"),
    ] {
        pod.write(&format!("{name}/{file}"), content);
    }
    fs::create_dir(pod.path(name).join("tree/hollow")).unwrap();
    symlink("a", pod.path(name).join("tree/link")).unwrap();
}

#[test]
fn every_image_is_the_one_that_is_built_without_a_cache() {
    let test = "every_image_is_the_one_that_is_built_without_a_cache";
    let Some(pod) = Pod::new(test) else { return };
    let mut pod = pod.option("--empty-dir", "/workspace").option("--empty-dir", "/data");
    let names: Vec<String> = (0..DOCKERFILES.len()).map(|number| format!("c{number}")).collect();
    for (name, dockerfile) in names.iter().zip(DOCKERFILES) {
        write_context(&pod, name, dockerfile);
    }
    // One state of all of them after the other: each build finds in `/` what another one left.
    let words = |words: &[&str]| words.join(" ");
    let names_text = words(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let text = pod.script(&format!(
        "{SCRIPT}for state in {}; do for name in {names_text}; do state $name $state; done; done\n\
         more=--cleanup\n\
         state c0 none > /dev/null\n\
         list > /shared/after\n\
         $b find /workspace > /shared/volume\n",
        words(&STATES)
    ));
    let said = parse(&text);
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    assert_eq!(read("volume"), "/workspace\n");
    let layout = bases().join("busybox");
    for (name, dockerfile) in names.iter().zip(DOCKERFILES) {
        let expected = pod.digest_in_namespaces(pod.build(name), &[("base", &layout)]);
        let all = said[&(name.clone(), "cold".to_owned())].entries;
        assert!(all > 0, "{dockerfile}\n{text}");
        for state in STATES {
            let what = format!("{state}: {dockerfile}\n{text}");
            let Said { hits, misses, snapshots, entries, digest } =
                &said[&(name.clone(), state.to_owned())];
            assert_eq!(digest, &expected, "{what}");
            match state {
                "none" => assert_eq!((*hits, *misses), (0, 0), "{what}"),
                // What follows the first that is lacking is not asked for.
                "cold" => assert!(*hits == 0 && *misses > 0 && *snapshots > 0, "{what}"),
                "warm" => assert_eq!((*hits, *misses, *snapshots), (all, 0, 0), "{what}"),
                "commands" => assert_eq!(*misses, 0, "{what}"),
                "last" => assert_eq!((*hits, *misses, *entries), (all - 1, 1, all), "{what}"),
                // What is lacking is made and put there again, with whatever follows.
                _ => assert!(*misses > 0 && *snapshots > 0 && *entries == all, "{what}"),
            }
        }
    }
    assert_eq!(said.len(), names.len() * STATES.len());
}
