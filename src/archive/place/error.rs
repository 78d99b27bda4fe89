//! Why an entry could not be placed.

use std::io;

use rustix::io::Errno;
use snapshot::{RootfsError, RootfsPath};
use thiserror::Error;

use crate::archive::tar::TarError;

/// An archive that could not be placed in a root file system.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The archive itself is at fault.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The root file system refused.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A file could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: RootfsPath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A hard link to something that is neither in the archive before it nor below it.
    #[error("cannot make `{path}` a hard link to `{target}`, which does not exist")]
    LinkTargetMissing {
        /// The link.
        path: RootfsPath,
        /// Its target.
        target: RootfsPath,
    },
    /// A hard link to a directory, which Linux has none of.
    #[error("cannot make `{path}` a hard link to `{target}`, which is a directory")]
    LinkToDirectory {
        /// The link.
        path: RootfsPath,
        /// Its target.
        target: RootfsPath,
    },
    /// A hard link in place of its own target or of a directory that the target is in.
    #[error("cannot make `{path}` a hard link to `{target}`, which it would replace")]
    LinkToItself {
        /// The link.
        path: RootfsPath,
        /// Its target.
        target: RootfsPath,
    },
    /// What was just made is gone: someone else works in the same root.
    #[error("`{0}` vanished while it was unpacked")]
    Vanished(RootfsPath),
}

impl PlaceError {
    pub(super) fn errno(&self) -> Option<Errno> {
        let number = match self {
            Self::Rootfs(error) => error.raw_os_error(),
            Self::Write { source, .. } => source.raw_os_error(),
            _ => None,
        };
        number.map(Errno::from_raw_os_error)
    }
}
