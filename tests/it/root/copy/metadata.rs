//! Owners, modes, times and attributes.

use snapshot::Timestamp;

use super::*;

const PASSWD: &str = "f etc/passwd=root:x:0:0::/root:/bin/sh;app:x:1000:1001::/app:/bin/sh";

/// A target whose `passwd` and `group` know `app` and `staff`.
fn target(entries: &str) -> tempfile::TempDir {
    let target = tree(&format!("{PASSWD}\nf etc/group=staff:x:50:\n{entries}"));
    let passwd = target.path().join("etc/passwd");
    let text = fs::read_to_string(&passwd).expect("read").replace(';', "\n");
    fs::write(&passwd, text).expect("write");
    target
}

fn metadata_below(target: &tempfile::TempDir, top: &str) -> Vec<String> {
    list_metadata(target.path()).into_iter().filter(|line| line[2..].starts_with(top)).collect()
}

#[test]
fn files_of_a_context_belong_to_root_and_others_to_whom_they_did() {
    if !may_run("files_of_a_context_belong_to_root_and_others_to_whom_they_did") {
        return;
    }
    let source = tree(
        "d D @750:7:8\nf D/a=1 @4711:9:10\nd D/sub @1777:11:12\nl D/l>a @:13:14\np D/p @640:15:16\nf f=2 @600:17:18",
    );
    let from = rootfs(&source);
    let (context, root) = (Source::context(&from, &|_| true), Source::root(&from));
    for (source, expected) in [
        (
            &context,
            [
                "d x @755:0:0",
                "f x/a=1 @4711:0:0",
                "f x/f=2 @600:0:0",
                "l x/l>a @777:0:0",
                "p x/p @640:0:0",
                "d x/sub @1777:0:0",
            ],
        ),
        (
            &root,
            [
                // The directory they land in is new, and nobody's copy.
                "d x @755:0:0",
                "f x/a=1 @4711:9:10",
                "f x/f=2 @600:17:18",
                "l x/l>a @777:13:14",
                "p x/p @640:15:16",
                "d x/sub @1777:11:12",
            ],
        ),
    ] {
        let target = tree("");
        copy(&step("D f /x"), source, &rootfs(&target)).expect("copied");
        assert_eq!(list_metadata(target.path()), expected);
    }
}

#[test]
fn chown_counts_for_everything_that_is_made() {
    if !may_run("chown_counts_for_everything_that_is_made") {
        return;
    }
    let source = tree("f D/a=1 @4755:9:9\nl D/l>a");
    let from = rootfs(&source);
    for (owner, ids) in [
        ("app", "1000:1001"),
        ("app:staff", "1000:50"),
        ("5", "5:5"),
        ("5:6", "5:6"),
        ("5:staff", "5:50"),
        ("0", "0:0"),
    ] {
        let target = target("d old @700:3:3");
        let step = CopyStep { owner: Some(owner.to_owned()), ..step("D /old/new/x") };
        copy(&step, &Source::root(&from), &rootfs(&target)).expect("copied");
        assert_eq!(
            metadata_below(&target, "old"),
            [
                "d old @700:3:3".to_owned(),
                format!("d old/new @755:{ids}"),
                format!("d old/new/x @755:{ids}"),
                format!("f old/new/x/a=1 @4755:{ids}"),
                format!("l old/new/x/l>a @777:{ids}"),
            ],
            "{owner}"
        );
    }
    for (owner, cause) in [
        ("nobody", "user `nobody` is not in the image's `/etc/passwd`"),
        ("app:nobody", "group `nobody` is not in the image's `/etc/group`"),
    ] {
        let target = target("");
        let step = CopyStep { owner: Some(owner.to_owned()), ..step("D /x") };
        let error = copy(&step, &Source::root(&from), &rootfs(&target)).expect_err("unknown");
        assert_eq!(error.to_string(), format!("cannot tell who `{owner}` is"));
        assert_eq!(std::error::Error::source(&error).expect("a cause").to_string(), cause);
        assert_eq!(metadata_below(&target, "x"), Vec::<String>::new());
    }
}

#[test]
fn an_octal_chmod_counts_for_implicit_directories_and_a_symbolic_one_does_not() {
    if !may_run("an_octal_chmod_counts_for_implicit_directories_and_a_symbolic_one_does_not") {
        return;
    }
    let source = "f D/a=1 @4711\nf D/b=2 @600\nd D/sub @1770\nl D/l>a";
    for (text, expected) in [
        (
            "644",
            [
                "d n @644:0:0",
                "d n/x @644:0:0",
                "f n/x/a=1 @644:0:0",
                "f n/x/b=2 @644:0:0",
                "l n/x/l>a @777:0:0",
                "d n/x/sub @644:0:0",
            ],
        ),
        (
            "4755",
            [
                "d n @4755:0:0",
                "d n/x @4755:0:0",
                "f n/x/a=1 @4755:0:0",
                "f n/x/b=2 @4755:0:0",
                "l n/x/l>a @777:0:0",
                "d n/x/sub @4755:0:0",
            ],
        ),
        (
            "u=rwX,go=rX",
            [
                "d n @755:0:0",
                "d n/x @755:0:0",
                "f n/x/a=1 @755:0:0",
                "f n/x/b=2 @644:0:0",
                "l n/x/l>a @777:0:0",
                "d n/x/sub @1755:0:0",
            ],
        ),
        (
            "+x",
            [
                "d n @755:0:0",
                "d n/x @755:0:0",
                "f n/x/a=1 @4711:0:0",
                "f n/x/b=2 @711:0:0",
                "l n/x/l>a @777:0:0",
                "d n/x/sub @1771:0:0",
            ],
        ),
    ] {
        let (from, to) = (tree(source), tree(""));
        let step = CopyStep { mode: mode(text), ..step("D /n/x") };
        copy_context(&step, &from, &to).expect("copied");
        assert_eq!(list_metadata(to.path()), expected, "{text}");
    }
    let (from, to) = (tree(""), tree(""));
    let step = CopyStep { mode: mode("u+x"), inline: vec![inline("EOF", "1")], ..step("/x") };
    copy_context(&step, &from, &to).expect("copied");
    assert_eq!(list_metadata(to.path()), ["f x=1 @744:0:0"]);
}

#[test]
fn directories_that_exist_keep_their_mode_at_the_top_and_take_the_sources_below() {
    if !may_run("directories_that_exist_keep_their_mode_at_the_top_and_take_the_sources_below") {
        return;
    }
    let source = tree("d D @700:1:1\nd D/sub @751:2:2\nf D/sub/a=1");
    let target = tree("d x @2770:3:3\nd x/sub @777:4:4\nf x/sub/old=0 @600:5:5");
    let from = rootfs(&source);
    copy(&step("D /x"), &Source::root(&from), &rootfs(&target)).expect("copied");
    assert_eq!(
        list_metadata(target.path()),
        ["d x @2770:3:3", "d x/sub @751:2:2", "f x/sub/a=1 @644:0:0", "f x/sub/old=0 @600:5:5"]
    );
}

#[test]
fn times_are_the_sources() {
    if !may_run("times_are_the_sources") {
        return;
    }
    let source = tree("d D\nf D/a=1\nl D/l>a\nd D/sub\nf D/sub/b=2\np D/p");
    let from = rootfs(&source);
    let times = [
        ("D/a", Timestamp { seconds: 1_000_000_000, nanoseconds: 123_456_789 }),
        ("D/l", Timestamp { seconds: 5, nanoseconds: 1 }),
        ("D/sub/b", Timestamp { seconds: -7, nanoseconds: 999_999_999 }),
        ("D/p", Timestamp { seconds: 3_000_000_000, nanoseconds: 0 }),
        ("D/sub", Timestamp { seconds: 20, nanoseconds: 2 }),
        ("D", Timestamp { seconds: 10, nanoseconds: 3 }),
    ];
    for (name, time) in times {
        from.set_mtime(&path(name), time).expect("set");
    }
    let mtime = |root: &snapshot::Rootfs, name: &str| {
        root.metadata(&path(name)).expect("stat").expect("there").mtime
    };
    for existing in ["", "d x/sub"] {
        let target = tree(existing);
        let to = rootfs(&target);
        copy(&step("D /x"), &Source::context(&from, &|_| true), &to).expect("copied");
        for (name, time) in times {
            let name = name.replacen('D', "x", 1);
            assert_eq!(mtime(&to, &name), time, "{name}");
        }
        // A directory that a file lands in is changed now.
        copy(&step("D/a /x/"), &Source::context(&from, &|_| true), &to).expect("copied");
        assert_ne!(mtime(&to, "x"), times[5].1);
        assert_eq!(mtime(&to, "x/a"), times[0].1);
    }
}

#[test]
fn attributes_and_capabilities_survive_a_change_of_owner() {
    if !may_run("attributes_and_capabilities_survive_a_change_of_owner") {
        return;
    }
    let source = tree("f D/a=1 @755:3:3\nd D/sub\nl D/l>a");
    let from = rootfs(&source);
    // cap_net_raw=ep, version 2.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    from.set_xattr(&path("D/a"), b"security.capability", &capability).expect("set");
    from.set_xattr(&path("D/a"), b"user.note", b"kept").expect("set");
    from.set_xattr(&path("D/sub"), b"user.note", b"").expect("set");
    let target = tree("");
    let to = rootfs(&target);
    let step = CopyStep { owner: Some("5:6".to_owned()), ..step("D /x") };
    let copied = copy(&step, &Source::root(&from), &to).expect("copied");
    assert_eq!(copied.lost_xattr, None);
    let names = |name: &str| to.xattrs(&path(name)).expect("xattrs");
    assert_eq!(
        names("x/a").into_iter().collect::<Vec<_>>(),
        [
            (b"security.capability".to_vec(), capability.to_vec()),
            (b"user.note".to_vec(), b"kept".to_vec()),
        ]
    );
    assert_eq!(
        names("x/sub").into_iter().collect::<Vec<_>>(),
        [(b"user.note".to_vec(), Vec::new())]
    );
    assert_eq!(metadata_below(&target, "x/a"), ["f x/a=1 @755:5:6"]);
}
