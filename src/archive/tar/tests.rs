//! The reader on archives made byte by byte.

use snapshot::{RootfsPath, Timestamp, Xattrs};

use super::{Entry, EntryKind, Reader, Segment, TarError};
use crate::archive::limits::Limits;
use crate::archive::tarball::{Member, archive, base256, gnu_long, octal, pax, record, unended};

fn path(path: impl AsRef<[u8]>) -> RootfsPath {
    RootfsPath::new(path).unwrap()
}

/// Reads every entry and its content, three bytes at a time below.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(std::io::BufReader::with_capacity(700, bytes), Limits::default());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let content = reader.read_content(1 << 20)?;
        entries.push((entry, content));
    }
    assert_eq!(reader.offset(), bytes.len() as u64, "the whole stream is read");
    assert_eq!(reader.next_entry().unwrap(), None);
    Ok(entries)
}

fn names(bytes: &[u8]) -> Vec<String> {
    read(bytes).unwrap().iter().map(|(entry, _)| entry.path.to_string()).collect()
}

/// The error's message and its causes.
fn refusal(bytes: &[u8]) -> String {
    let error = match read(bytes) {
        Ok(entries) => panic!("read as {entries:?}"),
        Err(error) => error,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

fn plain(kind: EntryKind, name: &str, mode: u32) -> Entry {
    Entry {
        path: path(name),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds: 1_500_000_000, nanoseconds: 0 },
        size: 0,
        xattrs: Xattrs::new(),
    }
}

#[test]
fn every_kind_of_entry_is_read() {
    let bytes = archive(&[
        Member::new(b'5', "./"),
        Member::new(b'5', "etc/").mode(0o1777),
        Member::file("etc/passwd", "root").mode(0o100_600).owner(7, 8),
        Member::link(b'2', "bin", "usr/bin"),
        Member::link(b'1', "etc/shadow", "/etc//passwd"),
        Member::new(b'3', "dev/null").device(1, 3).mode(0o666),
        Member::new(b'4', "dev/sda").device(8, 0xf_ffff),
        Member::new(b'6', "pipe"),
        Member::file("empty", ""),
        Member { content: vec![7; 513], ..Member::new(b'7', "contiguous") },
        Member { content: b"old".to_vec(), ..Member::new(0, "v7") }.v7(),
        Member::new(0, "v7dir/").v7().mode(0o755),
    ]);
    let expected = vec![
        (plain(EntryKind::Directory, "", 0o755), vec![]),
        (plain(EntryKind::Directory, "etc", 0o1777), vec![]),
        (
            Entry { uid: 7, gid: 8, size: 4, ..plain(EntryKind::Regular, "etc/passwd", 0o600) },
            b"root".to_vec(),
        ),
        (plain(EntryKind::Symlink(b"usr/bin".to_vec()), "bin", 0o644), vec![]),
        (plain(EntryKind::HardLink(path("etc/passwd")), "etc/shadow", 0o644), vec![]),
        (plain(EntryKind::CharDevice { major: 1, minor: 3 }, "dev/null", 0o666), vec![]),
        (plain(EntryKind::BlockDevice { major: 8, minor: 0xf_ffff }, "dev/sda", 0o644), vec![]),
        (plain(EntryKind::Fifo, "pipe", 0o644), vec![]),
        (plain(EntryKind::Regular, "empty", 0o644), vec![]),
        (Entry { size: 513, ..plain(EntryKind::Regular, "contiguous", 0o644) }, vec![7; 513]),
        (Entry { size: 3, ..plain(EntryKind::Regular, "v7", 0o644) }, b"old".to_vec()),
        (plain(EntryKind::Directory, "v7dir", 0o755), vec![]),
    ];
    assert_eq!(read(&bytes).unwrap(), expected);
}

#[test]
fn names_come_from_prefix_long_name_and_extended_header() {
    let long = "d/".repeat(150) + "file";
    let prefixed = Member { tail: b"a/b/c".to_vec(), ..Member::file("file", "") };
    // star ends its prefix early and keeps times after it.
    let star = [&b"a/b"[..], &[0; 128], b"00000000000 00000000000 \0\0\0\0\0\0\0\0tar\0"].concat();
    let bytes = archive(&[
        prefixed,
        Member { tail: star, ..Member::file("star", "") },
        gnu_long(b'L', &long),
        Member::file("cut", "").gnu(),
        pax(&[("path", long.as_bytes())]),
        Member::file("cut", ""),
        pax(&[("path", b"\xff\n1 x=y\n"), ("hdrcharset", b"BINARY")]),
        Member::file("cut", ""),
        Member::file(b"\xe4\x01-", ""),
        Member::file("//x//./y", ""),
    ]);
    let long = format!("/{long}");
    assert_eq!(
        names(&bytes),
        ["/a/b/c/file", "/a/b/star", &long, &long, r"/\xff\x0a1 x=y\x0a", r"/\xe4\x01-", "/x/y"]
    );
}

#[test]
fn link_targets_come_from_long_link_and_extended_header() {
    let long = "t/".repeat(80) + "x";
    let bytes = archive(&[
        gnu_long(b'K', &long),
        Member::link(b'2', "a", "cut").gnu(),
        pax(&[("linkpath", long.as_bytes())]),
        Member::link(b'2', "b", "cut"),
        pax(&[("linkpath", long.as_bytes())]),
        Member::link(b'1', "c", "cut"),
        Member::link(b'2', "d", "../../../../etc"),
        gnu_long(b'K', "k"),
        gnu_long(b'L', "l"),
        Member::link(b'2', "e", "cut").gnu(),
    ]);
    let kinds: Vec<_> =
        read(&bytes).unwrap().into_iter().map(|(entry, _)| (entry.path, entry.kind)).collect();
    let symlink = |target: &str| EntryKind::Symlink(target.as_bytes().to_vec());
    assert_eq!(
        kinds,
        [
            (path("a"), symlink(&long)),
            (path("b"), symlink(&long)),
            (path("c"), EntryKind::HardLink(path(&long))),
            (path("d"), symlink("../../../../etc")),
            (path("l"), symlink("k")),
        ]
    );
}

#[test]
fn extended_header_overrides_fields_of_the_next_entry_only() {
    let capability = b"\x01\0\0\x02\n22 linkpath=/etc/evil\n\0\0";
    let bytes = archive(&[
        pax(&[
            ("size", b"5"),
            ("uid", b"4000000000"),
            ("gid", b"70000"),
            ("mtime", b"-1.5"),
            ("atime", b"1.5"),
            ("comment", b""),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.empty", b""),
        ]),
        Member { content: b"hello".to_vec(), ..Member::new(b'0', "a").size(0) },
        Member::file("b", "x"),
    ]);
    let first = Entry {
        uid: 4_000_000_000,
        gid: 70_000,
        mtime: Timestamp { seconds: -2, nanoseconds: 500_000_000 },
        size: 5,
        xattrs: Xattrs::from([
            (b"security.capability".to_vec(), capability.to_vec()),
            (b"user.empty".to_vec(), Vec::new()),
        ]),
        ..plain(EntryKind::Regular, "a", 0o644)
    };
    let second = Entry { size: 1, ..plain(EntryKind::Regular, "b", 0o644) };
    assert_eq!(read(&bytes).unwrap(), [(first, b"hello".to_vec()), (second, b"x".to_vec())]);
}

#[test]
fn extended_size_does_not_apply_to_a_long_name_between() {
    let long = ["n".repeat(250), "m".repeat(250), "l".repeat(100)].join("/");
    let bytes = archive(&[
        pax(&[("size", b"3")]),
        gnu_long(b'L', &long),
        Member { content: b"abc".to_vec(), ..Member::new(b'0', "cut").gnu().size(0) },
    ]);
    let entries = read(&bytes).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].0.path.as_bytes(), &entries[0].1[..]), (long.as_bytes(), &b"abc"[..]));
}

#[test]
fn times_are_exact() {
    fn check(value: &str, seconds: i64, nanoseconds: u32) {
        let bytes = archive(&[pax(&[("mtime", value.as_bytes())]), Member::file("a", "")]);
        let entries = read(&bytes).unwrap();
        assert_eq!(entries[0].0.mtime, Timestamp { seconds, nanoseconds }, "{value}");
    }
    check("0", 0, 0);
    check("1.5", 1, 500_000_000);
    check("1.", 1, 0);
    check("1234567890.123456789", 1_234_567_890, 123_456_789);
    check("1.0000000019", 1, 1);
    check("-1", -1, 0);
    check("-1.000000001", -2, 999_999_999);
    check("-1.0000000001", -2, 999_999_999);
    check("-0.25", -1, 750_000_000);
    check("-0.0", 0, 0);
    check("99999999999", 99_999_999_999, 0);
}

#[test]
fn numbers_are_octal_or_base_256() {
    let bytes = archive(&[
        Member {
            uid: base256(0xdead_beef, 8),
            gid: b" 17 \0\0\0\0".to_vec(),
            mtime: base256(-5, 12),
            ..Member::file("a", "")
        },
        Member {
            uid: vec![],
            gid: b"       \0".to_vec(),
            mtime: b"7".to_vec(),
            ..Member::file("b", "")
        },
        Member {
            mtime: b"77777777777\0".to_vec(),
            mode: b"  755 \0".to_vec(),
            ..Member::file("c", "")
        },
        Member { device_minor: base256(300_000, 8), ..Member::new(b'3', "d").device(5, 0) },
    ]);
    let seconds = |seconds| Timestamp { seconds, nanoseconds: 0 };
    let regular = |name, mode| plain(EntryKind::Regular, name, mode);
    let expected = [
        Entry { uid: 0xdead_beef, gid: 0o17, mtime: seconds(-5), ..regular("a", 0o644) },
        Entry { mtime: seconds(7), ..regular("b", 0o644) },
        Entry { mtime: seconds(0o77_777_777_777), ..regular("c", 0o755) },
        plain(EntryKind::CharDevice { major: 5, minor: 300_000 }, "d", 0o644),
    ];
    let entries: Vec<_> = read(&bytes).unwrap().into_iter().map(|(entry, _)| entry).collect();
    assert_eq!(entries, expected);
}

#[test]
fn fields_that_readers_differ_on_are_refused() {
    fn check(member: Member, expected: &str) {
        let bytes = archive(&[Member::file("first", ""), member]);
        assert_eq!(refusal(&bytes), expected);
    }
    let number = |uid: &[u8]| Member { uid: uid.to_vec(), ..Member::file("a", "") };
    let no_number = |value: &str| {
        format!("cannot unpack entry `a`: field `uid` holds `{value}`, which is no number")
    };
    check(number(b"+17"), &no_number(r"+17\x00\x00\x00\x00\x00"));
    check(number(b"-17"), &no_number(r"-17\x00\x00\x00\x00\x00"));
    check(number(b"\x00017\0\0\0\0"), &no_number(r"\x00017\x00\x00\x00\x00"));
    check(number(b"17\0 9\0\0\0"), &no_number(r"17\x00 9\x00\x00\x00"));
    check(number(b"1_7\0\0\0\0\0"), &no_number(r"1_7\x00\x00\x00\x00\x00"));
    check(number(b"18\0\0\0\0\0\0"), &no_number(r"18\x00\x00\x00\x00\x00\x00"));
    check(number(b"        "), &no_number("        "));
    check(number(b"\x81\0\0\0\0\0\0\0"), &no_number(r"\x81\x00\x00\x00\x00\x00\x00\x00"));
    let range = |field| format!("cannot unpack entry `a`: field `{field}` is out of range");
    check(number(&base256(-1, 8)), &range("uid"));
    check(number(&base256(0xffff_ffff, 8)), &range("uid"));
    check(number(&base256(1 << 40, 8)), &range("uid"));
    let file = Member::file("a", "");
    check(Member { size: Some(base256(-1, 12)), ..file.clone() }, &range("size"));
    check(Member { size: Some(base256(1 << 63, 12)), ..file.clone() }, &range("size"));
    check(Member { mtime: base256(1 << 80, 12), ..file.clone() }, &range("mtime"));
    check(file.clone().mode(0o200_000), &range("mode"));
    check(
        Member { device_minor: b"x".to_vec(), ..file.clone() },
        "cannot unpack entry `a`: field `devminor` holds \
         `x\\x00\\x00\\x00\\x00\\x00\\x00\\x00`, which is no number",
    );
    check(Member::new(b'3', "a").device(4096, 0), &range("devmajor"));
    check(Member::new(b'4', "a").device(0, 1 << 20), &range("devminor"));
    check(
        Member { tail: b"prefix".to_vec(), ..file.clone() }.gnu(),
        "cannot unpack entry `at byte 512`: a prefix in a header that has no such field",
    );
    check(
        Member { tail: b"prefix".to_vec(), ..file }.v7(),
        "cannot unpack entry `at byte 512`: a prefix in a header that has no such field",
    );
}

#[test]
fn entries_that_readers_differ_on_are_refused() {
    fn check(member: Member, expected: &str) {
        let name = snapshot::path::Escaped(&member.name[..]).to_string();
        let bytes = archive(&[Member::file("first", ""), member]);
        assert_eq!(refusal(&bytes), format!("cannot unpack entry `{name}`: {expected}"));
    }
    check(Member::file("", ""), "it has no name");
    check(Member::file("../x", ""), "its name or link target contains `..`");
    check(Member::file("a/../x", ""), "its name or link target contains `..`");
    check(Member::file("/..", ""), "its name or link target contains `..`");
    check(Member::new(b'5', "a/.."), "its name or link target contains `..`");
    check(Member::link(b'1', "a", "../x"), "its name or link target contains `..`");
    check(Member::link(b'1', "a", ""), "it is a link without a target");
    check(Member::link(b'2', "a", ""), "it is a link without a target");
    check(Member::file("a/", ""), "it is no directory, but its name ends in a slash");
    check(Member::file("a/.", ""), "it is no directory, but its name ends in a slash");
    check(Member::new(0, "a/."), "it is no directory, but its name ends in a slash");
    check(Member::link(b'2', "a/", "x"), "it is no directory, but its name ends in a slash");
    check(Member::link(b'1', "a/", "x"), "it is no directory, but its name ends in a slash");
    check(Member::file(".", ""), "it is the root of the archive, but no directory");
    check(Member::file("/", ""), "it is the root of the archive, but no directory");
    check(Member::link(b'2', "./", "/etc"), "it is the root of the archive, but no directory");
    let content = "it has content, but is no regular file";
    for member in [
        Member::new(b'5', "a"),
        Member::new(0, "a/"),
        Member::link(b'1', "a", "b"),
        Member::link(b'2', "a", "b"),
        Member::new(b'3', "a"),
        Member::new(b'6', "a"),
    ] {
        check(Member { content: b"x".to_vec(), ..member }, content);
    }
    check(Member::new(b'3', "a").v7(), "it is a device in a header without device numbers");
    for flag in [b'8', b'9', b'A', b'D', b'M', b'N', b'V', b'X', b'Z', b's', b'a'] {
        check(Member::new(flag, "a"), &format!("its type `{}` is not supported", flag as char));
    }
    check(Member::new(0xff, "a"), r"its type `\xff` is not supported");
}

#[test]
fn broken_blocks_are_refused() {
    let ok = Member::file("a", "x");
    let bad_sum = Member { checksum: Some(b"000000\0 ".to_vec()), ..ok.clone() };
    assert_eq!(refusal(&archive(std::slice::from_ref(&bad_sum))), "not a tar archive");
    assert_eq!(
        refusal(&archive(&[ok.clone(), bad_sum])),
        "malformed tar header at byte 1024: the checksum does not match"
    );
    let magic = Member { magic: b"ustar-00".to_vec(), ..ok.clone() };
    assert_eq!(
        refusal(&archive(&[ok.clone(), magic])),
        "malformed tar header at byte 1024: unknown magic `ustar-00`"
    );
    assert_eq!(refusal(&[b'x'; 512]), "not a tar archive");
    let mut lone = unended(std::slice::from_ref(&ok));
    lone.extend([0; 512]);
    lone.extend(archive(&[ok]));
    assert_eq!(refusal(&lone), "a lone zero block at byte 1024, with more of the archive after it");
}

#[test]
fn signed_checksums_are_taken() {
    let mut member = Member::file(b"\xff\xfe", "");
    let unsigned: u64 = {
        let mut block = member.header();
        block[148..156].copy_from_slice(b"        ");
        block.iter().map(|&byte| u64::from(byte)).sum()
    };
    member.checksum = Some(octal(unsigned - 2 * 256, 8));
    assert_eq!(names(&archive(&[member])), [r"/\xff\xfe"]);
}

#[test]
fn archives_end_with_zero_blocks_or_with_the_stream() {
    let members = [Member::file("a", "x")];
    assert_eq!(names(&archive(&members)), ["/a"]);
    assert_eq!(names(&unended(&members)), ["/a"]);
    let mut one = unended(&members);
    one.extend([0; 512]);
    assert_eq!(names(&one), ["/a"]);
    let mut trailing = archive(&members);
    trailing.extend(b"whatever follows is read and means nothing");
    assert_eq!(names(&trailing), ["/a"]);
    assert_eq!(refusal(&[]), "the archive is empty: it has not even an end");
    assert_eq!(names(&[0; 10_240]), [""; 0]);
}

#[test]
fn every_cut_of_an_archive_is_an_error_or_ends_between_entries() {
    let members = [
        gnu_long(b'L', "l/".repeat(350) + "l"),
        Member::file("a", "x".repeat(600)).gnu(),
        pax(&[("path", b"b")]),
        Member::file("b", "yy"),
    ];
    let bytes = unended(&members);
    let boundaries = [unended(&members[..2]).len(), bytes.len()];
    for cut in 0..=bytes.len() {
        let result = read(&bytes[..cut]);
        assert_eq!(result.is_ok(), boundaries.contains(&cut), "cut at {cut}: {result:?}");
    }
}

#[test]
fn malformed_extended_headers_are_refused() {
    fn check(content: &[u8], expected: &str) {
        let header = Member { content: content.to_vec(), ..pax(&[]) };
        let bytes = archive(&[header, Member::file("a", "")]);
        assert_eq!(
            refusal(&bytes),
            format!("malformed extended tar header at byte 0: {expected}"),
            "{}",
            content.escape_ascii()
        );
    }
    let at = |offset| format!("malformed record at byte {offset} of the extended header");
    for content in [
        &b"nonsense"[..],
        b"6 a=b",
        b"7 a=b\n",
        b"5 a=b\n",
        b"06 a=b\n",
        b"+6 a=b\n",
        b" 6 a=b\n",
        b"6\ta=b\n",
        b"6 a=bc",
        b"5 =b\n",
        b"6 abc\n",
        b"0 a=b\n",
        b"3 \n",
        b"1 ",
        b"99999999999999999999 a=b\n",
        b"18446744073709551615 a=b\n",
        b"8 a\0c=b\n",
        b"\0\0\0",
    ] {
        check(content, &at(0));
    }
    check(&[record("a", "b"), b"\0\0".to_vec()].concat(), &at(6));
    check(&[record("a", "b"), b"12 path=evil".to_vec()].concat(), &at(6));
    check(
        &[record("path", "a"), record("path", "a")].concat(),
        "the extended header has `path` twice",
    );
    let value = |key| format!("the extended header's `{key}` has an invalid value");
    for (key, bad) in [
        ("path", &b""[..]),
        ("path", b"a\0b"),
        ("linkpath", b""),
        ("linkpath", b"\0"),
        ("size", b""),
        ("size", b"-1"),
        ("size", b"0x10"),
        ("size", b"9223372036854775808"),
        ("uid", b"4294967295"),
        ("uid", b"-1"),
        ("gid", b"99999999999"),
        ("gid", b"root"),
        ("mtime", b""),
        ("mtime", b"."),
        ("mtime", b".5"),
        ("mtime", b"1.5.5"),
        ("mtime", b"1e9"),
        ("mtime", b"--1"),
        ("mtime", b"1.-5"),
        ("atime", b"nonsense"),
        ("ctime", b""),
        ("hdrcharset", b"UTF-16"),
        ("SCHILY.xattr.", b"x"),
    ] {
        check(&record(key, bad), &value(key));
    }
    for key in ["GNU.volume.label", "GNU.dumpdir", "GNU.sparse.offset", "SCHILY.realsize"] {
        check(&record(key, "1"), &format!("`{key}` in an extended header is not supported"));
    }
}

#[test]
fn global_headers_may_only_comment() {
    let global = |records: &[(&str, &[u8])]| Member { type_flag: b'g', ..pax(records) };
    let commit = global(&[("comment", b"0123abc")]);
    let file = Member::file("a", "");
    assert_eq!(names(&archive(&[commit.clone(), file.clone()])), ["/a"]);
    assert_eq!(names(&archive(&[commit.clone(), commit.clone(), file.clone()])), ["/a"]);
    for key in ["path", "size", "uid", "mtime", "SCHILY.xattr.user.a", "GNU.sparse.major"] {
        assert_eq!(
            refusal(&archive(&[global(&[(key, b"1")]), file.clone()])),
            format!(
                "malformed extended tar header at byte 0: \
                 `{key}` in a global extended header is not supported"
            )
        );
    }
    assert_eq!(
        refusal(&archive(&[pax(&[("path", b"b")]), commit, file])),
        "misplaced tar header of type `g` at byte 1024"
    );
}

#[test]
fn misplaced_extensions_are_refused() {
    let file = Member::file("a", "").gnu();
    let misplaced = |flag: char| format!("misplaced tar header of type `{flag}` at byte 1024");
    let twice = |member: Member| refusal(&archive(&[member.clone(), member, file.clone()]));
    assert_eq!(twice(pax(&[("uid", b"1")])), misplaced('x'));
    assert_eq!(twice(gnu_long(b'L', "b")), misplaced('L'));
    assert_eq!(twice(gnu_long(b'K', "b")), misplaced('K'));
    for extension in [pax(&[("path", b"b")]), gnu_long(b'L', "b"), gnu_long(b'K', "b")] {
        let orphan = "an extension header at the end of the archive, before byte ";
        assert_eq!(refusal(&archive(std::slice::from_ref(&extension))), format!("{orphan}2048"));
        assert_eq!(refusal(&unended(std::slice::from_ref(&extension))), format!("{orphan}1024"));
        assert_eq!(
            refusal(&archive(&[extension.v7(), file.clone()])).split(" of").next(),
            Some("misplaced tar header")
        );
    }
    let two = |extension, with: &Member| {
        let bytes = archive(&[gnu_long(b'L', "b"), gnu_long(b'K', "b"), extension, with.clone()]);
        refusal(&bytes)
    };
    let link = Member::link(b'2', "l", "x").gnu();
    let expected = "it has a GNU long name and a PAX name";
    assert!(two(pax(&[("path", b"c")]), &file).ends_with(expected));
    assert!(two(pax(&[("linkpath", b"c")]), &link).ends_with(expected));
    let sparse = pax(&[
        ("GNU.sparse.name", b"c"),
        ("GNU.sparse.size", b"0"),
        ("GNU.sparse.numblocks", b"1"),
        ("GNU.sparse.map", b"0,0"),
    ]);
    assert!(two(sparse, &file).ends_with(expected));
    for (content, expected) in [
        (&b"\0"[..], "it has no name"),
        (b"", "it has no name"),
        (b"a\0b\0", "its name or link target contains a NUL byte"),
    ] {
        let member = Member { content: content.to_vec(), ..gnu_long(b'L', "") };
        assert!(refusal(&archive(&[member, file.clone()])).ends_with(expected));
    }
}

#[test]
fn sizes_beyond_their_limits_are_refused_before_they_are_read() {
    let file = Member::file("a", "");
    assert_eq!(
        refusal(&archive(&[gnu_long(b'L', vec![b'n'; 64 << 10]), file.clone()])),
        "tar extension header of 65537 bytes at byte 0: more than 65536"
    );
    assert_eq!(
        refusal(&unended(&[pax(&[]).size(1 << 32)])),
        "tar extension header of 4294967296 bytes at byte 0: more than 1048576"
    );
    let path = b"n/".repeat(100_000);
    let message = refusal(&archive(&[pax(&[("path", &path)]), file.clone()]));
    assert_eq!(
        message,
        format!("cannot unpack entry `{}…`: its path is too long", "n/".repeat(128))
    );
    let name = vec![b'n'; 256];
    let message = refusal(&archive(&[pax(&[("path", &name)]), file.clone()]));
    assert_eq!(message, format!("cannot unpack entry `{}`: its path is too long", "n".repeat(256)));
    let deep = "d/".repeat(5000) + "f";
    assert!(
        refusal(&archive(&[pax(&[("path", deep.as_bytes())]), file.clone()]))
            .ends_with("its path is too long")
    );
    let target = vec![b't'; 4096];
    assert_eq!(
        refusal(&archive(&[pax(&[("linkpath", &target)]), Member::link(b'2', "l", "x")])),
        "cannot unpack entry `l`: its path is too long"
    );

    let limits = Limits { entry_bytes: 5, entry_count: 2, ..Limits::default() };
    let read = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes, limits);
        while reader.next_entry()?.is_some() {}
        Ok::<_, TarError>(reader.entry_count())
    };
    let fits = Member::file("a", "12345");
    assert_eq!(read(&archive(&[fits.clone(), file.clone()])).unwrap(), 2);
    assert_eq!(
        read(&archive(&[fits, Member::file("b", "123456")])).unwrap_err().to_string(),
        "entry `b` has 6 bytes, more than the 5 that fit"
    );
    assert_eq!(
        read(&archive(&[file.clone(), file.clone(), file])).unwrap_err().to_string(),
        "the archive has more than 2 entries"
    );
}

fn sparse_gnu(pairs: &[(u64, u64)], size: u64, content: &[u8]) -> Vec<u8> {
    let pair = |&(offset, length): &(u64, u64)| [octal(offset, 12), octal(length, 12)].concat();
    let (inline, rest) = pairs.split_at(pairs.len().min(4));
    let mut map = inline.iter().flat_map(pair).collect::<Vec<_>>();
    map.resize(96, 0);
    let tail = [vec![0; 41], map, vec![u8::from(!rest.is_empty())], octal(size, 12)].concat();
    let member = Member { tail, ..Member::new(b'S', "sparse").gnu().size(content.len() as u64) };
    let mut bytes = member.header().to_vec();
    let mut blocks = rest.chunks(21).peekable();
    while let Some(pairs) = blocks.next() {
        let mut block = pairs.iter().flat_map(pair).collect::<Vec<_>>();
        block.resize(504, 0);
        block.push(u8::from(blocks.peek().is_some()));
        block.resize(512, 0);
        bytes.extend(block);
    }
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(archive(&[Member::file("after", "z")]));
    bytes
}

fn segments(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes, Limits::default());
    let entry = reader.next_entry().unwrap().unwrap();
    let mut segments = vec![format!("{} {}", entry.path, entry.size)];
    while let Some(segment) = reader.next_segment().unwrap() {
        segments.push(match segment {
            Segment::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
            Segment::Hole(length) => format!("hole of {length}"),
        });
    }
    assert_eq!(reader.next_entry().unwrap().unwrap().path, path("after"));
    segments
}

#[test]
fn sparse_files_of_three_formats_are_read() {
    let block = "a".repeat(512);
    assert_eq!(
        segments(&sparse_gnu(&[(512, 512), (1536, 3), (9000, 0)], 9000, &block_and(b"bbb"))),
        ["/sparse 9000", "hole of 512", &block, "hole of 512", "bbb", "hole of 7461"]
    );
    let many: Vec<_> = (0..30).map(|index| (index * 1024, 512)).collect();
    let read = read(&sparse_gnu(&many, 29 * 1024 + 512, &[b'x'; 30 * 512])).unwrap();
    let expected: Vec<u8> =
        (0..29 * 1024 + 512).map(|at| if at % 1024 < 512 { b'x' } else { 0 }).collect();
    assert!(read[0].1 == expected);
    assert_eq!(read[1].1, b"z");

    let list = pax(&[
        ("GNU.sparse.size", b"1026"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.map", b"0,512,1024,2"),
        ("GNU.sparse.name", b"sparse"),
    ]);
    let after = Member::file("after", "z");
    let file = Member::file("GNUSparseFile.1/x", block_and(b"bb"));
    assert_eq!(
        segments(&archive(&[list, file, after.clone()])),
        ["/sparse 1026", &block, "hole of 512", "bb"]
    );

    let keys = pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.realsize", b"2000"),
    ]);
    let mut content = b"3\n3\n512\n1000\n2\n2000\n0\n".to_vec();
    content.resize(512, 0);
    content.extend(block_and(b"bb"));
    assert_eq!(
        segments(&archive(&[keys, Member::file("GNUSparseFile.1/x", content), after])),
        ["/sparse 2000", "hole of 3", &block, "hole of 485", "bb", "hole of 998"]
    );
}

/// A block of `a` and then `rest`.
fn block_and(rest: &[u8]) -> Vec<u8> {
    [&[b'a'; 512], rest].concat()
}

#[test]
fn sparse_maps_that_lie_or_that_readers_differ_on_are_refused() {
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(refusal(bytes), format!("cannot unpack sparse file `sparse`: {expected}"));
    }
    let order = "the sparse map's regions are not in order within the file";
    let gnu = |pairs: &[(u64, u64)], size: u64, content: &[u8]| sparse_gnu(pairs, size, content);
    let content = block_and(b"bb");
    assert!(read(&gnu(&[(0, 512), (600, 2)], 602, &content)).is_ok());
    check(&gnu(&[(0, 512), (500, 2)], 602, &content), order);
    check(&gnu(&[(600, 512), (0, 2)], 1112, &content), order);
    check(&gnu(&[(0, 512), (600, 2)], 601, &content), order);
    check(&gnu(&[(0o77_777_777_777, 2)], 9, b"aa"), order);
    let short = "the sparse map does not reach the end of the file";
    check(&gnu(&[(0, 512), (600, 2)], 603, &content), short);
    check(&gnu(&[], 9, b""), short);
    let mut unused = gnu(&[(0, 0), (0, 0), (0, 0), (0, 0), (0, 0)], 0, b"");
    assert!(read(&unused).is_ok());
    unused[512 + 24] = 0x9a;
    assert!(refusal(&unused).ends_with("field `sparse` is out of range"), "{}", refusal(&unused));
    let part = "the sparse map has a region of part of a block";
    check(&gnu(&[(0, 2), (512, 512)], 1024, &content), part);
    let size =
        |mapped, stored| format!("the sparse map covers {mapped} bytes, the entry holds {stored}");
    check(&gnu(&[(0, 2)], 2, b"aab"), &size(2, 3));
    check(&gnu(&[(0, 4)], 4, b"aab"), &size(4, 3));

    let one = |keys: &[(&str, &[u8])], content: &[u8]| {
        let name: &[(&str, &[u8])] = &[("GNU.sparse.name", b"sparse")];
        archive(&[pax(&[name, keys].concat()), Member::file("x", content)])
    };
    let list = |map: &'static str, count: &'static str| {
        let keys = [("GNU.sparse.size", &b"9"[..]), ("GNU.sparse.map", map.as_bytes())];
        one(&[&keys[..], &[("GNU.sparse.numblocks", count.as_bytes())]].concat(), b"aa")
    };
    assert_eq!(read(&list("0,2,9,0", "2")).unwrap()[0].1, b"aa\0\0\0\0\0\0\0");
    let malformed = "malformed sparse map";
    for (map, count) in [
        ("0,2,9", "1"),
        ("0,2,9,0", "1"),
        ("0,2,9,0", "3"),
        ("0", "0"),
        ("", "0"),
        ("0,,2", "1"),
        ("0,2,", "1"),
        ("a,2", "1"),
        ("+0,2", "1"),
    ] {
        check(&list(map, count), malformed);
    }
    let format = |version| format!("sparse format {version} is not supported");
    check(&one(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")], b""), &format("2.0"));
    check(&one(&[("GNU.sparse.numblocks", b"1"), ("GNU.sparse.size", b"1")], b""), &format("?.?"));

    let lines = |content: &[u8]| {
        let keys = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")];
        let mut content = content.to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        one(&[&keys[..], &[("GNU.sparse.realsize", b"9")]].concat(), &content)
    };
    assert_eq!(read(&lines(b"1\n9\n0\n")).unwrap()[0].1, [0; 9]);
    check(&lines(b"0\n"), short);
    for content in [
        &b""[..],
        b"1\n0\n",
        b"1\n0\nx\n",
        b"0\ntrailing",
        b"00000000000000000000000000000000000\n",
        b"-1\n",
        b"\n",
    ] {
        check(&lines(content), malformed);
    }
    check(&lines(b"100001\n"), "the sparse map has more than 100000 regions");
    check(&lines(b"9999999999999999999\n"), "the sparse map has more than 100000 regions");
}

#[test]
fn what_the_fuzzer_found_is_refused() {
    // A directory by its short name, a file by its long one: Python looks at the short one.
    let short = Member::new(0, "dir/");
    let two_kinds = "it is a directory by one of its names and a file by the other";
    assert!(refusal(&archive(&[gnu_long(b'L', "file"), short.clone().gnu()])).ends_with(two_kinds));
    assert!(refusal(&archive(&[pax(&[("path", b"file")]), short])).ends_with(two_kinds));
    let short = Member::new(0, "file");
    assert!(refusal(&archive(&[pax(&[("path", b"dir/")]), short])).ends_with(two_kinds));
    // A long name that goes on in the padding: GNU tar reads on.
    let long = Member { content: b"name-that-goes-on".to_vec(), ..gnu_long(b'L', "") }.size(4);
    let nul = "its name or link target contains a NUL byte";
    assert!(refusal(&archive(&[long, Member::file("a", "").gnu()])).ends_with(nul));
    // Fields that nothing needs, in a header of an extension: Python looks at them.
    let header = Member { uid: b"x".to_vec(), ..pax(&[("path", b"a")]) };
    assert_eq!(
        refusal(&archive(&[header, Member::file("a", "")])),
        "malformed tar header at byte 0: \
         field `uid` holds `x\\x00\\x00\\x00\\x00\\x00\\x00\\x00`, which is no number"
    );
    // A sparse file whose extended header has a size: Python takes that for the file's.
    let sparse = sparse_gnu(&[(4, 0)], 4, b"");
    let bytes = [unended(&[pax(&[("size", b"0")])]), sparse].concat();
    assert!(refusal(&bytes).ends_with("a sparse file with a size in its extended header"));
    // A global header and nothing after it.
    let global = Member { type_flag: b'g', ..pax(&[("comment", b"x")]) };
    let end = "an extension header at the end of the archive, before byte 2048";
    assert_eq!(refusal(&archive(&[global])), end);
}
