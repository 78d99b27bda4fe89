use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("valid")
}

fn row(kind: FileKind, ino: u64) -> Row {
    let metadata = Metadata {
        kind,
        mode: 0o644,
        uid: 1,
        gid: 2,
        size: 3,
        mtime: Timestamp { seconds: -4, nanoseconds: 5 },
        ctime: Timestamp { seconds: 6, nanoseconds: 7 },
        dev: 8,
        ino,
        nlink: 1,
        rdev_major: 0,
        rdev_minor: 0,
    };
    Row { metadata, content: None, xattrs: None, shadow: false }
}

fn file(ino: u64) -> Row {
    row(FileKind::Regular, ino)
}

fn directory(ino: u64) -> Row {
    row(FileKind::Directory, ino)
}

fn listed(index: &Index) -> Vec<(String, Row)> {
    index.iter().map(|(path, row)| (path.to_string(), row)).collect()
}

#[test]
fn rows_come_back_as_they_were_put_in() {
    let mut index = Index::new();
    let mut link = row(FileKind::Symlink, 11);
    link.content = Some(Digest::of(b"target"));
    let mut device = row(FileKind::BlockDevice, 12);
    device.metadata.size = 0;
    (device.metadata.rdev_major, device.metadata.rdev_minor) = (259, 0xfffff);
    device.shadow = true;
    let mut special = file(u64::MAX);
    special.metadata.mode = 0o7777;
    special.metadata.size = u64::MAX;
    special.metadata.dev = u64::MAX;
    special.content = Some(Digest::of(b""));
    special.xattrs = Some(Digest::of(b"xattrs"));
    let rows = [("a", directory(10)), ("a/link", link), ("a/device", device), ("b", special)];
    for (text, row) in rows {
        index.insert(&path(text), row);
    }
    for (text, row) in rows {
        assert_eq!(index.get(&path(text)), Some(row), "{text}");
    }
    assert_eq!(index.get(&path("a/missing")), None);
    assert_eq!(index.get(&path("b/below")), None);
    assert_eq!((index.len(), index.is_empty()), (4, false));
    let latest = Timestamp { seconds: 6, nanoseconds: 7 };
    assert_eq!(index.latest_ctime(), latest);
}

#[test]
fn iteration_is_pre_order_and_sorted() {
    let mut index = Index::new();
    for (number, text) in ["b", "a-b", "a/z/y", "a/b", "a.b"].into_iter().enumerate() {
        index.insert(&path(text), file(number as u64 + 10));
    }
    index.insert(&path("a"), directory(2));
    index.insert(&path("a/z"), directory(3));
    let paths: Vec<_> = index.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["/a", "/a/b", "/a/z", "/a/z/y", "/a-b", "/a.b", "/b"]);
    index.insert(&RootfsPath::root(), directory(1));
    assert_eq!(index.iter().next().map(|(path, _)| path), Some(RootfsPath::root()));
    assert_eq!(index.len(), 7);
    assert_eq!(index.children(&path("a")), Some(vec![&b"b"[..], b"z"]));
    assert_eq!(index.children(&path("b")), None);
    assert_eq!(index.children(&path("x")), None);
}

#[test]
fn missing_directories_are_shadows_until_they_come() {
    let mut index = Index::new();
    index.insert(&path("a/b/c"), file(10));
    assert_eq!(index.get(&path("a/b")).map(|row| (row.shadow, row.metadata.ino)), Some((true, 0)));
    index.insert(&path("a/b"), directory(11));
    assert_eq!(index.get(&path("a/b")), Some(directory(11)));
    assert_eq!(index.get(&path("a/b/c")), Some(file(10)));
    // A file where a directory has to be is one no more.
    index.insert(&path("a/b/c/d"), file(12));
    assert_eq!(index.get(&path("a/b/c")).map(|row| row.shadow), Some(true));
    assert_eq!(index.paths_of(file(10).metadata.inode()), []);
}

#[test]
fn what_replaces_a_directory_takes_all_of_it() {
    let mut index = Index::new();
    for (text, row) in [("a", directory(1)), ("a/b", directory(2)), ("a/b/c", file(3))] {
        index.insert(&path(text), row);
    }
    index.insert(&path("a"), file(4));
    assert_eq!(listed(&index), [("/a".to_owned(), file(4))]);
    assert_eq!(index.paths_of(file(3).metadata.inode()), []);
    index.insert(&path("a"), directory(5));
    assert_eq!(index.children(&path("a")), Some(vec![]));
}

#[test]
fn removing_the_root_empties_it() {
    let mut index = Index::new();
    index.insert(&path("a/b"), file(1));
    assert!(index.remove(&RootfsPath::root()));
    assert!(!index.remove(&path("a")));
    assert_eq!((listed(&index), index.len()), (vec![], 0));
}

#[test]
fn names_of_one_inode_are_found() {
    let mut index = Index::new();
    let names = ["c", "a", "d/b"];
    for name in names {
        index.insert(&path(name), file(7));
    }
    let mut other_device = file(7);
    other_device.metadata.dev = 9;
    index.insert(&path("e"), other_device);
    let mut shadow = file(7);
    shadow.shadow = true;
    index.insert(&path("f"), shadow);
    let inode = file(7).metadata.inode();
    assert_eq!(index.paths_of(inode), ["a", "c", "d/b"].map(path));
    assert_eq!(index.aliases(&path("c")), ["a", "d/b"].map(path));
    assert_eq!(index.aliases(&path("e")), []);
    assert_eq!(index.aliases(&path("f")), []);
    index.remove(&path("c"));
    index.insert(&path("a"), file(8));
    assert_eq!(index.paths_of(inode), [path("d/b")]);
    index.remove(&path("d"));
    assert_eq!(index.paths_of(inode), []);
    assert_eq!(index.paths_of(InodeId { dev: 9, ino: 7 }), [path("e")]);
}

#[test]
fn names_of_removed_entries_are_given_back() {
    let mut index = Index::new();
    index.insert(&path("keep"), file(1));
    let long = "n".repeat(200);
    let once = |index: &mut Index| {
        for number in 0..20_000 {
            index.insert(&path(&format!("churn/{number}-{long}")), file(number + 10));
        }
        index.remove(&path("churn"));
    };
    once(&mut index);
    let after_one = index.memory_bytes();
    for _ in 0..5 {
        once(&mut index);
    }
    assert_eq!(index.get(&path("keep")), Some(file(1)));
    assert_eq!(index.len(), 1);
    assert!(index.memory_bytes() <= after_one * 2, "{} {after_one}", index.memory_bytes());
}

#[test]
fn a_million_entries_take_less_than_200_bytes_each() {
    let mut index = Index::new();
    let mut entry_count = 0;
    // Names as package managers make them; content and some attributes known.
    let content = Some(Digest::of(b"content"));
    'fill: for package in 0.. {
        for part in 0..5 {
            for number in 0..40 {
                let name =
                    format!("node_modules/package-{package}/lib-{part}/file-name-{number}.js");
                entry_count += 1;
                let mut row = file(entry_count);
                row.content = content;
                row.xattrs = (number == 0).then(|| Digest::of(b"xattrs"));
                index.insert(&path(&name), row);
                if index.len() >= 1_000_000 {
                    break 'fill;
                }
            }
        }
    }
    let each = index.memory_bytes() / index.len();
    assert!(each < 200, "{each} bytes an entry");
    let last = index.iter().last().expect("not empty");
    assert_eq!(index.get(&last.0), Some(last.1));
}

/// What the index must be: a map, with the rules of `insert` and `remove` spelled out.
#[derive(Default)]
struct Model(BTreeMap<RootfsPath, Row>);

impl Model {
    fn insert(&mut self, path: &RootfsPath, row: Row) {
        for above in path.ancestors().filter(|above| !above.is_root()) {
            let entry = self.0.entry(above).or_insert(PLACEHOLDER);
            if entry.metadata.kind != FileKind::Directory {
                *entry = PLACEHOLDER;
            }
        }
        if row.metadata.kind != FileKind::Directory {
            self.remove(path);
        }
        self.0.insert(path.clone(), row);
    }

    fn remove(&mut self, path: &RootfsPath) -> bool {
        let before = self.0.len();
        self.0.retain(|other, _| !other.starts_with(path));
        before != self.0.len()
    }
}

const PLACEHOLDER: Row = Row {
    metadata: Metadata {
        kind: FileKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Timestamp { seconds: 0, nanoseconds: 0 },
        ctime: Timestamp { seconds: 0, nanoseconds: 0 },
        dev: 0,
        ino: 0,
        nlink: 1,
        rdev_major: 0,
        rdev_minor: 0,
    },
    content: None,
    xattrs: None,
    shadow: true,
};

#[derive(Debug, Clone)]
enum Step {
    Insert(RootfsPath, Row),
    Remove(RootfsPath),
}

fn any_path() -> impl Strategy<Value = RootfsPath> {
    proptest::collection::vec("[abc]", 1..5).prop_map(|parts| path(&parts.join("/")))
}

fn any_step() -> impl Strategy<Value = Step> {
    let row = (any::<bool>(), 1_u64..6, any::<bool>()).prop_map(|(is_directory, ino, known)| {
        let mut row = if is_directory { directory(ino) } else { file(ino) };
        row.content = (known && !is_directory).then(|| Digest::of(&ino.to_le_bytes()));
        row
    });
    prop_oneof![
        4 => (any_path(), row).prop_map(|(path, row)| Step::Insert(path, row)),
        1 => any_path().prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn an_index_is_a_map_of_paths(steps in proptest::collection::vec(any_step(), 1..60)) {
        let (mut index, mut model) = (Index::new(), Model::default());
        for step in steps {
            match step {
                Step::Insert(path, row) => {
                    index.insert(&path, row);
                    model.insert(&path, row);
                }
                Step::Remove(path) => prop_assert_eq!(index.remove(&path), model.remove(&path)),
            }
            let rows: Vec<_> = index.iter().collect();
            let expected: Vec<_> = model.0.iter().map(|(path, row)| (path.clone(), *row)).collect();
            prop_assert_eq!(&rows, &expected);
            prop_assert_eq!(index.len(), expected.len());
            for (path, row) in &expected {
                prop_assert_eq!(index.get(path), Some(*row));
                let names = expected.iter().filter(|(_, other)| {
                    !row.shadow && !other.shadow && other.metadata.inode() == row.metadata.inode()
                });
                let names: Vec<_> = names.map(|(path, _)| path.clone()).collect();
                if !row.shadow {
                    prop_assert_eq!(index.paths_of(row.metadata.inode()), names);
                }
                let children = expected.iter().filter(|(other, _)| other.parent().as_ref() == Some(path));
                prop_assert_eq!(index.find(path).map(|id| index.child_count(id)), Some(children.count()));
            }
        }
    }
}
