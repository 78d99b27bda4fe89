//! What a layer's headers say, without anything written.
//!
//! Where a stage only copies files or sets metadata, its base need not be on disk: which paths are
//! links, who owns what and who the users are is in the headers. Owns reading them; what several
//! layers say together is [`ImageHeaders`]'s.

mod alone;
mod image;
mod stored;
mod table;
mod written;

use snapshot::xattr::belongs_in_image;
use snapshot::{Digest, FileKind, RootfsPath, Timestamp, Xattrs};

pub use alone::{LayersAlone, Said, SaidEntry};
pub use image::{HeadersError, ImageHeaders, Kept, follow_links};
pub use table::{ContentsTable, TableError, TablePlace};
pub use written::HeaderNotes;

use super::UnpackOptions;
use super::error::{LayerError, UnpackError};
use super::layer::{Identity, LayerInput};
use super::stream::{LayerStream, Summary, in_turn};
use super::whiteout::{Meaning, meaning};
use crate::archive::{Entry, EntryKind, Limits, Reader};

/// Largest passwd or group file that is kept.
pub const KEPT_FILE_BYTES: u64 = 1 << 20;

/// What the headers of one layer say, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderIndex {
    /// The layer's blob.
    pub digest: Digest,
    /// What it decompresses to; checked where the layer was read.
    pub diff_id: Digest,
    headers: Vec<Header>,
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Header {
    Entry(RootfsPath, HeaderEntry),
    HardLink { path: RootfsPath, target: RootfsPath },
    Hides(RootfsPath),
    Opaque(RootfsPath),
}

/// What an image says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderEntry {
    /// What it is.
    pub kind: HeaderKind,
    /// Permission, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// The extended attributes that belong in an image.
    pub xattrs: Xattrs,
    /// It has, or had in some layer, other names.
    pub is_linked: bool,
}

/// What a path of an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderKind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular {
        /// Bytes.
        size: u64,
        /// The content of a passwd or group file in a directory `etc`; `None` for all others.
        content: Option<Vec<u8>>,
        /// Of its content, where it is known.
        digest: Option<Digest>,
    },
    /// A symbolic link to these bytes.
    Symlink(Vec<u8>),
    /// A device or named pipe.
    Special {
        /// Which.
        kind: FileKind,
        /// A device's major number.
        major: u32,
        /// A device's minor number.
        minor: u32,
    },
}

impl HeaderEntry {
    /// A directory that layers imply but do not hold, as they are unpacked.
    pub const IMPLIED: Self = Self {
        kind: HeaderKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Timestamp::EPOCH,
        xattrs: Xattrs::new(),
        is_linked: false,
    };
}

/// Reads the headers of `layers`, lowest first, each to its end: size and DiffID are checked as
/// when it is unpacked.
///
/// # Errors
/// As [`super::unpack`], but for what only a disk can refuse.
pub fn read_headers(
    layers: Vec<LayerInput>,
    options: &UnpackOptions,
) -> Result<Vec<HeaderIndex>, UnpackError> {
    let mut indexes = Vec::new();
    in_turn(layers, options.limits, |identity, stream| {
        indexes.push(read(identity, stream, options.limits)?);
        Ok(())
    })?;
    Ok(indexes)
}

fn read(
    identity: &Identity,
    stream: LayerStream,
    limits: Limits,
) -> Result<HeaderIndex, LayerError> {
    let mut reader = Reader::new(stream, limits);
    let mut headers = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let meaning = meaning(&entry)
            .map_err(|source| LayerError::Whiteout { path: entry.path.clone(), source })?;
        headers.push(match meaning {
            Meaning::Hides(path) => Header::Hides(path),
            Meaning::Opaque(path) => Header::Opaque(path),
            Meaning::Entry => {
                let content = match is_kept(&entry) {
                    true => Some(reader.read_content(KEPT_FILE_BYTES)?),
                    false => None,
                };
                header(entry, content)
            }
        });
    }
    Summary::of(reader.get_ref(), identity)?;
    Ok(HeaderIndex { digest: identity.digest, diff_id: identity.diff_id, headers })
}

fn is_kept(entry: &Entry) -> bool {
    let directory = entry.path.parent().unwrap_or_default();
    entry.kind == EntryKind::Regular
        && entry.size <= KEPT_FILE_BYTES
        && directory.file_name() == Some(b"etc")
        && matches!(entry.path.file_name(), Some(b"passwd" | b"group"))
}

fn header(entry: Entry, content: Option<Vec<u8>>) -> Header {
    let special = |kind, major, minor| HeaderKind::Special { kind, major, minor };
    let kind = match entry.kind {
        EntryKind::HardLink(target) => return Header::HardLink { path: entry.path, target },
        EntryKind::Directory => HeaderKind::Directory,
        EntryKind::Regular => {
            let digest = content.as_deref().map(Digest::of);
            HeaderKind::Regular { size: entry.size, content, digest }
        }
        EntryKind::Symlink(target) => HeaderKind::Symlink(target),
        EntryKind::CharDevice { major, minor } => special(FileKind::CharDevice, major, minor),
        EntryKind::BlockDevice { major, minor } => special(FileKind::BlockDevice, major, minor),
        EntryKind::Fifo => special(FileKind::Fifo, 0, 0),
    };
    let Entry { path, mode, uid, gid, mtime, mut xattrs, .. } = entry;
    // The kernel sets none on links, and none of users' own on devices and pipes.
    xattrs.retain(|name, _| match kind {
        HeaderKind::Directory | HeaderKind::Regular { .. } => belongs_in_image(name),
        HeaderKind::Special { .. } => name.starts_with(b"system.posix_acl_"),
        HeaderKind::Symlink(_) => false,
    });
    Header::Entry(path, HeaderEntry { kind, mode, uid, gid, mtime, xattrs, is_linked: false })
}
