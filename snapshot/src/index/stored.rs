//! The form in which an index is kept on disk, beside the files that it is of.
//!
//! Only for ourselves: a form that is not understood, or not whole, is as good as none. Whoever
//! changes what is in it changes [`MAGIC`], and what was kept under the old one is not read again.
//! Devices are not in it: they have other numbers after each boot.
//!
//! ```text
//! magic │ SHA-256 of the rest │ entries, pre-order: depth │ name │ row
//! ```

use super::{Index, NodeId, Row};
use crate::metadata::{FileKind, Metadata};
use crate::path;
use crate::stored::{Fields, put_bytes, seal, unseal};

const MAGIC: &[u8] = b"zuwai index 1\n";

const IS_SHADOW: u8 = 1;
const HAS_CONTENT: u8 = 2;
const HAS_XATTRS: u8 = 4;

const KINDS: [FileKind; 7] = [
    FileKind::Directory,
    FileKind::Regular,
    FileKind::Symlink,
    FileKind::CharDevice,
    FileKind::BlockDevice,
    FileKind::Fifo,
    FileKind::Socket,
];

impl Index {
    /// Returns the form to keep.
    pub fn to_stored(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for (id, path) in self.subtree(NodeId::ROOT) {
            let depth = path.components().count() as u64;
            rows.extend_from_slice(&depth.to_le_bytes());
            put_bytes(&mut rows, path.file_name().unwrap_or_default());
            put_row(&mut rows, &self.row(id));
        }
        seal(MAGIC, &rows)
    }

    /// Reads the kept form of files that are on the device `dev` now; `None` when it is none, or not
    /// whole.
    pub fn from_stored(stored: &[u8], dev: u64) -> Option<Self> {
        let mut from = Fields::new(unseal(MAGIC, stored)?);
        let mut index = Self::new();
        // The directory that each depth is in.
        let mut above: Vec<NodeId> = Vec::new();
        while !from.is_empty() {
            let depth = usize::try_from(from.number()?).ok()?;
            let name = from.bytes()?;
            let row = row(&mut from, dev)?;
            let id = match depth.checked_sub(1) {
                None if above.is_empty() && name.is_empty() => NodeId::ROOT,
                None => return None,
                Some(parent) => {
                    let parent = *above.get(parent)?;
                    let is_directory = index.metadata(parent).kind == FileKind::Directory;
                    if !is_directory || !path::is_name(name) || index.child(parent, name).is_some()
                    {
                        return None;
                    }
                    index.add_child(parent, name)
                }
            };
            index.set(id, row);
            above.truncate(depth);
            above.push(id);
        }
        Some(index)
    }

    /// Says that all files, which are on one device, are seen through another that has the same
    /// inode numbers; returns whether they are on one.
    pub(crate) fn move_to_device(&mut self, dev: u64) -> bool {
        let [_, devices @ ..] = &mut *self.devices else { return false };
        if devices.len() > 1 {
            return false;
        }
        devices.fill(dev);
        let rings: Vec<NodeId> = self.by_inode.drain().collect();
        for id in rings {
            self.add_ring(id);
        }
        true
    }
}

fn put_row(to: &mut Vec<u8>, row: &Row) {
    let Row { metadata, content, xattrs, shadow } = row;
    let kind = KINDS.iter().position(|kind| *kind == metadata.kind).unwrap_or_default();
    to.push(u8::try_from(kind).unwrap_or_default());
    to.push(
        u8::from(*shadow) * IS_SHADOW
            + u8::from(content.is_some()) * HAS_CONTENT
            + u8::from(xattrs.is_some()) * HAS_XATTRS,
    );
    let Metadata { mode, uid, gid, nlink, rdev_major, rdev_minor, .. } = *metadata;
    for number in [mode, uid, gid, nlink, rdev_major, rdev_minor] {
        to.extend_from_slice(&number.to_le_bytes());
    }
    for number in [metadata.size, metadata.ino] {
        to.extend_from_slice(&number.to_le_bytes());
    }
    for time in [metadata.mtime, metadata.ctime] {
        to.extend_from_slice(&time.seconds.to_le_bytes());
        to.extend_from_slice(&time.nanoseconds.to_le_bytes());
    }
    for digest in [content, xattrs].into_iter().flatten() {
        to.extend_from_slice(digest.as_bytes());
    }
}

fn row(from: &mut Fields<'_>, dev: u64) -> Option<Row> {
    let kind = *KINDS.get(usize::from(from.byte()?))?;
    let flags = from.byte()?;
    let (mode, uid, gid) = (from.small()?, from.small()?, from.small()?);
    let (nlink, rdev_major, rdev_minor) = (from.small()?, from.small()?, from.small()?);
    let (size, ino) = (from.number()?, from.number()?);
    let (mtime, ctime) = (from.time()?, from.time()?);
    let mut digest = |flag: u8| match flags & flag {
        0 => Some(None),
        _ => from.digest().map(Some),
    };
    let (content, xattrs) = (digest(HAS_CONTENT)?, digest(HAS_XATTRS)?);
    let shadow = flags & IS_SHADOW != 0;
    let dev = if shadow { 0 } else { dev };
    let metadata = Metadata {
        kind,
        mode,
        uid,
        gid,
        size,
        mtime,
        ctime,
        dev,
        ino,
        nlink,
        rdev_major,
        rdev_minor,
    };
    Some(Row { metadata, content, xattrs, shadow })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::metadata::{InodeId, Timestamp};
    use crate::path::RootfsPath;

    fn row(kind: FileKind, ino: u64) -> Row {
        let is_device = kind.is_device();
        let metadata = Metadata {
            kind,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            size: if is_device { 0 } else { 3 },
            mtime: Timestamp { seconds: -4, nanoseconds: 5 },
            ctime: Timestamp { seconds: 6, nanoseconds: 7 },
            dev: 8,
            ino,
            nlink: 1,
            rdev_major: if is_device { 9 } else { 0 },
            rdev_minor: if is_device { 10 } else { 0 },
        };
        let content = (kind == FileKind::Regular).then(|| Digest::of(b"content"));
        let xattrs = (ino == 13).then(|| Digest::of(b"xattrs"));
        Row { metadata, content, xattrs, shadow: false }
    }

    fn path(text: &str) -> RootfsPath {
        RootfsPath::new(text).expect("a path")
    }

    fn index() -> Index {
        let mut index = Index::new();
        for (text, kind, ino) in [
            ("", FileKind::Directory, 2),
            ("a", FileKind::Directory, 11),
            ("a/b", FileKind::Regular, 12),
            ("a/c", FileKind::Regular, 12),
            ("a-b", FileKind::Symlink, 13),
            ("dev", FileKind::Directory, 14),
            ("dev/null", FileKind::CharDevice, 15),
            ("dev/sd", FileKind::BlockDevice, 16),
            ("dev/pipe", FileKind::Fifo, 17),
        ] {
            index.insert(&path(text), row(kind, ino));
        }
        let mut shadow = row(FileKind::Regular, 0);
        (shadow.shadow, shadow.metadata.dev) = (true, 0);
        index.insert(&path("dev/shadow"), shadow);
        index
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for index in [index(), Index::new()] {
            let stored = index.to_stored();
            let read = Index::from_stored(&stored, 8).expect("it is whole");
            assert_eq!(read.to_stored(), stored);
            let rows = |index: &Index| index.iter().collect::<Vec<_>>();
            assert_eq!(rows(&read), rows(&index));
        }
        let read = Index::from_stored(&index().to_stored(), 99).expect("it is whole");
        let inode = InodeId { dev: 99, ino: 12 };
        assert_eq!(read.paths_of(inode), [path("a/b"), path("a/c")]);
        assert_eq!(read.paths_of(InodeId { dev: 8, ino: 12 }), []);
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        let stored = index().to_stored();
        for length in 0..stored.len() {
            assert!(Index::from_stored(&stored[..length], 8).is_none(), "{length}");
        }
        for at in (0..stored.len()).step_by(7) {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            assert!(Index::from_stored(&damaged, 8).is_none(), "{at}");
        }
    }

    #[test]
    fn what_makes_no_tree_is_nothing() {
        let sealed = |entries: &[(u64, &[u8], FileKind)]| {
            let mut rows = Vec::new();
            for (depth, name, kind) in entries {
                rows.extend_from_slice(&depth.to_le_bytes());
                put_bytes(&mut rows, name);
                put_row(&mut rows, &row(*kind, 1));
            }
            Index::from_stored(&seal(MAGIC, &rows), 8).is_some()
        };
        let (top, file) = ((0, &b""[..], FileKind::Directory), FileKind::Regular);
        assert!(sealed(&[top, (1, b"a", file)]));
        assert!(!sealed(&[(1, b"a", file)]), "nothing is above");
        assert!(!sealed(&[top, top]), "two roots");
        assert!(!sealed(&[top, (2, b"a", file)]), "a depth is missing");
        assert!(!sealed(&[top, (1, b"a", file), (1, b"a", file)]), "twice");
        assert!(!sealed(&[top, (1, b"a", file), (2, b"b", file)]), "in a file");
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert!(!sealed(&[top, (1, name, file)]), "{name:?}");
        }
        assert!(!sealed(&[top, (u64::MAX, b"a", file)]));
    }

    #[test]
    fn a_device_stands_for_another() {
        let mut index = index();
        assert!(index.move_to_device(77));
        let inode = InodeId { dev: 77, ino: 12 };
        assert_eq!(index.paths_of(inode), [path("a/b"), path("a/c")]);
        assert_eq!(index.aliases(&path("a/b")), [path("a/c")]);
        let other = row(FileKind::Regular, 30);
        index.insert(&path("z"), other);
        assert!(!index.move_to_device(78), "there are two");
    }
}
