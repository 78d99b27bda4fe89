//! Roots over unpacked images that builds share: the image is the one that a build without them
//! gives, and a tree that is not what it was is not used.

mod killed;
mod upon;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::skip::{Reason, skip};
use crate::skip_unless_available;

/// What overlays are known to be odd about, in a base.
const BASE: &str = "FROM base\n\
    RUN mkdir -p /links/in && echo linked > /links/one && ln /links/one /links/two && \
        ln /links/one /links/in/three\n\
    RUN mkdir -p /gone/deep /moved/deep /dir/deep /swap/one /swap/two && \
        for d in gone/deep moved/deep dir/deep swap/one swap/two; do echo $d > /$d/file; done\n\
    RUN echo mode > /mode && echo owner > /owner && echo set > /setuid && chmod 4755 /setuid && \
        mkfifo /pipe && ln -s nowhere /dangling && \
        dd if=/dev/zero of=/sparse bs=1 count=1 seek=3000000 2> /dev/null\n";

const DOCKERFILES: &[&str] = &[
    "FROM odd\nRUN true\n",
    "FROM odd\nCOPY one /links/one\nRUN cat /links/two > /seen\n",
    "FROM odd\nRUN echo more >> /links/two\nRUN cat /links/in/three > /seen\n",
    "FROM odd\nRUN echo more >> /links/two && rm /links/two\nRUN rm /links/one\nRUN echo >> /links/in/three\n",
    "FROM odd\nRUN ln /links/one /four && chmod 600 /four && rm /four\nRUN mv /links/in /in && rm -r /in\n",
    "FROM odd\nRUN rm -r /gone\nRUN mkdir /gone && echo new > /gone/other\nRUN rm -r /gone\n",
    "FROM odd\nRUN rm -r /gone && mkdir -p /gone/deep && echo gone/deep > /gone/deep/file\n",
    "FROM odd\nRUN mv /moved /elsewhere && echo more >> /elsewhere/deep/file\nRUN mv /elsewhere /moved\n",
    "FROM odd\nRUN mv /swap/one /swap/x && mv /swap/two /swap/one && mv /swap/x /swap/two\n\
     RUN mv /swap/one /swap/x && mv /swap/two /swap/one && mv /swap/x /swap/two\n",
    "FROM odd\nRUN rm -r /dir && ln -s moved /dir\nCOPY one /dir/one\nRUN rm /dir && mkdir /dir\n",
    "FROM odd\nRUN chmod 600 /mode\nRUN chown 12:34 /owner /setuid\nRUN touch -h /dangling\n",
    "FROM odd\nRUN rm /pipe && mkfifo /pipe && echo x >> /sparse && cp /setuid /other\n",
    "FROM odd\nRUN echo a > /new\nRUN rm /new\nRUN mkdir /new\nRUN rmdir /new && echo b > /new\n",
    "FROM odd\nCOPY tree /moved/deep\nRUN find /moved | sort > /list\nCOPY tree /gone\nRUN rm -r /gone/deep\n",
    "FROM odd\nWORKDIR /moved/deep\nRUN pwd > out\nUSER 5\nRUN id > /tmp/id || mkdir -p /tmp/x || true\n",
    "FROM odd AS one\nRUN echo one >> /links/one\nFROM one\nRUN cat /links/two > /seen\nCOPY --from=one /links /copied\n",
    "FROM odd AS one\nRUN echo x > /moved/x\nFROM odd\nCOPY --from=one /moved /m\nRUN echo y > /m/y\n",
    "FROM odd AS one\nRUN echo x > /moved/x\nFROM odd\n\
     RUN --mount=type=bind,from=one,source=/moved,target=/m cp /m/x /x\n",
    "FROM odd AS one\nRUN echo 1 > /1\nFROM one AS two\nRUN echo 2 > /2\nFROM two\nRUN rm /1 && cat /2 > /3\n",
];

/// A base with everything odd, as an OCI layout.
fn odd_base() -> TempDir {
    let context = context(BASE);
    let layout = format!("--oci-layout-path={}", digest_file(context.path()).display());
    let build = Build::of(context.path()).base("base", "busybox");
    build.args(["--no-push", &layout]).succeed();
    let folder = tempfile::tempdir().unwrap();
    fs::rename(digest_file(context.path()), folder.path().join("odd")).unwrap();
    folder
}

/// A directory that builds share, and the base.
struct Trees {
    base: TempDir,
    shared: TempDir,
}

impl Trees {
    fn new() -> Self {
        Self { base: odd_base(), shared: tempfile::tempdir().unwrap() }
    }

    /// The same, on another file system than builds' work directories.
    fn elsewhere() -> Option<Self> {
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let shared = tempfile::tempdir_in("/dev/shm").ok()?;
        let trees = Self { shared, ..Self::new() };
        (device(trees.shared.path()) != device(trees.base.path())).then_some(trees)
    }

    fn flag(&self) -> String {
        format!("--cache-dir={}", self.shared.path().display())
    }

    fn build(&self, context: &Path, arguments: &[&str]) -> (String, String) {
        let built = self.prepared(context, arguments).succeed();
        (built.text(), fs::read_to_string(digest_file(context)).unwrap())
    }

    fn prepared(&self, context: &Path, arguments: &[&str]) -> Build {
        let digest = format!("--digest-file={}", digest_file(context).display());
        let odd = self.base.path().join("odd");
        let odd = format!("--build-context=odd=oci-layout://{}", odd.display());
        let build = Build::of(context).base("base", "busybox").args(arguments.iter().copied());
        build.args(["--reproducible", "--no-push", &digest, &odd])
    }

    /// Returns the tree that there has to be.
    fn only(&self) -> PathBuf {
        let folder = self.shared.path().join("zuwai/trees");
        let found: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [only] = &found[..] else { panic!("{found:?}") };
        only.clone()
    }

    fn drafts(&self) -> usize {
        fs::read_dir(self.shared.path().join("zuwai/drafts")).unwrap().count()
    }
}

fn used(text: &str) -> usize {
    count(text, "Using the image unpacked in")
}

#[test]
fn every_image_is_the_one_that_is_built_without_a_tree() {
    skip_unless_available!();
    let trees = Trees::new();
    let flag = trees.flag();
    for dockerfile in DOCKERFILES {
        let context = context(dockerfile);
        let path = context.path();
        let (_, expected) = trees.build(path, &[]);
        let stage_count = dockerfile.matches("FROM").count();
        for arguments in
            [&[][..], &["--tracker=walk"], &["--single-snapshot"], &["--tracker=content"]]
        {
            let is_single = arguments.contains(&"--single-snapshot");
            let expected = match is_single {
                true => trees.build(path, arguments).1,
                false => expected.clone(),
            };
            let all = [&[flag.as_str()], arguments].concat();
            let (text, digest) = trees.build(path, &all);
            assert_eq!(digest, expected, "{dockerfile} {arguments:?}\n{text}");
            assert_eq!(warnings(&text), [""; 0], "{dockerfile}");
            let unpacked = count(&text, "Unpacking rootfs");
            assert!(used(&text) + unpacked > 0 && unpacked <= stage_count, "{text}");
        }
        // Another build's root is never another tree.
        trees.only();
        assert_eq!(trees.drafts(), 0);
    }
    let context = context(DOCKERFILES[0]);
    let (text, _) = trees.build(context.path(), &[&flag]);
    assert_eq!((used(&text), count(&text, "Unpacking rootfs")), (1, 0), "{text}");
}

/// Layers of the cache are put on top of the tree.
#[test]
fn layers_of_the_cache_are_unpacked_over_a_tree() {
    skip_unless_available!();
    let trees = Trees::new();
    let flag = trees.flag();
    let cache = Cache::new();
    let cached = ["--cache", &cache.flag(), &flag];
    for dockerfile in DOCKERFILES {
        let context = context(dockerfile);
        let path = context.path();
        trees.build(path, &cached);
        let more = format!(
            "{dockerfile}RUN all=$(find / -xdev -type f | sort); echo \"$all\" > /all; cat /links/o* /links/t* > /l || true\n"
        );
        let (_, expected) = {
            fs::write(path.join("Dockerfile"), more).unwrap();
            trees.build(path, &[])
        };
        let (text, digest) = trees.build(path, &cached);
        assert_eq!(digest, expected, "{dockerfile}\n{text}");
        assert!(used(&text) > 0 && hits(&text) > 0, "{text}");
    }
}

#[test]
fn a_tree_that_is_not_what_it_was_is_not_used() {
    skip_unless_available!();
    let trees = Trees::new();
    let flag = trees.flag();
    let context = context("FROM odd\nRUN cat /mode > /seen\n");
    let (_, expected) = trees.build(context.path(), &[]);
    let build = || trees.build(context.path(), &[&flag]);
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("content", |tree| fs::write(tree.join("root/mode"), "MODE\n").unwrap()),
        ("appended", |tree| {
            let mut file = OpenOptions::new().append(true).open(tree.join("root/mode")).unwrap();
            file.write_all(b"more").unwrap();
        }),
        ("mode", |tree| {
            let mode = fs::Permissions::from_mode(0o777);
            fs::set_permissions(tree.join("root/mode"), mode).unwrap();
        }),
        ("owner", |tree| chown(tree.join("root/mode"), Some(7), None).unwrap()),
        ("removed", |tree| fs::remove_file(tree.join("root/links/two")).unwrap()),
        ("added", |tree| fs::write(tree.join("root/added"), "").unwrap()),
        ("torn", |tree| {
            let about = fs::read(tree.join("about")).unwrap();
            fs::write(tree.join("about"), &about[..about.len() / 2]).unwrap();
        }),
        ("lost", |tree| fs::remove_file(tree.join("about")).unwrap()),
    ];
    build();
    for (what, damage) in damages {
        let (text, digest) = build();
        assert_eq!((used(&text), digest), (1, expected.clone()), "before {what}: {text}");
        damage(&trees.only());
        let (text, digest) = build();
        assert_eq!((used(&text), digest), (0, expected.clone()), "{what}: {text}");
        let said = warnings(&text);
        assert!(said.len() == 1 && said[0].contains("is not used, and removed"), "{what}: {text}");
    }
    // Half of one is none.
    for name in ["lock", "root"] {
        let path = trees.only().join(name);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
        let (text, digest) = build();
        assert_eq!((used(&text), digest), (0, expected.clone()), "{name}: {text}");
        let _ = fs::remove_dir_all(trees.only());
        build();
    }
}

#[test]
fn a_tree_is_listed_and_pruned_and_has_to_fit() {
    skip_unless_available!();
    let trees = Trees::new();
    let flag = trees.flag();
    let context = context("FROM odd\nRUN cat /mode > /seen\n");
    let (_, expected) = trees.build(context.path(), &[]);
    // It may take half of the room.
    let (text, digest) = trees.build(context.path(), &[&flag, "--cache-dir-limit=1Mi"]);
    assert_eq!((used(&text), digest), (0, expected.clone()), "{text}");
    assert_eq!(fs::read_dir(trees.shared.path().join("zuwai/trees")).unwrap().count(), 0);
    trees.build(context.path(), &[&flag]);
    let name = trees.only().file_name().unwrap().to_string_lossy().into_owned();
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zuwai"));
        let output = command.args(words).arg(&flag).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run(&["cache", "ls"]);
    assert!(
        listed.lines().any(|line| line.starts_with("tree ") && line.ends_with(&name)),
        "{listed}"
    );
    let pruned = run(&["cache", "prune"]);
    assert!(pruned.contains(&name), "{pruned}");
    let (text, digest) = trees.build(context.path(), &[&flag]);
    assert_eq!((used(&text), digest), (0, expected), "{text}");
}

#[test]
fn a_tree_on_another_file_system_is_used_too() {
    skip_unless_available!();
    let Some(trees) = Trees::elsewhere() else {
        let reason = Reason::Lacking("needs `/dev/shm`, and temporary files elsewhere");
        return skip("a_tree_on_another_file_system_is_used_too", reason);
    };
    let flag = trees.flag();
    for dockerfile in &DOCKERFILES[2..6] {
        let context = context(dockerfile);
        let (_, expected) = trees.build(context.path(), &[]);
        for _ in 0..2 {
            let (text, digest) = trees.build(context.path(), &[&flag]);
            assert_eq!((digest, warnings(&text)), (expected.clone(), vec![]), "{text}");
        }
    }
    let context = context(DOCKERFILES[0]);
    let (text, _) = trees.build(context.path(), &[&flag]);
    assert_eq!((used(&text), trees.drafts()), (1, 0), "{text}");
}

#[test]
fn builds_beside_each_other_share_a_tree() {
    skip_unless_available!();
    let trees = Trees::new();
    let flag = trees.flag();
    let contexts: Vec<TempDir> = (0..4)
        .map(|number| {
            context(&format!("FROM odd\nRUN echo {number} >> /links/one\nRUN rm -r /gone\n"))
        })
        .collect();
    let expected: Vec<String> =
        contexts.iter().map(|context| trees.build(context.path(), &[]).1).collect();
    std::thread::scope(|scope| {
        for (context, expected) in contexts.iter().zip(&expected) {
            let (trees, flag) = (&trees, &flag);
            scope.spawn(move || {
                for _ in 0..3 {
                    let (text, digest) = trees.build(context.path(), &[flag]);
                    assert_eq!((digest, warnings(&text)), (expected.clone(), vec![]), "{text}");
                }
            });
        }
    });
    trees.only();
    assert_eq!(trees.drafts(), 0);
}
