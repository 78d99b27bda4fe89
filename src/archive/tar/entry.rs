//! A member of an archive, every extension applied.
//!
//! Pure: a header block and what the extension headers before it said go in, an [`Entry`] or the
//! reason why there is none comes out.

use snapshot::{PathError, RootfsPath, Timestamp, Xattrs};
use thiserror::Error;

use super::block::{Block, BlockError, Dialect};
use super::pax::Extended;
use crate::archive::limits::{NAME_BYTES, PATH_BYTES, PATH_COMPONENTS, SYMLINK_BYTES};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file; its content is [`Entry::size`] bytes.
    Regular,
    /// A symbolic link to these bytes, as they are.
    Symlink(Vec<u8>),
    /// Another name of an entry that came before, in this archive or what it is unpacked onto.
    HardLink(RootfsPath),
    /// A character device node.
    CharDevice {
        /// At most 12 bits.
        major: u32,
        /// At most 20 bits.
        minor: u32,
    },
    /// A block device node.
    BlockDevice {
        /// At most 12 bits.
        major: u32,
        /// At most 20 bits.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A member of an archive.
///
/// Sockets do not occur: the format has none, and what a writer puts in their place is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs, relative to the archive's root. The root itself only as a directory.
    pub path: RootfsPath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// Owner, by number; names are not looked at.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Size of the content, holes included; 0 for everything but regular files.
    pub size: u64,
    /// Every extended attribute in the archive, wanted in an image or not.
    pub xattrs: Xattrs,
}

/// Why a member is refused: two readers would unpack two different things.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryProblem {
    /// A field of its header is not what it should be.
    #[error(transparent)]
    Field(#[from] BlockError),
    /// It has no name.
    #[error("it has no name")]
    NoName,
    /// Its name has a NUL byte in it.
    #[error("its name or link target contains a NUL byte")]
    Nul,
    /// Its name climbs.
    #[error("its name or link target contains `..`")]
    Climbs,
    /// Its name is longer than a path may be.
    #[error("its path is too long")]
    TooLong,
    /// GNU's long name and PAX's differ in rank between readers.
    #[error("it has a GNU long name and a PAX name")]
    TwoNames,
    /// A file by its long name and a directory by its short one, or the other way round.
    #[error("it is a directory by one of its names and a file by the other")]
    TwoKinds,
    /// A file whose name ends as a directory's.
    #[error("it is no directory, but its name ends in a slash")]
    TrailingSlash,
    /// The root of the archive as something else than a directory.
    #[error("it is the root of the archive, but no directory")]
    RootKind,
    /// Content where there can be none.
    #[error("it has content, but is no regular file")]
    Content,
    /// A link to nowhere.
    #[error("it is a link without a target")]
    NoTarget,
    /// A device number in a header that has no such field.
    #[error("it is a device in a header without device numbers")]
    NoDevice,
    /// A type that this reader does not know.
    #[error("its type `{0}` is not supported")]
    Type(String),
}

impl From<PathError> for EntryProblem {
    fn from(error: PathError) -> Self {
        match error {
            PathError::Nul(_) => Self::Nul,
        }
    }
}

/// What the headers before an entry's own said.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) extended: Option<Extended>,
    /// There was a global header, which says nothing, but after which Python expects an entry.
    pub(super) global: bool,
}

impl Extensions {
    /// Tells whether any of them is for the next entry.
    pub(super) fn any(&self) -> bool {
        self.long_name.is_some() || self.long_link.is_some() || self.extended.is_some()
    }
}

/// Returns the name that the headers give an entry, unchecked; for messages and for [`entry`].
pub(super) fn raw_name(block: &Block, extensions: &Extensions) -> Result<Vec<u8>, EntryProblem> {
    let extended = extensions.extended.as_ref();
    let names = [
        extended.and_then(|extended| extended.path.as_ref()),
        extended.and_then(|extended| extended.sparse.name.as_ref()),
        extensions.long_name.as_ref(),
    ];
    let mut names = names.into_iter().flatten();
    let name = names.next().cloned();
    if names.next().is_some() {
        return Err(EntryProblem::TwoNames);
    }
    match name {
        Some(name) => Ok(name),
        None => Ok(block.name()?),
    }
}

/// Returns the entry that `block` and the headers before it describe, of `size` bytes of content.
pub(super) fn entry(
    block: &Block,
    extensions: Extensions,
    size: u64,
) -> Result<Entry, EntryProblem> {
    let name = raw_name(block, &extensions)?;
    let extended = extensions.extended.unwrap_or_default();
    let directory_name = matches!(name.rsplit(|&byte| byte == b'/').next(), Some(b"" | b"."));
    let path = entry_path(&name)?;
    let link = || match (&extended.link_path, &extensions.long_link) {
        (Some(_), Some(_)) => Err(EntryProblem::TwoNames),
        (Some(link), None) | (None, Some(link)) => Ok(link.clone()),
        (None, None) => Ok(block.link_name().to_vec()),
    };
    let kind = match block.type_flag() {
        // Before POSIX, a directory was a file whose name ends in a slash.
        b'\0' if block.name_ends_in_slash() != name.ends_with(b"/") => {
            return Err(EntryProblem::TwoKinds);
        }
        b'\0' if name.ends_with(b"/") => EntryKind::Directory,
        b'\0' | b'0' | b'7' | b'S' => EntryKind::Regular,
        b'1' => EntryKind::HardLink(clean_target(&link()?)?),
        b'2' => EntryKind::Symlink(symlink_target(link()?)?),
        flag @ (b'3' | b'4') => {
            if block.dialect == Dialect::V7 {
                return Err(EntryProblem::NoDevice);
            }
            let (major, minor) = block.device()?;
            match flag {
                b'3' => EntryKind::CharDevice { major, minor },
                _ => EntryKind::BlockDevice { major, minor },
            }
        }
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => return Err(EntryProblem::Type(other.escape_ascii().to_string())),
    };
    match kind {
        EntryKind::Directory => {}
        _ if directory_name && !path.is_root() => return Err(EntryProblem::TrailingSlash),
        _ if path.is_root() => return Err(EntryProblem::RootKind),
        _ => {}
    }
    // Go and Python pass over the size of such an entry, GNU tar skips as many bytes.
    if size != 0 && kind != EntryKind::Regular {
        return Err(EntryProblem::Content);
    }
    block.check_numbers()?;
    let (uid, gid, mtime) = (block.uid()?, block.gid()?, block.mtime()?);
    Ok(Entry {
        path,
        kind,
        mode: block.mode()?,
        uid: extended.uid.unwrap_or(uid),
        gid: extended.gid.unwrap_or(gid),
        mtime: extended.mtime.unwrap_or(mtime),
        size,
        xattrs: extended.xattrs,
    })
}

/// Returns `name` as a path from the archive's root. A leading slash means nothing, as in GNU tar;
/// `..` is refused: what it takes back differs with who looks at symbolic links.
///
/// # Errors
/// Also for no name at all, and one that is too long.
pub fn entry_path(name: &[u8]) -> Result<RootfsPath, EntryProblem> {
    if name.is_empty() {
        return Err(EntryProblem::NoName);
    }
    if name.len() > PATH_BYTES {
        return Err(EntryProblem::TooLong);
    }
    let mut component_count = 0;
    for component in name.split(|&byte| byte == b'/') {
        if component == b".." {
            return Err(EntryProblem::Climbs);
        }
        if component.len() > NAME_BYTES {
            return Err(EntryProblem::TooLong);
        }
        component_count += 1;
    }
    if component_count > PATH_COMPONENTS {
        return Err(EntryProblem::TooLong);
    }
    Ok(RootfsPath::new(name)?)
}

fn clean_target(target: &[u8]) -> Result<RootfsPath, EntryProblem> {
    match entry_path(target) {
        Err(EntryProblem::NoName) => Err(EntryProblem::NoTarget),
        other => other,
    }
}

/// Returns `target` where a symbolic link can have it.
///
/// # Errors
/// When it is empty, too long, or has a NUL byte in it.
pub fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, EntryProblem> {
    if target.is_empty() {
        return Err(EntryProblem::NoTarget);
    }
    if target.len() > SYMLINK_BYTES {
        return Err(EntryProblem::TooLong);
    }
    if target.contains(&0) {
        return Err(EntryProblem::Nul);
    }
    Ok(target)
}
