use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use snapshot::layer::{Compression, Content, Contents, GzipLevel, LayerOptions, MtimeRule};
use snapshot::layer::{WrittenLayer, write_layer};
use snapshot::{Change, ChangeKind, Changeset, FileKind, Metadata, Timestamp, Xattrs};

use super::*;
use crate::unpack::{KEPT_FILE_BYTES, LayerInput, UnpackOptions, read_headers};

/// What a layer gets at a path.
#[derive(Clone, Debug)]
struct Node {
    metadata: Metadata,
    bytes: Vec<u8>,
    xattrs: Xattrs,
}

impl Node {
    fn new(kind: FileKind, bytes: &[u8]) -> Self {
        let is_file = kind == FileKind::Regular;
        let metadata = Metadata {
            kind,
            mode: 0o640,
            uid: 0,
            gid: 0,
            size: if is_file { bytes.len() as u64 } else { 0 },
            mtime: Timestamp { seconds: 1_700_000_000, nanoseconds: 120_000_000 },
            ctime: Timestamp::EPOCH,
            dev: 1,
            ino: 1,
            nlink: 1,
            rdev_major: 0,
            rdev_minor: 0,
        };
        Self { metadata, bytes: bytes.to_vec(), xattrs: Xattrs::new() }
    }

    fn file(bytes: &[u8]) -> Self {
        Self::new(FileKind::Regular, bytes)
    }
}

/// A listener for both of what the headers are compared from.
struct Both {
    notes: HeaderNotes,
    contents: HashMap<RootfsPath, Digest>,
}

impl Listener for Both {
    fn begin(&mut self) {
        self.notes.begin();
        self.contents.clear();
    }

    fn header(&mut self, header: &[u8]) {
        self.notes.header(header);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.notes.bytes(bytes);
    }

    fn content(&mut self, path: &RootfsPath, digest: &Digest) {
        self.notes.content(path, digest);
        self.contents.insert(path.clone(), *digest);
    }
}

/// Writes a layer of these paths, `None` for one that is removed, and returns what was noted of it and
/// what is read of it; of that, `None` where it is refused.
fn headers(
    tree: &BTreeMap<Vec<u8>, Option<Node>>,
    compression: Compression,
) -> Option<(Option<HeaderIndex>, Option<HeaderIndex>)> {
    let (mut contents, mut changes) = (Contents::none(), Vec::new());
    for (path, node) in tree {
        let path = RootfsPath::new(path).expect("a path");
        let kind = if node.is_some() { ChangeKind::Added } else { ChangeKind::Removed };
        let metadata = node.as_ref().map(|node| node.metadata);
        if let Some(Node { bytes, xattrs, .. }) = node.clone() {
            contents.insert(path.clone(), Content::Held { bytes: bytes.into(), xattrs });
        }
        changes.push(Change { path, kind, metadata });
    }
    let options = LayerOptions { compression, threads: NonZeroUsize::MIN, mtime: MtimeRule::Keep };
    let notes = HeaderNotes::new(UnpackOptions::default().limits);
    let mut both = Both { notes, contents: HashMap::new() };
    let written = write_layer(&contents, &Changeset::new(changes), &options, Vec::new(), &mut both);
    // What no layer can hold is not noted either.
    let (WrittenLayer { digest, diff_id, size_bytes, .. }, blob) = written.ok()?;
    let Both { notes, contents } = both;
    let noted = notes.finish(digest, diff_id);
    let open = Box::new(move || Ok(Box::new(Cursor::new(blob)) as Box<dyn io::Read + Send>));
    let input = LayerInput { digest, size_bytes, diff_id, open };
    let read = read_headers(vec![input], &UnpackOptions::default()).ok().map(|mut read| {
        let mut read = read.pop().expect("one for each layer");
        for header in &mut read.headers {
            if let Header::Entry(path, HeaderEntry { kind, .. }) = header
                && let HeaderKind::Regular { digest, .. } = kind
            {
                *digest = digest.or_else(|| contents.get(path).copied());
            }
        }
        read
    });
    Some((noted, read))
}

fn is_alike(tree: &BTreeMap<Vec<u8>, Option<Node>>, compression: Compression) -> HeaderIndex {
    let (noted, read) = headers(tree, compression).expect("a layer");
    let (noted, read) = (noted.expect("noted"), read.expect("read"));
    assert_eq!(noted, read);
    assert_eq!(noted.to_stored().expect("stored"), read.to_stored().expect("stored"));
    noted
}

fn tree<const N: usize>(nodes: [(&[u8], Option<Node>); N]) -> BTreeMap<Vec<u8>, Option<Node>> {
    nodes.into_iter().map(|(path, node)| (path.to_vec(), node)).collect()
}

#[test]
fn what_is_noted_is_what_a_reader_finds() {
    let directory = || Some(Node::new(FileKind::Directory, b""));
    let linked = |ino| {
        let mut node = Node::file(b"linked");
        (node.metadata.ino, node.metadata.nlink) = (ino, 3);
        Some(node)
    };
    let device = |kind, major, minor| {
        let mut node = Node::new(kind, b"");
        (node.metadata.rdev_major, node.metadata.rdev_minor) = (major, minor);
        node.xattrs.insert(b"user.no".to_vec(), b"1".to_vec());
        node.xattrs.insert(b"system.posix_acl_access".to_vec(), b"acl".to_vec());
        Some(node)
    };
    let dressed = |seconds, nanoseconds, id| {
        let mut node = Node::file(b"dressed");
        node.metadata.mtime = Timestamp { seconds, nanoseconds };
        (node.metadata.uid, node.metadata.gid, node.metadata.mode) = (id, id, 0o7777);
        node.xattrs.insert(b"security.capability".to_vec(), b"\0\n=".to_vec());
        node.xattrs.insert(b"security.selinux".to_vec(), b"label".to_vec());
        node.xattrs.insert(b"user.eq=ual".to_vec(), b"left out".to_vec());
        Some(node)
    };
    let link = |target: &[u8]| Some(Node::new(FileKind::Symlink, target));
    let (long, deep) = (b"n".repeat(255), b"dir/".repeat(60));
    let long = [&b"long/"[..], &long].concat();
    let deep = [&deep[..], b"end"].concat();
    let whole = usize::try_from(KEPT_FILE_BYTES).expect("it fits");
    // Seen as larger than it then is, so that it is not read ahead.
    let mut shrunk = Node::file(&b"s".repeat(4000));
    shrunk.metadata.size = 2 * KEPT_FILE_BYTES;
    let found = is_alike(
        &tree([
            (b"", directory()),
            (b"a", Some(Node::file(b""))),
            (b"b", Some(Node::file(&b"b".repeat(3_000_000)))),
            (b"etc", directory()),
            (b"etc/group", Some(Node::file(&b"g".repeat(whole)))),
            (b"etc/passwd", Some(Node::file(b"root:x:0:0::/:/bin/sh\n"))),
            (b"x/etc/group", Some(Node::file(b""))),
            (b"x/etc/passwd", Some(Node::file(&b"p".repeat(whole + 1)))),
            (b"y/etc/passwd", Some(shrunk)),
            (b"z/etc/passwd", link(b"../a")),
            (b"gone", None),
            (b"etc/shadow", None),
            (b"one", linked(7)),
            (b"other", linked(8)),
            (b"two", linked(7)),
            (b"two/three\xff", linked(7)),
            (b"null", device(FileKind::CharDevice, 1, 3)),
            (b"disk", device(FileKind::BlockDevice, 0xfff, 0xf_ffff)),
            (b"pipe", device(FileKind::Fifo, 0, 0)),
            (b"old", dressed(-2, 500_000_000, 0)),
            (b"new", dressed(1 << 36, 1, 3_000_000_000)),
            (b"even", dressed(0, 0, 0o7_777_777)),
            (b"link", link(&b"t".repeat(4095))),
            ("link-\u{e9}".as_bytes(), link("\u{e9}".as_bytes())),
            (b"raw\xff\n", link(b"\xfe\n")),
            (&long, Some(Node::file(b"long"))),
            (&deep, Some(Node::file(b"deep"))),
        ]),
        Compression::Gzip { level: GzipLevel::default() },
    );
    let kept = found.headers.iter().filter(|header| {
        matches!(header, Header::Entry(_, HeaderEntry { kind, .. })
            if matches!(kind, HeaderKind::Regular { content: Some(_), .. }))
    });
    assert_eq!((found.headers.len(), kept.count()), (27, 4));
    let digested = found.headers.iter().all(|header| match header {
        Header::Entry(_, HeaderEntry { kind: HeaderKind::Regular { digest, .. }, .. }) => {
            digest.is_some()
        }
        _ => true,
    });
    assert!(digested);
    is_alike(&BTreeMap::new(), Compression::None);
}

#[test]
fn what_would_be_refused_is_not_noted() {
    let mut nobody = Node::file(b"x");
    nobody.metadata.uid = u32::MAX;
    for (name, node) in [
        // (u32)-1 tells chown to leave the owner alone.
        (&b"file"[..], nobody),
        (b".wh.below/file", Node::file(b"")),
        (b"link", Node::new(FileKind::Symlink, b"")),
        (&b"n".repeat(256), Node::file(b"")),
    ] {
        let (noted, read) =
            headers(&tree([(b"a", Some(Node::file(b"a"))), (name, Some(node))]), Compression::None)
                .expect("a layer");
        assert_eq!((noted, read), (None, None), "{}", name.escape_ascii());
    }
}

#[test]
fn only_so_many_entries_are_noted() {
    for (entry_count, is_noted) in [(2, true), (1, false)] {
        let mut notes = HeaderNotes::new(Limits { entry_count, ..Limits::default() });
        let tree: Vec<_> = [b"a", b"b"].map(|name| (name.to_vec(), Node::file(b""))).to_vec();
        let (mut contents, mut changes) = (Contents::none(), Vec::new());
        for (path, Node { metadata, xattrs, .. }) in tree {
            let path = RootfsPath::new(&path).expect("a path");
            contents.insert(path.clone(), Content::Held { bytes: Arc::new([]), xattrs });
            changes.push(Change { path, kind: ChangeKind::Added, metadata: Some(metadata) });
        }
        let options = LayerOptions {
            compression: Compression::None,
            threads: NonZeroUsize::MIN,
            mtime: MtimeRule::Keep,
        };
        let changes = Changeset::new(changes);
        let (written, _) =
            write_layer(&contents, &changes, &options, io::sink(), &mut notes).expect("a layer");
        assert_eq!(notes.finish(written.digest, written.diff_id).is_some(), is_noted);
    }
}

#[test]
fn what_was_heard_before_the_layer_began_again_is_forgotten() {
    let digest = Digest::of(b"");
    let mut notes = HeaderNotes::new(Limits::default());
    notes.header(&[7; 512]);
    notes.begin();
    assert_eq!(
        notes.finish(digest, digest),
        Some(HeaderIndex { digest, diff_id: digest, headers: Vec::new() })
    );
}

fn any_node() -> impl Strategy<Value = Node> {
    use FileKind::{BlockDevice, CharDevice, Directory, Fifo, Regular, Socket, Symlink};
    let kinds = select(vec![
        Directory,
        Regular,
        Regular,
        Regular,
        Symlink,
        CharDevice,
        BlockDevice,
        Fifo,
        Socket,
    ]);
    let id = prop_oneof![0..2000u32, any::<u32>()];
    let seconds = prop_oneof![0..2_000_000_000i64, -(1i64 << 40)..1i64 << 40];
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000u32];
    let name = select(vec![
        "user.a",
        "user.b\u{e9}",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "trusted.overlay.opaque",
        "security.selinux",
        "user.x=y",
    ]);
    let xattrs =
        btree_map(name.prop_map(|name| name.as_bytes().to_vec()), vec(any::<u8>(), 0..9), 0..3);
    let of_inode = (1..4u32, 1..3u64, 1..3u64);
    let device = (0..0x1100u32, 0..0x11_0000u32);
    let plain = (kinds, vec(any::<u8>(), 0..700), 0..=0o7777u32);
    (plain, id.clone(), id, (seconds, nanoseconds), xattrs, of_inode, device).prop_map(
        |(
            (kind, bytes, mode),
            uid,
            gid,
            (seconds, nanoseconds),
            xattrs,
            (nlink, dev, ino),
            device,
        )| {
            let mut node = Node::new(kind, &bytes);
            let xattrs = xattrs.into_iter().collect();
            node.metadata = Metadata {
                mode,
                uid,
                gid,
                mtime: Timestamp { seconds, nanoseconds },
                nlink,
                dev,
                ino,
                rdev_major: device.0,
                rdev_minor: device.1,
                ..node.metadata
            };
            Node { xattrs, ..node }
        },
    )
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        6 => select(vec![&b"etc"[..], b"passwd", b"group", b"a", b"b", b".wh.a", b"\xff", "\u{e9}".as_bytes()])
            .prop_map(<[u8]>::to_vec),
        1 => (1..256usize).prop_map(|length| b"n".repeat(length)),
    ];
    vec(name, 1..5).prop_map(|names| names.join(&b'/'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_layer_is_noted_as_it_is_read(
        tree in btree_map(any_path(), proptest::option::weighted(0.9, any_node()), 0..9),
    ) {
        if let Some((noted, read)) = headers(&tree, Compression::None) {
            prop_assert_eq!(noted, read);
        }
    }
}
