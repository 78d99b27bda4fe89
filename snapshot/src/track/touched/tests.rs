use super::*;
use crate::index::Row;
use crate::metadata::{Metadata, Timestamp};
use crate::scope::Extent;

const ROOT: InodeId = InodeId { dev: 1, ino: 2 };

fn inode(ino: u64) -> InodeId {
    InodeId { dev: 1, ino }
}

/// Two directories, `d` (10) and `d/e` (11); a file `d/f` (20), and one with the names `d/l` and
/// `d/e/l` (21).
fn index() -> Index {
    let mut index = Index::new();
    for (path, kind, ino, nlink) in [
        ("d", FileKind::Directory, 10, 2),
        ("d/e", FileKind::Directory, 11, 2),
        ("d/f", FileKind::Regular, 20, 1),
        ("d/l", FileKind::Regular, 21, 2),
        ("d/e/l", FileKind::Regular, 21, 2),
    ] {
        let metadata = Metadata {
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::EPOCH,
            ctime: Timestamp::EPOCH,
            dev: 1,
            ino,
            nlink,
            rdev_major: 0,
            rdev_minor: 0,
        };
        let row = Row { metadata, content: None, xattrs: None, shadow: false };
        index.insert(&RootfsPath::new(path).expect("valid"), row);
    }
    index
}

fn scope_of(omissions: Omissions, notes: impl FnOnce(&mut Touched)) -> Scope {
    let mut touched = Touched::default();
    notes(&mut touched);
    touched.into_scope(&index(), ROOT, omissions)
}

fn paths_of(scope: &Scope) -> Vec<(String, Extent)> {
    match scope {
        Scope::Only(paths) => {
            paths.iter().map(|(path, extent)| (path.to_string(), extent)).collect()
        }
        Scope::Everything(reason) => panic!("everything: {reason}"),
    }
}

fn check(notes: impl FnOnce(&mut Touched), expected: &[(&str, Extent)]) {
    let paths = paths_of(&scope_of(Omissions::default(), notes));
    let expected: Vec<_> =
        expected.iter().map(|(path, extent)| ((*path).to_owned(), *extent)).collect();
    assert_eq!(paths, expected);
}

#[test]
fn nothing_touched_is_nothing_to_look_at() {
    check(|_| {}, &[]);
}

#[test]
fn an_inode_is_looked_at_by_all_its_names() {
    check(|touched| touched.inode(inode(20)), &[("/d/f", Extent::Entry)]);
    check(
        |touched| touched.inode(inode(21)),
        &[("/d/e/l", Extent::Entry), ("/d/l", Extent::Entry)],
    );
    check(|touched| touched.inode(ROOT), &[("/", Extent::Entry)]);
}

#[test]
fn an_unknown_inode_is_not_in_the_root() {
    check(|touched| touched.inode(inode(99)), &[]);
    check(|touched| touched.name(inode(99), b"x", NameNote::Directory), &[]);
    check(|touched| touched.inode(InodeId { dev: 2, ino: 20 }), &[]);
}

#[test]
fn names_are_looked_at_with_their_directory() {
    check(
        |touched| {
            touched.name(inode(11), b"new", NameNote::Entry);
            touched.name(inode(11), b"dir", NameNote::Directory);
            touched.name(ROOT, b"top", NameNote::Entry);
        },
        &[
            ("/", Extent::Entry),
            ("/d/e", Extent::Entry),
            ("/d/e/dir", Extent::Subtree),
            ("/d/e/new", Extent::Entry),
            ("/top", Extent::Entry),
        ],
    );
    // Whatever came last: a directory was there in between.
    for notes in [[NameNote::Entry, NameNote::Directory], [NameNote::Directory, NameNote::Entry]] {
        check(
            |touched| notes.into_iter().for_each(|note| touched.name(inode(10), b"x", note)),
            &[("/d", Extent::Entry), ("/d/x", Extent::Subtree)],
        );
    }
}

#[test]
fn doubt_is_everything_for_the_first_reason() {
    let scope = scope_of(Omissions::default(), |touched| {
        touched.inode(inode(20));
        touched.doubt(Reason::MountsChanged);
        touched.doubt(Reason::ReadError);
        touched.inode(inode(21));
    });
    assert_eq!(scope, Scope::Everything(Reason::MountsChanged));
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
        let scope = scope_of(Omissions::default(), |touched| {
            touched.name(inode(10), name, NameNote::Entry);
        });
        assert_eq!(scope, Scope::Everything(Reason::UnknownRecord), "{name:?}");
    }
}

#[test]
fn notes_have_a_bound() {
    let mut touched = Touched::default();
    for ino in 0..MAX_NOTES as u64 {
        touched.inode(inode(ino));
    }
    assert_eq!((touched.len(), touched.is_in_doubt()), (MAX_NOTES, false));
    touched.inode(inode(u64::MAX));
    assert_eq!((touched.len(), touched.is_in_doubt()), (0, true));
    let scope = touched.into_scope(&index(), ROOT, Omissions::default());
    assert_eq!(scope, Scope::Everything(Reason::QueueOverflow));
}

#[test]
fn omissions_leave_out_what_they_say() {
    let omissions = Omissions { aliases: true, subtrees: true };
    let scope = scope_of(omissions, |touched| {
        touched.inode(inode(21));
        touched.name(inode(11), b"dir", NameNote::Directory);
    });
    let expected =
        [("/d/e", Extent::Entry), ("/d/e/dir", Extent::Entry), ("/d/e/l", Extent::Entry)];
    assert_eq!(paths_of(&scope), expected.map(|(path, extent)| (path.to_owned(), extent)));
}

#[test]
fn linked_files_are_all_names_but_those_of_directories() {
    let names: Vec<_> = names_of_linked_files(&index()).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["/d/e/l", "/d/l"]);
}
