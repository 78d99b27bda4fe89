use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::header::{BLOCK, EntryHeader, padding};
use super::*;
use crate::change::{Change, ChangeKind};
use crate::metadata::FileKind;
use crate::path::RootfsPath;
use crate::rootfs::Rootfs;
use crate::tests::skip;
use crate::xattr::Xattrs;

fn path(text: impl AsRef<[u8]>) -> RootfsPath {
    RootfsPath::new(text).expect("a valid path")
}

fn options(compression: Compression) -> LayerOptions {
    LayerOptions { compression, threads: NonZeroUsize::MIN, mtime: MtimeRule::Keep }
}

/// A directory tree and the root on it.
struct Tree {
    directory: TempDir,
    root: Rootfs,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Rootfs::open(directory.path()).expect("it is there");
        Self { directory, root }
    }

    fn at(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.directory.path().join(OsStr::from_bytes(path.as_ref()))
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().expect("below the root")).expect("directories");
        fs::write(at, bytes).expect("a file");
    }

    fn change(&self, path: RootfsPath, kind: ChangeKind) -> Change {
        let metadata = self.root.metadata(&path).expect("metadata").expect("it is there");
        Change { path, kind, metadata: Some(metadata) }
    }

    /// Everything in the tree, as added.
    fn changes(&self) -> Vec<Change> {
        let mut changes = vec![self.change(RootfsPath::root(), ChangeKind::Ancestor)];
        let mut directories = vec![RootfsPath::root()];
        while let Some(directory) = directories.pop() {
            for entry in self.root.read_dir(&directory).expect("a listing") {
                let path = directory.join_name(&entry.name);
                if entry.kind == FileKind::Directory {
                    directories.push(path.clone());
                }
                changes.push(self.change(path, ChangeKind::Added));
            }
        }
        changes
    }

    fn layer(&self) -> Layer {
        self.layer_of(self.changes())
    }

    fn layer_of(&self, changes: impl IntoIterator<Item = Change>) -> Layer {
        let contents = Contents::in_rootfs(self.root.clone());
        write(&contents, changes, &options(Compression::None)).expect("a layer")
    }
}

fn removed(at: &str) -> Change {
    Change { path: path(at), kind: ChangeKind::Removed, metadata: None }
}

/// A layer, stored, and the contents it told of.
struct Layer {
    written: WrittenLayer,
    tar: Vec<u8>,
    contents: Vec<(String, Digest)>,
}

fn write(
    contents: &Contents,
    changes: impl IntoIterator<Item = Change>,
    options: &LayerOptions,
) -> Result<Layer, LayerError> {
    let mut heard = Heard::default();
    let changes = Changeset::new(changes);
    let (written, tar) = write_layer(contents, &changes, options, Vec::new(), &mut heard)?;
    let Heard { contents: told, tar: mut heard, .. } = heard;
    heard.resize(heard.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    assert_eq!(Digest::of(&heard), written.diff_id, "what is heard is not what is written");
    Ok(Layer { written, tar, contents: told })
}

/// Puts the tar together from what it hears.
#[derive(Default)]
struct Heard {
    contents: Vec<(String, Digest)>,
    tar: Vec<u8>,
    begun_count: usize,
}

impl Listener for Heard {
    fn begin(&mut self) {
        self.begun_count += 1;
        self.tar.clear();
    }

    fn header(&mut self, header: &[u8]) {
        self.tar.resize(self.tar.len().next_multiple_of(BLOCK), 0);
        assert!(!header.is_empty() && header.len().is_multiple_of(BLOCK));
        self.tar.extend_from_slice(header);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.tar.extend_from_slice(bytes);
    }

    fn content(&mut self, path: &RootfsPath, digest: &Digest) {
        self.contents.push((path.to_string(), *digest));
    }
}

/// Reads a tar with Python's `tarfile`: one line an entry, `type|name|mode|uid|gid|mtime|size|
/// link|device|content|xattrs`, bytes escaped as Rust does.
fn python_reads(tar: &Path) -> Vec<String> {
    const SCRIPT: &str = r#"
import sys, tarfile, hashlib
from decimal import Decimal
def esc(b):
    named = {9: r'\t', 10: r'\n', 13: r'\r', 34: r'\"', 39: r"\'", 92: r'\\'}
    return ''.join(named.get(c) or (chr(c) if 32 <= c < 127 else '\\x%02x' % c) for c in b)
raw = lambda s: s.encode('utf-8', 'surrogateescape')
with tarfile.open(sys.argv[1], errors='surrogateescape') as tar:
    for m in tar:
        name = raw(m.name) + (b'/' if m.isdir() else b'')
        mtime = m.pax_headers.get('mtime', str(m.mtime))
        digest = ''
        if m.isreg() and m.size < 1 << 30:
            digest = hashlib.sha256(tar.extractfile(m).read()).hexdigest()[:16]
        xattrs = sorted((k[13:], raw(v)) for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.'))
        xattrs = ','.join('%s=%s' % (k, esc(v)) for k, v in xattrs)
        fields = [m.type.decode(), esc(name), '%04o' % m.mode, m.uid, m.gid, Decimal(mtime).normalize().__format__('f'),
                  m.size, esc(raw(m.linkname)), '%d:%d' % (m.devmajor, m.devminor), digest, xattrs]
        assert m.uname == '' and m.gname == '' and 'atime' not in m.pax_headers and 'ctime' not in m.pax_headers
        print('|'.join(map(str, fields)))
"#;
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(tar)
        .output()
        .expect("python3 is installed by hack/test.sh");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).expect("ASCII").lines().map(str::to_owned).collect()
}

/// As [`python_reads`], without owner and times, which differ from one run to the next.
fn summary(tar: &[u8]) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), tar).expect("it is written");
    let lines = python_reads(file.path());
    let brief = |line: &String| {
        let fields: Vec<&str> = line.split('|').collect();
        [fields[0], fields[1], fields[2], fields[6], fields[7], fields[10]].join("|")
    };
    lines.iter().map(brief).collect()
}

#[test]
fn entries_are_sorted_named_and_typed() {
    let tree = Tree::new();
    for name in ["a-b", "a/.z", "a/b/c", "a/-", "z"] {
        tree.write(name, name);
    }
    symlink("../x", tree.at("a/link")).expect("a link");
    for name in ["", "a", "a/b"] {
        fs::set_permissions(tree.at(name), fs::Permissions::from_mode(0o2751)).expect("mode");
    }
    for name in ["a-b", "a/.z", "a/b/c", "a/-", "z"] {
        fs::set_permissions(tree.at(name), fs::Permissions::from_mode(0o640)).expect("mode");
    }
    let layer = tree.layer();
    assert_eq!(
        summary(&layer.tar),
        [
            "5|./|2751|0||",
            "5|a/|2751|0||",
            "0|a/-|0640|3||",
            "0|a/.z|0640|4||",
            "5|a/b/|2751|0||",
            "0|a/b/c|0640|5||",
            "2|a/link|0777|0|../x|",
            "0|a-b|0640|3||",
            "0|z|0640|1||",
        ]
    );
    assert_eq!(layer.written.diff_id, Digest::of(&layer.tar));
    assert_eq!(layer.written.digest, layer.written.diff_id);
    assert_eq!(layer.written.tar_bytes, layer.tar.len() as u64);
    let expected = LayerStats {
        entry_count: 9,
        opened_count: 5,
        read_bytes: 16,
        hashed_bytes: 16,
        ..LayerStats::default()
    };
    assert_eq!(layer.written.stats, expected);
    let contents = [("/a/-", "a/-"), ("/a/.z", "a/.z"), ("/a/b/c", "a/b/c"), ("/a/link", "../x")];
    let contents = contents.into_iter().chain([("/a-b", "a-b"), ("/z", "z")]);
    let expected: Vec<_> =
        contents.map(|(path, bytes)| (path.to_owned(), Digest::of(bytes.as_bytes()))).collect();
    assert_eq!(layer.contents, expected);
}

#[test]
fn removals_are_whiteouts_in_order() {
    let tree = Tree::new();
    tree.write("d/kept", "");
    fs::set_permissions(tree.at("d"), fs::Permissions::from_mode(0o700)).expect("mode");
    let layer = tree.layer_of([
        removed("d/x"),
        removed("zz"),
        tree.change(path("d"), ChangeKind::Ancestor),
    ]);
    assert_eq!(summary(&layer.tar), ["0|.wh.zz|0000|0||", "5|d/|0700|0||", "0|d/.wh.x|0000|0||"]);
    assert_eq!((layer.written.stats.entry_count, layer.written.stats.whiteout_count), (3, 2));
}

#[test]
fn names_that_mean_removal_are_refused() {
    let tree = Tree::new();
    tree.write("d/.wh.x", "");
    let contents = Contents::in_rootfs(tree.root.clone());
    let error = write(&contents, tree.changes(), &options(Compression::None)).err();
    assert_eq!(
        error.map(|error| error.to_string()).as_deref(),
        Some(
            "cannot put `/d/.wh.x` into a layer: a name that starts with `.wh.` stands for a removal there"
        )
    );
}

#[test]
fn first_name_of_an_inode_carries_its_bytes() {
    let tree = Tree::new();
    tree.write("b/two", "content");
    fs::hard_link(tree.at("b/two"), tree.at("b/one")).expect("a link");
    fs::hard_link(tree.at("b/two"), tree.at("a")).expect("a link");
    symlink("t", tree.at("s1")).expect("a link");
    fs::hard_link(tree.at("s1"), tree.at("s2")).expect("a link");
    fs::set_permissions(tree.at("a"), fs::Permissions::from_mode(0o4711)).expect("mode");
    let layer = tree.layer();
    let lines = summary(&layer.tar);
    assert_eq!(
        lines.iter().filter(|line| !line.starts_with('5')).collect::<Vec<_>>(),
        [
            "0|a|4711|7||",
            "1|b/one|4711|0|a|",
            "1|b/two|4711|0|a|",
            "2|s1|0777|0|t|",
            "1|s2|0777|0|s1|"
        ]
    );
    assert_eq!(layer.written.stats.hard_link_count, 3);
    assert_eq!(layer.written.stats.opened_count, 1);
    let told: Vec<&str> = layer.contents.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(told, ["/a", "/b/one", "/b/two", "/s1", "/s2"]);
    assert_eq!(layer.contents[2].1, Digest::of(b"content"));
}

#[test]
fn hard_links_repeat_the_attributes_of_their_inode() {
    let tree = Tree::new();
    tree.write("a", "");
    fs::hard_link(tree.at("a"), tree.at("b")).expect("a link");
    if tree.root.set_xattr(&path("a"), b"user.note", b"v\n=").is_err() {
        return skip("attributes", "the temporary directory takes none");
    }
    let lines = summary(&tree.layer().tar);
    assert!(lines[1].ends_with("|user.note=v\\n="), "{lines:?}");
    assert!(lines[2].ends_with("|a|user.note=v\\n="), "{lines:?}");
}

#[test]
fn what_no_layer_can_hold_is_told() {
    let tree = Tree::new();
    let _listener = UnixListener::bind(tree.at("socket")).expect("a socket");
    tree.write("f", "");
    let xattr = tree.root.set_xattr(&path("f"), b"user.a=b", b"v").is_ok();
    let layer = tree.layer();
    assert_eq!(summary(&layer.tar).len(), 2);
    let mut expected = vec![Skipped::Socket(path("socket"))];
    if xattr {
        expected.push(Skipped::Xattr { path: path("f"), name: b"user.a=b".to_vec() });
    }
    let skipped = layer.written.stats.skipped;
    assert_eq!((skipped.count, skipped.first), (expected.len() as u64, expected));
}

#[test]
fn mtime_rules() {
    let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
    for (rule, mtime, expected) in [
        (MtimeRule::Keep, time(-5, 1), time(-5, 1)),
        (MtimeRule::Set(Timestamp::EPOCH), time(7, 7), time(0, 0)),
        (MtimeRule::AtMost(time(7, 7)), time(7, 6), time(7, 6)),
        (MtimeRule::AtMost(time(7, 7)), time(7, 8), time(7, 7)),
        (MtimeRule::AtMost(time(7, 7)), time(-9, 8), time(-9, 8)),
    ] {
        assert_eq!(rule.apply(mtime), expected, "{rule:?}");
    }
    // Two trees made at different times are one layer once their times are set.
    let digest = || {
        let tree = Tree::new();
        tree.write("d/f", "x");
        tree.write("d/large", vec![7; 2 << 20]);
        let options = LayerOptions {
            mtime: MtimeRule::Set(Timestamp::EPOCH),
            ..options(Compression::default())
        };
        let contents = Contents::in_rootfs(tree.root.clone());
        write(&contents, tree.changes(), &options).expect("a layer").written.digest
    };
    assert_eq!(digest(), digest());
}

#[test]
fn a_layer_needs_no_rootfs() {
    let context = Tree::new();
    context.write("src/main", "from the context");
    symlink("elsewhere", context.at("src/link")).expect("a link");
    let archive = tempfile::tempfile().expect("a temporary file");
    (&archive).write_all(b"....from the archive....").expect("it is written");
    let archive = Arc::new(archive);

    let like = |at: &str, kind, size| {
        let mut metadata =
            context.root.metadata(&path("src/main")).expect("metadata").expect("it is there");
        (metadata.kind, metadata.size, metadata.mode) = (kind, size, 0o600);
        metadata.mtime = Timestamp { seconds: 5, nanoseconds: 0 };
        Change { path: path(at), kind: ChangeKind::Added, metadata: Some(metadata) }
    };
    let in_context = |at: &str| Content::Context {
        root: context.root.clone(),
        path: path(at),
        xattrs: Xattrs::from([(b"user.k".to_vec(), b"v".to_vec())]),
        expected: None,
    };
    let in_archive = |offset_bytes| Content::Archive {
        file: Arc::clone(&archive),
        offset_bytes,
        link_target: b"target".to_vec(),
        xattrs: Xattrs::new(),
    };
    let mut contents = Contents::none();
    contents.insert(path("app"), in_context("src"));
    contents.insert(path("app/main"), in_context("src/main"));
    contents.insert(path("app/link"), in_context("src/link"));
    contents.insert(path("app/member"), in_archive(4));
    contents.insert(path("app/other"), in_archive(0));
    let changes = vec![
        like("app", FileKind::Directory, 0),
        like("app/main", FileKind::Regular, 16),
        like("app/link", FileKind::Symlink, 9),
        like("app/member", FileKind::Regular, 16),
        like("app/other", FileKind::Symlink, 0),
    ];
    let layer = write(&contents, changes.clone(), &options(Compression::None)).expect("a layer");
    assert_eq!(
        summary(&layer.tar),
        [
            "5|app/|0600|0||user.k=v",
            "2|app/link|0600|0|elsewhere|user.k=v",
            "0|app/main|0600|16||user.k=v",
            "0|app/member|0600|16||",
            "2|app/other|0600|0|target|",
        ]
    );
    let told = |at: &str| layer.contents.iter().find(|(path, _)| path == at).map(|told| told.1);
    assert_eq!(told("/app/main"), Some(Digest::of(b"from the context")));
    assert_eq!(told("/app/member"), Some(Digest::of(b"from the archive")));

    let more = like("app/none", FileKind::Regular, 1);
    let error = write(&contents, [more], &options(Compression::None)).err();
    assert!(matches!(error, Some(LayerError::NoContent { path: at }) if at == path("app/none")));
    // The archive ends before the member does, buffered or streamed.
    for size in [21, 3 << 20] {
        let short = like("app/member", FileKind::Regular, size);
        let error = write(&contents, [short], &options(Compression::None)).err();
        assert!(
            matches!(error, Some(LayerError::Archive { path: at, .. }) if at == path("app/member"))
        );
    }
}

#[test]
fn threads_and_compression_change_nothing_in_the_tar() {
    let tree = Tree::new();
    for number in 0..300 {
        tree.write(&format!("d{}/f{number}", number % 7), vec![b'x'; number * 37]);
    }
    tree.write("large", vec![1; (3 << 20) + 5]);
    let contents = Contents::in_rootfs(tree.root.clone());
    let changes = tree.changes();
    let zstd = Compression::Zstd { level: ZstdLevel::default() };
    let mut layers = Vec::new();
    for compression in [Compression::None, Compression::default(), zstd] {
        for threads in [1, 2, 7] {
            let threads = NonZeroUsize::new(threads).expect("at least one");
            let options = LayerOptions { threads, ..options(compression) };
            layers.push(write(&contents, changes.clone(), &options).expect("a layer"));
        }
    }
    for three in layers.chunks(3) {
        assert!(three.iter().all(|layer| layer.tar == three[0].tar));
        assert!(three.iter().all(|layer| layer.written == three[0].written));
        assert_eq!(three[0].written.diff_id, layers[0].written.diff_id);
        assert_eq!(three[0].contents, layers[0].contents);
    }
}

/// Acts when something is written to it, and when it is begun again.
struct Acting<W, R> {
    bytes: Vec<u8>,
    on_write: W,
    on_restart: R,
}

impl<W: FnMut() + Send, R: FnMut() + Send> Write for Acting<W, R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.on_write)();
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: FnMut() + Send, R: FnMut() + Send> BlobSink for Acting<W, R> {
    fn restart(&mut self) -> io::Result<()> {
        (self.on_restart)();
        self.bytes.restart()
    }
}

/// Writes a tree with a file of 64 MiB, which is more than the pipeline holds, into a sink that
/// appends to that file when it gets the first bytes of each of the first `times` tries.
fn growing(times: u64) -> (Tree, Result<(WrittenLayer, Vec<u8>), LayerError>) {
    let tree = Tree::new();
    let large = tree.at("large");
    File::create(&large).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let contents = Contents::in_rootfs(tree.root.clone());
    let changes = Changeset::new(tree.changes());
    // Tries left to disturb, and whether this one has been.
    let state = std::sync::Mutex::new((times, false));
    let sink = Acting {
        bytes: Vec::new(),
        on_write: || {
            let mut state = state.lock().expect("not poisoned");
            if state.0 > 0 && !state.1 {
                *state = (state.0 - 1, true);
                let mut file = File::options().append(true).open(&large).expect("it is there");
                file.write_all(b"more").expect("it grows");
            }
        },
        on_restart: || state.lock().expect("not poisoned").1 = false,
    };
    let mut on_content = |_: &RootfsPath, _: &Digest| {};
    let options = options(Compression::None);
    let written = write_layer(&contents, &changes, &options, sink, &mut on_content);
    let written = written.map(|(layer, sink)| (layer, sink.bytes));
    (tree, written)
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_again() {
    let (_tree, written) = growing(1);
    let (layer, tar) = written.expect("the second try is undisturbed");
    assert_eq!(layer.stats.restart_count, 1);
    assert_eq!(layer.diff_id, Digest::of(&tar));
    let lines = summary(&tar);
    assert!(lines[1].starts_with("0|large|") && lines[1].contains("|67108868|"), "{lines:?}");
}

#[test]
fn a_file_that_keeps_growing_is_an_error_that_names_it() {
    let (_tree, written) = growing(2);
    let error = written.err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("`/large` changes while it is read into the layer"));
}

#[test]
fn a_file_that_is_gone_is_looked_for_again() {
    for back in [true, false] {
        let tree = Tree::new();
        tree.write("d/f", "x");
        let changes = Changeset::new(tree.changes());
        fs::remove_file(tree.at("d/f")).expect("it is there");
        let sink = Acting {
            bytes: Vec::new(),
            on_write: || {},
            on_restart: || {
                if back {
                    tree.write("d/f", "longer than before");
                }
            },
        };
        let contents = Contents::in_rootfs(tree.root.clone());
        let options = options(Compression::default());
        let mut heard = Heard::default();
        match write_layer(&contents, &changes, &options, sink, &mut heard) {
            Ok((layer, _)) => {
                assert!(back);
                assert_eq!((layer.stats.restart_count, layer.stats.read_bytes), (1, 18));
                assert_eq!(heard.begun_count, 2);
                assert_eq!(heard.contents, [("/d/f".into(), Digest::of(b"longer than before"))]);
            }
            Err(error) => {
                assert!(!back);
                assert!(matches!(error, LayerError::Vanished { path: at } if at == path("d/f")));
            }
        }
    }
}

#[test]
fn a_failing_sink_fails_the_layer() {
    struct Refusing;
    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl BlobSink for Refusing {
        fn restart(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = Tree::new();
    tree.write("f", vec![0; 40 << 20]);
    let contents = Contents::in_rootfs(tree.root.clone());
    let changes = Changeset::new(tree.changes());
    for compression in [Compression::None, Compression::default()] {
        let options = options(compression);
        let mut on_content = |_: &RootfsPath, _: &Digest| {};
        let error = write_layer(&contents, &changes, &options, Refusing, &mut on_content).err();
        let Some(LayerError::Sink { source }) = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
}

/// A tree with everything a file system can hold, as far as this user may make it.
fn rich_tree() -> Tree {
    let tree = Tree::new();
    let long = ["n".repeat(200), "m".repeat(200), "o".repeat(198)].join("/");
    tree.write(&long, "600 bytes of path");
    for name in
        [&b"not utf-8 \xff\xfe"[..], "unicode é".as_bytes(), b"new\nline", b"back\\slash", b"-"]
    {
        fs::write(tree.at([b"d-", name].concat()), name).expect("a file");
    }
    let bytes_deep = [&b"\xfe".repeat(90)[..], b"/", &b"\xfd".repeat(120)].concat();
    fs::create_dir_all(tree.at(&bytes_deep)).expect("a directory");
    symlink("l".repeat(300), tree.at("long-link")).expect("a link");
    symlink(OsStr::from_bytes(b"odd \xff"), tree.at("odd-link")).expect("a link");
    tree.write("large", vec![3; (1 << 20) + 1]);
    tree.write("block", vec![3; 512]);
    tree.write("empty", "");
    fs::hard_link(tree.at("large"), tree.at("also-large")).expect("a link");
    let make =
        |at: &str, kind, major, minor| tree.root.make_node(&path(at), kind, 0o644, major, minor);
    make("pipe", FileKind::Fifo, 0, 0).expect("anyone may make a named pipe");
    for (at, kind) in [("chr", FileKind::CharDevice), ("blk", FileKind::BlockDevice)] {
        if let Err(error) = make(at, kind, 1, 700) {
            println!("without device nodes: {error}");
        }
    }
    for (at, seconds, nanoseconds) in [
        ("empty", -3, 500_000_000),
        ("block", 0, 1),
        ("pipe", 4_000_000_000, 0),
        ("odd-link", 1, 5),
    ] {
        let mtime = Timestamp { seconds, nanoseconds };
        tree.root.set_mtime(&path(at), mtime).expect("the time is set");
    }
    fs::set_permissions(tree.at("d--"), fs::Permissions::from_mode(0o6711)).expect("a mode");
    for (at, uid, gid) in [("block", 70_000, 4_000_000_000), ("odd-link", 3, 4)] {
        if let Err(error) = tree.root.set_owner(&path(at), uid, gid) {
            println!("without owners: {error}");
        }
    }
    if let Err(error) = tree.root.set_xattr(&path("empty"), b"user.x", b"\0\n= \xff") {
        println!("without attributes: {error}");
    }
    tree
}

/// What a tree is, entry by entry, for comparison with another.
fn manifest(tree: &Tree) -> Vec<String> {
    let mut lines: Vec<String> = tree
        .changes()
        .into_iter()
        .map(|change| {
            let metadata = change.metadata.expect("it is there");
            let content = match metadata.kind {
                FileKind::Regular => {
                    let bytes = tree.root.read_file(&change.path, 1 << 30).expect("its bytes");
                    Digest::of(&bytes).hex()
                }
                FileKind::Symlink => {
                    let target = tree.root.read_link(&change.path).expect("its target");
                    target.escape_ascii().to_string()
                }
                _ => String::new(),
            };
            let size = if metadata.kind == FileKind::Directory { 0 } else { metadata.size };
            let xattrs = tree.root.xattrs(&change.path).expect("its attributes");
            format!(
                "{} {} {:o} {}:{} {size} {:?} {}:{} links {} {content} {xattrs:?}",
                change.path,
                metadata.kind,
                metadata.mode,
                metadata.uid,
                metadata.gid,
                metadata.mtime,
                metadata.rdev_major,
                metadata.rdev_minor,
                if metadata.kind == FileKind::Directory { 0 } else { metadata.nlink },
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn gnu_tar_unpacks_what_was_there() {
    let tree = rich_tree();
    let copy = Tree::new();
    let tar = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(tar.path(), tree.layer().tar).expect("it is written");
    let output = Command::new("tar")
        .args([
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "--warning=no-timestamp",
            "-xpf",
        ])
        .arg(tar.path())
        .arg("-C")
        .arg(copy.directory.path())
        .output()
        .expect("tar is on every Debian");
    let errors = String::from_utf8_lossy(&output.stderr);
    // GNU tar takes such names as they are, and remarks that it was told so.
    let remarks = errors.lines().filter(|line| !line.ends_with("keyword 'hdrcharset'"));
    assert_eq!(remarks.collect::<Vec<_>>(), [""; 0]);
    assert!(output.status.success());
    assert_eq!(manifest(&copy), manifest(&tree));
}

#[test]
fn python_reads_what_was_there() {
    let tree = rich_tree();
    let tar = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(tar.path(), tree.layer().tar).expect("it is written");
    let lines = python_reads(tar.path());
    assert_eq!(lines.len(), tree.changes().len());
    let find = |name: &str| lines.iter().find(|line| line.split('|').nth(1) == Some(name));
    let long = ["n".repeat(200), "m".repeat(200), "o".repeat(198)].join("/");
    assert!(find(&long).is_some(), "{lines:?}");
    assert!(find("d-not utf-8 \\xff\\xfe").is_some(), "{lines:?}");
    assert!(find("d-new\\nline").is_some(), "{lines:?}");
    let empty = find("empty").expect("it is in the tar");
    assert!(empty.contains("|-2.5|0||0:0|"), "{empty}");
    assert_eq!(find("large").map(|line| line.split('|').nth(7)), Some(Some("also-large")));
}

#[test]
fn sizes_above_eight_gibibytes_are_read_by_others() {
    let size = 9u64 << 30;
    let mut tar = Vec::new();
    let none = Xattrs::new();
    let entry = |name, size| EntryHeader {
        name,
        entry_type: tar::EntryType::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: Timestamp::EPOCH,
        link_name: b"",
        device: (0, 0),
        xattrs: &none,
    };
    entry(b"huge", size).append_to(&mut tar).expect("a header");
    let mut after = Vec::new();
    entry(b"after", 0).append_to(&mut after).expect("a header");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&tar).expect("it is written");
    let hole = tar.len() as u64 + size;
    file.as_file().set_len(hole).expect("a hole");
    let mut end = File::options().append(true).open(file.path()).expect("it is there");
    end.write_all(&after).and_then(|()| end.write_all(&[0; 1024])).expect("it is written");

    let lines = python_reads(file.path());
    assert_eq!(
        lines,
        ["0|huge|0644|0|0|0|9663676416||0:0||", "0|after|0644|0|0|0|0||0:0|e3b0c44298fc1c14|"]
    );
    let output = Command::new("tar").arg("-tvf").arg(file.path()).output().expect("tar");
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(listed.lines().next().is_some_and(|line| line.contains(" 9663676416 ")), "{listed}");
    assert_eq!(listed.lines().count(), 2);
}

#[derive(Debug, Clone)]
struct AnyEntry {
    name: Vec<u8>,
    link: Vec<u8>,
    ids: (u32, u32),
    mode: u32,
    mtime: Timestamp,
    xattrs: Xattrs,
    content: Vec<u8>,
}

fn any_entry() -> impl Strategy<Value = AnyEntry> {
    let byte = || {
        prop_oneof![6 => b'a'..=b'z', 1 => Just(b'\n'), 1 => 1u8..=255]
            .prop_map(|byte| if byte == b'/' || byte == b'.' { b'_' } else { byte })
    };
    let name = prop::collection::vec(prop::collection::vec(byte(), 1..130), 1..5);
    let link = prop::option::of(prop::collection::vec(byte(), 1..300));
    let key =
        prop::collection::vec(b'a'..=b'z', 1..10).prop_map(|key| [b"user.", &key[..]].concat());
    let xattrs = prop::collection::btree_map(key, prop::collection::vec(any::<u8>(), 0..40), 0..3);
    let id = || prop_oneof![0u32..5, 2_097_150u32..2_097_154, any::<u32>()];
    let seconds = prop_oneof![-5i64..5, 8_589_934_590i64..8_589_934_594, -1i64 << 40..1i64 << 40];
    let mtime = (seconds, prop_oneof![Just(0u32), 0u32..1_000_000_000]);
    let content = prop::collection::vec(any::<u8>(), 0..1100);
    (name, link, (id(), id()), 0u32..=0o7777, mtime, xattrs, content).prop_map(
        |(name, link, ids, mode, (seconds, nanoseconds), xattrs, content)| AnyEntry {
            name: name.join(&b'/'),
            link: link.unwrap_or_default(),
            ids,
            mode,
            mtime: Timestamp { seconds, nanoseconds },
            xattrs,
            content,
        },
    )
}

proptest! {
    // Each case starts Python; the entries of a case are many.
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn python_reads_any_header(entries in prop::collection::vec(any_entry(), 1..60)) {
        let lines = RefCell::new(Vec::new());
        let mut tar = Vec::new();
        for entry in &entries {
            let is_link = !entry.link.is_empty();
            let content: &[u8] = if is_link { b"" } else { &entry.content };
            let header = EntryHeader {
                name: &entry.name,
                entry_type: if is_link { tar::EntryType::Symlink } else { tar::EntryType::Regular },
                mode: entry.mode,
                uid: entry.ids.0,
                gid: entry.ids.1,
                size: content.len() as u64,
                mtime: entry.mtime,
                link_name: &entry.link,
                device: (0, 0),
                xattrs: &entry.xattrs,
            };
            header.append_to(&mut tar).expect("a header");
            tar.extend_from_slice(content);
            tar.resize(tar.len() + padding(content.len() as u64), 0);
            lines.borrow_mut().push(expected_line(entry, content));
        }
        tar.resize(tar.len() + 1024, 0);
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), &tar).expect("it is written");
        prop_assert_eq!(python_reads(file.path()), lines.into_inner());
    }
}

fn expected_line(entry: &AnyEntry, content: &[u8]) -> String {
    let is_link = !entry.link.is_empty();
    let nanoseconds =
        i128::from(entry.mtime.seconds) * 1_000_000_000 + i128::from(entry.mtime.nanoseconds);
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanoseconds = nanoseconds.unsigned_abs();
    let (whole, fraction) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let fraction = format!(".{fraction:09}");
    let mtime = format!("{sign}{whole}{}", fraction.trim_end_matches('0').trim_end_matches('.'));
    let xattrs: Vec<String> = entry
        .xattrs
        .iter()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    let digest = Digest::of(content).hex();
    [
        if is_link { "2" } else { "0" },
        &entry.name.escape_ascii().to_string(),
        &format!("{:04o}", entry.mode),
        &entry.ids.0.to_string(),
        &entry.ids.1.to_string(),
        &mtime,
        &content.len().to_string(),
        &entry.link.escape_ascii().to_string(),
        "0:0",
        if is_link { "" } else { &digest[..16] },
        &xattrs.join(","),
    ]
    .join("|")
}

#[test]
fn bytes_are_counted_as_they_are_read() {
    let tree = Tree::new();
    tree.write("small", b"content");
    tree.write("large", vec![7; 3 << 20]);
    let counter = Arc::new(AtomicU64::new(0));
    let contents = Contents::in_rootfs(tree.root.clone()).counted_by(Arc::clone(&counter));
    let layer = write(&contents, tree.changes(), &options(Compression::None)).expect("a layer");
    assert_eq!(counter.load(Ordering::Relaxed), 7 + (3 << 20));
    assert_eq!(layer.written.stats.read_bytes, 7 + (3 << 20));
}
