//! A cache that is damaged, raced on, or not to be written to.

use super::*;
use crate::skip_unless_available;

const DOCKERFILE: &str = "FROM base AS one\nCOPY tree /t\nRUN head -c 40000 /bin/busybox > /a\n\
                          FROM base\nCOPY --from=one /a /a\nRUN cat /a /a > /b\nCOPY one /c\n";

/// Returns all files of a cache, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

#[test]
fn a_damaged_cache_gives_the_right_image_and_a_warning() {
    skip_unless_available!();
    let context = context(DOCKERFILE);
    let path = context.path();
    let (_, expected) = built(path, &[]);
    let cache = Cache::new();
    cache.build(path);
    let whole: Vec<(PathBuf, Vec<u8>)> = files(&cache.path())
        .into_iter()
        .map(|file| (file.clone(), fs::read(&file).unwrap()))
        .collect();
    let (flag, mut warned) = (cache.flag(), 0);
    let lists: Vec<_> = cache.documents().into_iter().filter(|(_, one)| is_list(one)).collect();
    for (number, (file, bytes)) in whole.iter().enumerate() {
        // What is listed for the whole build stands for entries that are damaged.
        if !lists.iter().any(|(list, _)| list == file) {
            cache.forget_builds();
        }
        let at = (number * 7919) % bytes.len();
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x11;
        let damages = [flipped, bytes[..at].to_vec()];
        for damaged in damages.into_iter().skip(number % 2).take(1) {
            fs::write(file, &damaged).unwrap();
            // Commands alone: what is copied is made anew, upon what is read from the cache.
            for flags in [&["--cache-copy-layers"][..], &[]] {
                let all = [&["--cache", "--no-push-cache", flag.as_str()], flags].concat();
                let (text, digest) = built(path, &all);
                assert_eq!(digest, expected, "{} at {at}\n{text}", file.display());
                warned += usize::from(!warnings(&text).is_empty());
            }
        }
        fs::write(file, bytes).unwrap();
        for (list, _) in &lists {
            let bytes = whole.iter().find(|(file, _)| file == list).map(|(_, bytes)| bytes);
            fs::write(list, bytes.unwrap()).unwrap();
        }
    }
    assert!(warned >= 8, "{warned} of {}", whole.len());
}

#[test]
fn swapped_entries_are_not_used() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo a > /a\nRUN echo b > /b\n");
    let path = context.path();
    let cache = Cache::new();
    let (_, expected) = cache.build(path);
    let entries = cache.entries();
    let bytes: Vec<Vec<u8>> = entries.iter().map(|entry| fs::read(entry).unwrap()).collect();
    fs::write(&entries[0], &bytes[1]).unwrap();
    fs::write(&entries[1], &bytes[0]).unwrap();
    cache.forget_builds();
    let (text, digest) = cache.build(path);
    assert_eq!((hits(&text), digest), (0, expected), "{text}");
    assert_eq!(warnings(&text).len(), 2, "{text}");
    let (text, _) = cache.build(path);
    assert_eq!((hits(&text), warnings(&text).len()), (2, 0), "it is right again\n{text}");
}

#[test]
fn what_two_builders_made_does_not_mix() {
    skip_unless_available!();
    // Each run of the command makes something else.
    let context = context(
        "FROM base\nRUN head -c 16 /dev/urandom > /a\nRUN cp /a /b\nRUN cmp /a /b && touch /same\n",
    );
    let path = context.path();
    let (first, second) = (Cache::new(), Cache::new());
    let (_, one) = first.build(path);
    let (_, two) = second.build(path);
    assert_ne!(one, two);
    // The cache that a race of both leaves: one's first entry, the other's second.
    let (entries, others) = (first.entries(), second.entries());
    fs::copy(&others[1], &entries[1]).unwrap();
    for blob in files(&second.path().join("blobs")) {
        fs::copy(&blob, first.path().join("blobs/sha256").join(blob.file_name().unwrap())).unwrap();
    }
    // What is listed for a whole build is of one hand.
    let (text, digest) = first.build(path);
    assert_eq!((hits(&text), misses(&text), digest), (3, 0, one.clone()), "{text}");
    first.forget_builds();
    let (text, digest) = first.build(path);
    assert_eq!((hits(&text), misses(&text), digest), (1, 1, one), "{text}");
    let (text, _) = first.build(path);
    assert_eq!(hits(&text), 3, "{text}");
}

#[test]
fn builders_that_race_both_give_the_image() {
    skip_unless_available!();
    let context = context(DOCKERFILE);
    let path = context.path();
    let (_, expected) = built(path, &[]);
    let cache = Cache::new();
    let start = |number: usize| {
        let digest = format!("--digest-file={}", path.with_extension(number.to_string()).display());
        let arguments = ["--cache", "--cache-copy-layers", &cache.flag(), &digest];
        build(path).args(arguments).start()
    };
    let running: Vec<_> = (0..3).map(start).collect();
    for (number, running) in running.into_iter().enumerate() {
        assert_succeeded(&running.end());
        let digest = fs::read_to_string(path.with_extension(number.to_string())).unwrap();
        assert_eq!(digest, expected);
    }
    let (text, digest) = cache.build(path);
    assert_eq!((misses(&text), digest), (0, expected), "{text}");
}

#[test]
fn a_cache_that_cannot_be_used_costs_one_warning() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo a > /a\nRUN echo b > /b\n");
    let path = context.path();
    let (_, expected) = built(path, &[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = format!("--cache-repo=oci:{}", file.path().join("below").display());
    let nobody = "--cache-repo=127.0.0.1:1/cache";
    for place in [below.as_str(), nobody, "--cache-repo=oci:/proc/nothing"] {
        for flags in [&[][..], &["--no-push-cache"]] {
            let all = [&["--cache", place], flags].concat();
            let (text, digest) = built(path, &all);
            assert_eq!(digest, expected, "{place}\n{text}");
            let expected =
                usize::from(place != "--cache-repo=oci:/proc/nothing" || flags.is_empty());
            assert_eq!(warnings(&text).len(), expected, "{place}\n{text}");
        }
    }
}

#[test]
fn a_cache_that_was_put_back_gives_the_image_of_now() {
    skip_unless_available!();
    let context = context("FROM base\nCOPY tree /t\nRUN cat /t/a > /a\nRUN cat /a > /b\n");
    let path = context.path();
    let cache = Cache::new();
    cache.build(path);
    let old: Vec<(PathBuf, Vec<u8>)> = files(&cache.path())
        .into_iter()
        .map(|file| (file.clone(), fs::read(&file).unwrap()))
        .collect();
    fs::write(path.join("tree/a"), "changed").unwrap();
    let (_, expected) = cache.build(path);
    old.iter().for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
    let (text, digest) = cache.build(path);
    assert_eq!((digest, warnings(&text).len()), (expected, 0), "{text}");
    assert_eq!((hits(&text), misses(&text)), (3, 0), "{text}");
}
