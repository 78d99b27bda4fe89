//! Writes a changeset as a layer: tar, digests, compression and sink in one pass.
//!
//! Owns the layer format. Knows nothing of images or registries; what it makes is a blob with its
//! two digests. The idea to hold in mind: the bytes depend on the changeset and the tree alone, not
//! on threads, timing, snapshot mode or (as far as it can say the same) the file system.
//!
//! ```text
//! Changeset ─► plan (order, whiteouts, hard links)
//!                ├─► read ahead: small files, link targets, attributes   (threads)
//!                └─► writer: headers, bytes ─► compress ─► sink          (threads)
//! ```
//!
//! What is in a layer: entries sorted by name, parents first, each path once; names relative,
//! directories' with a slash at the end, the root as `./`; PAX records only for what ustar cannot
//! say, no access or change times, no user names; hard links to the first name of their inode;
//! whiteouts as `.wh.NAME`, never opaque ones; two zero blocks at the end.

mod compress;
mod compression;
mod content;
mod error;
mod expected;
mod hardlink;
mod header;
mod listener;
mod plan;
mod read_ahead;
mod sink;
mod stats;
mod whiteout;
mod writer;

use std::num::NonZeroUsize;

pub use compression::{Compression, GzipLevel, LevelError, ZstdLevel};
pub use content::{Content, Contents};
pub use error::LayerError;
pub use expected::{Changed, Expected};
pub use header::HeaderError;
pub use listener::Listener;
pub use sink::BlobSink;
pub use stats::{LayerStats, Skipped, Skips};

use crate::change::Changeset;
use crate::digest::Digest;
use crate::metadata::Timestamp;
use writer::{Outcome, Report};

/// What happens to modification times on their way into a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MtimeRule {
    /// They are kept, to the nanosecond.
    #[default]
    Keep,
    /// Every entry gets this one.
    Set(Timestamp),
    /// Later ones become this one (as `SOURCE_DATE_EPOCH` asks).
    AtMost(Timestamp),
}

impl MtimeRule {
    /// Returns what a layer says of a time.
    pub fn apply(self, mtime: Timestamp) -> Timestamp {
        match self {
            Self::Keep => mtime,
            Self::Set(fixed) => fixed,
            Self::AtMost(latest) => mtime.min(latest),
        }
    }
}

/// How a layer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerOptions {
    /// The blob's compression.
    pub compression: Compression,
    /// Threads that compress, of which at most 8 are used. The bytes do not depend on it.
    pub threads: NonZeroUsize,
    /// What becomes of modification times.
    pub mtime: MtimeRule,
}

/// A layer that is in its sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// Digest of the blob, compressed.
    pub digest: Digest,
    /// Digest of the tar.
    pub diff_id: Digest,
    /// Size of the blob in bytes.
    pub size_bytes: u64,
    /// Size of the tar in bytes.
    pub tar_bytes: u64,
    /// How the blob is compressed.
    pub compression: Compression,
    /// What it took.
    pub stats: LayerStats,
}

/// Writes the layer that `changes` make into `sink`, and returns the sink with all of it.
///
/// Every file is opened and read once. Where one changes under the reader, or is gone, the layer is
/// begun again, once ([`BlobSink::restart`], [`Listener::begin`]).
///
/// # Errors
/// [`LayerError::Changed`] and [`LayerError::Vanished`] when that happens again, and whatever else
/// reading, the format or the sink refuse.
pub fn write_layer<S: BlobSink>(
    contents: &Contents,
    changes: &Changeset,
    options: &LayerOptions,
    mut sink: S,
    listener: &mut dyn Listener,
) -> Result<(WrittenLayer, S), LayerError> {
    let mut stats = LayerStats::default();
    let planned = plan::plan(changes, &mut stats.skipped)?;
    loop {
        let report = Report { stats: &mut stats, listener: &mut *listener };
        match writer::try_once(contents, &planned, options, sink, report)? {
            Outcome::Written(encoded, sink) => {
                let layer = WrittenLayer {
                    digest: encoded.digest,
                    diff_id: encoded.diff_id,
                    size_bytes: encoded.size_bytes,
                    tar_bytes: encoded.tar_bytes,
                    compression: options.compression,
                    stats,
                };
                return Ok((layer, sink));
            }
            Outcome::Raced(error, _) if stats.restart_count > 0 => return Err(error),
            Outcome::Raced(error, partial) => {
                tracing::debug!(%error, "the layer is begun again");
                stats.restart_count += 1;
                sink = partial;
                sink.restart().map_err(|source| LayerError::Sink { source })?;
            }
        }
    }
}

#[cfg(test)]
mod tests;
