//! Whose entries are believed, and caches that are only read.

use std::process::Command;

use super::*;
use crate::skip_unless_available;

/// Makes a key with its public half, as the documentation says.
fn key(folder: &Path, name: &str) -> (String, String) {
    let (private, public) = (folder.join(name), folder.join(format!("{name}.pub")));
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run(&["genpkey", "-algorithm", "ed25519", "-out", &text(&private)]);
    run(&["pkey", "-in", &text(&private), "-pubout", "-out", &text(&public)]);
    let flag = |path: &Path| format!("--cache-signing-key={}", path.display());
    (flag(&private), flag(&public))
}

#[test]
fn only_entries_by_the_key_are_used() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo a > /a\nRUN echo b > /b\n");
    let path = context.path();
    let (_, expected) = built(path, &[]);
    let keys = tempfile::tempdir().unwrap();
    let ((ours, public), (theirs, _)) = (key(keys.path(), "ours"), key(keys.path(), "theirs"));
    let cache = Cache::new();
    let flag = cache.flag();
    let check = |arguments: &[&str], counts: (usize, usize, usize)| {
        let (text, digest) = built(path, &[&["--cache", &flag], arguments].concat());
        assert_eq!(digest, expected, "{arguments:?}\n{text}");
        let found = (hits(&text), misses(&text), warnings(&text).len());
        assert_eq!(found, counts, "{arguments:?}\n{text}");
    };
    check(&[], (0, 1, 0));
    // What nobody has signed: the list of the build, and both entries.
    check(&[&ours], (0, 1, 3));
    check(&[&ours], (2, 0, 0));
    check(&[&public, "--no-push-cache"], (2, 0, 0));
    // Nothing can be stored with a public key, and that is said.
    check(&[&public], (2, 0, 1));
    check(&[&theirs], (0, 1, 3));
    check(&[&public, "--no-push-cache"], (0, 1, 3));
    // Who asks for no signature believes whoever can write.
    check(&[], (2, 0, 0));
    let missing = format!("--cache-signing-key={}", keys.path().join("none").display());
    let failed = build(path).args(["--cache", &flag, &missing]).run();
    assert!(!failed.output.status.success());
    assert!(failed.text().contains("cannot read the key"), "{}", failed.text());
}

#[test]
fn what_one_cache_lacks_another_may_have() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo a > /a\nRUN echo b > /b\nRUN cat /a /b > /c\n");
    let path = context.path();
    let (first, second, third) = (Cache::new(), Cache::new(), Cache::new());
    let from = |cache: &Cache| cache.flag().replace("--cache-repo", "--cache-from");
    let (_, expected) = first.build(path);
    let before = first.documents().len();
    let flags = |cache: &Cache| ["--cache".to_owned(), cache.flag(), from(&first)];
    let with = |cache: &Cache| {
        let flags = flags(cache);
        built(path, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (text, digest) = with(&second);
    assert_eq!((hits(&text), misses(&text), &digest), (3, 0, &expected), "{text}");
    // Half from one, the rest from the other.
    third.build(path);
    fs::remove_file(&third.entries()[1]).unwrap();
    third.forget_builds();
    let (text, digest) = with(&third);
    assert_eq!((hits(&text), misses(&text), &digest), (3, 0, &expected), "{text}");
    // Something new upon it goes into the one that is written to, alone.
    let dockerfile = fs::read_to_string(path.join("Dockerfile")).unwrap();
    fs::write(path.join("Dockerfile"), format!("{dockerfile}RUN cat /c > /d\n")).unwrap();
    let (_, expected) = built(path, &[]);
    let (text, digest) = with(&second);
    assert_eq!((hits(&text), misses(&text), &digest), (3, 1, &expected), "{text}");
    assert_eq!((second.entries().len(), first.documents().len()), (1, before));
    let (text, digest) = with(&second);
    assert_eq!((hits(&text), misses(&text), &digest), (4, 0, &expected), "{text}");
    // One that is not there is one warning.
    let nobody = "--cache-from=127.0.0.1:1/cache";
    let (text, digest) = built(path, &["--cache", &third.flag(), nobody]);
    assert_eq!((digest, warnings(&text).len()), (expected, 1), "{text}");
}
