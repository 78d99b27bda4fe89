//! ADD of archives: what is unpacked, what is copied, and whose it is then.

use std::io::Write;

use zuwai::plan::Archives;

use super::*;
use crate::tarball::{Member, archive};

fn add(words: &str) -> CopyStep {
    CopyStep { archives: Archives::Unpacked, ..step(words) }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

/// A context with archives, and files that only look like some.
fn context() -> tempfile::TempDir {
    let members = [
        Member::new(b'5', "./").mode(0o700).owner(9, 9),
        Member::new(b'5', "dir/").mode(0o750).owner(3, 4),
        Member::file("dir/a", "1").mode(0o640).owner(5, 6),
        Member::file("b", "2").mode(0o4755).owner(7, 8),
    ];
    let tar = archive(&members);
    let context = tree("f plain=text\nf D/in.tar=\nl link.tar>a.tar\nd empty");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(context.path().join(name), bytes).expect("write");
    };
    write("a.tar", &tar);
    write("no-suffix", &gzip(&tar));
    write("D/in.tar", &tar);
    write("text.gz", &gzip(b"text"));
    write("nothing.tar", &archive(&[]));
    context
}

#[test]
fn archives_are_unpacked_by_what_is_in_them() {
    if !may_run("archives_are_unpacked_by_what_is_in_them") {
        return;
    }
    let context = context();
    let unpacked = ["d x", "f x/b=2", "d x/dir", "f x/dir/a=1"];
    for (target, words, expected) in [
        ("", "a.tar /x", unpacked.to_vec()),
        ("", "a.tar /x/", unpacked.to_vec()),
        ("", "no-suffix /x", unpacked.to_vec()),
        ("", "link.tar /x", unpacked.to_vec()),
        ("", "a.ta? /x", unpacked.to_vec()),
        (
            "f x/b=old\nf x/dir/kept=3",
            "a.tar /x",
            vec!["d x", "f x/b=2", "d x/dir", "f x/dir/a=1", "f x/dir/kept=3"],
        ),
        (
            "d real\nl x>real",
            "a.tar /x",
            vec!["d real", "f real/b=2", "d real/dir", "f real/dir/a=1", "l x>real"],
        ),
        (
            "f x=old",
            "a.tar /x",
            vec!["error: `/x` in the image is a regular file, not a directory"],
        ),
        ("", "plain /x", vec!["f x=text"]),
        ("", "plain a.tar /x/", vec!["d x", "f x/b=2", "d x/dir", "f x/dir/a=1", "f x/plain=text"]),
    ] {
        let to = tree(target);
        let result = match copy_context(&add(words), &context, &to) {
            Ok(_) => list(to.path()),
            Err(error) => vec![format!("error: {error}")],
        };
        assert_eq!(result, expected, "{words}");
    }
    // Not archives, or not named as a source: copied as they are. COPY never unpacks.
    for (step, copied, original) in [
        (add("text.gz /x"), "x", "text.gz"),
        (add("nothing.tar /x"), "x", "nothing.tar"),
        (add("D /x"), "x/in.tar", "a.tar"),
        (step("a.tar /x"), "x", "a.tar"),
    ] {
        let to = tree("");
        copy_context(&step, &context, &to).expect("copied");
        let read =
            |root: &tempfile::TempDir, name: &str| fs::read(root.path().join(name)).expect("read");
        assert!(read(&to, copied) == read(&context, original), "{original}");
    }
}

#[test]
fn an_archives_files_are_whose_it_says_or_whose_the_step_does() {
    if !may_run("an_archives_files_are_whose_it_says_or_whose_the_step_does") {
        return;
    }
    let context = context();
    let to = tree("");
    let copied = copy_context(&add("a.tar /n/x"), &context, &to).expect("unpacked");
    assert_eq!(
        list_metadata(to.path()),
        [
            "d n @755:0:0",
            "d n/x @755:0:0",
            "f n/x/b=2 @4755:7:8",
            "d n/x/dir @750:3:4",
            "f n/x/dir/a=1 @640:5:6"
        ]
    );
    assert_eq!(touched(&copied), ["/n", "/n/x", "/n/x/b", "/n/x/dir", "/n/x/dir/a"]);

    // Neither an octal mode nor the archive's own root is for the directory it is unpacked into.
    let to = tree("d x @711:1:1");
    let step = CopyStep { owner: Some("20:30".to_owned()), mode: mode("600"), ..add("a.tar /x") };
    copy_context(&step, &context, &to).expect("unpacked");
    assert_eq!(
        list_metadata(to.path()),
        ["d x @711:1:1", "f x/b=2 @4755:20:30", "d x/dir @750:20:30", "f x/dir/a=1 @640:20:30"]
    );
    let to = tree("");
    copy_context(&step, &context, &to).expect("unpacked");
    assert_eq!(list_metadata(to.path())[0], "d x @755:20:30");
}

#[test]
fn an_archive_stays_where_it_is_unpacked() {
    if !may_run("an_archive_stays_where_it_is_unpacked") {
        return;
    }
    let context = tree("");
    let evil = archive(&[
        Member::link(b'2', "up", "../.."),
        Member::file("up/escaped", "1"),
        Member::link(b'2', "abs", "/etc"),
        Member::file("abs/escaped", "2"),
    ]);
    fs::write(context.path().join("evil.tar"), evil).expect("write");
    let to = tree("d etc");
    copy_context(&add("evil.tar /x/y"), &context, &to).expect("unpacked");
    assert_eq!(
        list(to.path()),
        [
            "d etc",
            "d x",
            "d x/y",
            "l x/y/abs>/etc",
            "f x/y/escaped=1",
            "d x/y/etc",
            "f x/y/etc/escaped=2",
            "l x/y/up>../..",
        ]
    );
}
