use proptest::prelude::*;

use super::*;

fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("a valid path")
}

#[test]
fn new_cleans_lexically_and_clamps_at_the_root() {
    for (input, expected) in [
        ("", ""),
        ("/", ""),
        (".", ""),
        ("..", ""),
        ("/../..", ""),
        ("a", "a"),
        ("/a/", "a"),
        ("//a///b//", "a/b"),
        ("./a/./b/.", "a/b"),
        ("a/..", ""),
        ("a/../..", ""),
        ("a/../../b", "b"),
        ("a/b/../c", "a/c"),
        ("../a/..b/...", "a/..b/..."),
        (" a /b\n", " a /b\n"),
    ] {
        assert_eq!(path(input).as_bytes(), expected.as_bytes(), "{input}");
    }
}

#[test]
fn a_nul_byte_is_refused() {
    let error = RootfsPath::new(b"a\0b").expect_err("a NUL");
    assert_eq!(error, PathError::Nul(b"a\0b".to_vec()));
    assert_eq!(error.to_string(), "path `a\\x00b` contains a NUL byte");
}

#[test]
fn parts_of_a_path() {
    let deep = path("usr/lib/x");
    assert_eq!(deep.parent(), Some(path("usr/lib")));
    assert_eq!(deep.file_name(), Some(&b"x"[..]));
    assert_eq!(deep.components().collect::<Vec<_>>(), [&b"usr"[..], b"lib", b"x"]);
    assert_eq!(deep.ancestors().collect::<Vec<_>>(), [path("usr/lib"), path("usr"), path("")]);
    let root = RootfsPath::root();
    assert!(root.is_root());
    assert_eq!((root.parent(), root.file_name()), (None, None));
    assert_eq!(root.components().count(), 0);
    assert_eq!(root.ancestors().count(), 0);
    assert_eq!(path("usr").parent(), Some(root));
}

#[test]
fn joining() {
    let base = path("a/b");
    assert_eq!(base.join("../c").expect("valid"), path("a/c"));
    assert_eq!(base.join("/c").expect("valid"), path("a/b/c"));
    assert_eq!(base.join("../../../c").expect("valid"), path("c"));
    assert_eq!(base.join_name(b"c"), path("a/b/c"));
    assert_eq!(RootfsPath::root().join_name(b"c"), path("c"));
}

#[test]
#[should_panic(expected = "not a single path component: `a/b`")]
fn joining_a_name_with_a_slash_panics() {
    RootfsPath::root().join_name(b"a/b");
}

#[test]
fn starts_with_looks_at_whole_components() {
    for (whole, base, expected) in [
        ("a/b", "a", true),
        ("a/b", "a/b", true),
        ("a/b", "", true),
        ("", "", true),
        ("ab", "a", false),
        ("a", "a/b", false),
        ("", "a", false),
    ] {
        assert_eq!(path(whole).starts_with(&path(base)), expected, "{whole} {base}");
    }
}

#[test]
fn order_is_a_pre_order_walk() {
    let mut paths = ["a-b", "a", "a.b/c", "", "a/b", "a/b/c", "a.b", "a/!"].map(path);
    paths.sort();
    assert_eq!(paths, ["", "a", "a/!", "a/b", "a/b/c", "a-b", "a.b", "a.b/c"].map(path));
}

#[test]
fn display_escapes_what_a_terminal_should_not_see() {
    for (bytes, expected) in [
        (&b"a/b"[..], "/a/b"),
        (b"", "/"),
        (b"tab\there", "/tab\\x09here"),
        (b"\xff\xfe", "/\\xff\\xfe"),
        ("ünï".as_bytes(), "/ünï"),
        (b"back\\slash", "/back\\x5cslash"),
        ("\u{85}".as_bytes(), "/\\xc2\\x85"),
    ] {
        assert_eq!(RootfsPath::new(bytes).expect("valid").to_string(), expected);
    }
}

proptest! {
    #[test]
    fn order_equals_that_of_the_component_lists(
        left in proptest::collection::vec("[a!/.-]{1,3}", 0..4),
        right in proptest::collection::vec("[a!/.-]{1,3}", 0..4),
    ) {
        let (left, right) = (path(&left.join("/")), path(&right.join("/")));
        let parts = |path: &RootfsPath| {
            path.components().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        prop_assert_eq!(left.cmp(&right), parts(&left).cmp(&parts(&right)));
        prop_assert_eq!(left.starts_with(&right), parts(&left).starts_with(&parts(&right)));
    }
}

#[test]
fn what_is_within_a_path_is_it_and_what_is_below() {
    let map: BTreeMap<RootfsPath, usize> = ["", "a", "a-b", "a/b", "a/b/c", "a/bc", "ab", "b/a"]
        .into_iter()
        .enumerate()
        .map(|(number, text)| (path(text), number))
        .collect();
    let within = |text: &str| -> Vec<(String, usize)> {
        path(text).within(&map).map(|(path, number)| (path.to_string(), *number)).collect()
    };
    let expected = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
        list.iter().map(|(text, number)| ((*text).to_owned(), *number)).collect()
    };
    assert_eq!(within("").len(), map.len());
    assert_eq!(within("a"), expected(&[("/a", 1), ("/a/b", 3), ("/a/b/c", 4), ("/a/bc", 5)]));
    assert_eq!(within("a/b"), expected(&[("/a/b", 3), ("/a/b/c", 4)]));
    assert_eq!(within("b"), expected(&[("/b/a", 7)]));
    assert_eq!(within("c"), []);
}
