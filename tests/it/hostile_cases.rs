//! The table of hostile archives, and of odd ones that are not.

use crate::tarball::{Member, archive, base256, gnu_long, pax, record, unended};

/// How a case has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// In an error whose message or causes contain this.
    Refused(String),
    /// With exactly these entries, as [`crate::tree::names`] lists them.
    Inside(Vec<String>),
}

/// One attack.
pub struct Case {
    pub name: &'static str,
    /// Brought in one after the other.
    pub archives: Vec<Vec<u8>>,
    /// What they are made of, where they are not malformed.
    pub members: Option<Vec<Vec<Member>>>,
    pub as_layers: Ending,
    /// As contexts or for ADD: no whiteouts, and hidden names are names.
    pub as_archives: Ending,
}

fn refused(message: &str) -> Ending {
    Ending::Refused(message.to_owned())
}

fn inside(names: &[&str]) -> Ending {
    Ending::Inside(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The directories that lead to the host's path `path` within a root, and then `names` in it.
fn clamped(path: &str, names: &[&str], beside: &[&str]) -> Ending {
    let mut all: Vec<String> = beside.iter().map(|name| (*name).to_owned()).collect();
    let mut prefix = String::new();
    for component in path.split('/').filter(|component| !matches!(*component, "" | "..")) {
        prefix = format!("{prefix}/{component}");
        all.push(format!("{prefix}/"));
    }
    all.extend(names.iter().map(|name| format!("{prefix}/{name}")));
    all.sort_by(|left, right| {
        left.trim_end_matches(['/', '@', '|']).cmp(right.trim_end_matches(['/', '@', '|']))
    });
    Ending::Inside(all)
}

fn of_members(name: &'static str, members: Vec<Vec<Member>>, ending: Ending) -> Case {
    Case {
        name,
        archives: members.iter().map(|members| archive(members)).collect(),
        members: Some(members),
        as_layers: ending.clone(),
        as_archives: ending,
    }
}

fn of_bytes(name: &'static str, bytes: Vec<u8>, ending: Ending) -> Case {
    Case {
        name,
        archives: vec![bytes],
        members: None,
        as_layers: ending.clone(),
        as_archives: ending,
    }
}

fn dir(name: &str) -> Member {
    Member::new(b'5', name)
}

fn file(name: &str) -> Member {
    Member::file(name, "evil")
}

fn symlink(name: &str, target: &str) -> Member {
    Member::link(b'2', name, target)
}

fn hard_link(name: &str, target: &str) -> Member {
    Member::link(b'1', name, target)
}

/// Returns the table; `canary` is the host's path of what must not be touched.
pub fn cases(canary: &str) -> Vec<Case> {
    let mut cases = names(canary);
    for (target, where_to) in
        [(canary, canary), ("../canary", "canary"), ("../../../../../../../../canary", "canary")]
    {
        cases.extend(through_links(target, where_to));
    }
    cases.extend(replaced(canary));
    cases.extend(hard_links(canary));
    cases.extend(whiteouts(canary));
    cases.extend(malformed());
    cases.extend(differing(canary));
    cases
}

fn names(canary: &str) -> Vec<Case> {
    let climbs = || refused("contains `..`");
    let one = |name, member: Member, ending| of_members(name, vec![vec![member]], ending);
    let two = |name, header: Member, ending| {
        of_members(name, vec![vec![header, file("harmless")]], ending)
    };
    let in_root = format!("/{}", canary.trim_start_matches('/'));
    vec![
        one("parent", file("../canary/x"), climbs()),
        one("parent of a directory", file("a/../../canary/x"), climbs()),
        one("parent alone", dir(".."), climbs()),
        one("parent of the parent", dir("../.."), climbs()),
        one("parent behind slashes", file("//../canary/x"), climbs()),
        one("parent at the end", dir("a/.."), climbs()),
        one("parent in the prefix", Member { tail: b"..".to_vec(), ..file("canary/x") }, climbs()),
        two("parent in a PAX path", pax(&[("path", b"../canary/x")]), climbs()),
        two("parent in a GNU name", gnu_long(b'L', "../canary/x"), climbs()),
        one("absolute", file(&format!("{canary}/x")), clamped(&in_root, &["x"], &[])),
        one("absolute, doubled", file(&format!("//{canary}//x")), clamped(&in_root, &["x"], &[])),
        one("empty name", file(""), refused("no name")),
        one("dot", file("."), refused("root of the archive")),
        one("slash", file("/"), refused("root of the archive")),
        one("root as a link", symlink("./", canary), refused("root of the archive")),
        one(
            "root as a link, by another name",
            symlink(".", canary),
            refused("root of the archive"),
        ),
        one("root as a hard link", hard_link("./", "a"), refused("root of the archive")),
        one("root as a device", Member::new(b'3', "."), refused("root of the archive")),
        one("file with a slash", file("a/"), refused("ends in a slash")),
        one("link with a slash", symlink("a/", canary), refused("ends in a slash")),
        two("NUL in a PAX path", pax(&[("path", b"a\0/../../canary/x")]), refused("`path`")),
        one(
            "dots that are no parents",
            file(".../..x/x.."),
            inside(&["/.../", "/.../..x/", "/.../..x/x.."]),
        ),
        one("newline", file("a\n../x"), inside(&["/a\\x0a../", "/a\\x0a../x"])),
        one("backslashes", file("..\\..\\canary"), inside(&["/..\\x5c..\\x5ccanary"])),
        one("odd but fine", file("./a/./b"), inside(&["/a/", "/a/b"])),
        one(
            "name of 300 bytes",
            gnu_long(b'L', "n".repeat(300)),
            refused("extension header at the end"),
        ),
        two("long name", gnu_long(b'L', "n".repeat(300)), refused("path is too long")),
    ]
}

fn through_links(target: &str, where_to: &str) -> Vec<Case> {
    let link = symlink("link", target);
    // Planted by one archive and used by the next, so that nothing is remembered either.
    let through = |name, members: &[Member], made: &[&str]| {
        let ending = clamped(where_to, made, &["/link@"]);
        of_members(name, vec![vec![link.clone()], members.to_vec()], ending)
    };
    vec![
        through("file through a link", &[file("link/x")], &["x"]),
        through("directory through a link", &[dir("link/x").mode(0o777)], &["x/"]),
        through("existing name through a link", &[file("link/file").mode(0o777)], &["file"]),
        through("link through a link", &[symlink("link/file", "/etc/passwd")], &["file@"]),
        through("FIFO through a link", &[Member::new(b'6', "link/file")], &["file|"]),
        through(
            "device through a link",
            &[Member::new(b'3', "link/file").device(1, 3)],
            &["file|"],
        ),
        through(
            "hard link through a link",
            &[file("link/a"), hard_link("link/file", "link/a")],
            &["a", "file"],
        ),
        through("deep through a link", &[file("link/a/b/c")], &["a/", "a/b/", "a/b/c"]),
        of_members(
            "through two links",
            vec![vec![symlink("a", "link"), link.clone(), file("a/x")]],
            clamped(where_to, &["x"], &["/a@", "/link@"]),
        ),
        of_members(
            "through a link in a directory",
            vec![vec![dir("d"), symlink("d/up", ".."), symlink("d/l", target), file("d/up/d/l/x")]],
            if where_to == "canary" && target == "../canary" {
                inside(&["/canary/", "/canary/x", "/d/", "/d/l@", "/d/up@"])
            } else {
                clamped(where_to, &["x"], &["/d/", "/d/l@", "/d/up@"])
            },
        ),
        of_members(
            "hard link to a file behind a link",
            vec![vec![link.clone(), hard_link("mine", "link/file")]],
            refused("which does not exist"),
        ),
        of_members(
            "hard link to a link, written through",
            vec![vec![link.clone(), hard_link("second", "link")], vec![file("second/x")]],
            clamped(where_to, &["x"], &["/link@", "/second@"]),
        ),
        of_members(
            "file in place of a link to a file",
            vec![vec![symlink("f", &format!("{target}/file"))], vec![file("f").mode(0o777)]],
            inside(&["/f"]),
        ),
        of_members(
            "hard link in place of a link to a file",
            vec![vec![symlink("f", &format!("{target}/file")), file("a"), hard_link("f", "a")]],
            inside(&["/a", "/f"]),
        ),
        of_members(
            "directory in place of a link: mode, owner and time",
            vec![vec![link.clone()], vec![dir("link").mode(0o777).owner(1234, 1234)]],
            inside(&["/link/"]),
        ),
        of_members(
            "attributes of a link",
            vec![vec![
                pax(&[("SCHILY.xattr.user.evil", b"x"), ("mtime", b"1")]),
                symlink("f", &format!("{target}/file")).mode(0o4777).owner(1234, 1234),
            ]],
            inside(&["/f@"]),
        ),
    ]
}

fn replaced(canary: &str) -> Vec<Case> {
    let chain = |count: usize| {
        let mut members: Vec<_> = (1..count)
            .map(|index| symlink(&format!("l{index}"), &format!("l{}", index - 1)))
            .collect();
        members.push(symlink("l0", "real"));
        members.push(file(&format!("l{}/x", count - 1)));
        members
    };
    vec![
        of_members(
            "directory swapped for a link between two files",
            vec![vec![dir("d"), file("d/a"), symlink("d", canary), file("d/file")]],
            clamped(canary, &["file"], &["/d@"]),
        ),
        of_members(
            "directory swapped for a link, its metadata still to be set",
            vec![vec![dir("d").mode(0o777).owner(1, 1), symlink("d", canary)]],
            inside(&["/d@"]),
        ),
        of_members(
            "directory above swapped for a link, metadata still to be set",
            vec![vec![dir("a/d/e").mode(0o777), symlink("a/d", canary), dir("a").mode(0o700)]],
            inside(&["/a/", "/a/d@"]),
        ),
        of_members(
            "link swapped for a directory and back",
            vec![vec![symlink("d", canary), dir("d"), file("d/a"), symlink("d", canary), dir("d")]],
            inside(&["/d/"]),
        ),
        of_members(
            "file in place of a FIFO",
            vec![vec![Member::new(b'6', "p")], vec![file("p")]],
            inside(&["/p"]),
        ),
        of_members(
            "file in place of a device",
            vec![vec![Member::new(b'4', "disk").device(7, 0), file("disk")]],
            inside(&["/disk"]),
        ),
        of_members(
            "file as a directory",
            vec![vec![file("f"), file("f/x")]],
            refused("`/f`: Not a directory"),
        ),
        of_members(
            "FIFO as a directory",
            vec![vec![Member::new(b'6', "p"), file("p/x")]],
            refused("`/p`: Not a directory"),
        ),
        of_members(
            "the same file twice",
            vec![vec![file("f"), file("./f"), file("//f")]],
            inside(&["/f"]),
        ),
        of_members("loop", vec![vec![symlink("l", "l"), file("l/x")]], refused("cannot")),
        of_members(
            "loop of two",
            vec![vec![symlink("a", "b"), symlink("b", "a"), dir("b/x")]],
            refused("cannot"),
        ),
        of_members("chain of 60 links", vec![chain(60)], refused("cannot")),
        of_members(
            "process directories",
            vec![vec![
                symlink("cwd", "/proc/self/cwd"),
                symlink("up", "/proc/self/root/.."),
                file("cwd/x"),
            ]],
            inside(&[
                "/cwd@",
                "/proc/",
                "/proc/self/",
                "/proc/self/cwd/",
                "/proc/self/cwd/x",
                "/up@",
            ]),
        ),
        of_members(
            "legitimate: more parents than there are directories",
            vec![vec![symlink("a/b/up", "../../../../../etc"), file("a/b/up/x")]],
            inside(&["/a/", "/a/b/", "/a/b/up@", "/etc/", "/etc/x"]),
        ),
        of_members(
            "legitimate: merged /usr",
            vec![
                vec![dir("usr/bin"), symlink("bin", "usr/bin")],
                vec![file("bin/sh"), hard_link("usr/bin/dash", "bin/sh")],
            ],
            inside(&["/bin@", "/usr/", "/usr/bin/", "/usr/bin/dash", "/usr/bin/sh"]),
        ),
        of_members(
            "legitimate: a link to itself that nobody follows",
            vec![vec![symlink("dash", "dash")], vec![symlink("dash", "dash")]],
            inside(&["/dash@"]),
        ),
    ]
}

fn hard_links(canary: &str) -> Vec<Case> {
    let missing = || refused("which does not exist");
    let one = |name, members: Vec<Member>, ending| of_members(name, vec![members], ending);
    vec![
        one(
            "hard link to the parent",
            vec![hard_link("a", "../canary/file")],
            refused("contains `..`"),
        ),
        one(
            "hard link to the host's file",
            vec![hard_link("a", &format!("{canary}/file"))],
            missing(),
        ),
        one(
            "hard link to the working directory's file",
            vec![hard_link("a", "Cargo.toml")],
            missing(),
        ),
        one("hard link before its target", vec![hard_link("a", "b"), file("b")], missing()),
        one(
            "hard link to a directory",
            vec![dir("d"), hard_link("a", "d")],
            refused("which is a directory"),
        ),
        one("hard link to the root", vec![hard_link("a", "/")], refused("which is a directory")),
        one(
            "hard link to itself",
            vec![file("a"), hard_link("a", "./a")],
            refused("which it would replace"),
        ),
        one(
            "hard link in place of its directory",
            vec![file("d/a"), hard_link("d", "d/a")],
            refused("which it would replace"),
        ),
        one(
            "hard link to itself by another way",
            vec![dir("d"), symlink("l", "d"), file("d/a"), hard_link("l/a", "d/a")],
            refused("which it would replace"),
        ),
        one("hard link without a target", vec![hard_link("a", "")], refused("without a target")),
        one(
            "hard link with content",
            vec![file("b"), Member { content: b"x".to_vec(), ..hard_link("a", "b") }],
            refused("no regular file"),
        ),
        one(
            "hard link to a link to the host",
            vec![symlink("l", &format!("{canary}/file")), hard_link("a", "l"), file("a")],
            inside(&["/a", "/l@"]),
        ),
        one(
            "PAX link path over a harmless one",
            vec![pax(&[("linkpath", b"../canary/file")]), hard_link("a", "b")],
            refused("contains `..`"),
        ),
        one(
            "GNU link path over a harmless one",
            vec![gnu_long(b'K', "../canary/file"), hard_link("a", "b")],
            refused("contains `..`"),
        ),
    ]
}

fn whiteouts(canary: &str) -> Vec<Case> {
    let link = symlink("link", canary);
    let mark = |name: &str| Member::file(name, "");
    let differs = |name, members: Vec<Vec<Member>>, as_layers, as_archives| Case {
        as_layers,
        ..of_members(name, members, as_archives)
    };
    let name = |name: &str| format!("{}/{name}", canary);
    let literal = |names: &[&str]| clamped(canary, names, &["/link@"]);
    vec![
        differs(
            "whiteout through a link",
            vec![vec![link.clone()], vec![mark("link/.wh.file")]],
            inside(&["/link@"]),
            literal(&[".wh.file"]),
        ),
        differs(
            "opaque through a link",
            vec![vec![link.clone()], vec![mark("link/.wh..wh..opq")]],
            inside(&["/link@"]),
            literal(&[".wh..wh..opq"]),
        ),
        differs(
            "whiteout of a link, not of its target",
            vec![vec![link.clone()], vec![mark(".wh.link")]],
            inside(&[]),
            inside(&["/.wh.link", "/link@"]),
        ),
        differs(
            "opaque root with a link",
            vec![vec![link], vec![mark(".wh..wh..opq")]],
            inside(&[]),
            inside(&["/.wh..wh..opq", "/link@"]),
        ),
        differs(
            "whiteout of the host's file",
            vec![vec![file("a")], vec![mark(&name(".wh.file"))]],
            inside(&["/a"]),
            clamped(canary, &[".wh.file"], &["/a"]),
        ),
        differs(
            "whiteout of the parent",
            vec![vec![file("a")], vec![mark(".wh...")]],
            refused("no file name"),
            inside(&["/.wh...", "/a"]),
        ),
        differs(
            "whiteout of the directory",
            vec![vec![mark(".wh..")]],
            refused("no file name"),
            inside(&["/.wh.."]),
        ),
        differs(
            "whiteout of nothing",
            vec![vec![mark("d/.wh.")]],
            refused("no file name"),
            inside(&["/d/", "/d/.wh."]),
        ),
        differs(
            "whiteout of a whiteout",
            vec![vec![mark(".wh..wh.x")]],
            refused("reserved"),
            inside(&["/.wh..wh.x"]),
        ),
        differs(
            "entry in a whiteout",
            vec![vec![file(".wh.a/b")]],
            refused("as the name of a directory"),
            inside(&["/.wh.a/", "/.wh.a/b"]),
        ),
        differs(
            "whiteout as a directory",
            vec![vec![dir(".wh.a")]],
            refused("no empty file"),
            inside(&["/.wh.a/"]),
        ),
        differs(
            "whiteout as a link",
            vec![vec![symlink(".wh.a", canary)]],
            refused("no empty file"),
            inside(&["/.wh.a@"]),
        ),
        differs(
            "whiteout with content",
            vec![vec![file(".wh.a")]],
            refused("no empty file"),
            inside(&["/.wh.a"]),
        ),
        differs(
            "hard link to a whiteout",
            vec![vec![mark(".wh.a"), hard_link("b", ".wh.a")]],
            refused("as the name of a directory"),
            inside(&["/.wh.a", "/b"]),
        ),
        of_members(
            "whiteout that climbs",
            vec![vec![mark("../canary/.wh.file")]],
            refused("contains `..`"),
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let good = file("a");
    let after = |name, member: Member, message: &str| {
        of_bytes(name, archive(&[file("first"), member, file("last")]), refused(message))
    };
    let pax_of = |content: Vec<u8>| Member { content, ..pax(&[]) };
    let with = |name, content: Vec<u8>, message: &str| after(name, pax_of(content), message);
    let twice = [record("path", "a"), record("path", "b")].concat();
    vec![
        of_bytes("no archive", b"no archive".repeat(100), refused("not a tar archive")),
        of_bytes(
            "cut in a header",
            archive(std::slice::from_ref(&good))[..300].to_vec(),
            refused("ends early"),
        ),
        of_bytes(
            "cut in a content",
            unended(std::slice::from_ref(&good))[..514].to_vec(),
            refused("ends early"),
        ),
        of_bytes(
            "extension at the end",
            archive(&[good.clone(), pax(&[("path", b"x")])]),
            refused("at the end"),
        ),
        of_bytes(
            "lone zero block",
            [unended(&[file("a")]), vec![0; 512], archive(&[file("b")])].concat(),
            refused("lone zero block"),
        ),
        after(
            "wrong checksum",
            Member { checksum: Some(b"000123\0 ".to_vec()), ..good.clone() },
            "checksum",
        ),
        after("unknown magic", Member { magic: b"tarred\0\0".to_vec(), ..good.clone() }, "magic"),
        after("unknown type", Member::new(b'Z', "a"), "not supported"),
        after("volume label", Member::new(b'V', "a"), "not supported"),
        after("continued from another volume", Member::new(b'M', "a"), "not supported"),
        after("dump directory", Member::new(b'D', "a"), "not supported"),
        after("Solaris extension", Member::new(b'X', "a"), "not supported"),
        after(
            "negative size",
            Member { size: Some(base256(-512, 12)), ..good.clone() },
            "out of range",
        ),
        after(
            "size of 2^63",
            Member { size: Some(base256(1 << 63, 12)), ..good.clone() },
            "out of range",
        ),
        after(
            "size of 2^62",
            Member { size: Some(base256(1 << 62, 12)), ..good.clone() },
            "more than the",
        ),
        after("owner -1", Member { uid: base256(-1, 8), ..good.clone() }, "out of range"),
        after(
            "size that is no number",
            Member { size: Some(b"+1\0".to_vec()), ..good.clone() },
            "no number",
        ),
        after(
            "directory with content",
            Member { content: b"x".to_vec(), ..dir("d") },
            "no regular file",
        ),
        after(
            "link with content",
            Member { content: b"x".to_vec(), ..symlink("d", "x") },
            "no regular file",
        ),
        with("PAX record without an end", b"30 path=x\n".to_vec(), "malformed record"),
        with("PAX record too short", b"5 path=x\n".to_vec(), "malformed record"),
        with("PAX record without a length", b"path=x\n".to_vec(), "malformed record"),
        with("PAX record twice", twice, "twice"),
        with("PAX size that is no number", record("size", "1 "), "`size`"),
        with("PAX owner below zero", record("uid", "-1"), "`uid`"),
        with("PAX volume", record("GNU.volume.size", "1"), "not supported"),
        after("two PAX headers", pax(&[("uid", b"1")]), "").refusing_two(),
        after("global path", Member { type_flag: b'g', ..pax(&[("path", b"evil")]) }, "global"),
        after("global owner", Member { type_flag: b'g', ..pax(&[("uid", b"0")]) }, "global"),
        after("GNU name of 70,000 bytes", gnu_long(b'L', "a/".repeat(35_000)), "more than 65536"),
        after("PAX header of 4 GiB", pax(&[]).size(1 << 32), "more than 1048576"),
        of_bytes(
            "more entries than allowed",
            archive(&(0..2001).map(|index| dir(&format!("d{index}"))).collect::<Vec<_>>()),
            refused("more than 2000 entries"),
        ),
        of_bytes(
            "sparse file that lies",
            archive(&[
                pax(&[
                    ("GNU.sparse.size", b"9"),
                    ("GNU.sparse.numblocks", b"2"),
                    ("GNU.sparse.map", b"4,4,9,0"),
                ]),
                file("a"),
                pax(&[
                    ("GNU.sparse.size", b"9"),
                    ("GNU.sparse.numblocks", b"2"),
                    ("GNU.sparse.map", b"4,4,0,0"),
                ]),
                file("b"),
            ]),
            refused("not in order"),
        ),
    ]
}

impl Case {
    /// Puts a second extended header behind the first.
    fn refusing_two(self) -> Self {
        let members = [file("first"), pax(&[("uid", b"1")]), pax(&[("gid", b"1")]), file("a")];
        of_bytes(self.name, archive(&members), refused("misplaced"))
    }
}

/// Archives in which one reader sees what another does not.
fn differing(canary: &str) -> Vec<Case> {
    let inner = archive(&[file("../evil"), symlink("evil", canary)]);
    let attribute = format!("x\n{}", String::from_utf8(record("linkpath", "/etc/evil")).unwrap());
    vec![
        // A size in the extended header over a header's own zero: what follows is content.
        of_bytes(
            "PAX size over zero",
            archive(&[
                pax(&[("size", inner.len().to_string().as_bytes())]),
                Member { content: inner.clone(), ..file("holder").size(0) },
            ]),
            inside(&["/holder"]),
        ),
        of_bytes(
            "PAX size over a larger one",
            archive(&[
                pax(&[("size", b"0")]),
                Member { content: Vec::new(), ..file("empty").size(inner.len() as u64) },
                file("next"),
            ]),
            inside(&["/empty", "/next"]),
        ),
        of_bytes(
            "PAX size before a long name",
            archive(&[
                pax(&[("size", inner.len().to_string().as_bytes())]),
                gnu_long(b'L', "long/name"),
                Member { content: inner, ..file("holder").gnu().size(0) },
            ]),
            inside(&["/long/", "/long/name"]),
        ),
        of_bytes(
            "link target in an attribute's value",
            archive(&[
                pax(&[("SCHILY.xattr.user.x", attribute.as_bytes())]),
                symlink("l", "harmless"),
            ]),
            inside(&["/l@"]),
        ),
        of_bytes(
            "long name and PAX name",
            archive(&[gnu_long(b'L', "one"), pax(&[("path", b"two")]), file("three")]),
            refused("a GNU long name and a PAX name"),
        ),
        of_bytes(
            "prefix in a GNU header",
            archive(&[file("a"), Member { tail: b"prefix".to_vec(), ..file("b") }.gnu()]),
            refused("a prefix"),
        ),
        of_bytes(
            "more after the end",
            [archive(&[file("a")]), archive(&[file("b")])].concat(),
            inside(&["/a"]),
        ),
    ]
}
