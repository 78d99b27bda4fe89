use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::index::Row;
use crate::metadata::Metadata;
use crate::scope::Extent;
use crate::tests::skip;

struct Fixture {
    directory: TempDir,
    rootfs: Rootfs,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("root")).expect("a directory");
        let rootfs = Rootfs::open(&directory.path().join("root")).expect("it is there");
        Self { directory, rootfs }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn index(&self) -> Index {
        let mut index = Index::new();
        let mut pending = vec![RootfsPath::root()];
        while let Some(path) = pending.pop() {
            let metadata = self.rootfs.metadata(&path).expect("metadata").expect("it is there");
            let row = Row { metadata, content: None, xattrs: None, shadow: false };
            index.insert(&path, row);
            if metadata.kind == FileKind::Directory {
                let entries = self.rootfs.read_dir(&path).expect("a listing");
                pending.extend(entries.iter().map(|entry| path.join_name(&entry.name)));
            }
        }
        index
    }

    /// `None`, with the reason printed, where there can be no overlay.
    fn mount(&self) -> Option<StepOverlay> {
        match StepOverlay::mount(&self.rootfs, &self.index(), &self.at("scratch")) {
            Ok(overlay) => Some(overlay),
            Err(error) => {
                skip("an overlay of a step", format_args!("{error:?}"));
                None
            }
        }
    }
}

fn inside(overlay: &StepOverlay, path: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{path}", overlay.rootfs().as_fd().as_raw_fd()).into()
}

#[test]
fn a_step_that_is_given_up_leaves_no_trace() {
    let fixture = Fixture::new();
    fs::write(fixture.at("root/f"), "old").expect("written");
    let before = fixture.rootfs.metadata(&RootfsPath::root()).expect("metadata");
    let Some(overlay) = fixture.mount() else { return };
    assert!(overlay.rootfs().is_detached());
    assert_eq!(overlay.rootfs().host_path(), fixture.at("root"));
    fs::write(inside(&overlay, "f"), "new").expect("written");
    fs::write(inside(&overlay, "g"), "new").expect("written");
    drop(overlay);
    assert_eq!(fs::read(fixture.at("root/f")).expect("it is there"), b"old");
    assert!(!fixture.at("root/g").exists() && !fixture.at("scratch").exists());
    assert_eq!(fixture.rootfs.metadata(&RootfsPath::root()).expect("metadata"), before);
}

#[test]
fn the_scope_is_what_was_written() {
    let fixture = Fixture::new();
    for directory in ["root/a/b", "root/c/d"] {
        fs::create_dir_all(fixture.at(directory)).expect("directories");
        fs::write(fixture.at(directory).join("f"), "old").expect("written");
    }
    fs::hard_link(fixture.at("root/a/b/f"), fixture.at("root/alias")).expect("linked");
    let index = fixture.index();
    let Some(overlay) = fixture.mount() else { return };
    fs::write(inside(&overlay, "alias"), "new").expect("written");
    fs::remove_file(inside(&overlay, "alias")).expect("removed");
    fs::rename(inside(&overlay, "c/d"), inside(&overlay, "c/e")).expect("renamed");
    fs::create_dir_all(inside(&overlay, "n/o")).expect("made");
    let scope = overlay.finish(&index).expect("merged");
    let listed: Vec<(String, Extent)> =
        scope.iter().map(|(path, extent)| (path.to_string(), extent)).collect();
    let expected = [
        ("/", Extent::Entry),
        ("/a/b/f", Extent::Entry),
        ("/alias", Extent::Entry),
        ("/c", Extent::Entry),
        ("/c/d", Extent::Entry),
        ("/c/e", Extent::Subtree),
        ("/n", Extent::Subtree),
    ];
    assert_eq!(listed, expected.map(|(path, extent)| (path.to_owned(), extent)));
    assert_eq!(fs::read(fixture.at("root/a/b/f")).expect("it is there"), b"new");
    assert_eq!(fs::read(fixture.at("root/c/e/f")).expect("it is there"), b"old");
    assert!(!fixture.at("root/alias").exists() && fixture.at("root/n/o").is_dir());
}

/// Names that the index does not know are found all the same.
#[test]
fn an_index_that_knows_too_little_does_no_harm() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.at("root/a")).expect("a directory");
    fs::write(fixture.at("root/a/f"), "old").expect("written");
    let index = fixture.index();
    fs::hard_link(fixture.at("root/a/f"), fixture.at("root/g")).expect("linked");
    let Some(overlay) = fixture.mount() else { return };
    fs::write(inside(&overlay, "a/f"), "new").expect("written");
    overlay.finish(&index).expect("merged");
    assert_eq!(fs::read(fixture.at("root/g")).expect("it is there"), b"new");
}

#[test]
fn a_device_that_would_be_hidden_rules_an_overlay_out() {
    let fixture = Fixture::new();
    let mut index = fixture.index();
    let path = RootfsPath::new("dev/odd").expect("a path");
    let root = fixture.rootfs.metadata(&RootfsPath::root()).expect("metadata").expect("is there");
    let metadata = Metadata { kind: FileKind::CharDevice, ..root };
    index.insert(&path, Row { metadata, content: None, xattrs: None, shadow: false });
    let refused = StepOverlay::mount(&fixture.rootfs, &index, &fixture.at("scratch"));
    assert!(matches!(refused, Err(OverlayError::HidesDevice { path: found }) if found == path));
}

#[test]
fn changes_have_to_be_on_the_mount_of_the_root() {
    let fixture = Fixture::new();
    let elsewhere = std::path::Path::new("/dev/shm");
    let mount_of = |path: &Path| {
        let rootfs = Rootfs::open(path).expect("it is there");
        mountinfo::mount_id(rootfs.as_fd(), c"").expect("an id")
    };
    if !elsewhere.is_dir() || mount_of(elsewhere) == mount_of(fixture.directory.path()) {
        return skip("an upper directory elsewhere", "there is no other mount");
    }
    let scratch = tempfile::tempdir_in(elsewhere).expect("a temporary directory");
    let scratch = scratch.path().join("scratch");
    let refused = StepOverlay::mount(&fixture.rootfs, &fixture.index(), &scratch);
    assert!(matches!(refused, Err(OverlayError::AnotherMount)), "{refused:?}");
    assert!(!scratch.exists());
}
