//! What changed of a COPY, on top of the layers of the build before: the files are those of a layer of
//! all of it.

use super::changing;
use super::images::layers_of;
use super::*;
use crate::regsim::RegSim;
use crate::skip_unless_available;
use crate::tree::tree;
use crate::witness::harness::{unpack_layout, validate_layout};

const FLAGS: [&str; 3] = ["--cache", "--cache-copy-layers", "--cache-copy-delta"];

/// Bytes that no compression makes fewer.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// An image in a layout, and what the build of it said.
struct Image {
    text: String,
    layers: Vec<String>,
    /// Its files, without times.
    files: Vec<String>,
}

fn image(context: &Path, flags: &[&str]) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let (layout, rootfs) = (folder.path().join("layout"), folder.path().join("rootfs"));
    let (text, layers) = layers(context, flags, &layout);
    validate_layout(&layout);
    unpack_layout(&format!("{}:v1", layout.display()), &rootfs);
    let without_time = |line: String| {
        let words = line.split(' ').enumerate().filter(|(place, _)| *place != 3);
        words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
    };
    let files = tree(&rootfs).into_iter().map(without_time).collect();
    Image { text, layers, files }
}

/// Builds into a layout, and returns what was said and the layers.
fn layers(context: &Path, flags: &[&str], layout: &Path) -> (String, Vec<String>) {
    _ = fs::remove_dir_all(layout);
    let text = Build::of(context)
        .base("base", "busybox")
        .args([shared(context).as_str(), "--no-push", "--destination=i:v1"])
        .arg(format!("--oci-layout-path={}", layout.display()))
        .args(flags.iter().copied())
        .succeed()
        .text();
    (text, layers_of(layout))
}

fn goes_on(text: &str) -> bool {
    count(text, "Going on from layers of the last build") > 0
}

/// What is done to a context between two builds.
type Edit = (&'static str, fn(&Path));

const EDITS: &[Edit] = &[
    ("content", |path| fs::write(path.join("tree/a"), "other").unwrap()),
    ("a new file", |path| fs::write(path.join("tree/deep/new"), "new").unwrap()),
    ("a file is gone", |path| fs::remove_file(path.join("tree/deep/er/b")).unwrap()),
    ("mode", |path| {
        fs::set_permissions(path.join("one"), fs::Permissions::from_mode(0o700)).unwrap();
    }),
    ("a directory is a file", |path| {
        fs::remove_dir_all(path.join("tree/etc")).unwrap();
        fs::write(path.join("tree/etc"), "no directory").unwrap();
    }),
    ("a file is a directory", |path| {
        fs::remove_file(path.join("two")).unwrap();
        fs::create_dir(path.join("two")).unwrap();
        fs::write(path.join("two/inside"), "2").unwrap();
    }),
    ("a link leads elsewhere", |path| {
        fs::remove_file(path.join("tree/link")).unwrap();
        symlink("deep", path.join("tree/link")).unwrap();
    }),
    ("a second name", |path| fs::hard_link(path.join("one"), path.join("tree/one")).unwrap()),
    ("a third name, and two of another", |path| {
        fs::hard_link(path.join("one"), path.join("tree/hollow/one")).unwrap();
        fs::hard_link(path.join("run.sh"), path.join("tree/run.sh")).unwrap();
    }),
    ("no names any more", |path| {
        let content = fs::read(path.join("one")).unwrap();
        fs::remove_file(path.join("tree/one")).unwrap();
        fs::write(path.join("tree/one"), content).unwrap();
        fs::set_permissions(path.join("tree/one"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(path.join("tree/hollow/one")).unwrap();
    }),
    ("a directory's mode", |path| {
        fs::set_permissions(path.join("tree/deep"), fs::Permissions::from_mode(0o710)).unwrap();
    }),
    ("a directory's name", |path| {
        fs::rename(path.join("tree/deep"), path.join("tree/shallow")).unwrap();
    }),
    ("a file is a directory again", |path| {
        fs::remove_file(path.join("tree/etc")).unwrap();
        fs::create_dir_all(path.join("tree/etc/more")).unwrap();
        fs::remove_file(path.join("tree/link")).unwrap();
        fs::create_dir(path.join("tree/link")).unwrap();
        fs::remove_dir(path.join("tree/hollow")).unwrap();
        symlink("shallow", path.join("tree/hollow")).unwrap();
    }),
];

/// Dockerfiles whose first COPY changes, and how many layers there are beside its own.
const DOCKERFILES: &[(&str, usize)] = &[
    ("FROM base\nCOPY . /bin/\n", 1),
    ("FROM base\nCOPY --chown=3:4 . /a\nRUN find /a | sort > /list\n", 2),
    ("FROM base\nWORKDIR /w\nADD tree one two* noise run.sh ./\nCOPY users /\n", 3),
];

#[test]
fn files_are_those_of_a_whole_layer() {
    skip_unless_available!();
    std::thread::scope(|scope| {
        for (dockerfile, others) in DOCKERFILES {
            scope.spawn(|| check(dockerfile, *others));
        }
    });
}

fn check(dockerfile: &str, others: usize) {
    let context = context(dockerfile);
    let path = context.path();
    fs::write(path.join("noise"), noise(1, 200_000)).unwrap();
    let cache = Cache::new();
    let flag = cache.flag();
    let with = [FLAGS.as_slice(), &[flag.as_str()]].concat();
    image(path, &with);
    let (mut layer_count, mut went_on) = (1, 0);
    for (name, edit) in EDITS {
        edit(path);
        let expected = image(path, &[]);
        let found = image(path, &with);
        assert_eq!(found.files, expected.files, "{dockerfile}: {name}\n{}", found.text);
        // Every edit is a small part of it, but at some time there are layers enough.
        let is_more = goes_on(&found.text);
        layer_count = if is_more { layer_count + 1 } else { 1 };
        went_on += usize::from(is_more);
        assert!(layer_count <= 9, "{dockerfile}: {name}\n{}", found.text);
        let its = found.layers.len() - others;
        assert!(its <= layer_count, "{dockerfile}: {name}: {its}\n{}", found.text);
        // And each state can be had again.
        let (text, layers) = layers(path, &with, &path.with_extension("again"));
        assert_eq!(misses(&text), 0, "{dockerfile}: {name}\n{text}");
        assert_eq!(layers, found.layers, "{dockerfile}: {name}\n{text}");
        layer_count = its;
    }
    assert!(went_on >= EDITS.len() - 3, "{dockerfile}: {went_on}");
    // Without the flag all of it is one layer.
    fs::write(path.join("tree/a"), "last").unwrap();
    let whole = image(path, &["--cache", "--cache-copy-layers", &flag]);
    assert!(!goes_on(&whole.text), "{}", whole.text);
    assert_eq!(whole.layers.len(), others + 1, "{}", whole.text);
}

#[test]
fn what_is_not_the_same_step_is_written_whole() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo a > /a\nCOPY . /all\n");
    let path = context.path();
    fs::write(path.join("noise"), noise(2, 100_000)).unwrap();
    let cache = Cache::new();
    let flag = cache.flag();
    let with = [FLAGS.as_slice(), &[flag.as_str()]].concat();
    image(path, &with);
    for dockerfile in [
        "FROM base\nRUN echo b > /a\nCOPY . /all\n",
        "FROM base\nRUN echo b > /a\nCOPY . /other\n",
        "FROM base\nRUN echo b > /a\nCOPY --chmod=700 . /other\n",
        "FROM base\nRUN echo b > /a\nCOPY tree . /other/\n",
    ] {
        // The files are other ones too: the Dockerfile is among them.
        fs::write(path.join("Dockerfile"), dockerfile).unwrap();
        let found = image(path, &with);
        assert!(!goes_on(&found.text), "{dockerfile}\n{}", found.text);
        fs::write(path.join("one"), dockerfile).unwrap();
        let found = image(path, &with);
        assert!(goes_on(&found.text), "{dockerfile}\n{}", found.text);
    }
    // What is below it was made anew, and may have other files.
    let entries = cache.entries();
    fs::remove_file(&entries[0]).unwrap();
    fs::write(path.join("one"), "last").unwrap();
    let expected = image(path, &[]);
    let found = image(path, &with);
    assert_eq!(found.files, expected.files, "{}", found.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_sent_for_a_little_change() {
    skip_unless_available!();
    const CHANGED_BYTES: usize = 30_000;
    let context = context("FROM base\nCOPY . /all\nENV A=b\n");
    let path = context.path();
    for number in 0..200_u64 {
        let file = path.join(format!("files/{}/{number}", number % 10));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, noise(number, 4_000)).unwrap();
    }
    let sim = RegSim::start().await;
    let push = async || {
        let to = format!("--destination={}/app:v1", sim.host());
        let build = Build::of(path)
            .base("base", "busybox")
            .args(["--insecure", "--skip-push-permission-check"])
            .args([shared(path).as_str(), &to])
            .args(FLAGS);
        let before = sim.requests().len();
        let built = tokio::task::spawn_blocking(move || build.run()).await.unwrap();
        assert!(built.output.status.success(), "{}\n{:#?}", built.text(), sim.log());
        let requests = sim.requests().into_iter().skip(before);
        let sent: u64 = requests.map(|request| request.body).sum();
        (built.text(), sent, sim.log().split_off(before))
    };
    let manifest =
        || -> Value { serde_json::from_slice(&sim.manifest("app", "v1").unwrap()).unwrap() };
    let (text, whole, _) = push().await;
    assert!(whole > 800_000 && !goes_on(&text), "{whole}\n{text}");
    let first = manifest()["layers"][1]["digest"].clone();
    for round in 1..=3 {
        fs::write(path.join("files/3/13"), noise(1_000 + round, CHANGED_BYTES)).unwrap();
        let (text, sent, log) = push().await;
        assert!(goes_on(&text), "{text}");
        // Documents, the config twice, what changed once: mounted into the cache.
        assert!(sent <= 2 * CHANGED_BYTES as u64 + (16 << 10), "{sent}\n{log:#?}");
        let manifest = manifest();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!((layers.len(), &layers[1]["digest"]), (2 + round as usize, &first), "{text}");
        let fetched = |line: &&String| {
            layers.iter().any(|layer| line.contains(layer["digest"].as_str().unwrap()))
                && line.starts_with("GET")
        };
        assert_eq!(log.iter().find(fetched), None, "{log:#?}");
        let config = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
        let config = sim.blob("app", &config).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let history = config["history"].as_array().unwrap().iter();
        let copies: Vec<&Value> =
            history.filter(|one| one["created_by"].as_str().unwrap().contains("COPY")).collect();
        assert_eq!(copies.len(), 1 + round as usize, "{config:#}");
        assert!(copies.iter().all(|one| one["empty_layer"] != true), "{config:#}");
        let texts: std::collections::BTreeSet<&str> =
            copies.iter().map(|one| one["created_by"].as_str().unwrap()).collect();
        assert_eq!(texts.len(), 1, "{config:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_layers_say_is_fetched_by_none_who_has_it() {
    skip_unless_available!();
    let context = context("FROM base\nCOPY . /all\n");
    let path = context.path();
    fs::write(path.join("noise"), noise(3, 100_000)).unwrap();
    let sim = RegSim::start().await;
    let mut round = 0;
    // Builds another state of the files; returns how many blobs of the cache were fetched.
    let mut fetched = async |directory: &Path| {
        round += 1;
        fs::write(path.join("one"), format!("{round}")).unwrap();
        let build = Build::of(path)
            .base("base", "busybox")
            .args(["--insecure", "--skip-push-permission-check"])
            .arg(format!("--cache-dir={}", directory.display()))
            .arg(format!("--destination={}/app:v1", sim.host()))
            .args(FLAGS);
        let before = sim.requests().len();
        let text = tokio::task::spawn_blocking(move || build.succeed()).await.unwrap().text();
        assert_eq!(goes_on(&text), round > 1, "{text}");
        let log = sim.log().split_off(before);
        let of_cache = |line: &&String| line.starts_with("GET /v2/app/cache/blobs/");
        log.iter().filter(of_cache).count()
    };
    let (warm, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (warm, other) = (warm.path(), other.path());
    // What steps were made of, from the second build on: what the layers say is there since they
    // were made.
    assert_eq!((fetched(warm).await, fetched(warm).await, fetched(warm).await), (0, 1, 1));
    // Elsewhere that of the three layers is fetched, and kept.
    assert_eq!((fetched(other).await, fetched(other).await), (1 + 3, 1));
    // What one made, the other lacks.
    assert_eq!((fetched(warm).await, fetched(warm).await), (1 + 2, 1));
    // What is not what it is named by is fetched anew: of seven layers.
    for entry in fs::read_dir(warm.join("zuwai/headers")).unwrap() {
        let file = entry.unwrap().path();
        let mut content = fs::read(&file).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&file, content).unwrap();
    }
    assert_eq!((fetched(warm).await, fetched(warm).await), (1 + 7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_copied_is_written_whole() {
    skip_unless_available!();
    for step in ["COPY one /one", "RUN cat /t/a"] {
        let context = context(&format!("FROM base\nCOPY tree /t\n{step}\n"));
        let path = context.path();
        fs::write(path.join("tree/large"), noise(1, 5000)).unwrap();
        let sim = RegSim::start().await;
        let build = || {
            Build::of(path)
                .base("base", "busybox")
                .args(["--insecure", "--skip-push-permission-check", &shared(path)])
                .arg(format!("--destination={}/app:v1", sim.host()))
                .args(FLAGS)
        };
        let first = build();
        tokio::task::spawn_blocking(move || first.succeed()).await.unwrap();
        let change = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        change("tree/a", "other");
        let second = build();
        let text = tokio::task::spawn_blocking(move || second.succeed()).await.unwrap().text();
        assert!(goes_on(&text), "{step}\n{text}");
        change("tree/a", "yet another");
        let text = changing::over(&sim, build(), || change("tree/deep/er/b", "now")).await;
        assert!(!goes_on(&text), "{step}\n{text}");
        assert!(text.contains("`tree/deep/er/b` changed after it was read"), "{step}\n{text}");
    }
}
