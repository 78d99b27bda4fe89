use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use snapshot::Operation;
use snapshot::rootfs::{FaultHook, RootfsOptions};

use super::*;

fn write(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

fn open(root: &Path, ignore: &str) -> BuildContext {
    let rules = IgnoreRules::read(ignore.as_bytes()).unwrap();
    BuildContext::new(Rootfs::open(root).unwrap(), &rules).unwrap()
}

fn check(context: &BuildContext, path: &str, expected: bool) {
    assert_eq!(context.contains(&RootfsPath::new(path).unwrap()), expected, "{path}");
}

#[test]
fn what_the_rules_name_does_not_count() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["a.c", "a.o", "d/e/f.o", "d/e/g.c", "d/h.c", "x/y", "z/keep", "z/drop"]);
    let context = open(root.path(), "**/*.o\nx\nz\n!z/keep");
    for (path, expected) in [
        ("", true),
        ("a.c", true),
        ("a.o", false),
        ("d", true),
        ("d/e", true),
        ("d/e/f.o", false),
        ("d/e/g.c", true),
        ("d/h.c", true),
        ("x", false),
        ("x/y", false),
        ("z", true),
        ("z/keep", true),
        ("z/drop", false),
        ("none", false),
    ] {
        check(&context, path, expected);
    }
}

#[test]
fn directories_of_which_all_counts_cost_nothing() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["a/b/c", "a/d", "e.o"]);
    assert_eq!(open(root.path(), "nothing").kept, Kept::All);
    let some = |names: Vec<(&str, Kept)>| {
        Kept::Some(names.into_iter().map(|(name, kept)| (name.as_bytes().into(), kept)).collect())
    };
    assert_eq!(open(root.path(), "*.o").kept, some(vec![("a", Kept::All)]));
    assert_eq!(
        open(root.path(), "a/b/c").kept,
        some(vec![("a", some(vec![("b", some(vec![])), ("d", Kept::All)])), ("e.o", Kept::All)])
    );
    assert_eq!(open(root.path(), "*").kept, some(vec![]));
}

#[test]
fn an_empty_directory_counts() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    write(root.path(), &["f"]);
    check(&open(root.path(), "f"), "empty", true);
}

#[test]
fn without_rules_nothing_is_read() {
    let root = tempfile::tempdir().unwrap();
    let rootfs = Rootfs::open(root.path()).unwrap();
    fs::remove_dir(root.path()).unwrap();
    let rules = IgnoreRules::read(b"").unwrap();
    assert!(BuildContext::new(rootfs, &rules).is_ok());
}

#[test]
fn links_are_not_followed() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["d/f"]);
    symlink("d", root.path().join("to-d")).unwrap();
    symlink("/", root.path().join("to-root")).unwrap();
    let context = open(root.path(), "d");
    check(&context, "to-d", true);
    check(&context, "to-root", true);
    check(&context, "d/f", false);
}

#[test]
fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let root = tempfile::tempdir().unwrap();
    for name in [b"a\xFF".as_slice(), b"b\xFF"] {
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    let context = open(root.path(), "a?");
    assert!(!context.contains(&RootfsPath::new(b"a\xFF").unwrap()));
    assert!(context.contains(&RootfsPath::new(b"b\xFF").unwrap()));
}

#[test]
fn a_deep_tree_is_walked() {
    let root = tempfile::tempdir().unwrap();
    let mut path = root.path().to_owned();
    for _ in 0..400 {
        path.push("dddd");
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("f.o"), "").unwrap();
    let deep = "dddd/".repeat(400);
    let context = open(root.path(), "**/*.o");
    check(&context, &deep, true);
    check(&context, &format!("{deep}f.o"), false);
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_unless_it_is_ignored() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["locked/f"]);
    let rootfs = |error: Errno| {
        let faults: FaultHook = Arc::new(move |operation, path| {
            let is_hit = operation == Operation::ReadDirectory && path.as_bytes() == b"locked";
            if is_hit { Err(error.into()) } else { Ok(()) }
        });
        let options = RootfsOptions { faults: Some(faults), ..RootfsOptions::default() };
        Rootfs::open_with(root.path(), options).unwrap()
    };
    let rules = |text: &str| IgnoreRules::read(text.as_bytes()).unwrap();
    let error = BuildContext::new(rootfs(Errno::ACCESS), &rules("x")).map(|_| ());
    assert!(matches!(error, Err(ContextError::Walk { .. })), "{error:?}");
    let ignored = BuildContext::new(rootfs(Errno::ACCESS), &rules("locked\n!locked/x")).unwrap();
    check(&ignored, "locked", false);
    let error = BuildContext::new(rootfs(Errno::IO), &rules("locked\n!locked/x")).map(|_| ());
    assert!(matches!(error, Err(ContextError::Walk { .. })), "{error:?}");
    let gone = BuildContext::new(rootfs(Errno::NOENT), &rules("x")).unwrap();
    check(&gone, "locked/f", true);
}

#[test]
fn a_malformed_pattern_is_an_error_when_a_path_reaches_it() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &["a"]);
    let rules = IgnoreRules::read(br"*\8").unwrap();
    let error = BuildContext::new(Rootfs::open(root.path()).unwrap(), &rules).map(|_| ());
    assert!(matches!(error, Err(ContextError::Pattern(_))), "{error:?}");
}
