//! What can go wrong with the overlay of a step.

use std::io;

use thiserror::Error;

use crate::path::RootfsPath;
use crate::rootfs::RootfsError;

/// An overlay that cannot be mounted, or whose changes cannot be taken over.
#[derive(Debug, Error)]
pub enum OverlayError {
    /// The kernel refused a part of the mount.
    #[error("an overlay cannot be mounted here: the kernel refuses {what}")]
    Mount {
        /// What it refused.
        what: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// The mount would break hard links.
    #[error("an overlay here would break hard links: the kernel keeps no index of them")]
    NoIndex,
    /// The directory beside the root is on another mount, so that nothing can be moved over.
    #[error("the root is on another mount than the directory for its changes")]
    AnotherMount,
    /// The tree is on another file system than the directory for what is written, so that inode
    /// numbers would change.
    #[error("the tree is on another file system than the directory for what is written to it")]
    AnotherFileSystem,
    /// There is nothing to lay anything over.
    #[error("there is no tree")]
    NoTree,
    /// What the overlay shows is not what is in the tree.
    #[error("the overlay does not show `{path}` as it is in the tree")]
    Unlike {
        /// What looks different.
        path: RootfsPath,
    },
    /// The root has a device that an overlay takes for a mark of its own.
    #[error("an overlay would hide the device `{path}`, which is its mark for a removed file")]
    HidesDevice {
        /// The device node.
        path: RootfsPath,
    },
    /// A file or directory cannot be read, moved or made.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The kernel wrote something that is not understood.
    #[error("the overlay has {what} of an unknown form at `{path}`")]
    UnknownForm {
        /// What it is.
        what: &'static str,
        /// Where, from the top of what the overlay wrote.
        path: RootfsPath,
    },
    /// A file of the root that was changed through one of its names cannot be found again.
    #[error("a file of the root with several names cannot be found by its handle")]
    Handle(#[source] io::Error),
}

impl OverlayError {
    /// Tells whether a directory of the mount is the upper one of another.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Mount { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
    }
}
