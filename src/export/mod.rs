//! What a finished image becomes outside: docker tarball, OCI layout, digest files.
//!
//! Takes encoded documents and blobs that are on disk; must not know how they were made. A file
//! that is here under its final name is complete: everything is written beside it and renamed.

mod digest_file;
mod oci_layout;
mod tarball;

pub use digest_file::{DestinationDigest, builder_output, image_names, image_tags, write_text};
pub use oci_layout::write_layout;
pub use tarball::write_tarball;

use std::io;
use std::path::{Path, PathBuf};

use crate::report::fault::{Class, Fault};
use crate::store::StoreError;

/// What can go wrong while an image is written to disk.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file or folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A blob cannot be read.
    #[error("cannot read a blob of the image")]
    Blob(#[from] StoreError),
    /// A layer that lives outside registries cannot be put into an archive.
    #[error("the base image's layer `{digest}` is not distributable and cannot be exported")]
    Foreign {
        /// The layer.
        digest: String,
    },
    /// The documents cannot be encoded; serde's words are the source.
    #[error("cannot encode a document of the image")]
    Encode(#[source] serde_json::Error),
}

impl ExportError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Write { path, source }
    }
}

impl Fault for ExportError {
    fn class(&self) -> Class {
        match self {
            Self::Write { source, .. } => Class::of_io(source),
            Self::Blob(error) => error.class(),
            Self::Foreign { .. } => Class::User,
            Self::Encode(_) => Class::Internal,
        }
    }
}
