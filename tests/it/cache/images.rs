//! The image with the cache cold, warm, and lacking an entry.

use super::*;
use crate::skip_unless_available;

pub(super) const DOCKERFILES: &[&str] = &[
    "FROM base\nRUN echo a > /a\n",
    "FROM base\nRUN true\n",
    "FROM base\nRUN echo a > /a\nRUN echo b > /b\nRUN rm /a\n",
    "FROM base\nCOPY one /one\nRUN cat /one > /b\nCOPY two /two\nRUN cat /two /b > /c\n",
    "FROM base\nCOPY . /all\nRUN find /all | sort > /list\n",
    "FROM base\nWORKDIR /w/x\nRUN pwd > out\nWORKDIR y\nRUN pwd > out\n",
    "FROM base\nENV A=1\nRUN echo $A > /a\nENV A=2\nRUN echo $A > /b\n",
    "FROM base\nARG A=1\nRUN echo $A > /a\nLABEL x=y\nRUN echo b > /b\n",
    "FROM base AS one\nRUN echo a > /a\nFROM base\nCOPY --from=one /a /b\nRUN cat /b > /c\n",
    "FROM base AS one\nRUN echo a > /a\nFROM one\nRUN echo b > /b\nCOPY one /one\n",
    "FROM base AS one\nRUN echo a > /a\nFROM base AS two\nCOPY --from=one /a /a\nRUN echo 2 >> /a\n\
     FROM scratch\nCOPY --from=two /a /a\nCOPY --from=one /a /b\n",
    "FROM scratch\nCOPY tree /\nCOPY one two /d/\n",
    "FROM base\nCOPY users/passwd /etc/passwd\nCOPY --chown=app one /one\nUSER app\nWORKDIR /home/app\n\
     RUN id -u > me\n",
    "FROM base\nCOPY --chmod=4711 run.sh /run.sh\nRUN /run.sh\n",
    "FROM base\nRUN <<EOF\necho a > /a\necho b > /b\nEOF\nRUN cat /a /b > /c\n",
    "FROM base\nCOPY <<one <<two /d/\nfirst\none\nsecond\ntwo\nRUN cat /d/* > /all\n",
    "FROM base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo a > /a\nSHELL [\"/bin/sh\", \"-c\"]\nRUN echo b > /b\n",
    "FROM base\nRUN mkdir /d && echo a > /d/a\nRUN rm -r /d\nRUN mkdir /d && echo b > /d/b\n",
    "FROM base\nRUN ln -s a /link && mkdir /a\nCOPY one /link/one\nRUN cat /a/one > /b\n",
    "FROM base\nCOPY t*e/deep /x\nRUN chmod 700 /x\nVOLUME /v\nEXPOSE 80\nCMD [\"a\"]\nRUN echo > /z\n",
    "FROM base\nRUN echo a > /a\nRUN true\nRUN echo c > /c\nHEALTHCHECK CMD true\nSTOPSIGNAL 9\n",
    "FROM base AS one\nRUN echo a > /a\nFROM base AS other\nRUN echo other > /o\nFROM one\n\
     COPY --from=other /o /o\nRUN cat /a /o > /both\n",
    "FROM scratch\nCOPY one /\n",
    "FROM scratch\nCOPY one /a/b/c/\nCOPY two /a/b/c/\n",
    "FROM scratch\nCOPY one /x\nCOPY two /x\n",
    "FROM scratch\nCOPY tree /t\nCOPY tree /u\n",
    "FROM scratch\nCOPY tree/ /t/\nCOPY users /t/users/\nCOPY one /t/link2\n",
    "FROM scratch\nCOPY --chmod=600 tree /t\n",
    "FROM scratch\nCOPY --chown=1:2 tree /t\nCOPY --chown=3 one /t/\n",
    "FROM scratch\nCOPY *.sh o* /bin/\n",
    "FROM scratch\nCOPY t?ee/d* /d/\n",
    "FROM scratch\nCOPY . /\n",
    "FROM scratch\nADD one two /d/\nADD tree /d/tree\n",
    "FROM scratch\nWORKDIR /a/b\nCOPY one .\nWORKDIR c\nCOPY two ./\n",
    "FROM scratch\nWORKDIR /a\nWORKDIR /a\nCOPY one two /\n",
    "FROM scratch\nCOPY <<a <<b /h/\n1\na\n2\nb\n",
    "FROM scratch\nARG NAME=one\nCOPY $NAME /n\nENV T=/t\nCOPY tree $T\n",
    "FROM scratch\nLABEL a=b\nCOPY one /one\nENTRYPOINT [\"/one\"]\nCMD [\"x\"]\nUSER 5\n",
    "FROM scratch AS a\nCOPY one /one\nFROM a\nCOPY two /two\nFROM a\nCOPY tree /tree\n",
    "FROM scratch AS a\nCOPY tree /t\nFROM scratch\nCOPY --from=a /t/deep /d\nCOPY --from=a /t/a /d/\n",
    "FROM scratch AS a\nCOPY tree /t\nFROM scratch AS b\nCOPY --from=a /t /u\nFROM scratch\n\
     COPY --from=b /u /v\nCOPY --from=a /t/link /l\n",
    "FROM scratch AS a\nCOPY one /x\nFROM scratch AS b\nCOPY two /x\nFROM scratch\n\
     COPY --from=a /x /a\nCOPY --from=b /x /b\n",
    "FROM scratch AS a\nCOPY tree /t\nFROM a AS b\nCOPY one /t/a\nFROM scratch\nCOPY --from=b /t /\n",
    "FROM base\nCOPY --from=base /bin/busybox /bb\n",
    "FROM base\nCOPY one /etc/one\nCOPY tree /bin/tree\nWORKDIR /bin/tree/deep\nCOPY two .\n",
    "FROM base\nUSER 7\nWORKDIR /seven\nCOPY --chown=7 one .\n",
    "FROM base\nCOPY users/passwd /etc/passwd\nUSER app\nWORKDIR /app\nCOPY --chown=app:0 tree .\n",
    "FROM base\nADD tree /a\nADD --chmod=755 one /a/run\nVOLUME /a\nEXPOSE 1\n",
    "FROM base\nCOPY tree /t\nCOPY users/passwd /t/deep/er/\nCOPY one /t/hollow/one\n",
    "FROM base AS a\nWORKDIR /w\nCOPY tree .\nFROM base\nWORKDIR /v\nCOPY --from=a /w/etc .\n",
    "FROM base AS a\nCOPY one /one\nFROM a AS b\nWORKDIR /b\nFROM b\nCOPY --from=a /one two\n",
    "FROM base\nRUN mkdir -p /a/b && touch /a/b/c\nCOPY one /a/b/c\nWORKDIR /a/b\nRUN rm c && pwd > d\n",
    "FROM base\nRUN ln /bin/busybox /bb\nCOPY one /bb2\nRUN rm /bb\n",
    "FROM base AS a\nRUN echo 1 > /1\nFROM base AS b\nRUN echo 2 > /2\nFROM base\n\
     COPY --from=a /1 /\nCOPY --from=b /2 /\n",
    "FROM base\nARG V=1\nRUN echo $V > /v\nCOPY tree /t\nARG W=2\nRUN echo $V$W > /w\nCOPY one /\n",
    "FROM base\nENV P=/t\nCOPY tree $P\nWORKDIR $P/deep\nRUN ls > list\nENV P=/u\nCOPY tree $P\n",
    "FROM base AS a\nRUN mkdir /o && echo a > /o/a\nFROM scratch\nCOPY --from=a /o /\nCOPY one /o\n",
    "FROM base AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b\nFROM a\nCOPY --from=b /b /c\n\
     RUN cat /a /c > /d\n",
    "FROM base\nRUN mkdir /x && chmod 1777 /x\nCOPY tree /x\nRUN chown -R 5:6 /x\n",
    "FROM base\nONBUILD COPY one /\nCOPY two /\nRUN touch /done\n",
    // What is there already, just as it is.
    "FROM scratch\nCOPY tree /t\nCOPY tree /t\nCOPY . /t\n",
    "FROM base\nCOPY tree /t\nRUN echo a > /a\nCOPY tree /t\nRUN cat /a > /b\n",
    "FROM base\nRUN echo a > /a\nRUN touch /a\nCOPY --chown=1 one /a\nCOPY --chown=1 one /a\n",
];

#[test]
fn every_image_is_the_one_that_is_built_without_a_cache() {
    skip_unless_available!();
    let tables = [&DOCKERFILES[..DOCKERFILES.len() / 2], &DOCKERFILES[DOCKERFILES.len() / 2..]];
    std::thread::scope(|scope| {
        for table in tables {
            scope.spawn(move || {
                // Keys are found out early where a shared directory remembers them, else late.
                for (number, dockerfile) in table.iter().enumerate() {
                    check(dockerfile, if number % 2 == 0 { build } else { forgetful });
                }
            });
        }
    });
}

fn check(dockerfile: &str, build: fn(&Path) -> Build) {
    let context = context(dockerfile);
    let context = context.path();
    let (_, expected) = ran(build(context), context, &[]);
    let cache = Cache::new();
    let (text, digest) = cache.run(build(context), context);
    assert_eq!(digest, expected, "cold: {dockerfile}\n{text}");
    assert_eq!(hits(&text), 0, "cold: {dockerfile}\n{text}");
    let entries = cache.entries();
    let (text, digest) = cache.run(build(context), context);
    assert_eq!(digest, expected, "warm: {dockerfile}\n{text}");
    assert_eq!((hits(&text), misses(&text)), (entries.len(), 0), "warm: {dockerfile}\n{text}");
    assert_eq!(count(&text, "Taking snapshot"), 0, "warm: {dockerfile}\n{text}");
    for (name, at) in [("first", 0), ("middle", entries.len() / 2), ("last", entries.len() - 1)] {
        fs::remove_file(&entries[at]).unwrap();
        cache.forget_builds();
        let (text, digest) = cache.run(build(context), context);
        assert_eq!(digest, expected, "{name} is missing: {dockerfile}\n{text}");
        assert!(misses(&text) > 0, "{name} is missing: {dockerfile}\n{text}");
        assert_eq!(warnings(&text), [""; 0], "{name} is missing: {dockerfile}");
        assert!(entries[at].exists(), "{name} is there again");
    }
    // Without the list of what the last build had, and without the entries that it lists.
    cache.forget_builds();
    let (text, _) = cache.run(build(context), context);
    assert_eq!((hits(&text), misses(&text)), (entries.len(), 0), "{dockerfile}\n{text}");
    entries.iter().for_each(|entry| fs::remove_file(entry).unwrap());
    let (text, digest) = cache.run(build(context), context);
    assert_eq!(digest, expected, "listed alone: {dockerfile}\n{text}");
    assert_eq!((hits(&text), misses(&text)), (entries.len(), 0), "{dockerfile}\n{text}");
    // With kaniko's defaults, where what is copied is copied each time.
    let (text, digest) = ran(build(context), context, &["--cache", &cache.flag()]);
    assert_eq!(digest, expected, "commands alone: {dockerfile}\n{text}");
    assert_eq!(misses(&text), 0, "commands alone: {dockerfile}\n{text}");
}

#[test]
fn what_is_below_is_known_without_its_bytes() {
    skip_unless_available!();
    let once = "FROM scratch\nCOPY --chmod=640 tree /t\n";
    let twice = "FROM scratch\nCOPY --chmod=640 tree /t\nCOPY --chmod=640 tree /t\n";
    let other = "FROM scratch\nCOPY --chmod=640 tree /t\nCOPY --chmod=640 two /t/a\n";
    let context = context(once);
    let path = context.path();
    let plain = |flags: &[&str]| {
        let layout = path.with_extension("layout");
        let to = format!("--oci-layout-path={}", layout.display());
        let text = Build::of(path)
            .args([shared(path).as_str(), "--no-push", "--destination=i:v1", &to])
            .args(flags.iter().copied())
            .succeed()
            .text();
        let layers = layers_of(&layout);
        fs::remove_dir_all(&layout).unwrap();
        (text, layers)
    };
    for times in ["--reproducible", "--reproducible=false"] {
        let cache = Cache::new();
        let flag = cache.flag();
        let with = [times, "--cache", "--cache-copy-layers", &flag];
        plain(&with);
        for (dockerfile, layer_count) in [(twice, 1), (other, 2)] {
            fs::write(path.join("Dockerfile"), dockerfile).unwrap();
            let (_, expected) = plain(&[times]);
            assert_eq!(expected.len(), layer_count, "{times}: {dockerfile}");
            let (text, layers) = plain(&with);
            assert_eq!((hits(&text), misses(&text)), (1, 1), "{times}: {dockerfile}\n{text}");
            assert_eq!(layers.len(), layer_count, "{times}: {dockerfile}\n{text}");
            if times == "--reproducible" {
                assert_eq!(layers, expected, "{dockerfile}\n{text}");
            }
            // What is there is compared by what is kept of it.
            assert_eq!(count(&text, "Unpacking rootfs"), 0, "{times}: {dockerfile}\n{text}");
        }
        fs::write(path.join("Dockerfile"), once).unwrap();
    }
}

/// Returns the digests of the layers of the image in a layout.
pub(super) fn layers_of(layout: &Path) -> Vec<String> {
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.join(name)).unwrap()).unwrap()
    };
    let index = read("index.json");
    let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = read(&format!("blobs/{digest}"));
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn another_checkout_hits() {
    skip_unless_available!();
    for dockerfile in [
        "FROM base\nCOPY . /all\nRUN find /all | sort > /list\n",
        "FROM base\nRUN --mount=target=/m,source=tree find /m | sort > /list\nADD tree/ users /d/\n",
        "FROM base AS one\nCOPY --chmod=600 one two /\nFROM scratch\nCOPY --from=one /one /\n\
         COPY --chown=7 t*e /t\n",
    ] {
        let ours = context(dockerfile);
        fs::hard_link(ours.path().join("one"), ours.path().join("tree/one")).unwrap();
        let cache = Cache::new();
        let (_, expected) = cache.build(ours.path());
        let entry_count = cache.entries().len();
        // On another machine: made in another order, with other inodes, owners and times.
        let theirs = tempfile::tempdir().unwrap();
        copy_backwards(ours.path(), theirs.path());
        fs::remove_file(theirs.path().join("tree/one")).unwrap();
        fs::hard_link(theirs.path().join("one"), theirs.path().join("tree/one")).unwrap();
        for checkout in [ours.path(), theirs.path()] {
            check_out_again(checkout);
            let (text, digest) = cache.build(checkout);
            assert_eq!((hits(&text), misses(&text)), (entry_count, 0), "{dockerfile}\n{text}");
            assert_eq!(digest, expected, "{dockerfile}\n{text}");
        }
    }
}

/// Copies what is in a directory, the last name first.
fn copy_backwards(from: &Path, to: &Path) {
    let mut names: Vec<_> =
        fs::read_dir(from).unwrap().map(|one| one.unwrap().file_name()).collect();
    names.sort();
    for name in names.into_iter().rev() {
        let (from, to) = (from.join(&name), to.join(&name));
        let metadata = fs::symlink_metadata(&from).unwrap();
        if metadata.is_symlink() {
            symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if metadata.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_backwards(&from, &to);
            fs::set_permissions(&to, metadata.permissions()).unwrap();
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn whatever_is_different_misses() {
    skip_unless_available!();
    let dockerfile = "FROM base\nARG A=1\nCOPY tree /t\nRUN echo $A > /a\n";
    let context = context(dockerfile);
    let path = context.path();
    let tree = path.join("tree");
    let cache = Cache::new();
    cache.build(path);
    let changes: &[(&str, &dyn Fn())] = &[
        ("content", &|| fs::write(tree.join("a"), "b").unwrap()),
        ("name", &|| fs::rename(tree.join("a"), tree.join("c")).unwrap()),
        ("link", &|| {
            fs::remove_file(tree.join("link")).unwrap();
            symlink("c", tree.join("link")).unwrap();
        }),
        ("mode", &|| {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(tree.join("c"), mode).unwrap();
        }),
        ("empty directory", &|| fs::create_dir(tree.join("more")).unwrap()),
        ("kind", &|| {
            fs::remove_dir(tree.join("more")).unwrap();
            fs::write(tree.join("more"), "").unwrap();
        }),
        ("hard link", &|| {
            fs::remove_file(tree.join("more")).unwrap();
            fs::hard_link(tree.join("c"), tree.join("more")).unwrap();
        }),
    ];
    for (name, change) in changes {
        change();
        let (text, digest) = cache.build(path);
        assert_eq!((hits(&text), misses(&text)), (0, 2), "{name}\n{text}");
        assert_eq!(digest, built(path, &[]).1, "{name}");
        let (text, again) = cache.build(path);
        assert_eq!((hits(&text), misses(&text), again), (2, 0, digest), "{name}\n{text}");
    }
    let other = |argument: &str| {
        built(path, &["--cache", "--cache-copy-layers", &cache.flag(), argument]).0
    };
    let text = other("--build-arg=A=2");
    assert_eq!((hits(&text), misses(&text)), (1, 1), "{text}");
    let text = other("--ignore-path=/t/deep");
    assert_eq!((hits(&text), misses(&text)), (0, 2), "{text}");
    let text = other("--compression=zstd");
    assert_eq!((hits(&text), misses(&text)), (0, 2), "{text}");
    // What touches no file does not count.
    let text = other("--label=a=b");
    assert_eq!((hits(&text), misses(&text)), (2, 0), "{text}");
}

#[test]
fn flags_say_what_is_cached() {
    skip_unless_available!();
    let context = context("FROM base\nCOPY one /one\nRUN echo a > /a\n");
    let path = context.path();
    let cache = Cache::new();
    let flag = cache.flag();
    let with = |arguments: &[&str]| {
        let all = [&["--cache", flag.as_str()], arguments].concat();
        let text = built(path, &all).0;
        (hits(&text), misses(&text))
    };
    assert_eq!(with(&["--no-push-cache"]), (0, 1));
    assert!(!cache.path().exists(), "nothing was stored");
    assert_eq!(with(&["--cache-run-layers=false"]), (0, 0));
    assert_eq!(with(&[]), (0, 1));
    assert_eq!(with(&["--no-push-cache"]), (1, 0));
    // What follows a copy that is missing can still be had.
    assert_eq!(with(&["--cache-copy-layers"]), (1, 1));
    assert_eq!(with(&["--cache-copy-layers"]), (2, 0));
    assert_eq!(with(&["--cache-copy-layers", "--cache-run-layers=false"]), (1, 0));
    let text = built(path, &["--cache", &flag, "--cache-ttl=1ns"]).0;
    assert_eq!((count(&text, "Cache entry expired: "), misses(&text)), (1, 1), "{text}");
}

#[test]
fn what_is_copied_from_a_stage_is_cached_with_commands() {
    skip_unless_available!();
    let dockerfile =
        "FROM base AS one\nRUN echo a > /a\nFROM scratch\nCOPY --from=one /a /a\nCOPY one /one\n";
    let context = context(dockerfile);
    let path = context.path();
    let (_, expected) = built(path, &[]);
    let cache = Cache::new();
    let flag = cache.flag();
    let (_, digest) = built(path, &["--cache", &flag]);
    assert_eq!(digest, expected);
    let (text, digest) = built(path, &["--cache", &flag]);
    assert_eq!((hits(&text), misses(&text), digest), (2, 0, expected), "{text}");
    // So the stage is neither run nor unpacked.
    assert_eq!(count(&text, "Unpacking rootfs"), 0, "{text}");
    let (text, _) = built(path, &["--cache", &flag, "--cache-run-layers=false"]);
    assert_eq!((hits(&text), misses(&text)), (0, 0), "{text}");
}

#[test]
fn proxies_that_are_not_declared_do_not_count() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo $http_proxy > /a\n");
    let path = context.path();
    let cache = Cache::new();
    let flag = cache.flag();
    let with = |proxy: &str| {
        let argument = format!("--build-arg=http_proxy=http://{proxy}");
        built(path, &["--cache", &flag, &argument])
    };
    let (_, first) = with("one");
    let (text, second) = with("two");
    assert_eq!((hits(&text), misses(&text), second), (1, 0, first), "{text}");
}

#[test]
fn what_is_mounted_is_taken_by_its_name() {
    skip_unless_available!();
    let context = context("FROM base\nRUN --mount=source=t[r]ee,target=/m cat /m/a > /a\n");
    let path = context.path();
    let mounted = path.join("t[r]ee");
    fs::create_dir(&mounted).unwrap();
    fs::write(mounted.join("a"), "mounted").unwrap();
    let cache = Cache::new();
    let check = |counts: (usize, usize)| {
        let (text, digest) = cache.build(path);
        assert_eq!((hits(&text), misses(&text)), counts, "{text}");
        assert_eq!(digest, built(path, &[]).1, "{text}");
    };
    check((0, 1));
    check((1, 0));
    // What a pattern of that name means is nothing to it.
    fs::write(path.join("tree/a"), "other").unwrap();
    check((1, 0));
    fs::write(mounted.join("a"), "changed").unwrap();
    check((0, 1));
    // A command sees also what the directory itself is like.
    fs::set_permissions(&mounted, fs::Permissions::from_mode(0o711)).unwrap();
    check((0, 1));
}
