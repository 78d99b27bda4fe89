//! Where the content of a layer's entries is, and how one entry's content is read.
//!
//! Owns [`Contents`] and the reading of everything but large files, which the writer streams. The
//! idea to hold in mind: a regular file counts as read only when it looks the same (size, times)
//! before and after, so that a layer never holds half of one state and half of another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::LayerError;
use super::expected::Expected;
use super::plan::{Node, Planned};
use crate::digest::Digest;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::RootfsPath;
use crate::rootfs::{self, Directory, Operation, Rootfs, RootfsError};
use crate::xattr::Xattrs;

/// Files up to this size are read whole, ahead of their header; larger ones are streamed.
pub(super) const BUFFERED_SIZE: u64 = 1 << 20;

/// The content of one entry: a file's bytes, a link's target, and extended attributes.
#[derive(Debug, Clone)]
pub enum Content {
    /// At the entry's own path in a stage's root.
    Rootfs(Rootfs),
    /// Bytes and link target at some path of another tree: a build context, another stage.
    Context {
        /// The tree.
        root: Rootfs,
        /// The path in it.
        path: RootfsPath,
        /// The attributes that the entry gets, whatever it has there.
        xattrs: Xattrs,
        /// What a regular file is expected to be, where somebody wants to know.
        expected: Option<Expected>,
    },
    /// In an archive that nobody changes any more.
    Archive {
        /// The archive, not compressed.
        file: Arc<File>,
        /// Where a regular file's bytes begin, of which there are as many as its metadata say.
        offset_bytes: u64,
        /// The target of a symbolic link.
        link_target: Vec<u8>,
        /// The attributes that the entry gets.
        xattrs: Xattrs,
    },
    /// In memory: what a Dockerfile says itself, and directories that are nowhere.
    Held {
        /// A regular file's bytes or a symbolic link's target.
        bytes: Arc<[u8]>,
        /// The attributes that the entry gets.
        xattrs: Xattrs,
    },
}

/// Where the content of each change is.
///
/// A layer needs no root file system: where every path's content is in a context or an archive,
/// none is asked for.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    usual: Option<Content>,
    elsewhere: HashMap<RootfsPath, Content>,
    read_bytes: Arc<AtomicU64>,
}

impl Contents {
    /// Every path's content is at that path of `root`.
    pub fn in_rootfs(root: Rootfs) -> Self {
        Self { usual: Some(Content::Rootfs(root)), ..Self::default() }
    }

    /// Nothing's content is known, until [`Contents::insert`] says so.
    pub fn none() -> Self {
        Self::default()
    }

    /// Counts the bytes of files in `counter` while they are read; those of a layer that is begun
    /// again, twice.
    pub fn counted_by(self, counter: Arc<AtomicU64>) -> Self {
        Self { read_bytes: counter, ..self }
    }

    /// Says where the content of `path` is.
    pub fn insert(&mut self, path: RootfsPath, content: Content) {
        self.elsewhere.insert(path, content);
    }

    fn get(&self, path: &RootfsPath) -> Option<&Content> {
        self.elsewhere.get(path).or(self.usual.as_ref())
    }
}

/// What an entry's header and body need beyond its metadata.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) xattrs: Xattrs,
    pub(super) body: Body,
}

#[derive(Debug, Default)]
pub(super) enum Body {
    /// A directory, device node, named pipe, hard link or whiteout.
    #[default]
    None,
    /// A symbolic link's target.
    Target(Vec<u8>),
    /// A small file, read.
    Buffered(Buffered),
    /// A file too large to hold, to be opened when its turn comes.
    Streamed,
}

#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
    /// As [`Stream::mtime`].
    pub(super) mtime: Option<Timestamp>,
}

/// Reads what entries need, directory by directory.
pub(super) struct ContentReader<'a> {
    contents: &'a Contents,
    /// The directory of the entry read last; the next one is most often in it too.
    directory: Option<Directory>,
}

impl<'a> ContentReader<'a> {
    pub(super) fn new(contents: &'a Contents) -> Self {
        Self { contents, directory: None }
    }

    /// Reads attributes, link target and a small file's bytes.
    pub(super) fn load(&mut self, planned: &Planned<'_>) -> Result<Loaded, LayerError> {
        match planned {
            Planned::Whiteout(_) => Ok(Loaded::default()),
            Planned::Node(node) => self.load_node(node).map_err(|error| raced(error, node.path)),
        }
    }

    fn load_node(&mut self, node: &Node<'_>) -> Result<Loaded, LayerError> {
        let content = self.content(node.path)?;
        let body = match (node.link, node.metadata.kind) {
            (None, FileKind::Symlink) => Body::Target(self.link_target(node.path, content)?),
            (None, FileKind::Regular) if node.metadata.size > BUFFERED_SIZE => Body::Streamed,
            (None, FileKind::Regular) => {
                let stream = self.open(node)?;
                let xattrs = match (content, &stream.source) {
                    // One call on the open file in place of four on its name.
                    (Content::Rootfs(_), Source::File { file, .. }) => {
                        rootfs::open_file_xattrs(file.as_fd()).map_err(|errno| RootfsError::Io {
                            operation: Operation::ReadXattrs,
                            path: node.path.clone(),
                            source: errno.into(),
                        })?
                    }
                    _ => self.xattrs(node.path, content)?,
                };
                // Grown since it was looked at.
                if stream.size() > BUFFERED_SIZE {
                    return Ok(Loaded { xattrs, body: Body::Streamed });
                }
                return Ok(Loaded { xattrs, body: Body::Buffered(stream.read_whole()?) });
            }
            _ => Body::None,
        };
        Ok(Loaded { xattrs: self.xattrs(node.path, content)?, body })
    }

    /// Opens a regular file to be streamed.
    pub(super) fn open_stream(&mut self, node: &Node<'_>) -> Result<Stream, LayerError> {
        self.open(node).map_err(|error| raced(error, node.path))
    }

    fn open(&mut self, node: &Node<'_>) -> Result<Stream, LayerError> {
        let path = node.path.clone();
        let (root, at, mtime_is_own, expected) = match self.content(node.path)? {
            Content::Rootfs(root) => (root, node.path, true, None),
            // The entry's times are what the copy gives it, not the source's.
            Content::Context { root, path: at, expected, .. } => {
                (root, at, false, expected.as_ref())
            }
            Content::Archive { file, offset_bytes, .. } => {
                let (file, offset) = (Arc::clone(file), *offset_bytes);
                let size = node.metadata.size;
                let source = Source::Member { file, offset, size, left: size };
                return Ok(Stream { path, source, read_bytes: self.contents.read_bytes.clone() });
            }
            Content::Held { bytes, .. } => {
                let source = Source::Held { bytes: Arc::clone(bytes), at: 0 };
                return Ok(Stream { path, source, read_bytes: self.contents.read_bytes.clone() });
            }
        };
        let (directory, name) = self.directory(root, at)?;
        let file = directory.open_file(name)?;
        let stamp = Stamp::of(&file, &path)?;
        expected.iter().for_each(|it| it.check(at, Metadata::of(&file).ok().as_ref()));
        let source = Source::File { file, stamp, mtime_is_own };
        Ok(Stream { path, source, read_bytes: self.contents.read_bytes.clone() })
    }

    fn content(&self, path: &RootfsPath) -> Result<&'a Content, LayerError> {
        self.contents.get(path).ok_or_else(|| LayerError::NoContent { path: path.clone() })
    }

    fn link_target(&mut self, path: &RootfsPath, content: &Content) -> Result<Vec<u8>, LayerError> {
        let (root, at) = match content {
            Content::Rootfs(root) => (root, path),
            Content::Context { root, path: at, .. } => (root, at),
            Content::Archive { link_target, .. } => return Ok(link_target.clone()),
            Content::Held { bytes, .. } => return Ok(bytes.to_vec()),
        };
        let (directory, name) = self.directory(root, at)?;
        Ok(directory.read_link(name)?)
    }

    fn xattrs(&mut self, path: &RootfsPath, content: &Content) -> Result<Xattrs, LayerError> {
        match content {
            Content::Rootfs(root) => {
                let (directory, name) = self.directory(root, path)?;
                Ok(directory.xattrs(name)?)
            }
            Content::Context { xattrs, .. }
            | Content::Archive { xattrs, .. }
            | Content::Held { xattrs, .. } => Ok(xattrs.clone()),
        }
    }

    /// Returns the directory that `path` is in, and its name there.
    fn directory<'p>(
        &mut self,
        root: &Rootfs,
        path: &'p RootfsPath,
    ) -> Result<(&Directory, &'p [u8]), LayerError> {
        let (parent, name) = path.split_last().unwrap_or((b"", b"."));
        // A handle's number names one root only while that is open, and the directory keeps it so.
        let known = self.directory.take().filter(|directory| {
            directory.path().as_bytes() == parent
                && directory.rootfs().as_fd().as_raw_fd() == root.as_fd().as_raw_fd()
        });
        let directory = match known {
            Some(directory) => directory,
            None => root.open_dir(&path.parent().unwrap_or_default())?,
        };
        Ok((self.directory.insert(directory), name))
    }
}

/// A regular file's bytes, open to be read once.
pub(super) struct Stream {
    /// The entry's path, for messages.
    path: RootfsPath,
    source: Source,
    /// As [`Contents::counted_by`].
    read_bytes: Arc<AtomicU64>,
}

enum Source {
    File { file: File, stamp: Stamp, mtime_is_own: bool },
    Member { file: Arc<File>, offset: u64, size: u64, left: u64 },
    Held { bytes: Arc<[u8]>, at: usize },
}

impl Stream {
    /// Returns how many bytes there are.
    pub(super) fn size(&self) -> u64 {
        match self.source {
            Source::File { stamp, .. } => stamp.size,
            Source::Member { size, .. } => size,
            Source::Held { ref bytes, .. } => bytes.len() as u64,
        }
    }

    /// Returns the modification time that goes with the bytes, where that is the file's: should it
    /// have changed since the snapshot, times and bytes still belong together.
    pub(super) fn mtime(&self) -> Option<Timestamp> {
        match self.source {
            Source::File { stamp, mtime_is_own: true, .. } => Some(stamp.mtime),
            _ => None,
        }
    }

    /// Checks that `read` bytes were all there are, and that they are of one state.
    pub(super) fn check(&self, read: u64) -> Result<(), LayerError> {
        match &self.source {
            Source::File { file, stamp, .. } => {
                if read != stamp.size || Stamp::of(file, &self.path)? != *stamp {
                    return Err(LayerError::Changed { path: self.path.clone() });
                }
                Ok(())
            }
            Source::Member { size, .. } if read != *size => {
                Err(self.failed(io::ErrorKind::UnexpectedEof.into()))
            }
            Source::Member { .. } | Source::Held { .. } => Ok(()),
        }
    }

    /// Returns the error that reading failed with.
    pub(super) fn failed(&self, source: io::Error) -> LayerError {
        let path = self.path.clone();
        match self.source {
            Source::File { .. } => {
                RootfsError::Io { operation: Operation::ReadFile, path, source }.into()
            }
            Source::Member { .. } | Source::Held { .. } => LayerError::Archive { path, source },
        }
    }

    fn read_whole(mut self) -> Result<Buffered, LayerError> {
        let size = self.size();
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // One byte more than there should be shows a file that grows.
        let read = self.by_ref().take(size + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(error))?;
        self.check(bytes.len() as u64)?;
        Ok(Buffered { digest: Digest::of(&bytes), mtime: self.mtime(), bytes })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::File { file, .. } => file.read(buffer)?,
            Source::Member { file, offset, left, .. } => {
                // The member ends where its metadata say, not where the archive does.
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                let read = file.read_at(buffer.get_mut(..most).unwrap_or_default(), *offset)?;
                *offset += read as u64;
                *left -= read as u64;
                read
            }
            Source::Held { bytes, at } => {
                let mut rest = bytes.get(*at..).unwrap_or_default();
                let read = rest.read(buffer)?;
                *at += read;
                read
            }
        };
        self.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Size and times of an open file, to tell whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl Stamp {
    fn of(file: &File, path: &RootfsPath) -> Result<Self, LayerError> {
        let stat = rustix::fs::fstat(file).map_err(|errno| RootfsError::Io {
            operation: Operation::Stat,
            path: path.clone(),
            source: errno.into(),
        })?;
        let time = |seconds, nanoseconds: u64| Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Ok(Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        })
    }
}

/// Tells an entry that is not what the snapshot saw from one that cannot be read.
fn raced(error: LayerError, path: &RootfsPath) -> LayerError {
    match &error {
        LayerError::Rootfs(source) if source.is_missing() => {
            LayerError::Vanished { path: path.clone() }
        }
        LayerError::Rootfs(RootfsError::NotRegular { .. }) => {
            LayerError::Changed { path: path.clone() }
        }
        // `readlink` of what is no link.
        LayerError::Rootfs(RootfsError::Io { operation: Operation::ReadLink, source, .. })
            if source.kind() == io::ErrorKind::InvalidInput =>
        {
            LayerError::Changed { path: path.clone() }
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests;
