//! One entry of an outline, and when it counts as another.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use snapshot::layer::{Content, Expected, MtimeRule};
use snapshot::{
    Digest, Digester, FileKind, Metadata, Rootfs, RootfsPath, Row, Timestamp, Xattrs, xattr,
};

use crate::execute::ExecuteError;
use crate::unpack::{HeaderEntry, HeaderKind};

const READ_BYTES: usize = 128 << 10;

/// What is at a path.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) metadata: Metadata,
    pub(super) xattrs: Xattrs,
    pub(super) bytes: Bytes,
    /// Of a regular file's content, where it is known.
    pub(super) digest: Option<Digest>,
}

/// Where a file's bytes or a link's target are.
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    /// There are none, or the base's layers have them.
    None,
    /// In memory.
    Held(Arc<[u8]>),
    /// A file in another tree, and what it was when it was put here, where somebody wants to know.
    Elsewhere { root: Rootfs, path: RootfsPath, expected: Option<Expected> },
}

impl Node {
    /// Returns what a base's header says.
    pub(super) fn of_header(header: &HeaderEntry) -> Self {
        let kind = kind_of_header(header);
        let mut metadata = Metadata {
            // On disk a link has no mode of its own.
            mode: if kind == FileKind::Symlink { 0o777 } else { header.mode },
            uid: header.uid,
            gid: header.gid,
            nlink: if header.is_linked { 2 } else { 1 },
            ..metadata(kind, header.mtime)
        };
        let (mut bytes, mut known) = (Bytes::None, None);
        match &header.kind {
            HeaderKind::Directory => {}
            HeaderKind::Regular { size, content, digest } => {
                metadata.size = *size;
                known = *digest;
                if let Some(content) = content {
                    bytes = Bytes::Held(content.as_slice().into());
                }
            }
            HeaderKind::Symlink(target) => {
                metadata.size = target.len() as u64;
                bytes = Bytes::Held(target.as_slice().into());
            }
            HeaderKind::Special { major, minor, .. } => {
                (metadata.rdev_major, metadata.rdev_minor) = (*major, *minor);
            }
        }
        Self { metadata, xattrs: header.xattrs.clone(), bytes, digest: known }
    }

    pub(super) fn directory(mode: u32, uid: u32, gid: u32) -> Self {
        let metadata = Metadata { mode, uid, gid, ..metadata(FileKind::Directory, now()) };
        Self { metadata, xattrs: Xattrs::new(), bytes: Bytes::None, digest: None }
    }

    /// Tells whether only the layers of the base know its content.
    pub(super) fn is_unread(&self) -> bool {
        self.metadata.kind == FileKind::Regular
            && self.digest.is_none()
            && matches!(self.bytes, Bytes::None)
    }

    pub(super) fn has_acl(&self) -> bool {
        self.xattrs.keys().any(|name| name.starts_with(b"system.posix_acl_"))
    }

    /// Tells whether it has to be in a layer on top of one that has `old`: its metadata differ, or
    /// else its content or attributes, as a snapshot decides.
    pub(super) fn is_other_than(
        &mut self,
        old: &Self,
        mtime: MtimeRule,
    ) -> Result<bool, ExecuteError> {
        let is_same = is_same_in_image(&old.metadata, &self.metadata, mtime);
        if !is_same || old.xattrs != self.xattrs {
            return Ok(true);
        }
        match self.metadata.kind {
            FileKind::Regular => {
                let is_same = match old.read_digest()? {
                    Some(before) => self.learn_digest()? == Some(before),
                    None => false,
                };
                Ok(!is_same)
            }
            FileKind::Symlink => {
                Ok(!matches!((&old.bytes, &self.bytes), (Bytes::Held(a), Bytes::Held(b)) if a == b))
            }
            _ => Ok(false),
        }
    }

    /// Returns the digest of a regular file's content, and remembers it.
    fn learn_digest(&mut self) -> Result<Option<Digest>, ExecuteError> {
        self.digest = self.read_digest()?;
        Ok(self.digest)
    }

    pub(super) fn read_digest(&self) -> Result<Option<Digest>, ExecuteError> {
        match (&self.digest, &self.bytes) {
            (Some(known), _) => Ok(Some(*known)),
            (None, Bytes::None) => Ok(None),
            (None, Bytes::Held(bytes)) => Ok(Some(Digest::of(bytes))),
            (None, Bytes::Elsewhere { root, path, expected }) => {
                let file = root.open_file(path)?;
                let digest = digest_of(&file)
                    .map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
                if let Some(expected) = expected {
                    expected.check(path, Metadata::of(&file).ok().as_ref());
                }
                Ok(Some(digest))
            }
        }
    }

    /// Returns what an index of files on disk would say of it.
    pub(super) fn row(&self) -> Row {
        let content = match (self.metadata.kind, &self.bytes) {
            (FileKind::Regular, _) => self.digest,
            (FileKind::Symlink, Bytes::Held(target)) => Some(Digest::of(target)),
            _ => None,
        };
        Row { metadata: self.metadata, content, xattrs: xattr::digest(&self.xattrs), shadow: false }
    }

    /// Returns where a layer finds its content; `None` where nobody has it.
    pub(super) fn content(&self) -> Option<Content> {
        let xattrs = self.xattrs.clone();
        match &self.bytes {
            Bytes::None if self.metadata.kind == FileKind::Regular => None,
            Bytes::None => Some(Content::Held { bytes: Arc::default(), xattrs }),
            Bytes::Held(bytes) => Some(Content::Held { bytes: Arc::clone(bytes), xattrs }),
            Bytes::Elsewhere { root, path, expected } => {
                let (root, path, expected) = (root.clone(), path.clone(), expected.clone());
                Some(Content::Context { root, path, xattrs, expected })
            }
        }
    }
}

/// Returns metadata with nothing but a kind and a time.
pub(super) fn metadata(kind: FileKind, mtime: Timestamp) -> Metadata {
    Metadata {
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime,
        ctime: Timestamp::EPOCH,
        dev: 0,
        ino: 0,
        nlink: 1,
        rdev_major: 0,
        rdev_minor: 0,
    }
}

pub(super) fn kind_of_header(header: &HeaderEntry) -> FileKind {
    match header.kind {
        HeaderKind::Directory => FileKind::Directory,
        HeaderKind::Regular { .. } => FileKind::Regular,
        HeaderKind::Symlink(_) => FileKind::Symlink,
        HeaderKind::Special { kind, .. } => kind,
    }
}

/// Tells whether everything that a layer holds of an entry's metadata is equal.
pub(super) fn is_same_in_image(old: &Metadata, new: &Metadata, mtime: MtimeRule) -> bool {
    let of_image = |metadata: &Metadata| Metadata {
        mtime: mtime.apply(metadata.mtime),
        ctime: Timestamp::EPOCH,
        dev: 0,
        ino: 0,
        nlink: 1,
        ..*metadata
    };
    of_image(old) == of_image(new)
}

/// Returns the time that a file system would give to what changes now.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

fn digest_of(mut file: impl Read) -> io::Result<Digest> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(length) => digester.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
