//! Layers of every kind, unpacked, against what is on disk and what the index says of it.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use rustix::io::Errno;
use snapshot::rootfs::{FaultHook, RootfsOptions};
use snapshot::{
    Digest, FileKind, Index, Metadata, Operation, Rootfs, RootfsPath, Row, Timestamp, xattr,
};
use tempfile::TempDir;
use zuwai::archive::NotOnDisk;
use zuwai::unpack::{
    HeaderKind, ImageHeaders, Kept, LayerInput, UnpackError, UnpackOptions, Unpacked, read_headers,
    unpack,
};

use crate::skip::is_root;
use crate::tarball::{Member, archive, base256, gnu_long, pax};
use crate::tree::{names, tree};

pub fn path(path: &str) -> RootfsPath {
    RootfsPath::new(path).unwrap()
}

/// A layer that says of itself what is true.
pub fn layer(tar: Vec<u8>) -> LayerInput {
    compressed(Digest::of(&tar), tar)
}

/// A layer that decompresses to something with this digest.
pub fn compressed(diff_id: Digest, blob: Vec<u8>) -> LayerInput {
    LayerInput {
        digest: Digest::of(&blob),
        size_bytes: blob.len() as u64,
        diff_id,
        open: Box::new(move || Ok(Box::new(Cursor::new(blob)))),
    }
}

/// An error's message and its causes.
pub fn message(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

struct Fixture {
    directory: TempDir,
    rootfs: Rootfs,
}

impl Fixture {
    fn new() -> Self {
        Self::with(RootfsOptions::default())
    }

    fn with(options: RootfsOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open_with(directory.path(), options).unwrap();
        Self { directory, rootfs }
    }

    fn unpack(&self, layers: &[Vec<Member>]) -> Result<Unpacked, UnpackError> {
        let archives: Vec<_> = layers.iter().map(|members| archive(members)).collect();
        let inputs = || archives.iter().map(|archive| layer(archive.clone())).collect();
        let unpacked = unpack(&self.rootfs, inputs(), &UnpackOptions::default())?;
        assert_headers_agree(inputs(), &unpacked.index);
        Ok(unpacked)
    }

    /// The lines of the tree, the root's own left out.
    fn tree(&self) -> Vec<String> {
        tree(self.directory.path()).split_off(1)
    }

    fn names(&self) -> Vec<String> {
        names(self.directory.path())
    }
}

/// Asserts that `index` says of everything on disk what is so, and of nothing else.
fn assert_index_is_true(rootfs: &Rootfs, index: &Index) {
    let mut rows: BTreeMap<RootfsPath, _> = index.iter().filter(|(_, row)| !row.shadow).collect();
    let mut pending = vec![RootfsPath::root()];
    while let Some(path) = pending.pop() {
        let metadata = rootfs.metadata(&path).unwrap().unwrap();
        let row = rows.remove(&path).unwrap_or_else(|| panic!("{path} is not in the index"));
        assert_eq!(row.metadata, metadata, "{path}");
        assert_eq!(row.xattrs, xattr::digest(&rootfs.xattrs(&path).unwrap()), "{path}");
        let content = match metadata.kind {
            FileKind::Regular => Some(Digest::of(&rootfs.read_file(&path, 1 << 30).unwrap())),
            FileKind::Symlink => Some(Digest::of(&rootfs.read_link(&path).unwrap())),
            _ => None,
        };
        assert_eq!(row.content, content, "{path}");
        if metadata.kind == FileKind::Directory {
            for entry in rootfs.read_dir(&path).unwrap() {
                pending.push(path.join_name(&entry.name));
            }
        }
    }
    assert_eq!(rows.keys().collect::<Vec<_>>(), Vec::<&RootfsPath>::new(), "not on disk");
}

/// Asserts that the layers' headers alone say the same as what they were unpacked to.
pub fn assert_headers_agree(layers: Vec<LayerInput>, index: &Index) {
    let layers = read_headers(layers, &UnpackOptions::default()).unwrap();
    let image = ImageHeaders::of(&layers).unwrap();
    let said: Vec<_> = image
        .iter()
        .filter(|(path, _)| !path.is_root())
        .map(|(path, entry)| {
            let kind = match &entry.kind {
                HeaderKind::Directory => FileKind::Directory,
                HeaderKind::Regular { .. } => FileKind::Regular,
                HeaderKind::Symlink(_) => FileKind::Symlink,
                HeaderKind::Special { kind, .. } => *kind,
            };
            let device = match &entry.kind {
                HeaderKind::Special { major, minor, .. } => (*major, *minor),
                _ => (0, 0),
            };
            let owner = (entry.uid, entry.gid);
            (
                path.clone(),
                kind,
                entry.mode,
                owner,
                entry.mtime,
                device,
                xattr::digest(&entry.xattrs),
            )
        })
        .collect();
    let found: Vec<_> = index
        .iter()
        .filter(|(path, _)| !path.is_root())
        .zip(&said)
        .map(|((path, row), said)| {
            let Metadata { kind, uid, gid, mtime, rdev_major, rdev_minor, .. } = row.metadata;
            // On disk a link has no mode of its own.
            let mode = if kind == FileKind::Symlink { said.2 } else { row.metadata.mode };
            // What is not on disk has none there.
            let xattrs = if row.shadow { said.6 } else { row.xattrs };
            (path, kind, mode, (uid, gid), mtime, (rdev_major, rdev_minor), xattrs)
        })
        .collect();
    assert_eq!((said.len(), said), (index.len(), found));
    let has_names = |row: &Row| row.metadata.nlink > 1 && row.metadata.kind != FileKind::Directory;
    for (path, row) in index.iter().filter(|(_, row)| has_names(row)) {
        let header = image.get(&path);
        assert!(row.shadow || header.is_some_and(|header| header.is_linked), "{path}");
    }
}

fn dir(name: &str) -> Member {
    Member::new(b'5', name)
}

fn file(name: &str) -> Member {
    Member::file(name, name)
}

fn whiteout(name: &str) -> Member {
    Member::file(name, "")
}

#[test]
fn every_kind_of_entry_is_unpacked_as_it_is() {
    if !is_root("every_kind_of_entry_is_unpacked_as_it_is") {
        return;
    }
    let fixture = Fixture::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let long = "directory-with-a-long-name/".repeat(100) + "file";
    let unpacked = fixture
        .unpack(&[vec![
            dir("./").mode(0o711),
            pax(&[("mtime", b"1234567890.123456789")]),
            dir("closed").mode(0o500).owner(10, 20),
            file("closed/inside"),
            pax(&[
                ("mtime", b"-1.5"),
                ("uid", b"3000000000"),
                ("SCHILY.xattr.user.note", b"a\nb"),
                ("SCHILY.xattr.security.selinux", b"not for images"),
                ("SCHILY.xattr.security.capability", capability),
            ]),
            file("bin/setuid").mode(0o4755).owner(1, 2),
            Member::link(b'2', "link", "../../outside").owner(5, 6),
            Member::link(b'1', "names/second", "bin/setuid"),
            Member::link(b'1', "names/link", "link"),
            Member::new(b'3', "null").device(1, 3).mode(0o666),
            Member::new(b'4', "disk").device(8, 17).mode(0o660).owner(0, 6),
            Member::new(b'6', "pipe").mode(0o600).owner(9, 9),
            gnu_long(b'L', &long),
            file("deep").gnu(),
            Member { uid: base256(2, 8), ..file("not\u{1}utf8\u{e4}") }.v7(),
        ]])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(unpacked.not_on_disk, []);
    assert_eq!(unpacked.dropped_xattrs, []);
    let (counted, lines): (Vec<_>, Vec<_>) =
        fixture.tree().into_iter().partition(|line| line.contains("directory-with-a-long-name"));
    assert_eq!(counted.len(), 101);
    let start = |text: &str| Digest::of(text.as_bytes()).hex()[..12].to_owned();
    let setuid = format!(
        "104755 3000000000:2 -2.500000000 10 bytes {} security.capability=\
         \\x01\\x00\\x00\\x02\\x00\\x04{} user.note=a\\x0ab names /bin/setuid /names/second of 2",
        start("bin/setuid"),
        "\\x00".repeat(14),
    );
    let link = "120777 5:6 1500000000.000000000 -> ../../outside names /link /names/link of 2";
    assert_eq!(
        lines,
        [
            // Implied by what is in it.
            "/bin 40755 0:0 0.000000000".to_owned(),
            format!("/bin/setuid {setuid}"),
            "/closed 40500 10:20 1234567890.123456789".to_owned(),
            format!(
                "/closed/inside 100644 0:0 1500000000.000000000 13 bytes {}",
                start("closed/inside")
            ),
            "/disk 60660 0:6 1500000000.000000000 8:17".to_owned(),
            format!("/link {link}"),
            "/names 40755 0:0 0.000000000".to_owned(),
            format!("/names/link {link}"),
            format!("/names/second {setuid}"),
            format!(
                "/not\\x01utf8ä 100644 2:0 1500000000.000000000 10 bytes {}",
                start("not\u{1}utf8\u{e4}")
            ),
            "/null 20666 0:0 1500000000.000000000 1:3".to_owned(),
            "/pipe 10600 9:9 1500000000.000000000".to_owned(),
        ]
    );
    let root = fixture.rootfs.metadata(&RootfsPath::root()).unwrap().unwrap();
    let mtime = Timestamp { seconds: 1_500_000_000, nanoseconds: 0 };
    assert_eq!((root.mode, root.mtime), (0o711, mtime));
    assert_eq!(unpacked.stats.layer_count, 1);
    assert_eq!(unpacked.stats.entry_count, 12);
    assert_eq!(unpacked.stats.tar_bytes, unpacked.stats.compressed_bytes);
}

#[test]
fn whiteouts_take_away_what_is_below_and_nothing_of_their_own_layer() {
    if !is_root("whiteouts_take_away_what_is_below_and_nothing_of_their_own_layer") {
        return;
    }
    fn check(base: &[Member], layers: &[Vec<Member>], expected: &[&str]) {
        // In both orders, since an archive may have any.
        for reversed in [false, true] {
            let fixture = Fixture::new();
            let mut all = vec![base.to_vec()];
            for layer in layers {
                let mut layer = layer.clone();
                if reversed {
                    layer.reverse();
                }
                all.push(layer);
            }
            let unpacked = fixture.unpack(&all).unwrap();
            assert_index_is_true(&fixture.rootfs, &unpacked.index);
            assert_eq!(fixture.names(), expected, "reversed: {reversed}");
        }
    }
    let base = [dir("d"), file("d/a"), dir("d/sub"), file("d/sub/b"), file("f")];
    check(&base, &[vec![whiteout(".wh.f")]], &["/d/", "/d/a", "/d/sub/", "/d/sub/b"]);
    check(&base, &[vec![whiteout(".wh.d")]], &["/f"]);
    check(&base, &[vec![whiteout("d/.wh.sub")]], &["/d/", "/d/a", "/f"]);
    check(&base, &[vec![whiteout("d/.wh..wh..opq")]], &["/d/", "/f"]);
    check(&base, &[vec![whiteout(".wh..wh..opq")]], &[]);
    check(
        &base,
        &[vec![whiteout("missing/.wh.x"), whiteout(".wh.missing")]],
        &["/d/", "/d/a", "/d/sub/", "/d/sub/b", "/f"],
    );
    // What the layer itself brings stays, whatever hides what was below.
    check(&base, &[vec![whiteout("d/.wh..wh..opq"), file("d/new")]], &["/d/", "/d/new", "/f"]);
    check(
        &base,
        &[vec![whiteout("d/.wh..wh..opq"), file("d/sub/new")]],
        &["/d/", "/d/sub/", "/d/sub/new", "/f"],
    );
    check(
        &base,
        &[vec![whiteout("d/.wh..wh..opq"), dir("d"), file("d/a")]],
        &["/d/", "/d/a", "/f"],
    );
    check(
        &base,
        &[vec![whiteout(".wh.f"), file("f")]],
        &["/d/", "/d/a", "/d/sub/", "/d/sub/b", "/f"],
    );
    check(
        &base,
        &[vec![whiteout(".wh.d"), file("d/sub/new")]],
        &["/d/", "/d/sub/", "/d/sub/new", "/f"],
    );
    // The lowest layer has nothing to hide.
    check(
        &[whiteout(".wh.f"), file("f"), whiteout("d/.wh..wh..opq"), file("d/a")],
        &[],
        &["/d/", "/d/a", "/f"],
    );
    // A third layer hides what the second brought.
    check(&base, &[vec![file("d/x")], vec![whiteout("d/.wh..wh..opq")]], &["/d/", "/f"]);
    check(&base, &[vec![whiteout(".wh.f")], vec![file("f")], vec![whiteout(".wh.d")]], &["/f"]);
}

#[test]
fn whiteouts_follow_links_in_their_parents_and_not_themselves() {
    if !is_root("whiteouts_follow_links_in_their_parents_and_not_themselves") {
        return;
    }
    let base = vec![
        dir("usr"),
        dir("usr/lib"),
        file("usr/lib/a"),
        file("usr/lib/b"),
        Member::link(b'2', "lib", "usr/lib"),
        Member::link(b'2', "alias", "/usr/lib/b"),
        Member::link(b'2', "loop", "loop"),
    ];
    let fixture = Fixture::new();
    let upper = vec![whiteout("lib/.wh.a"), whiteout(".wh.alias"), whiteout(".wh.loop")];
    let unpacked = fixture.unpack(&[base.clone(), upper]).unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(fixture.names(), ["/lib@", "/usr/", "/usr/lib/", "/usr/lib/b"]);

    let fixture = Fixture::new();
    let upper = vec![whiteout("lib/.wh..wh..opq"), file("lib/new")];
    let unpacked = fixture.unpack(&[base, upper]).unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(
        fixture.names(),
        ["/alias@", "/lib@", "/loop@", "/usr/", "/usr/lib/", "/usr/lib/new"]
    );
}

#[test]
fn a_later_entry_takes_the_place_of_an_earlier_one_of_any_kind() {
    if !is_root("a_later_entry_takes_the_place_of_an_earlier_one_of_any_kind") {
        return;
    }
    let kinds = |content: &str| {
        [
            (vec![Member::file("x", content)], vec!["/x"]),
            (vec![dir("x"), file("x/in")], vec!["/x/", "/x/in"]),
            (vec![Member::link(b'2', "x", "keep")], vec!["/x@"]),
            (vec![Member::link(b'2', "x", "nowhere")], vec!["/x@"]),
            (vec![Member::new(b'6', "x")], vec!["/x|"]),
            (vec![Member::new(b'3', "x").device(1, 3)], vec!["/x|"]),
            (vec![Member::link(b'1', "x", "keep/file")], vec!["/x"]),
        ]
    };
    for (before, before_names) in kinds("before") {
        for (after, after_names) in kinds("after") {
            for one_layer in [false, true] {
                let fixture = Fixture::new();
                let mut base = vec![dir("keep"), file("keep/file")];
                base.extend(before.clone());
                let layers = if one_layer {
                    base.extend(after.clone());
                    vec![base]
                } else {
                    vec![base, after.clone()]
                };
                let unpacked = fixture.unpack(&layers).unwrap();
                assert_index_is_true(&fixture.rootfs, &unpacked.index);
                let expected = [&["/keep/", "/keep/file"], &after_names[..]].concat();
                assert_eq!(fixture.names(), expected, "{before_names:?} then {after_names:?}");
            }
        }
    }
}

#[test]
fn replacing_a_file_leaves_its_other_names_alone() {
    if !is_root("replacing_a_file_leaves_its_other_names_alone") {
        return;
    }
    let fixture = Fixture::new();
    let unpacked = fixture
        .unpack(&[
            vec![
                Member::file("a", "old"),
                Member::link(b'1', "b", "a"),
                Member::link(b'1', "d/c", "b"),
            ],
            vec![Member::file("a", "new")],
            vec![Member::link(b'1', "d/e", "b"), whiteout(".wh.b")],
            vec![Member::link(b'1', "a2", "a")],
        ])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    let links = |name: &str| unpacked.index.get(&path(name)).unwrap().metadata.nlink;
    assert_eq!([links("a"), links("a2"), links("d/c"), links("d/e")], [2, 2, 2, 2]);
    let read = |name: &str| fixture.rootfs.read_file(&path(name), 10).unwrap();
    assert_eq!([read("a"), read("d/c"), read("d/e")], [b"new", b"old", b"old"]);
    assert_eq!(fixture.names(), ["/a", "/a2", "/d/", "/d/c", "/d/e"]);
}

#[test]
fn directories_keep_what_the_last_layer_said_of_them() {
    if !is_root("directories_keep_what_the_last_layer_said_of_them") {
        return;
    }
    let time = |seconds: &[u8]| pax(&[("mtime", seconds)]);
    let fixture = Fixture::new();
    let unpacked = fixture
        .unpack(&[
            vec![time(b"11"), dir("a").mode(0o700), time(b"12"), dir("b"), dir("b/c")],
            vec![file("a/new"), time(b"22"), dir("b").mode(0o1777).owner(3, 4)],
            vec![file("b/c/new"), whiteout("a/.wh.new")],
        ])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    let row = |name: &str| unpacked.index.get(&path(name)).unwrap().metadata;
    let said = |row: Metadata| (row.mode, row.uid, row.gid, row.mtime.seconds);
    assert_eq!(said(row("a")), (0o700, 0, 0, 11));
    assert_eq!(said(row("b")), (0o1777, 3, 4, 22));
    assert_eq!(said(row("b/c")), (0o755, 0, 0, 1_500_000_000));
}

#[test]
fn a_default_acl_is_for_later_and_not_for_what_the_image_holds() {
    if !is_root("a_default_acl_is_for_later_and_not_for_what_the_image_holds") {
        return;
    }
    // Version 2; owner, group and others, and user 7, may do all.
    let tag = |tag: u16, id: u32| {
        [&tag.to_le_bytes()[..], &7u16.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let entries =
        [tag(1, none), tag(2, 7), tag(4, none), tag(0x10, none), tag(0x20, none)].concat();
    let acl = [&2u32.to_le_bytes()[..], &entries].concat();
    let fixture = Fixture::new();
    let unpacked = fixture
        .unpack(&[
            vec![pax(&[("SCHILY.xattr.system.posix_acl_default", &acl)]), dir("d"), file("d/a")],
            vec![file("d/b").mode(0o600), dir("d/e")],
        ])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    let xattrs = |name: &str| fixture.rootfs.xattrs(&path(name)).unwrap();
    if unpacked.dropped_xattrs.is_empty() {
        assert_eq!(xattrs("d")[&b"system.posix_acl_default"[..]], acl);
    }
    for name in ["d/a", "d/b", "d/e"] {
        assert_eq!(xattrs(name), BTreeMap::new(), "{name}");
    }
    let mode = |name: &str| unpacked.index.get(&path(name)).unwrap().metadata.mode;
    assert_eq!([mode("d/a"), mode("d/b"), mode("d/e")], [0o644, 0o600, 0o755]);
}

#[test]
fn legitimate_oddities_work() {
    if !is_root("legitimate_oddities_work") {
        return;
    }
    let fixture = Fixture::new();
    let unpacked = fixture
        .unpack(&[
            vec![
                Member::link(b'2', "bin", "usr/bin"),
                Member::link(b'2', "lib", "/usr/lib"),
                dir("usr/bin"),
                // Corretto's: more `..` than there are directories.
                dir("usr/lib/jvm"),
                Member::link(b'2', "usr/lib/jvm/certs", "../../../../../../etc/pki"),
                dir("etc/pki"),
                Member::link(b'2', "var/run", "/run"),
                file("./bin/sh"),
                file("/absolute"),
                file("doubled//slash/./here"),
                Member::link(b'2', "dash", "dash"),
            ],
            vec![
                file("lib/libc.so"),
                file("usr/lib/jvm/certs/ca"),
                file("var/run/lock/x"),
                Member::link(b'1', "bin/bash", "bin/sh"),
                Member::link(b'2', "dash", "bin/sh"),
            ],
        ])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(
        fixture.names(),
        [
            "/absolute",
            "/bin@",
            "/dash@",
            "/doubled/",
            "/doubled/slash/",
            "/doubled/slash/here",
            "/etc/",
            "/etc/pki/",
            "/etc/pki/ca",
            "/lib@",
            "/run/",
            "/run/lock/",
            "/run/lock/x",
            "/usr/",
            "/usr/bin/",
            "/usr/bin/bash",
            "/usr/bin/sh",
            "/usr/lib/",
            "/usr/lib/jvm/",
            "/usr/lib/jvm/certs@",
            "/usr/lib/libc.so",
            "/var/",
            "/var/run@",
        ]
    );
}

#[test]
fn what_cannot_be_on_disk_is_a_shadow_in_the_index() {
    if !is_root("what_cannot_be_on_disk_is_a_shadow_in_the_index") {
        return;
    }
    let faults: FaultHook = std::sync::Arc::new(|operation, path| match operation {
        Operation::CreateNode if !path.as_bytes().ends_with(b"pipe") => Err(Errno::PERM.into()),
        _ => Ok(()),
    });
    let fixture = Fixture::with(RootfsOptions { faults: Some(faults), ..Default::default() });
    let unpacked = fixture
        .unpack(&[
            vec![
                file("replaced"),
                Member::new(b'3', "dev/null").device(1, 3).mode(0o666).owner(1, 2),
                Member::link(b'1', "dev/zero", "dev/null"),
                Member::new(b'4', "dev/gone").device(8, 0),
                Member::new(b'6', "dev/pipe"),
            ],
            vec![whiteout("dev/.wh.gone"), Member::link(b'1', "replaced", "dev/zero")],
        ])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(fixture.names(), ["/dev/", "/dev/pipe|"]);
    let device = NotOnDisk::DeviceNotPermitted;
    assert_eq!(
        unpacked.not_on_disk,
        [
            (path("dev/null"), device),
            (path("dev/zero"), NotOnDisk::TargetNotOnDisk),
            (path("dev/gone"), device),
            (path("replaced"), NotOnDisk::TargetNotOnDisk),
        ]
    );
    let shadows: Vec<_> = unpacked
        .index
        .iter()
        .filter(|(_, row)| row.shadow)
        .map(|(path, row)| {
            let metadata = row.metadata;
            let device = (metadata.rdev_major, metadata.rdev_minor);
            (path.to_string(), metadata.kind, metadata.mode, metadata.uid, device)
        })
        .collect();
    let null = |name: &str| (name.to_owned(), FileKind::CharDevice, 0o666, 1, (1, 3));
    assert_eq!(shadows, [null("/dev/null"), null("/dev/zero"), null("/replaced")]);
}

#[test]
fn what_is_protected_stays_and_its_place_in_the_image_is_a_shadow() {
    if !is_root("what_is_protected_stays_and_its_place_in_the_image_is_a_shadow") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir_all(root.join("kaniko/work")).unwrap();
    std::fs::write(root.join("kaniko/executor"), "mine").unwrap();
    std::fs::write(root.join("left-over"), "of the container").unwrap();
    let before = tree(&root.join("kaniko"));
    let protected = std::fs::File::open(root.join("kaniko")).unwrap();
    let guard = snapshot::rootfs::Guard::none();
    let guard = guard.protect(std::os::fd::AsFd::as_fd(&protected)).unwrap();
    let options = RootfsOptions { guard, ..Default::default() };
    let rootfs = Rootfs::open_with(root, options).unwrap();
    let base = vec![
        dir("kaniko").mode(0o777),
        file("kaniko/executor"),
        Member::link(b'2', "way", "kaniko"),
        file("way/in"),
        Member::link(b'1', "copy", "kaniko/executor"),
        file("a"),
    ];
    let upper = vec![
        whiteout("kaniko/.wh.executor"),
        whiteout(".wh.left-over"),
        Member::link(b'2', "kaniko/work", "/"),
    ];
    let layers = [base, upper].iter().map(|members| layer(archive(members))).collect();
    let unpacked = unpack(&rootfs, layers, &UnpackOptions::default()).unwrap();
    assert_eq!(tree(&root.join("kaniko")), before);
    // No layer brought it, so no layer takes it away.
    assert_eq!(std::fs::read(root.join("left-over")).unwrap(), b"of the container");
    let protected = |name: &str| (path(name), NotOnDisk::Protected);
    assert_eq!(
        unpacked.not_on_disk,
        [
            protected("kaniko"),
            protected("kaniko/executor"),
            protected("kaniko/in"),
            protected("copy"),
            protected("kaniko/work"),
        ]
    );
    let content = |name: &str| unpacked.index.get(&path(name)).and_then(|row| row.content);
    let digest = Some(Digest::of(b"kaniko/executor"));
    assert_eq!(content("copy"), digest, "what the image has there, and not the executor");
    assert_eq!(content("kaniko/executor"), None, "hidden by the second layer");
    assert_eq!(content("kaniko/in"), Some(Digest::of(b"way/in")));
    assert!(!root.join("copy").exists());
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn layers_are_what_their_config_says_or_refused() {
    if !is_root("layers_are_what_their_config_says_or_refused") {
        return;
    }
    let tar = archive(&[Member::file("a", "content")]);
    let blob = gzip(&tar);
    let unpack_one = |layer: LayerInput| {
        let fixture = Fixture::new();
        let unpacked = unpack(&fixture.rootfs, vec![layer], &UnpackOptions::default());
        unpacked.map(|unpacked| unpacked.stats).map_err(|error| message(&error))
    };
    let layer_with = |diff_id: Digest, size_bytes: usize, blob: &[u8]| LayerInput {
        size_bytes: size_bytes as u64,
        ..compressed(diff_id, blob.to_vec())
    };
    let diff_id = Digest::of(&tar);
    let stats = unpack_one(layer_with(diff_id, blob.len(), &blob)).unwrap();
    assert_eq!((stats.tar_bytes, stats.compressed_bytes), (2048, blob.len() as u64));

    let prefix = format!("cannot unpack layer `{}`: ", Digest::of(&blob));
    let other = Digest::of(b"something else");
    assert_eq!(
        unpack_one(layer_with(other, blob.len(), &blob)).unwrap_err(),
        format!(
            "{prefix}its content has the digest `{diff_id}`, the image's config says `{other}`"
        )
    );
    let size = |size: usize| unpack_one(layer_with(diff_id, size, &blob)).unwrap_err();
    let more = blob.len() + 1;
    assert!(size(more).contains(&format!("has {} bytes instead of {more}", blob.len())));
    let fewer = blob.len() - 1;
    assert!(size(fewer).contains(&format!("has more than the {fewer} bytes it should have")));
    // What follows the archive's end belongs to the layer all the same.
    let trailing = [&tar[..], b"trailing"].concat();
    let stats = unpack_one(layer(trailing.clone())).unwrap();
    assert_eq!(stats.tar_bytes, trailing.len() as u64);
    assert!(unpack_one(compressed(diff_id, trailing)).unwrap_err().contains("the image's config"));

    let cut = unpack_one(layer(Member::file("a", "content").size(700).bytes())).unwrap_err();
    assert!(cut.ends_with("the archive ends early, in the content of an entry, after 1024 bytes"));

    let closed = LayerInput {
        open: Box::new(|| Err(std::io::Error::other("no such blob"))),
        ..layer(tar.clone())
    };
    let read_error = "cannot read the archive after 0 bytes";
    let digest = Digest::of(&tar);
    assert_eq!(
        unpack_one(closed).unwrap_err(),
        format!("cannot unpack layer `{digest}`: {read_error}: no such blob")
    );
}

#[test]
fn paths_longer_than_the_kernel_takes_are_unpacked() {
    if !is_root("paths_longer_than_the_kernel_takes_are_unpacked") {
        return;
    }
    let name = "n".repeat(250) + "/";
    let deep = name.repeat(300);
    let in_deep = |name: &str| {
        let path = format!("{deep}{name}");
        [pax(&[("path", path.as_bytes())]), Member::file("cut", name)]
    };
    let link_target = format!("{deep}a");
    let link = pax(&[("linkpath", link_target.as_bytes())]);
    let fixture = Fixture::new();
    let unpacked = fixture
        .unpack(&[
            [&in_deep("a")[..], &in_deep("b"), &[link, Member::link(b'1', "a", "cut")]].concat(),
            [&in_deep(".wh.b")[..1], &[whiteout("cut")], &in_deep("c")].concat(),
        ])
        .unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(unpacked.index.len(), 303);
}

#[test]
fn a_broken_layer_ends_the_work_of_those_after_it() {
    if !is_root("a_broken_layer_ends_the_work_of_those_after_it") {
        return;
    }
    /// A blob without an end: only a reader that stops lets the test end.
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(7);
            Ok(buffer.len())
        }
    }
    let endless = || LayerInput {
        size_bytes: u64::MAX,
        open: Box::new(|| Ok(Box::new(Endless))),
        ..layer(Vec::new())
    };
    let fixture = Fixture::new();
    let broken = layer(archive(&[Member::file("../x", "")]));
    let layers = vec![layer(archive(&[file("a")])), broken, endless(), endless(), endless()];
    let error = unpack(&fixture.rootfs, layers, &UnpackOptions::default()).unwrap_err();
    assert!(message(&error).ends_with("its name or link target contains `..`"), "{error:?}");
}

#[test]
fn layers_of_every_compression_are_unpacked() {
    if !is_root("layers_of_every_compression_are_unpacked") {
        return;
    }
    let tar = |name: &str| archive(&[Member::file(name, name.repeat(200_000))]);
    let fixture = Fixture::new();
    let members = |name: &str| -> Vec<u8> {
        // As our own writer and eStargz do it.
        tar(name).chunks(1 << 20).flat_map(gzip).collect()
    };
    let layers = vec![
        layer(tar("plain")),
        compressed(Digest::of(&tar("gzip")), gzip(&tar("gzip"))),
        compressed(Digest::of(&tar("members")), members("members")),
        compressed(Digest::of(&tar("zstd")), zstd::encode_all(&tar("zstd")[..], 3).unwrap()),
    ];
    let unpacked = unpack(&fixture.rootfs, layers, &UnpackOptions::default()).unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert_eq!(fixture.names(), ["/gzip", "/members", "/plain", "/zstd"]);
}

#[test]
fn no_layers_are_an_empty_root() {
    let fixture = Fixture::new();
    let unpacked = fixture.unpack(&[]).unwrap();
    assert_index_is_true(&fixture.rootfs, &unpacked.index);
    assert!(unpacked.index.is_empty());
}

#[test]
fn headers_answer_for_links_and_users_of_a_base_that_is_not_unpacked() {
    let layers = vec![
        layer(archive(&[
            dir("usr/bin"),
            Member::link(b'2', "bin", "usr/bin"),
            Member::link(b'2', "deep/up", "../../../../usr"),
            Member::link(b'2', "loop", "loop"),
            file("etc/shadow"),
            Member::file("etc/passwd", "old"),
            Member::file("etc/group", "staff:x:50:"),
        ])),
        layer(archive(&[
            Member::file("etc/passwd", "me:x:7:8::/:"),
            Member::link(b'2', "usr/etc", "../etc"),
            file("bin/sh").owner(3, 4).mode(0o4755),
            whiteout("deep/.wh.gone"),
        ])),
    ];
    let layers = read_headers(layers, &UnpackOptions::default()).unwrap();
    let image = ImageHeaders::of(&layers).unwrap();
    let resolved = |name: &str| image.resolve(&path(name)).unwrap().to_string();
    assert_eq!(resolved("bin/sh"), "/usr/bin/sh");
    assert_eq!(resolved("deep/up/bin/new/file"), "/usr/bin/new/file");
    assert_eq!(resolved("missing/../x"), "/x");
    assert_eq!(
        image.resolve(&path("loop/x")).unwrap_err().to_string(),
        "too many symbolic links in `/loop/x`"
    );
    let shell = image.get(&path("usr/bin/sh")).unwrap();
    assert_eq!((shell.mode, shell.uid, shell.gid), (0o4755, 3, 4));
    let read = |name: &str| image.read(&path(name)).unwrap();
    assert_eq!(read("etc/passwd"), Kept::Content(b"me:x:7:8::/:"));
    assert_eq!(read("usr/etc/group"), Kept::Content(b"staff:x:50:"));
    assert_eq!(read("etc/shadow"), Kept::Unknown);
    assert_eq!(read("etc/none"), Kept::Missing);

    // What cannot be unpacked has no headers to go by either.
    let image = |members: &[Member]| {
        let layers = vec![layer(archive(members))];
        let layers = read_headers(layers, &UnpackOptions::default()).unwrap();
        ImageHeaders::of(&layers).map(drop).map_err(|error| error.to_string())
    };
    let in_file = [file("a"), file("a/b")];
    assert_eq!(image(&in_file), Err("`/a` is not a directory".to_owned()));
    for target in ["missing", "d", "l"] {
        let members = [dir("d"), Member::link(b'1', "l", target)];
        let expected = format!("cannot make `/l` a hard link to `/{target}`");
        assert_eq!(image(&members), Err(expected));
    }
    let wrong = compressed(Digest::of(b"other"), archive(&[file("a")]));
    let error = read_headers(vec![wrong], &UnpackOptions::default()).unwrap_err();
    assert!(message(&error).contains("the image's config says"), "{error:?}");
}

#[test]
fn too_many_layers_are_refused() {
    let fixture = Fixture::new();
    let layers = (0..513).map(|_| layer(Vec::new())).collect();
    let error = unpack(&fixture.rootfs, layers, &UnpackOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the image has 513 layers, more than 512");
    assert_eq!(Path::new(fixture.directory.path()).read_dir().unwrap().count(), 0);
}
