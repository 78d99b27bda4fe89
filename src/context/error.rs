//! What can be wrong with a context or a Dockerfile's place.

use std::io;
use std::path::PathBuf;

use snapshot::RootfsError;

use nix::sys::signal::Signal;

use super::dockerignore::IgnoreError;
use super::git::GitError;
use super::object::ObjectError;
use super::pattern::PatternError;
use crate::archive::ExtractError;
use crate::http::DownloadError;
use crate::interrupt::Interrupted;
use crate::report::fault::{Class, Fault};

/// The name of an archive that is piped in.
pub(super) const STDIN: &str = "tar://stdin";

/// What can be wrong with a context or a Dockerfile's place.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory of a context cannot be opened.
    #[error("cannot open the build context `{}`", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: RootfsError,
    },
    /// The directory inside the context cannot be opened.
    #[error("cannot use `--context-sub-path={}`: not a directory of the context", path.display())]
    SubPath {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: RootfsError,
    },
    /// The directory inside the context cannot be a path.
    #[error("cannot use `--context-sub-path={}`", path.display())]
    SubPathName {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: snapshot::PathError,
    },
    /// The archive cannot be opened.
    #[error("cannot open the build context `tar://{}`", path.display())]
    OpenArchive {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be read.
    #[error("cannot read the build context `{name}`")]
    ReadArchive {
        /// The archive, as in `--context`.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no archive in it.
    #[error("the build context `{name}` is empty: an archive is needed")]
    EmptyArchive {
        /// The archive, as in `--context`.
        name: String,
    },
    /// Nobody pipes anything.
    #[error("the build context `tar://stdin` is a terminal: an archive has to be piped in")]
    Terminal,
    /// The archive cannot be unpacked.
    #[error("cannot unpack the build context `{name}`")]
    Unpack {
        /// The archive, as in `--context`.
        name: String,
        /// Why.
        #[source]
        source: ExtractError,
    },
    /// A plain URL's archive did not arrive.
    #[error("cannot fetch the build context")]
    Download(#[source] DownloadError),
    /// An archive in a bucket did not arrive.
    #[error("cannot fetch the build context `{name}`")]
    Object {
        /// The archive, as in `--context`.
        name: String,
        /// Why.
        #[source]
        source: Box<ObjectError>,
    },
    /// A repository cannot be had.
    #[error("cannot fetch the build context `{name}`")]
    Git {
        /// The repository's redacted URL.
        name: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// A transfer was ended by a signal.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// A transfer ended without a word.
    #[error("cannot fetch the build context `{name}`")]
    Task {
        /// The context, as in `--context`.
        name: String,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
    /// A directory of the context cannot be read.
    #[error("cannot walk the build context `{}`", context.display())]
    Walk {
        /// The context.
        context: PathBuf,
        /// Where and why.
        #[source]
        source: RootfsError,
    },
    /// The context was removed while it was read.
    #[error("the build context `{}` is gone", context.display())]
    Vanished {
        /// The context.
        context: PathBuf,
    },
    /// The Dockerfile is at neither of its places.
    #[error(
        "there is no Dockerfile `{}`: neither as `{}` nor in the build context",
        typed.display(), host.display()
    )]
    NoDockerfile {
        /// As given.
        typed: PathBuf,
        /// Where the host was asked for it.
        host: PathBuf,
    },
    /// A file of the host cannot be read.
    #[error("cannot read `{}`", path.display())]
    ReadHost {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the context cannot be read.
    #[error("cannot read a file of the build context")]
    ReadContext(#[source] RootfsError),
    /// A file is too large for what it should be.
    #[error("`{}` is larger than {limit_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// A path has a NUL byte.
    #[error("cannot use `{}` as a path", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: snapshot::PathError,
    },
    /// The ignore file cannot be used.
    #[error("cannot use the ignore file `{file}`")]
    Ignore {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: IgnoreError,
    },
    /// A pattern turned out to be malformed when a path was matched with it.
    #[error("cannot apply the ignore file")]
    Pattern(#[from] PatternError),
}

impl ContextError {
    pub(super) fn interrupted(signal: Signal) -> Self {
        Self::Interrupted(Interrupted(signal))
    }
}

/// Returns whose move it is when a download has failed.
pub(super) fn class_of_download(error: &DownloadError) -> Class {
    match error {
        DownloadError::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => Class::Auth,
        DownloadError::Status { .. } if !error.is_temporary() => Class::User,
        DownloadError::Sink { source, .. } => Class::of_io(source),
        DownloadError::Http { .. }
        | DownloadError::Redirect { .. }
        | DownloadError::Status { .. }
        | DownloadError::TooLarge { .. }
        | DownloadError::Changed { .. } => Class::Infrastructure,
    }
}

impl Fault for ContextError {
    fn class(&self) -> Class {
        let of_rootfs = |error: &RootfsError| match error.raw_os_error() {
            Some(number) => Class::of_io(&io::Error::from_raw_os_error(number)),
            None => Class::User,
        };
        match self {
            Self::Open { source, .. }
            | Self::SubPath { source, .. }
            | Self::Walk { source, .. }
            | Self::ReadContext(source) => of_rootfs(source),
            Self::OpenArchive { source, .. }
            | Self::ReadArchive { source, .. }
            | Self::ReadHost { source, .. } => Class::of_io(source),
            Self::Download(error) => class_of_download(error),
            Self::Object { source, .. } => source.class(),
            Self::Git { source, .. } => source.class(),
            Self::Interrupted(interrupted) => interrupted.class(),
            Self::Task { .. } => Class::Internal,
            Self::SubPathName { .. }
            | Self::EmptyArchive { .. }
            | Self::Terminal
            | Self::Unpack { .. }
            | Self::Vanished { .. }
            | Self::NoDockerfile { .. }
            | Self::TooLarge { .. }
            | Self::Path { .. }
            | Self::Ignore { .. }
            | Self::Pattern(_) => Class::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Object { source, .. } => source.hint(),
            Self::Git { source, .. } => source.hint(),
            Self::EmptyArchive { name } if name != STDIN => None,
            Self::Terminal | Self::EmptyArchive { .. } => Some(
                "pipe it, with standard input kept open: \
                 `tar -czf - . | kubectl run … --stdin` or `docker run --interactive …`"
                    .to_owned(),
            ),
            Self::NoDockerfile { .. } => {
                Some("name it with `--dockerfile`, relative to the build context".to_owned())
            }
            _ => None,
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Download(error) => error.is_temporary(),
            Self::Object { source, .. } => source.is_temporary(),
            Self::Git { source, .. } => source.is_temporary(),
            Self::Interrupted(interrupted) => interrupted.is_temporary(),
            _ => false,
        }
    }
}
