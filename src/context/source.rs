//! Where the files of a context come from, and how they become a directory.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use snapshot::{Rootfs, RootfsPath};

use url::Url;

use super::error::{ContextError, STDIN};
use super::git::GitSource;
use super::object::ObjectSource;
use super::stream::{Ended, Means, unpack_download};
use crate::archive::{Contents, ExtractOptions, Extracted, Ownership, extract, limits_for};
use crate::http::{Download, DownloadError, Reach, RetryPolicy, redact};

/// The kinds of main context.
#[derive(Clone, Debug, PartialEq)]
pub enum ContextSource {
    /// A directory, used in place and never changed.
    Directory(PathBuf),
    /// A tar archive, compressed or not.
    Tar(PathBuf),
    /// A tar archive on standard input.
    TarStdin,
    /// A tar archive behind a URL.
    Url(Url),
    /// A tar archive in a bucket.
    Object(ObjectSource),
    /// A git repository.
    Git(GitSource),
}

impl ContextSource {
    /// Tells whether the files have to be unpacked somewhere.
    pub fn needs_room(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Tar(_) | Self::TarStdin | Self::Url(_) | Self::Object(_) | Self::Git(_) => true,
        }
    }
}

/// Opens a context's directory, or unpacks its archive into `room`, an empty directory. An archive
/// from elsewhere is unpacked while it is downloaded.
///
/// `room` is asked for only where it is needed ([`ContextSource::needs_room`]); the result then is
/// `room` itself, or a directory of it. Whoever made it removes it.
///
/// # Errors
/// [`ContextError`]; half of an archive may be unpacked then.
pub fn open<E: From<ContextError>>(
    source: &ContextSource,
    means: &Means<'_>,
    room: impl FnOnce() -> Result<Rootfs, E>,
) -> Result<Rootfs, E> {
    match source {
        ContextSource::Directory(path) => Ok(open_directory(path)?),
        ContextSource::Tar(path) => {
            let archive = File::open(path).map_err(|source| {
                let path = path.clone();
                ContextError::OpenArchive { path, source }
            })?;
            let room = room()?;
            unpack(archive, &format!("tar://{}", path.display()), &room)?;
            Ok(room)
        }
        ContextSource::TarStdin => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                return Err(ContextError::Terminal.into());
            }
            let room = room()?;
            unpack(stdin, STDIN, &room)?;
            Ok(room)
        }
        ContextSource::Url(url) => {
            let room = room()?;
            unpack_url(url, means, &room)?;
            Ok(room)
        }
        ContextSource::Object(object) => {
            let room = room()?;
            unpack_object(object, means, &room)?;
            Ok(room)
        }
        ContextSource::Git(git) => {
            let room = room()?;
            git.check_out(means, &room)?;
            match &git.sub_path {
                Some(directory) => Ok(enter(&room, directory)?),
                None => Ok(room),
            }
        }
    }
}

fn unpack_url(url: &Url, means: &Means<'_>, room: &Rootfs) -> Result<(), ContextError> {
    let (http, url, name) = (means.http.clone(), url.clone(), redact(url));
    unpack_download(means, &name, room, |mut sink, gauge| async move {
        let wanted = Download {
            url: &url,
            authorization: None,
            // The user named it.
            reach: Reach::Anywhere,
            // What it may become on disk is the archive's limit.
            limit: u64::MAX,
            retry: RetryPolicy::default(),
            gauge: Some(&gauge),
        };
        match http.download(&wanted, &mut sink).await {
            Ok(_) => Ok(()),
            Err(DownloadError::Sink { .. }) => Err(Ended::Unread),
            Err(error) => Err(ContextError::Download(error).into()),
        }
    })
}

fn unpack_object(
    object: &ObjectSource,
    means: &Means<'_>,
    room: &Rootfs,
) -> Result<(), ContextError> {
    let (http, object, name) = (means.http.clone(), object.clone(), object.name());
    unpack_download(means, &name.clone(), room, |mut sink, gauge| async move {
        object.download(&http, &gauge, &mut sink).await.map_err(|failed| failed.named(name))
    })
}

/// Opens a directory as a context.
///
/// # Errors
/// [`ContextError::Open`] when it is none or cannot be opened.
pub fn open_directory(path: &Path) -> Result<Rootfs, ContextError> {
    Rootfs::open(path).map_err(|source| ContextError::Open { path: path.to_owned(), source })
}

/// Unpacks an archive, whatever compresses it, into `room`; `name` is for messages. Its files get
/// whoever runs this as owner: of a context only content, mode and time are used.
///
/// # Errors
/// [`ContextError::EmptyArchive`], [`ContextError::ReadArchive`], [`ContextError::Unpack`].
pub fn unpack(
    archive: impl Read + Send,
    name: &str,
    room: &Rootfs,
) -> Result<Extracted, ContextError> {
    let name = || name.to_owned();
    let mut archive = BufReader::new(archive);
    match archive.fill_buf() {
        Ok([]) => return Err(ContextError::EmptyArchive { name: name() }),
        Ok(_) => {}
        Err(source) => return Err(ContextError::ReadArchive { name: name(), source }),
    }
    let limits =
        limits_for(room).map_err(|source| ContextError::ReadArchive { name: name(), source })?;
    let options =
        ExtractOptions { limits, ownership: Ownership::Process, contents: Contents::Ignore };
    extract(archive, room, &RootfsPath::root(), &options)
        .map_err(|source| ContextError::Unpack { name: name(), source })
}

/// Returns the directory `sub_path` of a context as a context of its own. Links in it are followed
/// inside the context.
///
/// # Errors
/// [`ContextError::SubPath`] when it is no directory.
pub fn enter(context: &Rootfs, sub_path: &Path) -> Result<Rootfs, ContextError> {
    let path = RootfsPath::new(sub_path.as_os_str().as_bytes())
        .map_err(|source| ContextError::SubPathName { path: sub_path.to_owned(), source })?;
    context
        .subtree(&path)
        .map_err(|source| ContextError::SubPath { path: sub_path.to_owned(), source })
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
