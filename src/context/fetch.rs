//! What `ADD` fetches: a file behind a URL, into a directory; and why anything cannot be fetched.

use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::HeaderValue;
use rustix::fs::fstatvfs;
use snapshot::{Digest, Digester, Rootfs, RootfsError, RootfsPath, Timestamp};
use url::Url;

use super::error::class_of_download;
use super::git::GitError;
use super::stream::Means;
use crate::http::{Download, DownloadError, HttpError, Reach, RetryPolicy, redact};
use crate::interrupt::Interrupted;
use crate::report::fault::{Class, Fault};

/// Why something cannot be fetched for an `ADD`.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file cannot be had.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The file is another one than was asked for.
    #[error("`{url}` is not what `--checksum` says: expected `{expected}`, got `{found}`")]
    Checksum {
        /// The redacted URL.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A repository cannot be had.
    #[error("cannot fetch the repository `{name}`")]
    Git {
        /// Its redacted URL.
        name: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// A repository is at another commit than was asked for.
    #[error("`{name}` is not what `--checksum` says: expected `{expected}`, got `{found}`")]
    Commit {
        /// Its redacted URL.
        name: String,
        /// How the commit's id was to begin.
        expected: String,
        /// The commit's id.
        found: String,
    },
    /// A repository has no such directory.
    #[error("`{name}` has no directory `{directory}`")]
    Directory {
        /// Its redacted URL.
        name: String,
        /// The directory.
        directory: RootfsPath,
        /// Why not.
        #[source]
        source: RootfsError,
    },
    /// A signal has ended it.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// There is no place for it.
    #[error("cannot keep what `{url}` holds")]
    Rootfs {
        /// The redacted URL.
        url: String,
        /// Why not.
        #[source]
        source: RootfsError,
    },
    /// The system does not say how much may be downloaded.
    #[error("cannot find out how much space is free for what `{url}` holds")]
    FreeSpace {
        /// The redacted URL.
        url: String,
        /// What it says instead.
        #[source]
        source: io::Error,
    },
}

/// Downloads a file to a place in a root, whose directory exists, and returns what it is. It is root's alone to
/// read, and as old as the server says; where that says nothing, new.
///
/// # Errors
/// [`FetchError`]; half of the file may be there then.
pub fn fetch_file(
    url: &Url,
    means: &Means<'_>,
    authorization: Option<&HeaderValue>,
    place: (&Rootfs, &RootfsPath),
) -> Result<Digest, FetchError> {
    let (room, path) = place;
    let failed = |source| FetchError::Rootfs { url: redact(url), source };
    let file = room.create_file(path).map_err(failed)?;
    let limit = free_bytes(room).map_err(|source| {
        let url = redact(url);
        FetchError::FreeSpace { url, source }
    })?;
    let gauge = means.begin_download(&redact(url));
    let wanted = Download {
        url,
        authorization,
        reach: Reach::AllButMetadata,
        limit,
        retry: RetryPolicy::default(),
        gauge: Some(&gauge),
    };
    let mut sink = Sink { file, digester: Digester::new() };
    let downloaded = means.runtime.block_on(async {
        tokio::select! {
            done = means.http.download(&wanted, &mut sink) => Ok(done?),
            signal = means.interrupt.raised() => {
                Err(FetchError::Interrupted(Interrupted(signal)))
            }
        }
    })?;
    room.set_mode(path, 0o600).map_err(failed)?;
    if let Some(changed) = downloaded.last_modified {
        room.set_mtime(path, timestamp(changed)).map_err(failed)?;
    }
    Ok(sink.digester.finish())
}

/// Hashes what it writes.
struct Sink {
    file: File,
    digester: Digester,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digester.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn free_bytes(room: &Rootfs) -> io::Result<u64> {
    let statistics = fstatvfs(room.as_fd())?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

fn timestamp(time: SystemTime) -> Timestamp {
    // No server has files from before 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: since.subsec_nanos() }
}

fn is_for_want_of_credentials(error: &DownloadError) -> bool {
    matches!(error, DownloadError::Status { status, .. } if matches!(status.as_u16(), 401 | 403))
}

impl Fault for FetchError {
    fn class(&self) -> Class {
        match self {
            Self::Download(error) => class_of_download(error),
            Self::Git { source, .. } => source.class(),
            Self::Checksum { .. } | Self::Commit { .. } | Self::Directory { .. } => Class::User,
            Self::Interrupted(interrupted) => interrupted.class(),
            Self::Rootfs { source, .. } => match source.raw_os_error() {
                Some(number) => Class::of_io(&io::Error::from_raw_os_error(number)),
                None => Class::User,
            },
            Self::FreeSpace { source, .. } => Class::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Checksum { .. } | Self::Commit { .. } => Some(
                "if that is meant to have changed, change the checksum in the Dockerfile"
                    .to_owned(),
            ),
            Self::Git { source, .. } if source.is_for_want_of_credentials() => Some(
                "a private repository needs a token: `--secret id=GIT_AUTH_TOKEN.HOST,…`"
                    .to_owned(),
            ),
            Self::Git { source, .. } => source.hint(),
            Self::Download(error) if is_for_want_of_credentials(error) => Some(
                "a private file needs a token: `--secret id=HTTP_AUTH_TOKEN_HOST,…`".to_owned(),
            ),
            Self::Download(DownloadError::Http {
                source: HttpError::AddressRefused { .. } | HttpError::HostRefused { .. },
                ..
            }) => Some("cloud metadata and link-local addresses are not for images".to_owned()),
            Self::Download(_)
            | Self::Directory { .. }
            | Self::Interrupted(_)
            | Self::Rootfs { .. }
            | Self::FreeSpace { .. } => None,
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Download(error) => error.is_temporary(),
            Self::Git { source, .. } => source.is_temporary(),
            Self::Interrupted(interrupted) => interrupted.is_temporary(),
            Self::Checksum { .. }
            | Self::Commit { .. }
            | Self::Directory { .. }
            | Self::Rootfs { .. }
            | Self::FreeSpace { .. } => false,
        }
    }
}
