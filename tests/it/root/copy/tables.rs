//! Where sources land, as tables.

use super::*;

/// A file, another one, and a directory with something in it.
const SOURCE: &str = "f f=1
    f g=2
    f D/a=3
    d D/sub
    f D/sub/b=4";

#[test]
fn a_file_lands_by_what_the_destination_is() {
    if !may_run("a_file_lands_by_what_the_destination_is") {
        return;
    }
    for (target, words, expected) in [
        ("", "f /x", "f x=1"),
        ("", "f /a/b/x", "d a\nd a/b\nf a/b/x=1"),
        ("", "f /x/", "d x\nf x/f=1"),
        ("", "f /x/.", "d x\nf x/f=1"),
        ("", "f /", "f f=1"),
        ("d x", "f /x", "d x\nf x/f=1"),
        ("d x", "f /x/", "d x\nf x/f=1"),
        ("f x=old", "f /x", "f x=1"),
        ("f x=old", "f /x/", "error: `/x` in the image is a regular file, not a directory"),
        ("f x=old", "f /x/y", "error: `/x` in the image is a regular file, not a directory"),
        ("f x=old", "f /x/y/z", "error: `/x` in the image is a regular file, not a directory"),
        // Through a link to a directory.
        ("d real\nl x>real", "f /x", "d real\nf real/f=1\nl x>real"),
        ("d real\nl x>/real", "f /x/", "d real\nf real/f=1\nl x>/real"),
        ("d real\nl x>../../real", "f /x/y", "d real\nf real/y=1\nl x>../../real"),
        // Through a link to a file: what it leads to is replaced.
        ("f real=old\nl x>real", "f /x", "f real=1\nl x>real"),
        (
            "f real=old\nl x>/real",
            "f /x/",
            "error: `/real` in the image is a regular file, not a directory",
        ),
        // Through a link to nothing.
        ("l x>real", "f /x", "f real=1\nl x>real"),
        ("l x>/not/there", "f /x", "d not\nf not/there=1\nl x>/not/there"),
        ("l x>real", "f /x/", "d real\nf real/f=1\nl x>real"),
        ("l x>y\nl y>x", "f /x", "error: cannot resolve `/x`"),
        // What is in the destination directory under the name of the source is replaced, not
        // followed, and a directory there is in the way.
        ("f keep=k\nl x/f>../keep", "f /x", "f keep=k\nd x\nf x/f=1"),
        (
            "d x/f",
            "f /x",
            "error: cannot copy a regular file to `/x/f`, which is a directory in the image",
        ),
        ("p x", "f /x", "f x=1"),
    ] {
        check(SOURCE, target, words, expected);
    }
}

#[test]
fn a_directory_lands_with_what_is_in_it() {
    if !may_run("a_directory_lands_with_what_is_in_it") {
        return;
    }
    let landed = "d x\nf x/a=3\nd x/sub\nf x/sub/b=4";
    for (target, words, expected) in [
        ("", "D /x", landed),
        ("", "D /x/", landed),
        ("", "D/ /x", landed),
        ("", "/D/. /x", landed),
        ("", "../../D /x", landed),
        ("", "D /", "f a=3\nd sub\nf sub/b=4"),
        ("d x", "D /x", landed),
        ("f x/c=5\nf x/a=old", "D /x", "d x\nf x/a=3\nf x/c=5\nd x/sub\nf x/sub/b=4"),
        (
            "f x=old",
            "D /x",
            "error: cannot copy a directory to `/x`, which is a regular file in the image",
        ),
        ("f x=old", "D /x/", "error: `/x` in the image is a regular file, not a directory"),
        ("d real\nl x>real", "D /x", "d real\nf real/a=3\nd real/sub\nf real/sub/b=4\nl x>real"),
        ("l x>real", "D /x", "d real\nf real/a=3\nd real/sub\nf real/sub/b=4\nl x>real"),
        ("l x>real", "D /x/", "d real\nf real/a=3\nd real/sub\nf real/sub/b=4\nl x>real"),
        // Inside, links are no directories, and directories no files.
        (
            "d real\nl x/sub>../real",
            "D /x",
            "error: cannot copy a directory to `/x/sub`, which is a symbolic link in the image",
        ),
        (
            "f x/sub=old",
            "D /x",
            "error: cannot copy a directory to `/x/sub`, which is a regular file in the image",
        ),
        (
            "d x/a",
            "D /x",
            "error: cannot copy a regular file to `/x/a`, which is a directory in the image",
        ),
        ("f keep=k\nl x/a>../keep", "D /x", "f keep=k\nd x\nf x/a=3\nd x/sub\nf x/sub/b=4"),
    ] {
        check(SOURCE, target, words, expected);
    }
}

#[test]
fn several_sources_land_in_order() {
    if !may_run("several_sources_land_in_order") {
        return;
    }
    for (target, words, expected) in [
        ("", "f g /x/", "d x\nf x/f=1\nf x/g=2"),
        ("d x", "f g /x", "d x\nf x/f=1\nf x/g=2"),
        ("d real\nl x>real", "f g /x", "d real\nf real/f=1\nf real/g=2\nl x>real"),
        // BuildKit's last one wins; this is what the classic builder and kaniko say.
        ("", "f g /x", "error: several files would all become `/x`"),
        ("f x=old", "f g /x", "error: several files would all become `/x`"),
        (
            "",
            "f D /x",
            "error: cannot copy a directory to `/x`, which is a regular file in the image",
        ),
        ("", "D f /x", "d x\nf x/a=3\nf x/f=1\nd x/sub\nf x/sub/b=4"),
        ("", "f D/../g f /x/", "d x\nf x/f=1\nf x/g=2"),
        ("", "f missing /x/", "error: there is no `/missing` in the build context"),
    ] {
        check(SOURCE, target, words, expected);
    }
}

#[test]
fn patterns_match_as_go_has_it() {
    if !may_run("patterns_match_as_go_has_it") {
        return;
    }
    let source = "f a.txt=1
        f b.txt=2
        f .hidden.txt=3
        f d1/x.c=4
        f d1/deep/y.c=5
        f d2/x.c=6
        f we[ird=7
        f star*=8
        l away>d1
        f aä=9";
    for (words, expected) in [
        ("*.txt /x/", "d x\nf x/.hidden.txt=3\nf x/a.txt=1\nf x/b.txt=2"),
        ("[ab].txt /x/", "d x\nf x/a.txt=1\nf x/b.txt=2"),
        ("[^a].txt /x/", "d x\nf x/b.txt=2"),
        ("[!a].txt /x/", "d x\nf x/a.txt=1"),
        ("?.txt /x/", "d x\nf x/a.txt=1\nf x/b.txt=2"),
        ("a? /x/", "d x\nf x/aä=9"),
        ("d*/x.c /x/", "d x\nf x/x.c=6"),
        ("d*/*.c /x/", "d x\nf x/x.c=6"),
        ("*/deep/y.c /x/", "d x\nf x/y.c=5"),
        // No star is deep.
        ("**/y.c /x/", ""),
        // A directory that matches gives what is in it, and is not looked into for more.
        ("d? /x/", "d x\nd x/deep\nf x/deep/y.c=5\nf x/x.c=6"),
        ("d1* /x/", "d x\nd x/deep\nf x/deep/y.c=5\nf x/x.c=4"),
        // A link to a directory is not walked through, but can be named as the prefix.
        ("awa?/x.c /x/", ""),
        ("away/*.c /x/", "d x\nf x/x.c=4"),
        ("awa? /x/", "d x\nd x/deep\nf x/deep/y.c=5\nf x/x.c=4"),
        // Nothing matches, nothing happens, not even the destination.
        ("*.none /x/", ""),
        ("none/* /x/", ""),
        ("a.txt/* /x/", ""),
        ("*.none a.txt /x/", "d x\nf x/a.txt=1"),
        ("[ /x/", ""),
        ("a[ /x/", ""),
        (r"we\[ir? /x/", "d x\nf x/we[ird=7"),
        // Without a wildcard a backslash is one.
        (r"star\* /x/", "error: there is no `/star\\x5c*` in the build context"),
        // One match can become the destination, two cannot.
        ("a*.txt /x", "f x=1"),
        ("[ab].txt /x", "error: several files would all become `/x`"),
    ] {
        check(source, "", words, expected);
    }
}

#[test]
fn links_named_as_sources_are_followed_and_others_kept() {
    if !may_run("links_named_as_sources_are_followed_and_others_kept") {
        return;
    }
    let source = "f real/f=1
        l file>real/f
        l directory>real
        l absolute>/real/f
        l outside>../../../../real/f
        l dangling>nowhere
        l loop>loop
        l D/inner>../real/f
        l D/broken>/nowhere";
    for (words, expected) in [
        ("file /x", "f x=1"),
        // Its name is the link's, not the target's.
        ("file /x/", "d x\nf x/file=1"),
        ("absolute /x/", "d x\nf x/absolute=1"),
        ("outside /x/", "d x\nf x/outside=1"),
        ("directory /x", "d x\nf x/f=1"),
        ("directory/f /x", "f x=1"),
        ("dangling /x", "error: there is no `/dangling` in the build context"),
        ("loop /x", "error: cannot resolve `/loop`"),
        ("real/f/g /x", "error: there is no `/real/f/g` in the build context"),
        ("D /x", "d x\nl x/broken>/nowhere\nl x/inner>../real/f"),
        ("D/in* /x", "f x=1"),
    ] {
        check(source, "", words, expected);
    }
}

#[test]
fn every_kind_of_entry_is_copied() {
    if !may_run("every_kind_of_entry_is_copied") {
        return;
    }
    let source = "f D/one=1
        h D/two<D/one
        h D/sub/three<D/one
        f alone=2
        h D/four<alone
        p D/pipe
        c D/null
        s D/socket
        d D/empty";
    let (from, to) = (tree(source), tree(""));
    let copied = copy_context(&step("D /x"), &from, &to).expect("copied");
    assert_eq!(
        list(to.path()),
        [
            "d x",
            "d x/empty",
            "f x/four=2",
            "c x/null",
            "f x/one=1",
            "p x/pipe",
            "d x/sub",
            "h x/sub/three<x/one",
            "h x/two<x/one",
        ]
    );
    assert_eq!(copied.sockets, [path("x/socket")]);
    assert_eq!((copied.entry_count, copied.bytes), (8, 2));
    assert_eq!(
        fs::metadata(to.path().join("x/null")).expect("stat").rdev(),
        rustix::fs::makedev(1, 3)
    );
    check("f a=1\nh b<a", "", "a b /x/", "d x\nf x/a=1\nf x/b=1");
}

#[test]
fn what_the_context_does_not_keep_is_not_there() {
    if !may_run("what_the_context_does_not_keep_is_not_there") {
        return;
    }
    let source = tree("f D/a=1\nf D/secret=2\nf D/no/b=3\nl to-secret>D/secret\nf top=4");
    let from = rootfs(&source);
    let keeps = |path: &snapshot::RootfsPath| {
        !path.starts_with(&fixture::path("D/secret")) && !path.starts_with(&fixture::path("D/no"))
    };
    for (words, expected) in [
        ("D /x", vec!["d x", "f x/a=1"]),
        (". /", vec!["d D", "f D/a=1", "l to-secret>D/secret", "f top=4"]),
        ("D/* /x/", vec!["d x", "f x/a=1"]),
        ("D/no/* /x/", vec![]),
        ("D/secret /x", vec!["error: there is no `/D/secret` in the build context"]),
        ("to-secret /x", vec!["error: there is no `/to-secret` in the build context"]),
    ] {
        let target = tree("");
        let result = match copy(&step(words), &Source::context(&from, &keeps), &rootfs(&target)) {
            Ok(_) => list(target.path()),
            Err(error) => vec![format!("error: {error}")],
        };
        assert_eq!(result, expected, "{words}");
    }
}

#[test]
fn files_of_the_dockerfile_are_copied_last() {
    if !may_run("files_of_the_dockerfile_are_copied_last") {
        return;
    }
    let with = |words: &str, files: &[(&str, &str)]| CopyStep {
        inline: files.iter().map(|(name, content)| inline(name, content)).collect(),
        ..step(words)
    };
    check_step("", "", &with("/x", &[("EOF", "body")]), "f x=body\n");
    check_step("", "d x", &with("/x", &[("EOF", "")]), "d x\nf x/EOF=");
    check_step("", "", &with("/x/", &[("a", "1"), ("b", "2")]), "d x\nf x/a=1\nf x/b=2");
    check_step("f a=0", "", &with("a /x/", &[("a", "1")]), "d x\nf x/a=1");
    check_step("", "l x>y", &with("/x", &[("a", "1")]), "l x>y\nf y=1");
    check_step(
        "",
        "",
        &with("/x", &[("a", "1"), ("b", "2")]),
        "error: several files would all become `/x`",
    );
    let (from, to) = (tree(""), tree("f x=old @4755:3:4"));
    copy_context(&with("/x", &[("EOF", "1")]), &from, &to).expect("copied");
    assert_eq!(list_metadata(to.path()), ["f x=1 @644:0:0"]);
}

#[test]
fn a_copy_says_what_it_touched() {
    if !may_run("a_copy_says_what_it_touched") {
        return;
    }
    for (target, words, expected) in [
        ("", "f /a/b/x", vec!["/a", "/a/b", "/a/b/x"]),
        ("d a/b", "f /a/b/x", vec!["/a/b/x"]),
        ("d real\nl x>real", "f /x", vec!["/real/f"]),
        ("d x/other", "D /x", vec!["/x", "/x/a", "/x/sub", "/x/sub/b"]),
        ("", "D /", vec!["/", "/a", "/sub", "/sub/b"]),
        ("", "*.none /x/", vec![]),
    ] {
        let (from, to) = (tree(SOURCE), tree(target));
        let copied = copy_context(&step(words), &from, &to).expect("copied");
        assert_eq!(touched(&copied), expected, "{words}");
    }
}

#[test]
fn a_copy_never_leaves_its_roots() {
    if !may_run("a_copy_never_leaves_its_roots") {
        return;
    }
    let canary = tree("f secret=canary @600:5:6");
    let before = (list_metadata(canary.path()), fs::metadata(canary.path()).expect("stat").mtime());
    let out = canary.path().display().to_string();
    let source =
        format!("l steal>{out}/secret\nl D/link>{out}\nl up>../../../../../../{out}/secret\nf f=1");
    let target = format!("l x>{out}\nl deep>../../../../../..{out}\nl file>{out}/secret");
    for words in ["steal /y", "up /y"] {
        let (from, to) = (tree(&source), tree(""));
        copy_context(&step(words), &from, &to).expect_err("not in the context");
        assert_eq!(list(to.path()), Vec::<String>::new());
    }
    for words in ["f /x/", "f /x", "f /deep/secret", "f /file", "D /x", "D /x/", "D/link /y"] {
        let (from, to) = (tree(&source), tree(&target));
        // Whatever is made of it is made inside.
        let _ = copy_context(&step(words), &from, &to);
        let after =
            (list_metadata(canary.path()), fs::metadata(canary.path()).expect("stat").mtime());
        assert_eq!(after, before, "{words}");
    }
}

#[test]
fn a_tree_copied_into_itself_ends() {
    if !may_run("a_tree_copied_into_itself_ends") {
        return;
    }
    let tree = tree("f a=1\nf b/c=2");
    copy_context(&step(". /out"), &tree, &tree).expect("copied");
    assert_eq!(
        list(tree.path()),
        ["f a=1", "d b", "f b/c=2", "d out", "f out/a=1", "d out/b", "f out/b/c=2"]
    );
}
