//! What can go wrong with a root file system.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

use crate::metadata::FileKind;
use crate::path::{Escaped, RootfsPath};

/// What was being done to a path; reads as "cannot … `/path`".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Looking up metadata.
    Stat,
    /// Following symbolic links.
    Resolve,
    /// Listing the mounts below.
    ListMounts,
    /// Opening a directory.
    OpenDirectory,
    /// Listing a directory.
    ReadDirectory,
    /// Opening a file for reading.
    OpenFile,
    /// Reading a file.
    ReadFile,
    /// Reading the target of a symbolic link.
    ReadLink,
    /// Reading extended attributes.
    ReadXattrs,
    /// Making a directory.
    CreateDirectory,
    /// Making a regular file.
    CreateFile,
    /// Making a symbolic link.
    CreateSymlink,
    /// Making another name of a file.
    HardLink,
    /// Making a device node, named pipe or socket.
    CreateNode,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Setting the owner.
    SetOwner,
    /// Setting the mode.
    SetMode,
    /// Setting the modification time.
    SetModificationTime,
    /// Setting an extended attribute.
    SetXattr,
    /// Removing an extended attribute.
    RemoveXattr,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stat => "look up",
            Self::Resolve => "resolve",
            Self::ListMounts => "list the mounts below",
            Self::OpenDirectory => "open directory",
            Self::ReadDirectory => "read directory",
            Self::OpenFile => "open",
            Self::ReadFile => "read",
            Self::ReadLink => "read symbolic link",
            Self::ReadXattrs => "read extended attributes of",
            Self::CreateDirectory => "create directory",
            Self::CreateFile => "create",
            Self::CreateSymlink => "create symbolic link",
            Self::HardLink => "create hard link",
            Self::CreateNode => "create node",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SetOwner => "set the owner of",
            Self::SetMode => "set the mode of",
            Self::SetModificationTime => "set the modification time of",
            Self::SetXattr => "set an extended attribute of",
            Self::RemoveXattr => "remove an extended attribute of",
        })
    }
}

/// A failed operation on a root file system. Paths are those inside it.
#[derive(Debug, Error)]
pub enum RootfsError {
    /// The directory that should be the root cannot be opened.
    #[error("cannot open root file system `{}`", .host_path.display())]
    Open {
        /// The directory, as the host sees it.
        host_path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused an operation.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was being done.
        operation: Operation,
        /// To what.
        path: RootfsPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something other than a regular file was to be opened as one.
    #[error("`{path}` is a {kind}, not a regular file")]
    NotRegular {
        /// The path.
        path: RootfsPath,
        /// What it is.
        kind: FileKind,
    },
    /// A file is larger than what the caller is ready to hold.
    #[error("`{path}` is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: RootfsPath,
        /// The caller's limit.
        limit_bytes: u64,
    },
    /// The file system gave a file type that nobody knows.
    #[error("`{path}` is of a type that is not known")]
    UnknownKind {
        /// The path.
        path: RootfsPath,
    },
    /// A name that is empty, `.`, `..`, or holds a slash or a NUL.
    #[error("`{}` in `{directory}` is not a file name", Escaped(name))]
    InvalidName {
        /// The directory the name was to be used in.
        directory: RootfsPath,
        /// The name.
        name: Vec<u8>,
    },
    /// The path is in, or above, a directory that is not part of the image.
    #[error("`{path}` is protected")]
    Protected {
        /// The path.
        path: RootfsPath,
    },
    /// The path is on another mount, which is not part of the image.
    #[error("`{path}` is on a mount")]
    OnMount {
        /// The path.
        path: RootfsPath,
    },
}

impl RootfsError {
    /// Tells whether the reason is that there is nothing at the path (or no directory above it).
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }

    /// Tells whether the reason is that something is at the path already.
    pub fn is_existing(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }

    /// Returns the path inside the root that it is about, if it is about one.
    pub fn path(&self) -> Option<&RootfsPath> {
        match self {
            Self::Open { .. } => None,
            Self::InvalidName { directory, .. } => Some(directory),
            Self::Io { path, .. }
            | Self::NotRegular { path, .. }
            | Self::TooLarge { path, .. }
            | Self::UnknownKind { path }
            | Self::Protected { path }
            | Self::OnMount { path } => Some(path),
        }
    }

    /// Returns the kernel's error number, where it was the kernel that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::Open { source, .. } | Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    fn errno(&self) -> Option<Errno> {
        self.raw_os_error().map(Errno::from_raw_os_error)
    }
}

/// An owner that the user namespace of this process has no ids for. Arrives inside an
/// [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there are no ids for the owner `{uid}:{gid}` here")]
pub struct UnmappedOwner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl UnmappedOwner {
    /// Returns what a refusal to set an owner means: chown(2) has EINVAL for ids that the user
    /// namespace does not map.
    pub fn explain(refusal: io::Error, uid: u32, gid: u32) -> io::Error {
        match refusal.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::INVAL) => io::Error::new(refusal.kind(), Self { uid, gid }),
            _ => refusal,
        }
    }
}
