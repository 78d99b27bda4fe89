//! Trees upon trees: what the layer cache has of the commands above a base is unpacked once, too.

use super::*;

/// What layers above the base do to what they lie upon, and to what is between; COPY is cached too.
const LAYERS: &[&str] = &[
    "RUN rm /links/one && echo more >> /links/two && ln /links/two /links/four\nRUN chmod 600 /links/in/three\n",
    "RUN rm /links/one /links/two\nRUN ln /links/in/three /links/one && chown 5:6 /links/one\n",
    "RUN rm -r /gone /dir/deep && rm /mode\nRUN mkdir -p /gone/other && echo x > /gone/other/y\n",
    "RUN rm -r /dir && mkdir -p /dir/deep && echo new > /dir/deep/other\nRUN echo newer > /dir/file\n",
    "RUN rm -r /swap && ln -s moved /swap && rm -r /moved && mkdir -p /moved/deep\nRUN touch /swap/x\n",
    "RUN ln -sfn /swap/one /now\nRUN ln -sfn /swap/two /now && rm -r /swap/one && ln -s two /swap/one\n",
    "RUN mv /swap/one /swap/x && mv /swap/two /swap/one && mv /swap/x /swap/two\nRUN mv /moved /elsewhere\n",
    "RUN chmod 6755 /setuid && chown 5:6 /owner && chmod u+s /owner\nRUN chown 7 /setuid /owner\n",
    "RUN mv /dangling /d2 && ln -s /mode /dangling && rm /pipe && mkdir /pipe && mkfifo /pipe/p\n",
    "COPY one /marked\nRUN chmod 700 /marked && ln /marked /marked2\nRUN echo >> /marked2\n",
    "COPY two /two\nCOPY one /dir/marked\nRUN rm /two\nRUN chmod 500 /dir/marked /dir\n",
    "WORKDIR /app/deep\nRUN touch a && ln a b\nRUN ln b c && rm a\nRUN rm b && mkdir b && ln c b/c\n",
    "COPY tree /moved/deep\nRUN rm -r /moved/deep/deep && mkdir /moved/deep/deep\nCOPY tree /moved/deep\n",
    "RUN echo x >> /sparse && cp /sparse /sparse2 && rm /sparse\nRUN mv /sparse2 /sparse\n",
    "RUN true\nRUN echo one > /new\nRUN rm /new\nRUN mkdir /new && touch -d 2001-01-01 /new /gone\n",
    "RUN chmod 711 / && touch -d 2001-01-01 /\nRUN echo > /top\n",
];

impl Trees {
    fn count(&self) -> usize {
        fs::read_dir(self.shared.path().join("zuwai/trees")).unwrap().count()
    }

    /// Returns the trees that lie upon others.
    fn upon(&self) -> Vec<PathBuf> {
        let folder = self.shared.path().join("zuwai/trees");
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.join("below").exists()).collect()
    }

    /// Builds with everything kept, and returns what was said, the digest, and how many times
    /// something was pulled or unpacked.
    fn cached(&self, cache: &Cache, context: &Path, arguments: &[&str]) -> (String, String, usize) {
        let record = context.with_extension("json");
        let (shared, flag, record_flag) =
            (self.flag(), cache.flag(), format!("--benchmark-file={}", record.display()));
        let always = ["--cache", "--cache-copy-layers", &shared, &flag, &record_flag];
        let (text, digest) = self.build(context, &[&always[..], arguments].concat());
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        let length = |name: &str| record[name].as_array().unwrap().len();
        (text, digest, length("unpacks") + length("pulls"))
    }
}

/// Looks at everything that a layer could have wrong.
fn look(number: usize) -> String {
    format!(
        "RUN echo {number} > /number; all=$(find / -xdev | sort); \
            about=$(find /links /setuid /owner /mode /marked* /app ! -type d \
                -exec stat -c '%n %a %u:%g %h' {{}} + 2> /dev/null | sort); \
            echo \"$all\" > /all; echo \"$about\" > /about; \
            for name in /links /marked /app; do chmod -R u+w $name; done; \
            for name in /links/* /marked2 /app/deep/c /dir/file; do echo {number} >> $name; done; true\n"
    )
}

fn write_dockerfile(context: &Path, text: &str) {
    fs::write(context.join("Dockerfile"), text).unwrap();
}

fn with_attribute(dockerfile: &str) -> TempDir {
    let context = context(dockerfile);
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(context.path().join("one"), "user.mark", b"marked", flags).unwrap();
    context
}

#[test]
fn cached_layers_are_unpacked_once() {
    skip_unless_available!();
    let trees = Trees::new();
    let cache = Cache::new();
    for layers in LAYERS {
        let from = format!("FROM odd\n{layers}");
        let context = with_attribute(&from);
        let path = context.path();
        trees.cached(&cache, path, &[]);
        write_dockerfile(path, &format!("{from}{}COPY two /last\n", look(0)));
        let (_, expected) = trees.build(path, &[]);
        // The first one finds the layers in the cache, the others a tree of them.
        let ways = [&[][..], &[], &["--tracker=walk"], &["--tracker=content"]];
        for (number, way) in ways.iter().enumerate() {
            let (text, digest, work) =
                trees.cached(&cache, path, &[*way, &["--no-push-cache"]].concat());
            assert_eq!(digest, expected, "{layers} {way:?}\n{text}");
            assert_eq!(warnings(&text), [""; 0], "{layers}");
            assert_eq!((work == 0, used(&text)), (number > 0, 1), "{layers} {way:?}\n{text}");
            assert_eq!(hits(&text), layers.lines().count(), "{layers}");
        }
        assert_eq!(trees.drafts(), 0);
    }
    // One a Dockerfile, and that of the base.
    assert_eq!(trees.count(), LAYERS.len() + 1);
    assert_eq!(trees.upon().len(), LAYERS.len());
}

/// Steps that become cached one after the other make trees upon trees upon trees.
#[test]
fn trees_grow_upon_each_other() {
    skip_unless_available!();
    let trees = Trees::new();
    let cache = Cache::new();
    let context = with_attribute("");
    let path = context.path();
    let mut dockerfile = "FROM odd\n".to_owned();
    for (number, layers) in LAYERS.iter().enumerate().take(10) {
        write_dockerfile(path, &format!("{dockerfile}{}", look(number)));
        let (_, expected) = trees.build(path, &[]);
        for is_first in [true, false] {
            let (text, digest, work) = trees.cached(&cache, path, &["--no-push-cache"]);
            assert_eq!((&digest, warnings(&text)), (&expected, vec![]), "{dockerfile}\n{text}");
            assert_eq!(work == 0, !is_first, "{text}");
        }
        let apart = "RUN rm -rf /links /swap /moved /gone /dir /new /mode /now /elsewhere; \
            mkdir -p /links/in /gone /moved/deep /dir/deep /swap/one /swap/two; \
            touch /links/in/three /links/one /dangling /pipe /mode /owner /setuid\n";
        if number % 3 == 2 {
            dockerfile.push_str(apart);
        }
        let line = layers.lines().next().unwrap();
        let rest = if line.starts_with("RUN") { " || true\n" } else { "\n" };
        dockerfile.extend([line, rest]);
        if number % 3 == 0 {
            dockerfile.push_str("RUN ln /links/one /links/two 2> /dev/null; touch /links/two\n");
        }
        write_dockerfile(path, &dockerfile);
        let (_, expected) = trees.build(path, &[]);
        let (text, digest, _) = trees.cached(&cache, path, &[]);
        assert_eq!(digest, expected, "{dockerfile}\n{text}");
    }
    assert_eq!(trees.upon().len(), 9);
    assert_eq!(trees.drafts(), 0);
}

#[test]
fn a_tree_upon_another_that_is_not_what_it_was_is_not_used() {
    skip_unless_available!();
    let trees = Trees::new();
    let cache = Cache::new();
    let layers = "FROM odd\nRUN echo cached > /cached && rm /mode && rm -r /gone\n";
    let context = context(layers);
    let path = context.path();
    trees.cached(&cache, path, &[]);
    write_dockerfile(path, &format!("{layers}RUN ls / /links > /list\n"));
    let (_, expected) = trees.build(path, &[]);
    let build = || trees.cached(&cache, path, &["--no-push-cache"]);
    build();
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("content", |root| fs::write(root.join("cached"), "CACHED\n").unwrap()),
        ("added", |root| fs::write(root.join("added"), "").unwrap()),
        ("a mark of what is gone", |root| fs::remove_file(root.join("mode")).unwrap()),
        ("something in the place of such a mark", |root| {
            fs::remove_file(root.join("mode")).unwrap();
            fs::write(root.join("mode"), "mode\n").unwrap();
        }),
        ("all", |root| {
            fs::remove_dir_all(root).unwrap();
            fs::create_dir(root).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (text, digest, work) = build();
        assert_eq!((used(&text), work, &digest), (1, 0, &expected), "before {what}: {text}");
        let upon = trees.upon();
        damage(&upon[0].join("root"));
        let (text, digest, work) = build();
        // The one that it lay upon is as good as ever.
        assert_eq!((used(&text), work, &digest), (1, 1, &expected), "{what}: {text}");
        let said = warnings(&text);
        assert!(said.len() == 1 && said[0].contains("is not used, and removed"), "{what}: {text}");
    }
    // What is changed below shows.
    let base = || {
        let entries = fs::read_dir(trees.shared.path().join("zuwai/trees")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| !path.join("below").exists()).unwrap()
    };
    fs::write(base().join("root/owner"), "OWNER\n").unwrap();
    let (text, digest, _) = build();
    assert_eq!((used(&text), &digest, warnings(&text).len()), (0, &expected, 2), "{text}");
    let (text, digest, work) = build();
    assert_eq!((used(&text), work, &digest), (1, 0, &expected), "{text}");
    // What it lay upon is gone, and may be there again: that is another one.
    for _ in 0..2 {
        fs::remove_dir_all(base()).unwrap();
        let (text, digest, _) = build();
        assert_eq!((used(&text), &digest, warnings(&text)), (0, &expected, vec![]), "{text}");
        assert_eq!((trees.count(), trees.upon().len()), (2, 1));
    }
    let upon = trees.upon();
    let kept = trees.shared.path().join("kept");
    fs::rename(&upon[0], &kept).unwrap();
    fs::remove_dir_all(base()).unwrap();
    build();
    fs::remove_dir_all(&upon[0]).unwrap();
    fs::rename(&kept, &upon[0]).unwrap();
    let (text, digest, work) = build();
    assert_eq!((used(&text), work, &digest), (1, 1, &expected), "{text}");
    assert_eq!(warnings(&text), [""; 0]);
}

#[test]
fn trees_upon_others_are_listed_pruned_and_have_to_fit() {
    skip_unless_available!();
    let trees = Trees::new();
    let cache = Cache::new();
    let layers = "FROM odd\nRUN head -c 3000000 /dev/zero | tr '\\0' x > /large\n";
    let context = context(layers);
    let path = context.path();
    trees.cached(&cache, path, &[]);
    write_dockerfile(path, &format!("{layers}RUN wc -c /large > /size\n"));
    let (_, expected) = trees.build(path, &[]);
    let base_bytes: u64 = fs::read_to_string(trees.only().join("size")).unwrap().parse().unwrap();
    // Both together may take half of the room.
    let limit = format!("--cache-dir-limit={}", 2 * (base_bytes + 2_000_000));
    let (text, digest, _) = trees.cached(&cache, path, &["--no-push-cache", &limit]);
    assert_eq!((&digest, trees.count()), (&expected, 1), "{text}");
    trees.cached(&cache, path, &["--no-push-cache"]);
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zuwai"));
        let output = command.args(words).arg(trees.flag()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run(&["cache", "ls"]);
    let place = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        listed.lines().position(|line| line.starts_with("tree ") && line.ends_with(name)).unwrap()
    };
    let upon = trees.upon();
    let folder = trees.shared.path().join("zuwai/trees");
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let base = entries.find(|path| *path != upon[0]).unwrap();
    assert!(place(&upon[0]) < place(&base), "the one that goes first is the upper one:\n{listed}");
    // It goes with the one below in any case.
    fs::remove_dir_all(&base).unwrap();
    let pruned = run(&["cache", "prune", "--keep=1Ti"]);
    assert!(pruned.contains(upon[0].file_name().unwrap().to_str().unwrap()), "{pruned}");
    assert_eq!(trees.count(), 0);
    let (text, digest, _) = trees.cached(&cache, path, &["--no-push-cache"]);
    assert_eq!((used(&text), &digest, trees.count()), (0, &expected, 2), "{text}");
    run(&["cache", "prune"]);
    assert_eq!(trees.count(), 0);
}

#[test]
fn builds_beside_each_other_make_one_tree_upon_another() {
    skip_unless_available!();
    let trees = Trees::new();
    let cache = Cache::new();
    let layers = "FROM odd\nRUN echo cached >> /links/one && rm -r /gone\n";
    let first = context(layers);
    trees.cached(&cache, first.path(), &[]);
    fs::remove_dir_all(trees.only()).unwrap();
    let contexts: Vec<TempDir> = (0..4)
        .map(|number| context(&format!("{layers}RUN echo {number} >> /links/two\n")))
        .collect();
    let expected: Vec<String> =
        contexts.iter().map(|context| trees.build(context.path(), &[]).1).collect();
    std::thread::scope(|scope| {
        for (context, expected) in contexts.iter().zip(&expected) {
            let (trees, cache) = (&trees, &cache);
            scope.spawn(move || {
                for _ in 0..3 {
                    let (text, digest, _) =
                        trees.cached(cache, context.path(), &["--no-push-cache"]);
                    assert_eq!((digest, warnings(&text)), (expected.clone(), vec![]), "{text}");
                }
            });
        }
    });
    assert_eq!((trees.count(), trees.upon().len(), trees.drafts()), (2, 1, 0));
    let (_, _, work) = trees.cached(&cache, contexts[0].path(), &["--no-push-cache"]);
    assert_eq!(work, 0);
}
