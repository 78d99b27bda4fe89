//! Every kind of change, in every mode: each step's changeset is compared with the oracle's, and
//! with the one spelled out here.

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom, Write as _};

use crate::fixture::Fixture;
use crate::oracle::Name;

/// What every test starts from.
fn base(fixture: &Fixture) {
    for directory in ["d", "d/sub", "e", "empty"] {
        fixture.mkdir(directory);
    }
    for file in ["a", "b", "d/c", "d/sub/deep", "e/f"] {
        fixture.write(file, "content");
        fixture.touch(file, 1_000_000);
    }
    fixture.symlink("a", "link");
    fixture.link("a", "e/second");
    for directory in ["d/sub", "d", "e", "empty", ""] {
        fixture.touch(directory, 1_000_000);
    }
}

/// Runs one step on the base and compares what changed, ancestors left out.
fn check(step: impl FnOnce(&Fixture), expected: &[(&str, &'static str)]) {
    let mut fixture = Fixture::with(base);
    let mut changes = fixture.step(step);
    changes.retain(|_, kind| *kind != "ancestor");
    let expected: BTreeMap<Name, &str> =
        expected.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    assert_eq!(changes, expected);
}

#[test]
fn a_step_that_changes_nothing_leaves_nothing() {
    check(|_| {}, &[]);
    check(|fixture| drop(std::fs::read(fixture.host("a"))), &[]);
}

#[test]
fn content() {
    check(|f| f.write("b", "longer content"), &[("b", "modified")]);
    check(|f| f.keep_mtime("b", || f.write("b", "CONTENT")), &[("b", "modified")]);
    check(
        |f| {
            f.keep_mtime("b", || {
                let mut file = f.open("b");
                file.seek(SeekFrom::Start(3)).expect("seeks");
                file.write_all(b"X").expect("written");
            });
        },
        &[("b", "modified")],
    );
    check(|f| f.open("b").set_len(3).expect("truncated"), &[("b", "modified")]);
}

#[test]
fn what_only_looks_changed_is_dismissed() {
    check(|f| f.keep_mtime("b", || f.write("b", "content")), &[]);
    check(|f| f.keep_mtime("", || f.replace_by_copy("b")), &[]);
    check(
        |f| {
            f.chmod("b", 0o600);
            f.chmod("b", 0o644);
        },
        &[],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.rename("b", "x");
                f.rename("x", "b");
            });
        },
        &[],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("link");
                f.symlink("a", "link");
            });
            f.set_mtime("link", f.tree["link"].mtime);
        },
        &[],
    );
}

#[test]
fn metadata() {
    check(|f| f.chmod("b", 0o4755), &[("b", "modified")]);
    check(|f| f.chown("b", 7), &[("b", "modified")]);
    check(|f| f.chown("link", 7), &[("link", "modified")]);
    check(|f| f.touch("b", 5), &[("b", "modified")]);
    check(|f| f.touch("link", 5), &[("link", "modified")]);
    check(|f| f.chmod("d", 0o700), &[("d", "modified")]);
    check(|f| f.touch("d/sub", -5), &[("d/sub", "modified")]);
    check(|f| f.chmod("", 0o711), &[("", "modified")]);
}

#[test]
fn extended_attributes() {
    check(|f| f.set_xattr("b", b"1"), &[("b", "modified")]);
    check(|f| f.set_xattr("d", b"1"), &[("d", "modified")]);
    check(
        |f| {
            f.set_xattr("b", b"1");
            f.remove_xattr("b");
        },
        &[],
    );
    let mut fixture = Fixture::with(|f| {
        f.write("b", "content");
        f.set_xattr("b", b"1");
    });
    assert_eq!(fixture.step(|f| f.set_xattr("b", b"2"))["b"], "modified");
    assert_eq!(fixture.step(|f| f.remove_xattr("b"))["b"], "modified");
    assert!(fixture.step(|_| {}).is_empty());
}

#[test]
fn new_entries() {
    check(|f| f.keep_mtime("", || f.write("new", "x")), &[("new", "added")]);
    check(|f| f.mkdir("new/deep"), &[("", "modified"), ("new", "added"), ("new/deep", "added")]);
    check(|f| f.keep_mtime("d", || f.symlink("x", "d/new")), &[("d/new", "added")]);
}

#[test]
fn removals_name_the_topmost_only() {
    check(|f| f.keep_mtime("", || f.remove("b")), &[("b", "removed")]);
    check(|f| f.keep_mtime("", || f.remove("d")), &[("d", "removed")]);
    check(|f| f.keep_mtime("d", || f.remove("d/sub")), &[("d/sub", "removed")]);
    check(
        |f| {
            f.keep_mtime("", || {
                for name in ["a", "b", "d", "e", "empty", "link"] {
                    f.remove(name);
                }
            });
        },
        &[
            ("a", "removed"),
            ("b", "removed"),
            ("d", "removed"),
            ("e", "removed"),
            ("empty", "removed"),
            ("link", "removed"),
        ],
    );
}

#[test]
fn a_directory_made_again_loses_the_names_it_lost() {
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("d");
                f.mkdir("d");
                f.write("d/new", "x");
                f.write("d/c", "content");
            });
            f.touch("d/c", 1_000_000);
            f.touch("d", 1_000_000);
        },
        &[("d/new", "added"), ("d/sub", "removed")],
    );
}

#[test]
fn one_kind_becomes_another() {
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("d");
                f.write("d", "now a file");
            });
        },
        &[("d", "modified")],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("b");
                f.mkdir("b");
                f.write("b/inside", "x");
            });
        },
        &[("b", "modified"), ("b/inside", "added")],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("d");
                f.symlink("e", "d");
            });
        },
        &[("d", "modified")],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("link");
                f.mkdir("link");
            });
        },
        &[("link", "modified")],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("b");
                f.mkfifo("b");
            });
        },
        &[("b", "modified")],
    );
}

#[test]
fn renames() {
    check(|f| f.keep_mtime("", || f.rename("b", "x")), &[("b", "removed"), ("x", "added")]);
    check(
        |f| f.keep_mtime("", || f.rename("d", "x")),
        &[
            ("d", "removed"),
            ("x", "added"),
            ("x/c", "added"),
            ("x/sub", "added"),
            ("x/sub/deep", "added"),
        ],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.write("x", "other!!");
                f.touch("x", 1_000_000);
                f.rename("x", "b");
            });
        },
        &[("b", "modified")],
    );
    // Two files of one size and time change places.
    check(
        |f| {
            f.keep_mtime("", || f.keep_mtime("d", || f.exchange("b", "d/c")));
        },
        &[],
    );
    // Two directories do, and what is in them with them.
    check(
        |f| f.keep_mtime("", || f.exchange("d", "e")),
        &[
            ("d/c", "removed"),
            ("d/f", "added"),
            ("d/second", "added"),
            ("d/sub", "removed"),
            ("a", "linked"),
            ("e/c", "added"),
            ("e/f", "removed"),
            ("e/second", "removed"),
            ("e/sub", "added"),
            ("e/sub/deep", "added"),
        ],
    );
}

#[test]
fn hard_links_bring_their_whole_group() {
    check(|f| f.keep_mtime("", || f.link("b", "new")), &[("b", "linked"), ("new", "added")]);
    check(
        |f| f.keep_mtime("", || f.link("a", "new")),
        &[("a", "linked"), ("e/second", "linked"), ("new", "added")],
    );
    check(|f| f.keep_mtime("", || f.remove("a")), &[("a", "removed"), ("e/second", "linked")]);
    check(
        |f| f.keep_mtime("", || f.rename("a", "x")),
        &[("a", "removed"), ("e/second", "linked"), ("x", "added")],
    );
    // Through one name, both.
    check(
        |f| f.keep_mtime("a", || f.write("e/second", "CONTENT")),
        &[("a", "modified"), ("e/second", "modified")],
    );
    check(|f| f.chmod("a", 0o600), &[("a", "modified"), ("e/second", "modified")]);
}

#[test]
fn hard_links_that_are_broken_or_made_without_any_other_change() {
    check(
        |f| f.keep_mtime("", || f.replace_by_copy("a")),
        &[("a", "linked"), ("e/second", "linked")],
    );
    check(
        |f| {
            f.keep_mtime("", || {
                f.remove("b");
                f.link("a", "b");
            });
        },
        &[("a", "linked"), ("b", "linked"), ("e/second", "linked")],
    );
    // The alias that nobody sees afterwards.
    check(
        |f| {
            f.keep_mtime("", || {
                f.keep_mtime("b", || {
                    f.link("b", "alias");
                    f.write("alias", "CONTENT");
                    f.remove("alias");
                });
            });
        },
        &[("b", "modified")],
    );
}

#[test]
fn two_writes_in_one_tick_are_two_changes() {
    let mut fixture = Fixture::with(base);
    // No wait for the clock: neither before the write nor between snapshot and write.
    for round in 0..20 {
        fixture.keep_mtime("b", || fixture.write("b", &format!("round{round:02}")));
        let changes = fixture.check();
        assert_eq!(changes.get("b"), Some(&"modified"), "round {round}");
    }
}

#[test]
fn a_file_from_the_future_is_always_read() {
    let mut fixture = Fixture::with(base);
    assert!(fixture.step(|_| {}).is_empty());
    // The clock cannot be set in a test; an index that claims a ctime to come is the same.
    for snapshotter in &mut fixture.snapshotters {
        let name = crate::fixture::path("b");
        let mut row = snapshotter.index().get(&name).expect("known");
        row.metadata.ctime.seconds += 1_000_000;
        snapshotter.index_mut().insert(&name, row);
    }
    assert!(fixture.step(|_| {}).is_empty());
}
