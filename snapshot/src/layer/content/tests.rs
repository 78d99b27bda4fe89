use std::io::Write as _;

use super::*;

#[test]
fn a_small_file_is_of_one_state_or_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = Rootfs::open(directory.path()).expect("it is there");
    let path = RootfsPath::new("f").expect("valid");
    let at = directory.path().join("f");
    type Disturb = fn(&std::path::Path);
    let disturbances: [(Disturb, bool); 4] = [
        (|_| {}, true),
        (|at| File::options().append(true).open(at).unwrap().write_all(b"1").unwrap(), false),
        (|at| File::options().write(true).open(at).unwrap().set_len(2).unwrap(), false),
        // Renamed over: what was opened is whole, but no longer what the path names.
        (|at| std::fs::rename(at.with_extension("new"), at).unwrap(), false),
    ];
    for (disturb, expected) in disturbances {
        std::fs::write(&at, "content").expect("a file");
        std::fs::write(at.with_extension("new"), "other").expect("a file");
        let metadata = root.metadata(&path).expect("metadata").expect("it is there");
        let node = Node { path: &path, metadata: &metadata, link: None };
        let contents = Contents::in_rootfs(root.clone());
        let stream = ContentReader::new(&contents).open_stream(&node).expect("it opens");
        disturb(&at);
        match stream.read_whole() {
            Ok(buffered) => {
                assert!(expected);
                assert_eq!(buffered.bytes, b"content");
                assert_eq!(buffered.digest, Digest::of(b"content"));
                assert_eq!(buffered.mtime, Some(metadata.mtime));
            }
            Err(error) => {
                assert!(!expected);
                assert!(matches!(error, LayerError::Changed { path: named } if named == path));
            }
        }
    }
}

#[test]
fn a_file_that_became_something_else_has_changed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = Rootfs::open(directory.path()).expect("it is there");
    let contents = Contents::in_rootfs(root.clone());
    let path = RootfsPath::new("f").expect("valid");
    std::fs::create_dir(directory.path().join("f")).expect("a directory");
    let metadata = root.metadata(&path).expect("metadata").expect("it is there");
    for kind in [FileKind::Regular, FileKind::Symlink] {
        let metadata = Metadata { kind, ..metadata };
        let node = Node { path: &path, metadata: &metadata, link: None };
        let error = ContentReader::new(&contents).load(&Planned::Node(node)).err();
        assert!(matches!(error, Some(LayerError::Changed { .. })), "{kind}: {error:?}");
    }
}
