use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use super::*;
use crate::context::stream::with_means;

/// Returns an archive with the file `d/f`.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(7);
    header.set_mode(0o640);
    header.set_mtime(1_000_000_000);
    builder.append_data(&mut header, "d/f", b"content".as_slice()).unwrap();
    builder.into_inner().unwrap()
}

/// Opens a context that needs no network.
fn opened(
    source: &ContextSource,
    room: impl FnOnce() -> Result<Rootfs, ContextError>,
) -> Result<Rootfs, ContextError> {
    with_means(|means| open(source, means, room))
}

/// Unpacks and returns what `d/f` holds.
fn unpacked(archive: &[u8]) -> Result<String, ContextError> {
    let directory = tempfile::tempdir().unwrap();
    let room = Rootfs::open(directory.path()).unwrap();
    unpack(archive, "tar://test", &room)?;
    Ok(fs::read_to_string(directory.path().join("d/f")).unwrap())
}

#[test]
fn archives_are_unpacked_whatever_compresses_them() {
    let plain = archive();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    for (name, bytes) in [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(plain.as_slice(), 1).unwrap()),
        ("bzip2", bzip2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("plain", plain),
    ] {
        assert_eq!(unpacked(&bytes).unwrap(), "content", "{name}");
    }
}

#[test]
fn an_empty_archive_is_an_error_and_so_is_what_is_none() {
    assert_eq!(
        unpacked(b"").unwrap_err().to_string(),
        "the build context `tar://test` is empty: an archive is needed"
    );
    let error = unpacked(b"no archive").unwrap_err();
    assert_eq!(error.to_string(), "cannot unpack the build context `tar://test`");
    assert!(error.source().is_some());
    let cut = &archive()[..600];
    assert!(matches!(unpacked(cut), Err(ContextError::Unpack { .. })));
}

#[test]
fn a_directory_is_used_in_place_and_an_archive_gets_room() {
    let directory = tempfile::tempdir().unwrap();
    let room_path = tempfile::tempdir().unwrap();
    let no_room = || -> Result<Rootfs, ContextError> { panic!("a directory needs no room") };
    let source = ContextSource::Directory(directory.path().to_owned());
    assert!(!source.needs_room());
    assert_eq!(opened(&source, no_room).unwrap().host_path(), directory.path());

    let file = directory.path().join("context.tar");
    fs::write(&file, archive()).unwrap();
    let source = ContextSource::Tar(file);
    assert!(source.needs_room());
    let room = || -> Result<Rootfs, ContextError> { Ok(Rootfs::open(room_path.path()).unwrap()) };
    assert_eq!(opened(&source, room).unwrap().host_path(), room_path.path());
    assert!(room_path.path().join("d/f").exists());
}

#[test]
fn what_is_missing_is_named() {
    let room = || -> Result<Rootfs, ContextError> { panic!("nothing to unpack") };
    let check = |source: ContextSource, expected: &str| {
        assert_eq!(opened(&source, room).map(|_| ()).unwrap_err().to_string(), expected);
    };
    check(
        ContextSource::Directory("/no/such/context".into()),
        "cannot open the build context `/no/such/context`",
    );
    check(
        ContextSource::Tar("/no/such.tar".into()),
        "cannot open the build context `tar:///no/such.tar`",
    );
}

#[test]
fn a_sub_path_is_inside_the_context_whatever_its_links_say() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("app/src")).unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    symlink("/app", directory.path().join("absolute")).unwrap();
    symlink("../../../../etc", directory.path().join("outside")).unwrap();
    let context = Rootfs::open(directory.path()).unwrap();
    let entered = |sub_path: &str| {
        let root = enter(&context, Path::new(sub_path))?;
        let names = root.read_dir(&RootfsPath::root()).unwrap();
        Ok(names.into_iter().map(|entry| String::from_utf8(entry.name.to_vec()).unwrap()).collect())
    };
    let names = |sub_path: &str| -> Result<Vec<String>, ContextError> { entered(sub_path) };
    assert_eq!(names("app").unwrap(), ["src"]);
    assert_eq!(names("absolute").unwrap(), ["src"]);
    for none in ["file", "missing", "outside"] {
        assert_eq!(
            names(none).unwrap_err().to_string(),
            format!("cannot use `--context-sub-path={none}`: not a directory of the context")
        );
    }
}
