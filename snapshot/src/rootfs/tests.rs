//! Every test runs twice: with the newest system calls and with every fallback.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::xattr::Xattrs;

/// A root in a directory of its own, with a neighbour that nothing may touch.
struct Fixture {
    outer: TempDir,
    rootfs: Rootfs,
}

impl Fixture {
    fn new(system_calls: SystemCalls) -> Self {
        Self::with(RootfsOptions { system_calls, ..RootfsOptions::default() })
    }

    fn with(options: RootfsOptions) -> Self {
        let outer = TempDir::new().expect("a temporary directory");
        std::fs::create_dir(outer.path().join("root")).expect("created");
        std::fs::create_dir(outer.path().join("outside")).expect("created");
        std::fs::write(outer.path().join("outside/canary"), "untouched").expect("written");
        let rootfs = Rootfs::open_with(&outer.path().join("root"), options).expect("opens");
        Self { outer, rootfs }
    }

    fn host(&self, path: &str) -> PathBuf {
        self.outer.path().join("root").join(path)
    }

    fn mkdir(&self, path: &str) {
        std::fs::create_dir_all(self.host(path)).expect("created");
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.host(path), content).expect("written");
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.host(path)).expect("linked");
    }
}

fn each(test: impl Fn(Fixture)) {
    for system_calls in [SystemCalls::Detect, SystemCalls::Oldest] {
        test(Fixture::new(system_calls));
    }
}

fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("valid")
}

fn errno<T: fmt::Debug>(result: Result<T, RootfsError>) -> Option<Errno> {
    result.expect_err("must fail").raw_os_error().map(Errno::from_raw_os_error)
}

#[test]
fn links_are_resolved_as_in_a_chroot() {
    each(|fixture| {
        fixture.mkdir("usr/bin");
        fixture.mkdir("a/b");
        fixture.write("usr/bin/tool", "tool");
        fixture.link("usr/bin", "bin");
        fixture.link("/usr/bin", "absolute");
        fixture.link("../../../../../../../usr/bin", "a/b/dots");
        fixture.link("bin/tool", "to-file");
        fixture.link("nowhere/../x", "dangling");
        fixture.link("loop", "loop");
        fixture.link("/../outside", "escape");
        for (input, expected) in [
            ("bin", "usr/bin"),
            ("bin/tool", "usr/bin/tool"),
            ("absolute/tool", "usr/bin/tool"),
            ("a/b/dots/tool", "usr/bin/tool"),
            ("to-file", "usr/bin/tool"),
            ("bin/missing/deep", "usr/bin/missing/deep"),
            ("to-file/below-a-file", "usr/bin/tool/below-a-file"),
            ("dangling/y", "x/y"),
            ("escape/canary", "outside/canary"),
            ("", ""),
        ] {
            let resolved = fixture.rootfs.resolve(&path(input)).expect("resolves");
            assert_eq!(resolved, path(expected), "{input}");
        }
        assert_eq!(errno(fixture.rootfs.resolve(&path("loop"))), Some(Errno::LOOP));
        assert_eq!(errno(fixture.rootfs.open_dir(&path("loop/x"))), Some(Errno::LOOP));
        let parents = [("bin/tool", "usr/bin/tool"), ("bin", "bin"), ("", "")];
        for (input, expected) in parents {
            let resolved = fixture.rootfs.resolve_parent(&path(input)).expect("resolves");
            assert_eq!(resolved, path(expected), "{input}");
        }
        let content = fixture.rootfs.read_file(&path("a/b/dots/tool"), 100).expect("reads");
        assert_eq!(content, b"tool");
        assert!(fixture.rootfs.metadata(&path("escape/canary")).expect("looks").is_none());
    });
}

#[test]
fn forty_links_are_followed_and_no_more() {
    each(|fixture| {
        fixture.mkdir("end");
        fixture.write("end/file", "x");
        fixture.link("end", "l1");
        for number in 2..=41 {
            fixture.link(&format!("l{}", number - 1), &format!("l{number}"));
        }
        assert!(fixture.rootfs.metadata(&path("l40/file")).expect("looks").is_some());
        assert_eq!(fixture.rootfs.resolve(&path("l40")).expect("resolves"), path("end"));
        assert_eq!(errno(fixture.rootfs.metadata(&path("l41/file"))), Some(Errno::LOOP));
        assert_eq!(errno(fixture.rootfs.resolve(&path("l41"))), Some(Errno::LOOP));
    });
}

#[test]
fn the_last_component_is_never_followed() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        fixture.mkdir("target");
        fixture.write("file", "content");
        std::fs::set_permissions(fixture.host("file"), std::fs::Permissions::from_mode(0o640))
            .expect("set");
        fixture.link("target", "to-directory");
        fixture.link("file", "to-file");
        let kind = |name| rootfs.metadata(&path(name)).expect("looks").map(|found| found.kind);
        assert_eq!(kind("to-directory"), Some(FileKind::Symlink));
        assert_eq!(errno(rootfs.read_dir(&path("to-directory"))), Some(Errno::NOTDIR));
        assert!(matches!(
            rootfs.open_file(&path("to-file")),
            Err(RootfsError::NotRegular { kind: FileKind::Symlink, .. })
        ));
        assert_eq!(errno(rootfs.create_file(&path("to-file"))), Some(Errno::EXIST));
        assert_eq!(errno(rootfs.set_mode(&path("to-file"), 0o777)), Some(Errno::OPNOTSUPP));
        let long_ago = Timestamp { seconds: -5, nanoseconds: 7 };
        rootfs.set_mtime(&path("to-file"), long_ago).expect("set");
        rootfs.set_owner(&path("to-file"), 12, 34).expect("set");
        rootfs.hard_link(&path("to-file"), &path("second")).expect("linked");
        let link = rootfs.metadata(&path("second")).expect("looks").expect("is there");
        assert_eq!((link.kind, link.uid, link.gid, link.nlink), (FileKind::Symlink, 12, 34, 2));
        assert_eq!(link.mtime, long_ago);
        let file = rootfs.metadata(&path("file")).expect("looks").expect("is there");
        assert_eq!((file.mode, file.uid, file.nlink), (0o640, 0, 1));
        rootfs.remove_all(&path("to-directory")).expect("removed");
        assert_eq!((kind("to-directory"), kind("target")), (None, Some(FileKind::Directory)));
    });
}

#[test]
fn names_are_bytes() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        let odd = RootfsPath::new(b"\xff\n\x01 -").expect("valid");
        rootfs.create_dir(&odd, 0o755).expect("created");
        let inner = odd.join_name(&[b'n'; 255]);
        rootfs.create_file(&inner).expect("created").write_all(b"x").expect("written");
        let names = |path: &RootfsPath| {
            let entries = rootfs.read_dir(path).expect("lists");
            entries.into_iter().map(|entry| (entry.name, entry.kind)).collect::<Vec<_>>()
        };
        assert_eq!(names(&RootfsPath::root()), [(b"\xff\n\x01 -".to_vec(), FileKind::Directory)]);
        assert_eq!(names(&odd), [(vec![b'n'; 255], FileKind::Regular)]);
        rootfs.symlink(b"\xfe/../\xfd", &path("link")).expect("linked");
        assert_eq!(rootfs.read_link(&path("link")).expect("reads"), b"\xfe/../\xfd");
    });
}

#[test]
fn paths_longer_than_the_kernel_takes_work() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        let name = [b'd'; 250];
        let mut directory = rootfs.open_dir(&RootfsPath::root()).expect("opens");
        let mut deep = RootfsPath::root();
        for _ in 0..300 {
            directory.create_dir(&name, 0o755).expect("created");
            directory = directory.open_dir(&name).expect("opens");
            deep = deep.join_name(&name);
        }
        let file = deep.join_name(b"file");
        rootfs.create_file(&file).expect("created").write_all(b"deep").expect("written");
        rootfs.set_mode(&file, 0o4711).expect("set");
        rootfs.set_xattr(&file, b"user.note", b"n").expect("set");
        let link = deep.join_name(b"link");
        rootfs.hard_link(&file, &link).expect("linked");
        rootfs.rename(&link, &path("up")).expect("renamed");
        assert_eq!(rootfs.read_file(&path("up"), 10).expect("reads"), b"deep");
        assert_eq!(rootfs.resolve(&file).expect("resolves"), file);
        let found = rootfs.metadata(&file).expect("looks").expect("is there");
        assert_eq!((found.mode, found.size, found.nlink), (0o4711, 4, 2));
        rootfs.remove_all(&path(std::str::from_utf8(&name).expect("ascii"))).expect("removed");
        assert_eq!(rootfs.read_dir(&RootfsPath::root()).expect("lists").len(), 1);
    });
}

#[test]
fn every_kind_of_entry_is_made_with_its_exact_mode() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        rootfs.create_dir(&path("dir"), 0o3777).expect("made");
        rootfs.make_node(&path("fifo"), FileKind::Fifo, 0o666, 0, 0).expect("made");
        rootfs.make_node(&path("null"), FileKind::CharDevice, 0o4666, 1, 3).expect("made");
        rootfs.make_node(&path("disk"), FileKind::BlockDevice, 0o660, 259, 70000).expect("made");
        rootfs.make_node(&path("socket"), FileKind::Socket, 0o777, 0, 0).expect("made");
        rootfs.create_file(&path("file")).expect("made");
        rootfs.symlink(b"x", &path("link")).expect("made");
        let made: Vec<_> = rootfs
            .read_dir(&RootfsPath::root())
            .expect("lists")
            .into_iter()
            .map(|entry| {
                let found = rootfs.metadata(&RootfsPath::root().join_name(&entry.name));
                let found = found.expect("looks").expect("is there");
                assert_eq!(found.kind, entry.kind);
                let name = String::from_utf8(entry.name).expect("ascii");
                (name, found.kind, found.mode, (found.rdev_major, found.rdev_minor))
            })
            .collect();
        let expected = [
            ("dir", FileKind::Directory, 0o3777, (0, 0)),
            ("disk", FileKind::BlockDevice, 0o660, (259, 70000)),
            ("fifo", FileKind::Fifo, 0o666, (0, 0)),
            ("file", FileKind::Regular, 0o600, (0, 0)),
            ("link", FileKind::Symlink, 0o777, (0, 0)),
            ("null", FileKind::CharDevice, 0o4666, (1, 3)),
            ("socket", FileKind::Socket, 0o777, (0, 0)),
        ]
        .map(|(name, kind, mode, device)| (name.to_owned(), kind, mode, device));
        assert_eq!(made, expected);
        let node = rootfs.make_node(&path("x"), FileKind::Regular, 0o600, 0, 0);
        assert_eq!(errno(node), Some(Errno::INVAL));
        // Nothing but a regular file is opened: the FIFO would block, the device could act.
        for (name, expected) in [
            ("fifo", FileKind::Fifo),
            ("null", FileKind::CharDevice),
            ("socket", FileKind::Socket),
            ("dir", FileKind::Directory),
        ] {
            match rootfs.open_file(&path(name)) {
                Err(RootfsError::NotRegular { kind, .. }) => assert_eq!(kind, expected),
                other => panic!("{name}: {other:?}"),
            }
        }
        rootfs.set_mode(&path("fifo"), 0o600).expect("set");
        rootfs.remove_all(&RootfsPath::root().join_name(b"fifo")).expect("removed");
        assert!(rootfs.metadata(&path("fifo")).expect("looks").is_none());
    });
}

#[test]
fn metadata_equals_what_lstat_says() {
    each(|fixture| {
        fixture.write("file", "seven b");
        let rootfs = &fixture.rootfs;
        rootfs.set_owner(&path("file"), 5, 3_000_000_000).expect("set");
        rootfs.set_mode(&path("file"), 0o6755).expect("set");
        let mtime = Timestamp { seconds: 5_000_000_000, nanoseconds: 123_456_789 };
        rootfs.set_mtime(&path("file"), mtime).expect("set");
        let expected = std::fs::symlink_metadata(fixture.host("file")).expect("stats");
        let found = rootfs.metadata(&path("file")).expect("looks").expect("is there");
        let expected = Metadata {
            kind: FileKind::Regular,
            mode: 0o6755,
            uid: 5,
            gid: 3_000_000_000,
            size: 7,
            mtime,
            ctime: Timestamp {
                seconds: expected.ctime(),
                nanoseconds: expected.ctime_nsec().try_into().expect("in range"),
            },
            dev: expected.dev(),
            ino: expected.ino(),
            nlink: 1,
            rdev_major: 0,
            rdev_minor: 0,
        };
        assert_eq!(found, expected);
        assert_eq!(rootfs.metadata(&path("file/below")).expect("looks"), None);
        assert_eq!(rootfs.metadata(&path("missing/below")).expect("looks"), None);
        let root = rootfs.metadata(&RootfsPath::root()).expect("looks").expect("is there");
        assert_eq!(root.kind, FileKind::Directory);
    });
}

#[test]
fn values_that_mean_something_else_to_the_kernel_are_refused() {
    each(|fixture| {
        fixture.write("file", "");
        let rootfs = &fixture.rootfs;
        assert_eq!(errno(rootfs.set_owner(&path("file"), u32::MAX, 0)), Some(Errno::INVAL));
        let now = Timestamp { seconds: 0, nanoseconds: 0x3fff_ffff };
        assert_eq!(errno(rootfs.set_mtime(&path("file"), now)), Some(Errno::INVAL));
        let directory = rootfs.open_dir(&RootfsPath::root()).expect("opens");
        for name in [&b""[..], b"..", b"a/b", b"/", b"a\0b"] {
            match directory.remove(name) {
                Err(RootfsError::InvalidName { name: refused, .. }) => assert_eq!(refused, name),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn missing_directories_are_made_where_the_path_leads() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        fixture.mkdir("real");
        fixture.link("/real/deep", "link");
        fixture.write("file", "");
        let new = NewDirectory { mode: 0o2750, uid: 7, gid: 8 };
        let made = rootfs.create_dir_all(&path("link/a/b"), &new).expect("made");
        assert_eq!(made, [path("real/deep"), path("real/deep/a"), path("real/deep/a/b")]);
        for directory in &made {
            let found = rootfs.metadata(directory).expect("looks").expect("is there");
            assert_eq!((found.mode, found.uid, found.gid), (0o2750, 7, 8));
        }
        assert_eq!(rootfs.create_dir_all(&path("link/a/b"), &new).expect("made"), []);
        assert_eq!(rootfs.create_dir_all(&RootfsPath::root(), &new).expect("made"), []);
        let over_file = rootfs.create_dir_all(&path("file/x"), &new).expect_err("a file");
        assert_eq!(over_file.to_string(), "cannot create directory `/file`");
    });
}

#[test]
fn xattrs_of_every_kind_of_entry() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        fixture.write("file", "");
        fixture.mkdir("dir");
        fixture.link("file", "link");
        rootfs.make_node(&path("fifo"), FileKind::Fifo, 0o600, 0, 0).expect("made");
        // More than the first buffer holds, less than ext4 keeps in an inode and one block.
        let large = vec![7; 2500];
        rootfs.set_xattr(&path("file"), b"user.large", &large).expect("set");
        rootfs.set_xattr(&path("file"), b"user.empty", b"").expect("set");
        rootfs.set_xattr(&path("file"), b"user.overlay.opaque", b"y").expect("set");
        rootfs.set_xattr(&path("dir"), b"user.note", b"\0\xff").expect("set");
        // Not for images, but the only ones a link or a pipe can have.
        rootfs.set_xattr(&path("link"), b"trusted.note", b"l").expect("set");
        rootfs.set_xattr(&path("fifo"), b"trusted.note", b"f").expect("set");
        let xattrs = |name| rootfs.xattrs(&path(name)).expect("reads");
        let pairs = |pairs: &[(&[u8], &[u8])]| -> Xattrs {
            pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
        };
        assert_eq!(xattrs("file"), pairs(&[(b"user.empty", b""), (b"user.large", &large)]));
        assert_eq!(xattrs("dir"), pairs(&[(b"user.note", b"\0\xff")]));
        assert_eq!(xattrs("link"), pairs(&[]));
        assert_eq!(xattrs("fifo"), pairs(&[]));
        rootfs.remove_xattr(&path("file"), b"user.large").expect("removed");
        assert_eq!(xattrs("file"), pairs(&[(b"user.empty", b"")]));
        let again = rootfs.remove_xattr(&path("file"), b"user.large");
        assert_eq!(errno(again), Some(Errno::NODATA));
        rootfs.remove_xattr(&path("link"), b"trusted.note").expect("removed from the link itself");
    });
}

#[test]
fn removing_takes_one_entry_or_all() {
    each(|fixture| {
        let rootfs = &fixture.rootfs;
        fixture.mkdir("tree/a/b/c");
        fixture.mkdir("tree/empty");
        fixture.write("tree/a/file", "x");
        fixture.link("../../outside", "tree/a/escape");
        fixture.link("/", "tree/root");
        assert_eq!(errno(rootfs.remove(&path("tree"))), Some(Errno::NOTEMPTY));
        rootfs.remove(&path("tree/empty")).expect("removed");
        rootfs.remove(&path("tree/root")).expect("removed");
        rootfs.remove_all(&path("tree")).expect("removed");
        rootfs.remove_all(&path("tree")).expect("nothing to remove is fine");
        rootfs.remove_all(&path("missing/tree")).expect("nothing to remove is fine");
        assert_eq!(rootfs.read_dir(&RootfsPath::root()).expect("lists"), []);
        let canary = std::fs::read(fixture.outer.path().join("outside/canary")).expect("reads");
        assert_eq!(canary, b"untouched");
    });
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    each(|fixture| {
        fixture.write("file", "12345");
        assert_eq!(fixture.rootfs.read_file(&path("file"), 5).expect("reads"), b"12345");
        let error = fixture.rootfs.read_file(&path("file"), 4).expect_err("too large");
        assert_eq!(error.to_string(), "`/file` is larger than 4 bytes");
    });
}

#[test]
fn a_subtree_is_a_root_of_its_own() {
    each(|fixture| {
        fixture.mkdir("sub/etc");
        fixture.write("secret", "outer");
        fixture.link("/secret", "sub/link");
        fixture.link("sub", "alias");
        let sub = fixture.rootfs.subtree(&path("alias")).expect("opens");
        assert_eq!(sub.host_path(), fixture.host("sub"));
        assert_eq!(sub.resolve(&path("link")).expect("resolves"), path("secret"));
        assert!(sub.metadata(&path("secret")).expect("looks").is_none());
        assert!(fixture.rootfs.subtree(&path("secret")).is_err());
    });
}

#[test]
fn what_is_no_directory_is_no_root() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = Rootfs::open(file.path()).expect_err("a file");
    let expected = format!("cannot open root file system `{}`", file.path().display());
    assert_eq!(error.to_string(), expected);
    let fd = OwnedFd::from(file.reopen().expect("opens"));
    assert_eq!(Rootfs::from_fd(fd).expect_err("a file").to_string(), expected);
    let directory = TempDir::new().expect("a directory");
    let fd = OwnedFd::from(File::open(directory.path()).expect("opens"));
    assert_eq!(Rootfs::from_fd(fd).expect("opens").host_path(), directory.path());
}

#[test]
fn every_descriptor_is_closed_on_exec() {
    each(|fixture| {
        fixture.mkdir("a/b");
        fixture.write("a/file", "");
        let rootfs = &fixture.rootfs;
        let directory = rootfs.open_dir(&path("a/b")).expect("opens");
        let file = rootfs.open_file(&path("a/file")).expect("opens");
        let created = rootfs.create_file(&path("a/new")).expect("created");
        for fd in [rootfs.as_fd(), directory.as_fd(), file.as_fd(), created.as_fd()] {
            let flags = rustix::io::fcntl_getfd(fd).expect("an open descriptor");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    });
}

#[test]
fn protected_directories_are_not_written_to_whatever_name_leads_there() {
    let fixture = Fixture::new(SystemCalls::Detect);
    fixture.mkdir("home/executor/work");
    fixture.mkdir("home/other");
    fixture.write("home/executor/binary", "x");
    fixture.write("home/other/file", "x");
    fixture.link("home/executor", "alias");
    let executor = File::open(fixture.host("home/executor")).expect("opens");
    let guard = Guard::none().protect(executor.as_fd()).expect("protects");
    for system_calls in [SystemCalls::Detect, SystemCalls::Oldest] {
        let options = RootfsOptions { system_calls, guard: guard.clone(), faults: None };
        let rootfs = Rootfs::open_with(&fixture.host(""), options).expect("opens");
        let refused = |result: Result<(), RootfsError>, text: &str| {
            assert_eq!(result.expect_err("protected").to_string(), text);
        };
        let inside = path("alias/new");
        refused(rootfs.create_file(&inside).map(drop), "`/alias/new` is protected");
        refused(rootfs.create_dir(&inside, 0o755), "`/alias/new` is protected");
        refused(rootfs.symlink(b"x", &path("alias/work/deep")), "`/alias/work/deep` is protected");
        refused(
            rootfs.remove(&path("home/executor/binary")),
            "`/home/executor/binary` is protected",
        );
        refused(rootfs.set_mode(&path("home/executor"), 0), "`/home/executor` is protected");
        let onto = rootfs.rename(&path("home/other"), &path("home/executor"));
        refused(onto, "`/home/executor` is protected");
        // The directories above stay too, though what is in them may change.
        refused(rootfs.rename(&path("home"), &path("x")), "`/home` is protected");
        rootfs.set_mode(&path("home"), 0o711).expect("allowed");
        let link = rootfs.hard_link(&path("home/executor/binary"), &path("copy"));
        refused(link, "`/home/executor/binary` is protected");
        let work = rootfs.open_dir(&path("home/executor")).expect("opens");
        let work = work.open_dir(b"work").expect("opens");
        refused(work.create_dir(b"x", 0o755), "`/home/executor/work/x` is protected");
        rootfs.rename(&path("alias"), &path("alias2")).expect("the link itself is free");
        rootfs.rename(&path("alias2"), &path("alias")).expect("the link itself is free");
    }
    let options = RootfsOptions { guard, ..RootfsOptions::default() };
    let rootfs = Rootfs::open_with(&fixture.host(""), options).expect("opens");
    let error = rootfs.remove_all(&path("home")).expect_err("something stays");
    assert_eq!(error.to_string(), "`/home/executor/binary` is protected");
    assert!(fixture.host("home/executor/binary").exists());
    assert!(fixture.host("home/executor/work").exists());
    assert!(!fixture.host("home/other").exists());
}

#[test]
fn a_fault_hook_makes_an_operation_fail() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let faults: FaultHook = Arc::new(move |operation, path| {
        log.lock().expect("not poisoned").push((operation, path.to_string()));
        match operation {
            Operation::ReadLink => Err(Errno::IO.into()),
            _ => Ok(()),
        }
    });
    let fixture = Fixture::with(RootfsOptions { faults: Some(faults), ..Default::default() });
    fixture.mkdir("a");
    fixture.link("x", "a/link");
    let error = fixture.rootfs.read_link(&path("a/link")).expect_err("the hook says so");
    assert_eq!(error.to_string(), "cannot read symbolic link `/a/link`");
    let seen = seen.lock().expect("not poisoned").clone();
    let expected =
        [(Operation::OpenDirectory, "/a".to_owned()), (Operation::ReadLink, "/a/link".to_owned())];
    assert_eq!(seen, expected);
}

#[test]
fn a_link_swapped_while_paths_are_looked_up_never_leads_out() {
    each(|fixture| {
        fixture.mkdir("real");
        fixture.write("real/canary", "inside");
        std::fs::create_dir(fixture.host("turn")).expect("created");
        fixture.link("../../outside", "evil");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let exchange = || {
                    rustix::fs::renameat_with(
                        fixture.rootfs.as_fd(),
                        c"turn",
                        fixture.rootfs.as_fd(),
                        c"evil",
                        rustix::fs::RenameFlags::EXCHANGE,
                    )
                };
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    exchange().expect("both names are there");
                }
            });
            for _ in 0..2000 {
                let canary = path("turn/canary");
                match fixture.rootfs.read_file(&canary, 100) {
                    Err(error) => assert!(error.is_missing(), "{error:?}"),
                    Ok(content) => panic!("read {content:?} outside"),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}
