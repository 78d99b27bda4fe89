//! Why a step could not be carried out.

use std::io;

use snapshot::{FileKind, PathError, RootfsError, RootfsPath};
use thiserror::Error;

use super::identity::IdentityError;
use crate::archive::ExtractError;
use crate::context::ContextError;
use crate::context::pattern::PatternError;
use crate::report::fault::{Class, Fault};
use crate::sandbox::{SandboxError, missing_ids_hint};

/// Why a step could not be carried out.
#[derive(Debug, Error)]
pub enum ExecuteError {
    /// A source is not there.
    #[error("there is no `{path}` in {place}")]
    SourceMissing {
        /// The source, or what it leads to.
        path: RootfsPath,
        /// Where it was looked for, in words.
        place: &'static str,
    },
    /// Something was not fetched before it was to be copied.
    #[error("`{path}` was not fetched")]
    NotFetched {
        /// What it is called.
        path: RootfsPath,
    },
    /// A source disappeared while it was being copied.
    #[error("`{path}` disappeared while it was being copied")]
    SourceVanished {
        /// The source.
        path: RootfsPath,
    },
    /// Several files would be written to one name.
    #[error("several files would all become `{path}`")]
    SeveralToOne {
        /// The destination.
        path: RootfsPath,
    },
    /// A directory has to be where something else is.
    #[error("cannot copy a directory to `{path}`, which is a {found} in the image")]
    DirectoryOver {
        /// The place in the image.
        path: RootfsPath,
        /// What is there.
        found: FileKind,
    },
    /// A file has to be where a directory is.
    #[error("cannot copy a {kind} to `{path}`, which is a directory in the image")]
    OverDirectory {
        /// The place in the image.
        path: RootfsPath,
        /// What was to be copied.
        kind: FileKind,
    },
    /// The destination, or something above it, is no directory.
    #[error("`{path}` in the image is a {found}, not a directory")]
    NotADirectory {
        /// The place in the image.
        path: RootfsPath,
        /// What is there.
        found: FileKind,
    },
    /// Only files on disk can tell what becomes of a path: the stage has to be unpacked.
    #[error("`{path}` needs the stage's files: {reason}")]
    NeedsFiles {
        /// The path, in the image or of an archive.
        path: RootfsPath,
        /// Why.
        reason: &'static str,
    },
    /// A pattern of `--exclude` is none.
    #[error("cannot read `--exclude`")]
    Exclude(#[source] PatternError),
    /// A source of a COPY with `--parents` is no pattern.
    #[error("cannot read a source")]
    ParentsPattern(#[source] PatternError),
    /// It cannot be looked what `--exclude` leaves.
    #[error("cannot look what `--exclude` leaves of `{path}`")]
    Excluding {
        /// The source.
        path: RootfsPath,
        /// Why not.
        #[source]
        source: Box<ContextError>,
    },
    /// The bytes of a file could not be copied.
    #[error("cannot copy the content of `{path}`")]
    Content {
        /// The file, at its destination.
        path: RootfsPath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack the archive `{path}`")]
    Archive {
        /// The source.
        path: RootfsPath,
        /// Why not.
        #[source]
        source: ExtractError,
    },
    /// A user or group is unknown.
    #[error("cannot tell who `{name}` is")]
    Identity {
        /// As written.
        name: String,
        /// What is unknown.
        #[source]
        source: IdentityError,
    },
    /// A file system refused something.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A name from the Dockerfile cannot be a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The command could not be run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Fault for ExecuteError {
    fn class(&self) -> Class {
        match self {
            Self::SourceMissing { .. }
            | Self::SeveralToOne { .. }
            | Self::DirectoryOver { .. }
            | Self::OverDirectory { .. }
            | Self::NotADirectory { .. }
            | Self::Archive { .. }
            | Self::Identity { .. }
            | Self::Exclude(_)
            | Self::ParentsPattern(_)
            | Self::Path(_) => Class::User,
            Self::SourceVanished { .. } => Class::Infrastructure,
            Self::NeedsFiles { .. } | Self::NotFetched { .. } => Class::Internal,
            Self::Excluding { source, .. } => source.class(),
            Self::Content { source, .. } => Class::of_io(source),
            Self::Rootfs(error) => rootfs_class(error),
            Self::Sandbox(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SourceMissing { place: BUILD_CONTEXT, .. } => {
                Some("paths are relative to the context; see also its `.dockerignore`".to_owned())
            }
            Self::SeveralToOne { path } => {
                Some(format!("end the destination with a slash to copy into it: `{path}/`"))
            }
            Self::Identity { source: IdentityError::UnknownUser { .. }, .. } => {
                Some("use a number, or create the user in an earlier RUN".to_owned())
            }
            Self::Identity { source: IdentityError::UnknownGroup { .. }, .. } => {
                Some("use a number, or create the group in an earlier RUN".to_owned())
            }
            Self::Sandbox(error) => error.hint(),
            Self::Rootfs(error) => missing_ids_hint(error),
            Self::Archive { source, .. } => missing_ids_hint(source),
            Self::SourceMissing { .. }
            | Self::SourceVanished { .. }
            | Self::DirectoryOver { .. }
            | Self::OverDirectory { .. }
            | Self::NotADirectory { .. }
            | Self::NeedsFiles { .. }
            | Self::NotFetched { .. }
            | Self::Exclude(_)
            | Self::ParentsPattern(_)
            | Self::Excluding { .. }
            | Self::Content { .. }
            | Self::Identity { .. }
            | Self::Path(_) => None,
        }
    }

    fn exit_code(&self) -> u8 {
        if let Self::Sandbox(error) = self { error.exit_code() } else { 1 }
    }
}

/// How the build context is called in messages.
pub(super) const BUILD_CONTEXT: &str = "the build context";

fn rootfs_class(error: &RootfsError) -> Class {
    match error.raw_os_error() {
        Some(number) => Class::of_io(&io::Error::from_raw_os_error(number)),
        None => Class::User,
    }
}
