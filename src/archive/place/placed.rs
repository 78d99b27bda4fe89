//! What placing an entry takes and gives.

use rustix::io::Errno;
use snapshot::{Digest, Metadata, RootfsPath, Timestamp, Xattrs};

/// Who owns what is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Whom the archive names.
    Archive,
    /// Always the same.
    Fixed {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// Whoever runs this.
    Process,
}

impl Ownership {
    /// Returns the ids to set where the archive names `uid` and `gid`; `None` to set none.
    pub(super) fn of(self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self {
            Self::Archive => Some((uid, gid)),
            Self::Fixed { uid, gid } => Some((uid, gid)),
            Self::Process => None,
        }
    }
}

/// Whether contents are hashed as they pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Every regular file's content and every symbolic link's target gets its digest.
    Digest,
    /// Nobody will ask.
    Ignore,
}

/// How entries are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceOptions {
    /// Who owns them.
    pub ownership: Ownership,
    /// Whether they are hashed.
    pub contents: Contents,
    /// The modification time of directories that the archive implies but does not hold; `None`
    /// leaves it to the kernel.
    pub implied_mtime: Option<Timestamp>,
}

/// Why an entry is not on disk, though it belongs in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotOnDisk {
    /// Devices take `CAP_MKNOD`, and no user namespace grants it.
    DeviceNotPermitted,
    /// Another mount covers the path.
    OnMount,
    /// The path belongs to the executor.
    Protected,
    /// It is another name of something that is not on disk.
    TargetNotOnDisk,
}

/// Where an entry went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where it is: links in its parents followed.
    pub path: RootfsPath,
    /// Directories above it that had to be made, top first.
    pub made: Vec<RootfsPath>,
    /// Whether something else was there and is gone, with everything below it.
    pub replaced: bool,
    /// What there is now.
    pub state: State,
    /// Digest of the content or link target, where asked for.
    pub content: Option<Digest>,
    /// The extended attributes it has now; a directory's come with [`Placer::finish`].
    pub xattrs: Xattrs,
}

/// What there is after an entry was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// This, after its last change (but for names that it gets later).
    OnDisk(Metadata),
    /// A directory, whose metadata [`Placer::finish`] sets.
    Directory,
    /// Another name of `target`.
    Linked {
        /// Links in its parents followed.
        target: RootfsPath,
        /// The file, after it got its name.
        metadata: Metadata,
    },
    /// Nothing.
    NotOnDisk(NotOnDisk),
}

/// Extended attributes that could not be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedXattrs {
    /// How many entries went without.
    pub entry_count: u64,
    /// The first of them.
    pub first: RootfsPath,
    /// What the kernel said.
    pub reason: Errno,
}
