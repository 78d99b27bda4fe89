//! One try at a layer: entries in order, each with its header, through the pipeline.

use std::collections::HashMap;
use std::io;
use std::thread;

use tar::EntryType;

use super::compress::{CopyError, Encoded, Encoder, Stopped};
use super::content::{Body, Buffered, ContentReader, Contents, Loaded};
use super::error::LayerError;
use super::header::{BLOCK, EntryHeader, padding};
use super::plan::{Node, Planned};
use super::read_ahead::ReadAhead;
use super::sink::BlobSink;
use super::stats::{LayerStats, Skipped};
use super::{LayerOptions, Listener, MtimeRule};
use crate::digest::{Digest, Digester};
use crate::metadata::{FileKind, InodeId, Timestamp};
use crate::path::RootfsPath;
use crate::xattr::Xattrs;

/// How a try ended.
pub(super) enum Outcome<S> {
    /// The layer is in the sink.
    Written(Encoded, S),
    /// The tree changed; the sink has some part of a layer.
    Raced(LayerError, S),
}

/// Why a try stops before its end.
enum Stop {
    /// The pipeline is gone, and knows why.
    Stopped,
    Failed(LayerError),
}

impl From<Stopped> for Stop {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<LayerError> for Stop {
    fn from(error: LayerError) -> Self {
        Self::Failed(error)
    }
}

/// What a try tells its caller on the way.
pub(super) struct Report<'a> {
    pub(super) stats: &'a mut LayerStats,
    pub(super) listener: &'a mut dyn Listener,
}

/// Writes the layer once, from its first byte.
pub(super) fn try_once<S: BlobSink>(
    contents: &Contents,
    planned: &[Planned<'_>],
    options: &LayerOptions,
    sink: S,
    report: Report<'_>,
) -> Result<Outcome<S>, LayerError> {
    thread::scope(|scope| {
        let mut writer = Writer {
            encoder: Encoder::start(scope, options.compression, options.threads, sink),
            reader: ContentReader::new(contents),
            mtime: options.mtime,
            header: Vec::new(),
            digests: HashMap::new(),
            report,
        };
        let ahead = ReadAhead::start(scope, planned, contents, options.threads);
        let written = writer.entries(planned, ahead);
        let encoder = writer.encoder;
        let sink_error = |source| LayerError::Sink { source };
        match written {
            Ok(()) => {
                let (encoded, sink) = encoder.finish().map_err(sink_error)?;
                Ok(Outcome::Written(encoded, sink))
            }
            Err(Stop::Failed(error)) if error.is_race() => {
                Ok(Outcome::Raced(error, encoder.abandon().map_err(sink_error)?))
            }
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Stopped) => {
                Err(sink_error(encoder.abandon().err().unwrap_or_else(ended_early)))
            }
        }
    })
}

fn ended_early() -> io::Error {
    io::Error::other("a thread of the layer ended early")
}

struct Writer<'scope, 'c, 'r, S> {
    encoder: Encoder<'scope, S>,
    /// For large files, read by this thread.
    reader: ContentReader<'c>,
    mtime: MtimeRule,
    /// Kept for its memory.
    header: Vec<u8>,
    /// Content digests of inodes with several names, for the names after the first.
    digests: HashMap<InodeId, Digest>,
    report: Report<'r>,
}

impl<'scope, S: BlobSink + 'scope> Writer<'scope, '_, '_, S> {
    fn entries(&mut self, planned: &[Planned<'_>], mut ahead: ReadAhead<'_>) -> Result<(), Stop> {
        self.report.listener.begin();
        for entry in planned {
            let loaded = ahead.next()?;
            let name = entry.archive_name();
            match entry {
                Planned::Whiteout(change) => self.whiteout(&change.path, &name)?,
                Planned::Node(node) => self.node(node, &name, loaded)?,
            }
            self.report.stats.entry_count += 1;
        }
        // Two blocks of zeros end an archive.
        self.encoder.write(&[0; 2 * BLOCK])?;
        Ok(())
    }

    fn whiteout(&mut self, path: &RootfsPath, name: &[u8]) -> Result<(), Stop> {
        self.report.stats.whiteout_count += 1;
        let header = EntryHeader {
            name,
            entry_type: EntryType::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::EPOCH,
            link_name: b"",
            device: (0, 0),
            xattrs: &Xattrs::new(),
        };
        self.write_header(path, &header)
    }

    fn node(&mut self, node: &Node<'_>, name: &[u8], loaded: Loaded) -> Result<(), Stop> {
        let Node { path, metadata, link } = *node;
        let Loaded { mut xattrs, body } = loaded;
        for (name, _) in xattrs.extract_if(.., |name, _| name.contains(&b'=')) {
            self.report.stats.skipped.add(Skipped::Xattr { path: path.clone(), name });
        }
        let header = EntryHeader {
            name,
            entry_type: entry_type(metadata.kind),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            size: 0,
            mtime: self.mtime.apply(metadata.mtime),
            link_name: b"",
            device: (metadata.rdev_major, metadata.rdev_minor),
            xattrs: &xattrs,
        };
        match (link, body) {
            (Some(first), _) => self.hard_link(node, first, header),
            (None, Body::None) => self.write_header(path, &header),
            (None, Body::Target(target)) => {
                self.report_content(node, Digest::of(&target));
                self.write_header(path, &EntryHeader { link_name: &target, ..header })
            }
            (None, Body::Buffered(buffered)) => self.buffered(node, header, &buffered),
            (None, Body::Streamed) => self.streamed(node, header),
        }
    }

    /// Writes a further name of an inode.
    ///
    /// Owner, mode, times and attributes are repeated: Docker's and containerd's extractors change
    /// the owner of a link after making it, and that strips an inode of its file capabilities,
    /// which only the attributes of this very entry put back.
    fn hard_link(
        &mut self,
        node: &Node<'_>,
        first: &RootfsPath,
        header: EntryHeader<'_>,
    ) -> Result<(), Stop> {
        self.report.stats.hard_link_count += 1;
        if let Some(&digest) = self.digests.get(&node.metadata.inode()) {
            self.report.listener.content(node.path, &digest);
        }
        let link_name = first.as_bytes();
        let header =
            EntryHeader { entry_type: EntryType::Link, link_name, device: (0, 0), ..header };
        self.write_header(node.path, &header)
    }

    fn buffered(
        &mut self,
        node: &Node<'_>,
        header: EntryHeader<'_>,
        buffered: &Buffered,
    ) -> Result<(), Stop> {
        let Buffered { bytes, digest, mtime } = buffered;
        let size = bytes.len() as u64;
        let mtime = mtime.map_or(header.mtime, |mtime| self.mtime.apply(mtime));
        self.write_header(node.path, &EntryHeader { size, mtime, ..header })?;
        self.report.listener.bytes(bytes);
        self.encoder.write(bytes)?;
        self.end_content(node, size, *digest)
    }

    fn streamed(&mut self, node: &Node<'_>, header: EntryHeader<'_>) -> Result<(), Stop> {
        let mut stream = self.reader.open_stream(node)?;
        let size = stream.size();
        let mtime = stream.mtime().map_or(header.mtime, |mtime| self.mtime.apply(mtime));
        self.write_header(node.path, &EntryHeader { size, mtime, ..header })?;
        let mut digester = Digester::new();
        let (encoder, listener) = (&mut self.encoder, &mut *self.report.listener);
        let read = encoder.write_from(&mut stream, size, &mut |bytes| {
            digester.update(bytes);
            listener.bytes(bytes);
        });
        let read = read.map_err(|error| match error {
            CopyError::Stopped => Stop::Stopped,
            CopyError::Read(error) => Stop::Failed(stream.failed(error)),
        })?;
        stream.check(read)?;
        self.end_content(node, size, digester.finish())
    }

    fn end_content(&mut self, node: &Node<'_>, size: u64, digest: Digest) -> Result<(), Stop> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        self.encoder.write(ZEROS.get(..padding(size)).unwrap_or_default())?;
        let stats = &mut self.report.stats;
        stats.opened_count += 1;
        stats.read_bytes += size;
        stats.hashed_bytes += size;
        self.report_content(node, digest);
        Ok(())
    }

    fn report_content(&mut self, node: &Node<'_>, digest: Digest) {
        if node.metadata.nlink > 1 {
            self.digests.insert(node.metadata.inode(), digest);
        }
        self.report.listener.content(node.path, &digest);
    }

    fn write_header(&mut self, path: &RootfsPath, header: &EntryHeader<'_>) -> Result<(), Stop> {
        self.header.clear();
        header
            .append_to(&mut self.header)
            .map_err(|source| LayerError::Header { path: path.clone(), source })?;
        self.report.listener.header(&self.header);
        self.encoder.write(&self.header)?;
        Ok(())
    }
}

fn entry_type(kind: FileKind) -> EntryType {
    match kind {
        FileKind::Directory => EntryType::Directory,
        FileKind::Symlink => EntryType::Symlink,
        FileKind::CharDevice => EntryType::Char,
        FileKind::BlockDevice => EntryType::Block,
        FileKind::Fifo => EntryType::Fifo,
        // Sockets are not planned.
        FileKind::Regular | FileKind::Socket => EntryType::Regular,
    }
}
