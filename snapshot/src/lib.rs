//! Finds what changed in a root file system and writes it as a layer.
//!
//! Knows files and bytes; nothing of images, Dockerfiles or networks. Synchronous, threads only;
//! never prints, reads the environment or exits.

pub mod change;
pub mod digest;
pub mod index;
pub mod layer;
pub mod metadata;
mod mountinfo;
pub mod path;
pub mod rootfs;
pub mod scope;
mod sys;
pub mod track;
pub mod xattr;

pub use change::{Change, ChangeKind, Changeset};
pub use digest::{Digest, DigestError, Digester, HashingReader, HashingWriter};
pub use index::{Index, Row};
pub use metadata::{FileKind, InodeId, Metadata, Timestamp};
pub use path::{PathError, RootfsPath};
pub use rootfs::{DirEntry, Directory, NewDirectory, Operation, Rootfs, RootfsError};
pub use scope::{Extent, PathSet, Reason, Scope};
pub use xattr::Xattrs;
