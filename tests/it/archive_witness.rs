//! Archives made by GNU tar and Python, layers unpacked by umoci: what we make of them against what
//! others do, path by path.

use std::fs::{self, File};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FileType, Mode, Timespec, Timestamps, XattrFlags};
use snapshot::{Digest, Rootfs, RootfsPath};
use zuwai::archive::{Contents, ExtractOptions, Extracted, Limits, Ownership, extract};
use zuwai::unpack::{UnpackOptions, unpack};

use crate::skip::{Reason, is_root, skip};
use crate::tarball::{Member, archive, pax};
use crate::tree::tree;
use crate::unpack::layer;

/// Runs a program; `None`, with a printed reason, where it is missing.
fn run(program: &str, arguments: &[&str]) -> Option<()> {
    match Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip("a comparison of readers", Reason::Lacking(&format!("needs {program}")));
            None
        }
        output => {
            let output = output.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{program} {arguments:?}: {said}");
            Some(())
        }
    }
}

/// Fills `root` with one of everything.
fn fill(root: &Path) {
    let write = |name: &str, content: &[u8]| fs::write(root.join(name), content).unwrap();
    for directory in ["d", "d/closed", "empty", "x"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    write("file", b"content");
    write("d/executable", b"#!/bin/sh");
    write("d/closed/inside", &[b'x'; 1025]);
    write("empty-file", b"");
    write("newline\nand \u{e4} and \\", b"odd");
    fs::write(root.join(std::ffi::OsStr::from_encoded("not-utf8-\u{e4}")), b"odd").unwrap();
    fs::create_dir_all(root.join("x".to_owned() + &"/long-name-of-a-directory".repeat(12)))
        .unwrap();
    write(&("x".to_owned() + &"/long-name-of-a-directory".repeat(12) + "/file"), b"deep");
    write(&"n".repeat(180), b"long name");
    symlink("file", root.join("link")).unwrap();
    symlink("t/".repeat(90) + "x", root.join("long-link")).unwrap();
    symlink("/nowhere", root.join("d/dangling")).unwrap();
    fs::hard_link(root.join("file"), root.join("d/second")).unwrap();
    fs::hard_link(root.join("link"), root.join("d/second-link")).unwrap();
    let node = |name: &str, kind: FileType, device| {
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, root.join(name), kind, mode, device).unwrap();
    };
    node("fifo", FileType::Fifo, 0);
    node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("disk", FileType::BlockDevice, rustix::fs::makedev(259, 70_000));
    let mut sparse = File::create(root.join("sparse")).unwrap();
    for offset in [1 << 20, 3 << 20] {
        sparse.seek(SeekFrom::Start(offset)).unwrap();
        sparse.write_all(&[b's'; 5000]).unwrap();
    }
    sparse.set_len(5 << 20).unwrap();
    std::os::unix::fs::lchown(root.join("link"), Some(12), Some(34)).unwrap();
    std::os::unix::fs::chown(root.join("d/executable"), Some(70_000), Some(3)).unwrap();
    for (name, mode) in
        [("d", 0o2751), ("d/closed", 0o500), ("d/executable", 0o4755), ("x", 0o1777)]
    {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Directories last, as what is put into them changes their times.
    for (name, seconds, nanoseconds) in [
        ("file", 1_234_567_890, 123_456_789),
        ("empty-file", 0, 0),
        ("link", 5, 6),
        ("d", 1 << 31, 1),
    ] {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, root.join(name), &times, flags).unwrap();
    }
}

trait FromEncoded {
    /// Takes each character for a byte.
    fn from_encoded(text: &str) -> std::ffi::OsString;
}

impl FromEncoded for std::ffi::OsStr {
    fn from_encoded(text: &str) -> std::ffi::OsString {
        use std::os::unix::ffi::OsStringExt;
        let bytes = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap());
        std::ffi::OsString::from_vec(bytes.collect())
    }
}

fn extract_ours(archive: &Path, into: &Path) -> Extracted {
    let rootfs = Rootfs::open(into).unwrap();
    let options = ExtractOptions {
        limits: Limits::default(),
        ownership: Ownership::Archive,
        contents: Contents::Digest,
    };
    let file = File::open(archive).unwrap();
    extract(file, &rootfs, &RootfsPath::root(), &options).unwrap()
}

/// Has GNU tar and us extract `archive`, and compares.
fn assert_extracted_alike(archive: &Path, label: &str) {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    extract_ours(archive, ours.path());
    let into = format!("--directory={}", theirs.path().display());
    let file = format!("--file={}", archive.display());
    let include = "--xattrs-include=*";
    run(
        "tar",
        &[
            "--extract",
            "--numeric-owner",
            "--preserve-permissions",
            "--xattrs",
            include,
            &into,
            &file,
        ],
    )
    .expect("GNU tar is there");
    let (ours, theirs) = (tree(ours.path()), tree(theirs.path()));
    assert!(ours.len() > 15, "{ours:#?}");
    // The archive's root sets nothing when we extract, so that the first lines differ.
    assert_eq!(ours[1..], theirs[1..], "{label}");
}

#[test]
fn archives_of_gnu_tar_are_extracted_as_gnu_tar_does() {
    if !is_root("archives_of_gnu_tar_are_extracted_as_gnu_tar_does") {
        return;
    }
    let (directory, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = directory.path();
    fill(root);
    let set = |name: &str, attribute: &[u8], value: &[u8]| {
        rustix::fs::setxattr(root.join(name), attribute, value, XattrFlags::empty()).unwrap();
    };
    set("file", b"user.note", b"a\nb=c\0d");
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    set("d/executable", b"security.capability", capability);
    let from = format!("--directory={}", root.display());
    for (name, arguments) in [
        ("gnu", &["--format=gnu"][..]),
        ("oldgnu", &["--format=oldgnu", "--exclude=disk"]),
        ("ustar", &["--format=ustar", "--exclude=*long*", "--exclude=nnn*"]),
        (
            "v7",
            &[
                "--format=v7",
                "--exclude=*long*",
                "--exclude=nnn*",
                "--exclude=disk",
                "--exclude=null",
                "--exclude=fifo",
            ],
        ),
        ("posix", &["--format=posix", "--xattrs", "--xattrs-include=*"]),
        ("gnu-sparse", &["--format=gnu", "--sparse"]),
        ("posix-sparse-0.1", &["--format=posix", "--sparse", "--sparse-version=0.1"]),
        ("posix-sparse-1.0", &["--format=posix", "--sparse", "--sparse-version=1.0"]),
        ("gzip", &["--gzip"]),
        ("bzip2", &["--bzip2"]),
        ("xz", &["--xz"]),
        ("zstd", &["--zstd"]),
    ] {
        let path = out.path().join(name);
        let file = format!("--file={}", path.display());
        let mut all = vec!["--create", "--numeric-owner", "--warning=no-timestamp", &file, &from];
        all.extend(arguments);
        // v7 and ustar leave out what they cannot hold and say so.
        all.extend(["--ignore-failed-read", "."]);
        if run("tar", &all).is_none() {
            return;
        }
        assert_extracted_alike(&path, name);
    }
    // The old form of sparse files in PAX headers repeats its keys; readers count them differently.
    let path = out.path().join("sparse-0.0");
    let file = format!("--file={}", path.display());
    run(
        "tar",
        &["--create", "--format=posix", "--sparse", "--sparse-version=0.0", &file, &from, "sparse"],
    );
    let rootfs = Rootfs::open(tempfile::tempdir().unwrap().path()).unwrap();
    let options = ExtractOptions {
        limits: Limits::default(),
        ownership: Ownership::Archive,
        contents: Contents::Ignore,
    };
    let archive = File::open(path).unwrap();
    let error = extract(archive, &rootfs, &RootfsPath::root(), &options).unwrap_err();
    let expected = "the extended header has `GNU.sparse.offset` twice";
    assert!(crate::unpack::message(&error).ends_with(expected), "{error:?}");
}

#[test]
fn archives_of_python_are_extracted_as_gnu_tar_does() {
    if !is_root("archives_of_python_are_extracted_as_gnu_tar_does") {
        return;
    }
    let (directory, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(directory.path());
    for format in ["PAX_FORMAT", "GNU_FORMAT"] {
        let path = out.path().join(format);
        let script = format!(
            "import tarfile\nwith tarfile.open({path:?}, 'w', format=tarfile.{format}) as archive:\n    \
             archive.add({:?}, '.')",
            directory.path()
        );
        if run("python3", &["-c", &script]).is_none() {
            return;
        }
        assert_extracted_alike(&path, format);
    }
}

#[test]
fn layers_are_unpacked_as_umoci_does() {
    if !is_root("layers_are_unpacked_as_umoci_does") {
        return;
    }
    let dir = |name: &str| Member::new(b'5', name);
    let whiteout = |name: &str| Member::file(name, "");
    let file = |name: &str| Member::file(name, name);
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layers = [
        archive(&[
            dir("./"),
            dir("usr"),
            dir("usr/bin").mode(0o2755).owner(0, 8),
            pax(&[
                ("mtime", b"1234567890.123456789"),
                ("SCHILY.xattr.security.capability", capability),
            ]),
            file("usr/bin/ping").mode(0o4755).owner(3, 4),
            Member::link(b'2', "bin", "usr/bin").owner(5, 6),
            dir("etc").mode(0o700),
            file("etc/passwd"),
            Member::link(b'1', "etc/shadow", "etc/passwd"),
            dir("opaque"),
            file("opaque/a"),
            dir("opaque/sub"),
            file("opaque/sub/b"),
            dir("gone"),
            file("gone/a"),
            dir("swap"),
            file("swap/a"),
            Member::link(b'2', "link", "usr"),
            file("file"),
            dir("dev"),
            Member::new(b'3', "dev/null").device(1, 3).mode(0o666),
            Member::new(b'6', "dev/pipe").owner(1, 1),
        ]),
        archive(&[
            dir("opaque").mode(0o750),
            whiteout("opaque/.wh..wh..opq"),
            file("opaque/new"),
            whiteout(".wh.gone"),
            whiteout("etc/.wh.passwd"),
            file("swap"),
            dir("link"),
            file("link/inside"),
            Member::link(b'2', "file", "usr"),
            file("bin/sh"),
            Member::link(b'1', "usr/bin/bash", "usr/bin/sh"),
        ]),
        archive(&[
            dir("gone").mode(0o711),
            file("gone/b"),
            Member::link(b'1', "etc/again", "etc/shadow"),
            whiteout("usr/bin/.wh.bash"),
            whiteout("dev/.wh.pipe"),
        ]),
    ];
    let out = tempfile::tempdir().unwrap();
    let at = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let layout = at("layout");
    if run("umoci", &["init", "--layout", &layout]).is_none() {
        return;
    }
    let image = format!("{layout}:image");
    run("umoci", &["new", "--image", &image]);
    for (index, layer) in layers.iter().enumerate() {
        let path = at(&format!("{index}.tar"));
        fs::write(&path, layer).unwrap();
        run("umoci", &["raw", "add-layer", "--image", &image, &path]);
    }
    run("umoci", &["raw", "unpack", "--image", &image, &at("theirs")]);

    fs::create_dir(at("ours")).unwrap();
    let rootfs = Rootfs::open(Path::new(&at("ours"))).unwrap();
    let inputs = layers.iter().map(|bytes| layer(bytes.clone())).collect();
    unpack(&rootfs, inputs, &UnpackOptions::default()).unwrap();
    let (ours, theirs) = (tree(Path::new(&at("ours"))), tree(Path::new(&at("theirs"))));
    assert_eq!(ours, theirs);

    // And the blobs that umoci made of the layers.
    fs::create_dir(at("compressed")).unwrap();
    let rootfs = Rootfs::open(Path::new(&at("compressed"))).unwrap();
    let json = |digest: &str| -> serde_json::Value {
        let path = format!("{layout}/blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap());
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(format!("{layout}/index.json")).unwrap()).unwrap();
    let manifest = json(index["manifests"][0]["digest"].as_str().unwrap());
    let inputs = manifest["layers"].as_array().unwrap().iter().zip(&layers).map(|(blob, layer)| {
        let digest: Digest = blob["digest"].as_str().unwrap().parse().unwrap();
        let bytes = fs::read(format!("{layout}/blobs/sha256/{}", digest.hex())).unwrap();
        assert_eq!(bytes.len() as u64, blob["size"].as_u64().unwrap());
        crate::unpack::compressed(Digest::of(layer), bytes)
    });
    let inputs = inputs.collect();
    unpack(&rootfs, inputs, &UnpackOptions::default()).unwrap();
    assert_eq!(tree(Path::new(&at("compressed"))), theirs);
}

#[test]
fn what_extraction_reports_is_what_it_did() {
    if !is_root("what_extraction_reports_is_what_it_did") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let rootfs = Rootfs::open(directory.path()).unwrap();
    let bytes =
        archive(&[Member::file("a/b", "x"), Member::link(b'2', "l", "a"), Member::file("l/c", "")]);
    let options = ExtractOptions {
        limits: Limits::default(),
        ownership: Ownership::Process,
        contents: Contents::Digest,
    };
    let extracted =
        extract(Cursor::new(&bytes), &rootfs, &RootfsPath::new("to").unwrap(), &options).unwrap();
    let touched: Vec<_> = extracted
        .touched
        .iter()
        .map(|touched| (touched.path.to_string(), touched.content))
        .collect();
    let digest = |text: &str| Some(Digest::of(text.as_bytes()));
    let expected = [
        ("/to", None),
        ("/to/a", None),
        ("/to/a/b", digest("x")),
        ("/to/l", digest("a")),
        // Where it is, not how the archive calls it.
        ("/to/a/c", digest("")),
    ];
    assert_eq!(touched, expected.map(|(path, content)| (path.to_owned(), content)));
    assert_eq!((extracted.entry_count, extracted.tar_bytes), (3, bytes.len() as u64));
}
