//! What is said of a step that the cache has not: what is different since the last build.

use super::*;
use crate::skip_unless_available;

const DOCKERFILE: &str =
    "FROM base\nARG A=1\nENV B=1\nCOPY tree /t\nRUN echo $A > /a\nRUN echo > /b\n";

/// Returns why the first step that was missed was, as the log says it.
fn reason(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("No cached layer found for cmd "))?;
    let (_, reason) = line.split_once("because=")?;
    Some(reason.trim_matches('"').to_owned())
}

#[test]
fn a_miss_says_what_changed() {
    skip_unless_available!();
    let context = context(DOCKERFILE);
    let path = context.path();
    let cache = Cache::new();
    let flag = cache.flag();
    let with = |arguments: &[&str]| built(path, &[&["--cache", &flag], arguments].concat()).0;
    let text = with(&[]);
    assert_eq!((misses(&text), reason(&text)), (1, None), "there was no build before\n{text}");
    let check = |arguments: &[&str], expected: &str| {
        let text = with(arguments);
        assert_eq!(reason(&text).as_deref(), Some(expected), "{text}");
        let text = with(arguments);
        assert_eq!((misses(&text), reason(&text)), (0, None), "{text}");
    };
    fs::write(path.join("tree/a"), "other").unwrap();
    check(&[], "`tree/a` changed (line 4)");
    fs::write(path.join("tree/more"), "more").unwrap();
    fs::remove_file(path.join("tree/etc/app.conf")).unwrap();
    check(&[], "`tree/etc/app.conf` is gone, `tree/more` is new (line 4)");
    check(&["--build-arg=A=secret-value"], "ARG A changed");
    fs::write(path.join("Dockerfile"), DOCKERFILE.replace("echo $A", "printf $A")).unwrap();
    check(&["--build-arg=A=secret-value"], "the instruction changed");
    fs::write(path.join("Dockerfile"), DOCKERFILE.replace("B=1", "B=2")).unwrap();
    check(&["--build-arg=A=secret-value"], "ENV B changed, the instruction changed");
    check(
        &["--build-arg=A=secret-value", "--compression=zstd"],
        "`--compression` or its level changed",
    );
    // Where the value of an argument could be found, it is not.
    for entry in fs::read_dir(cache.path().join("blobs/sha256")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let bytes = zstd::decode_all(bytes.as_slice()).unwrap_or(bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("\"ARG A\"") || !text.contains("secret-value"), "{text}");
    }
}

#[test]
fn an_entry_that_is_gone_is_no_change() {
    skip_unless_available!();
    let context = context(DOCKERFILE);
    let path = context.path();
    let cache = Cache::new();
    let flag = cache.flag();
    let with = |arguments: &[&str]| built(path, &[&["--cache", &flag], arguments].concat()).0;
    with(&[]);
    let text = with(&["--cache-ttl=1ns"]);
    let expected = "nothing changed, and its entry is gone or cannot be used";
    assert_eq!(reason(&text).as_deref(), Some(expected), "{text}");
}

#[test]
fn a_plan_says_what_is_cached() {
    skip_unless_available!();
    let context = context(DOCKERFILE);
    let path = context.path();
    let cache = Cache::new();
    let flag = cache.flag();
    let plan = |arguments: &[&str]| {
        let plan = Build::plan(path).base("base", "busybox").args(["--no-push", "--reproducible"]);
        let built = plan
            .arg(shared(path))
            .args(["--cache", &flag])
            .args(arguments.iter().copied())
            .succeed();
        let text = String::from_utf8(built.output.stdout).unwrap();
        let notes = text.lines().filter_map(|line| line.split_once("-> "));
        let cached = notes.map(|(_, note)| note.to_owned()).filter(|note| note.contains("cached"));
        cached.collect::<Vec<_>>()
    };
    assert_eq!(plan(&[]), ["not cached", "not cached: what it is made upon is not"]);
    assert!(!cache.path().exists(), "a plan stores nothing");
    built(path, &["--cache", &flag]);
    assert_eq!(plan(&[]), ["cached", "cached"]);
    fs::write(path.join("tree/a"), "other").unwrap();
    assert_eq!(
        plan(&[]),
        ["not cached: `tree/a` changed (line 4)", "not cached: what it is made upon is not"]
    );
    assert_eq!(plan(&["--build-arg=A=2"])[0], "not cached: `tree/a` changed (line 4)");
}
