//! Finds what changed in a root file system and writes it as a layer.
//!
//! Knows files and bytes; nothing of images, Dockerfiles or networks. Synchronous, threads only;
//! never prints, reads the environment or exits.

pub mod change;
mod clock;
mod confirm;
mod diff;
pub mod digest;
mod error;
mod fallback;
mod ignore;
pub mod index;
pub mod layer;
mod mapped;
pub mod metadata;
mod mode;
mod mountinfo;
pub mod path;
pub mod rootfs;
pub mod scope;
mod self_test;
mod snapshotter;
pub mod stored;
mod sys;
#[cfg(test)]
mod tests;
pub mod track;
mod walk;
pub mod xattr;

pub use change::{Change, ChangeKind, Changeset};
pub use confirm::is_as_indexed;
pub use digest::{Digest, DigestError, Digester, HashingReader, HashingWriter};
pub use error::SnapshotError;
pub use fallback::Fallback;
pub use ignore::{IgnoreList, NamePredicate, NameRule};
pub use index::{Index, Row};
pub use mapped::write_through_mapping;
pub use metadata::{FileKind, InodeId, Metadata, Stamp, Timestamp};
pub use mode::{Mode, UnknownMode};
pub use mountinfo::unescape_mount_field;
pub use path::{PathError, RootfsPath};
pub use rootfs::{
    DirEntry, Directory, NewDirectory, Operation, Rootfs, RootfsError, UnmappedOwner,
};
pub use scope::{Extent, PathSet, Reason, Scope};
pub use self_test::{Blindness, blind_to};
pub use snapshotter::{Snapshot, SnapshotOptions, SnapshotStats, Snapshotter};
pub use xattr::Xattrs;
