//! What the file system says of one entry, apart from its name and its content.
//!
//! Owns the plain values; knows nothing of how they are compared ([`crate::mode`]) or kept
//! ([`crate::index`]).

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, statx};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A character device node.
    CharDevice,
    /// A block device node.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket, which no layer can hold.
    Socket,
}

impl FileKind {
    /// Returns the kind that the type bits of a `st_mode` name; `None` for bits that name none.
    pub fn from_raw_mode(raw_mode: u32) -> Option<Self> {
        Self::from_file_type(FileType::from_raw_mode(raw_mode))
    }

    /// Returns the kind of a directory entry; `None` where the file system does not say.
    pub(crate) fn from_file_type(file_type: FileType) -> Option<Self> {
        Some(match file_type {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::Regular,
            FileType::Symlink => Self::Symlink,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::Unknown => return None,
        })
    }

    /// Tells whether this is a device node of either kind.
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Directory => "directory",
            Self::Regular => "regular file",
            Self::Symlink => "symbolic link",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
        })
    }
}

/// A point in time as the file system keeps it: seconds since 1970 (negative before) and the
/// nanoseconds that follow, 0 to 999,999,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Whole seconds since the start of 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };
}

/// What `statx` says of an entry.
///
/// `size` is that of the content for regular files and symbolic links and whatever the file system
/// says otherwise; `rdev_*` is zero but for device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// What the entry is.
    pub kind: FileKind,
    /// Permission, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content; user space can set it.
    pub mtime: Timestamp,
    /// Last change of the inode; only the kernel sets it.
    pub ctime: Timestamp,
    /// The device of the file system, as `makedev` packs it.
    pub dev: u64,
    /// Inode number, unique within `dev`.
    pub ino: u64,
    /// Number of names of the inode.
    pub nlink: u32,
    /// Major number of a device node.
    pub rdev_major: u32,
    /// Minor number of a device node.
    pub rdev_minor: u32,
}

/// What tells one inode from every other: the same file under any of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId {
    /// The device of the file system, as `makedev` packs it.
    pub dev: u64,
    /// Inode number, unique within `dev`.
    pub ino: u64,
}

/// What tells a file, as it is, from all others and from itself at other times, as far as the clock of
/// its file system ticks: whatever changes it moves its ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    inode: InodeId,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl InodeId {
    pub(crate) fn from_statx(stat: &Statx) -> Self {
        Self { dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino }
    }
}

impl Metadata {
    /// Returns which inode this is.
    pub fn inode(&self) -> InodeId {
        InodeId { dev: self.dev, ino: self.ino }
    }

    /// Returns what tells the file, as it is, from all others.
    pub fn stamp(&self) -> Stamp {
        let Self { size, mtime, ctime, .. } = *self;
        Stamp { inode: self.inode(), size, mtime, ctime }
    }

    /// Returns what an open file is.
    ///
    /// # Errors
    /// What the kernel says; `InvalidData` for a file of a type that nobody knows.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Self::from_statx(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Returns what `statx` with the basic mask answered; `None` when it names no known type.
    pub(crate) fn from_statx(stat: &Statx) -> Option<Self> {
        let raw_mode = u32::from(stat.stx_mode);
        Some(Self {
            kind: FileKind::from_raw_mode(raw_mode)?,
            mode: raw_mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            mtime: timestamp(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            ctime: timestamp(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            nlink: stat.stx_nlink,
            rdev_major: stat.stx_rdev_major,
            rdev_minor: stat.stx_rdev_minor,
        })
    }
}

fn timestamp(seconds: i64, nanoseconds: u32) -> Timestamp {
    Timestamp { seconds, nanoseconds }
}
