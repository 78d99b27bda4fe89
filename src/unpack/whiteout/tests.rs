use snapshot::{Timestamp, Xattrs};

use super::*;

fn entry(path: &str, kind: EntryKind, size: u64) -> Entry {
    Entry {
        path: RootfsPath::new(path).unwrap(),
        kind,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime: Timestamp::EPOCH,
        size,
        xattrs: Xattrs::new(),
    }
}

fn path(path: &str) -> RootfsPath {
    RootfsPath::new(path).unwrap()
}

#[test]
fn names_say_what_is_taken_away() {
    fn check(name: &str, expected: Result<Meaning, WhiteoutError>) {
        assert_eq!(meaning(&entry(name, EntryKind::Regular, 0)), expected, "{name}");
        let link = EntryKind::HardLink(path(".wh.other"));
        if expected != Ok(Meaning::Entry) {
            assert_eq!(meaning(&entry(name, link, 0)), expected, "{name} as a link");
        }
    }
    check("", Ok(Meaning::Entry));
    check("a/b", Ok(Meaning::Entry));
    check("wh.a", Ok(Meaning::Entry));
    check("a.wh.b", Ok(Meaning::Entry));
    check(".wha", Ok(Meaning::Entry));
    check(".wh.a", Ok(Meaning::Hides(path("a"))));
    check("a/b/.wh.c", Ok(Meaning::Hides(path("a/b/c"))));
    check("a/.wh..b", Ok(Meaning::Hides(path("a/.b"))));
    check("a/.wh.....", Ok(Meaning::Hides(path("a/...."))));
    check("a/.wh..wh", Ok(Meaning::Hides(path("a/.wh"))));
    check(".wh..wh..opq", Ok(Meaning::Opaque(path(""))));
    check("a/.wh..wh..opq", Ok(Meaning::Opaque(path("a"))));
    check(".wh.", Err(WhiteoutError::Name));
    check("a/.wh..", Err(WhiteoutError::Name));
    check("a/.wh...", Err(WhiteoutError::Name));
    check("a/.wh..wh.", Err(WhiteoutError::Reserved));
    check("a/.wh..wh.x", Err(WhiteoutError::Reserved));
    check(".wh..wh.plnk", Err(WhiteoutError::Reserved));
    check("a/.wh..wh..opqx", Err(WhiteoutError::Reserved));
    check(".wh.a/b", Err(WhiteoutError::Directory));
    check("x/.wh..wh..opq/b", Err(WhiteoutError::Directory));
}

#[test]
fn a_whiteout_is_an_empty_file() {
    for kind in [
        EntryKind::Directory,
        EntryKind::Symlink(b"a".to_vec()),
        EntryKind::CharDevice { major: 0, minor: 0 },
        EntryKind::Fifo,
    ] {
        assert_eq!(meaning(&entry("a/.wh.b", kind, 0)), Err(WhiteoutError::Kind));
    }
    let full = entry("a/.wh.b", EntryKind::Regular, 1);
    assert_eq!(meaning(&full), Err(WhiteoutError::Kind));
    let link = entry("a/b", EntryKind::HardLink(path("a/.wh.c")), 0);
    assert_eq!(meaning(&link), Err(WhiteoutError::Directory));
    let link = entry("a/b", EntryKind::HardLink(path(".wh..wh.plnk/1")), 0);
    assert_eq!(meaning(&link), Err(WhiteoutError::Directory));
}
