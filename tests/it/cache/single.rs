//! `--single-snapshot`: the one layer of a stage.

use super::images::DOCKERFILES;
use super::*;
use crate::skip_unless_available;

const FLAGS: [&str; 3] = ["--single-snapshot", "--cache", "--cache-copy-layers"];

fn single(context: &Path, cache: &Cache, flags: &[&str]) -> (String, String) {
    built(context, &[flags, &["--single-snapshot", "--cache", &cache.flag()]].concat())
}

#[test]
fn every_image_is_the_one_of_a_single_snapshot_without_a_cache() {
    skip_unless_available!();
    let tables = DOCKERFILES.split_at(DOCKERFILES.len() / 2);
    std::thread::scope(|scope| {
        for table in [tables.0, tables.1] {
            scope.spawn(move || table.iter().for_each(|dockerfile| check(dockerfile)));
        }
    });
}

fn check(dockerfile: &str) {
    let context = context(dockerfile);
    let path = context.path();
    let (_, expected) = built(path, &["--single-snapshot"]);
    let cache = Cache::new();
    let flag = cache.flag();
    let with = || built(path, &[&FLAGS[..], &[flag.as_str()]].concat());
    let (text, digest) = with();
    assert_eq!(digest, expected, "cold: {dockerfile}\n{text}");
    assert_eq!((hits(&text), warnings(&text).len()), (0, 0), "cold: {dockerfile}\n{text}");
    let entries = cache.entries();
    let (text, digest) = with();
    assert_eq!(digest, expected, "warm: {dockerfile}\n{text}");
    assert_eq!((hits(&text), misses(&text)), (entries.len(), 0), "warm: {dockerfile}\n{text}");
    assert_eq!(count(&text, "Taking snapshot"), 0, "warm: {dockerfile}\n{text}");
    for entry in [0, entries.len() - 1] {
        fs::remove_file(&entries[entry]).unwrap();
        cache.forget_builds();
        let (text, digest) = with();
        assert_eq!(digest, expected, "{entry} is missing: {dockerfile}\n{text}");
        assert!(misses(&text) > 0, "{entry} is missing: {dockerfile}\n{text}");
        assert!(entries[entry].exists(), "{entry} is there again");
    }
    // With kaniko's defaults.
    let (text, digest) = single(path, &cache, &[]);
    assert_eq!(digest, expected, "commands alone: {dockerfile}\n{text}");
    assert_eq!(misses(&text), 0, "commands alone: {dockerfile}\n{text}");
}

#[test]
fn any_step_of_a_stage_counts_and_no_other_mode_takes_its_layer() {
    skip_unless_available!();
    let dockerfile = "FROM base\nCOPY one /one\nRUN cat /one > /two\nLABEL a=b\n";
    let context = context(dockerfile);
    let path = context.path();
    let cache = Cache::new();
    let check = |flags: &[&str], counts: (usize, usize)| {
        let (text, digest) = single(path, &cache, flags);
        assert_eq!((hits(&text), misses(&text)), counts, "{text}");
        assert_eq!(digest, built(path, &["--single-snapshot"]).1, "{text}");
    };
    check(&[], (0, 1));
    check(&[], (1, 0));
    check(&["--cache-run-layers=false"], (0, 0));
    // One layer for each step is something else.
    let (text, digest) = cache.build(path);
    assert_eq!((hits(&text), misses(&text)), (0, 2), "{text}");
    assert_eq!(digest, built(path, &[]).1);
    check(&[], (1, 0));
    fs::write(path.join("one"), "other").unwrap();
    let (text, _) = single(path, &cache, &["--no-push-cache"]);
    assert!(text.contains("because=\"`one` changed"), "{text}");
    check(&[], (0, 1));
    check(&[], (1, 0));
    // What changes the config alone does not.
    fs::write(path.join("Dockerfile"), dockerfile.replace("a=b", "a=c")).unwrap();
    check(&[], (1, 0));
    fs::write(path.join("Dockerfile"), dockerfile.replace("/two", "/three")).unwrap();
    check(&[], (0, 1));
}
