//! How reading an archive ends when it does not end well.

use std::io;

use thiserror::Error;

use super::block::BlockError;
use super::entry::EntryProblem;
use super::pax::PaxError;
use super::sparse::SparseError;

/// An archive that cannot be read, or not in one way only.
#[derive(Debug, Error)]
pub enum TarError {
    /// The stream below failed; its limits and the decompressor's complaints come this way too.
    #[error("cannot read the archive after {offset} bytes")]
    Read {
        /// Bytes of the (decompressed) archive read before.
        offset: u64,
        /// What the stream said.
        #[source]
        source: io::Error,
    },
    /// The stream ended within a header or a content.
    #[error("the archive ends early, in {within}, after {offset} bytes")]
    Truncated {
        /// Bytes of the archive read before.
        offset: u64,
        /// What was being read.
        within: &'static str,
    },
    /// The stream has not one byte.
    #[error("the archive is empty: it has not even an end")]
    Nothing,
    /// The first block is no header at all.
    #[error("not a tar archive")]
    NotTar,
    /// A header block that is not one.
    #[error("malformed tar header at byte {offset}")]
    Block {
        /// Where the header starts.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: BlockError,
    },
    /// An extended header that is not one.
    #[error("malformed extended tar header at byte {offset}")]
    Pax {
        /// Where the header starts.
        offset: u64,
        /// What is wrong with it.
        #[source]
        source: PaxError,
    },
    /// A second extension header of the same kind before one entry, or none where one must be.
    #[error("misplaced tar header of type `{type_flag}` at byte {offset}")]
    Misplaced {
        /// Where the header starts.
        offset: u64,
        /// Its type.
        type_flag: String,
    },
    /// Extension headers with no entry after them.
    #[error("an extension header at the end of the archive, before byte {offset}")]
    Orphaned {
        /// Where the archive ends.
        offset: u64,
    },
    /// An extension header larger than its limit.
    #[error("tar extension header of {size} bytes at byte {offset}: more than {limit}")]
    ExtensionSize {
        /// Where the header starts.
        offset: u64,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// GNU tar and Python stop at a lone zero block, others go on.
    #[error("a lone zero block at byte {offset}, with more of the archive after it")]
    LoneZeroBlock {
        /// Where the block starts.
        offset: u64,
    },
    /// An entry that cannot be read in one way only.
    #[error("cannot unpack entry `{name}`")]
    Entry {
        /// The entry's name, escaped and cut.
        name: String,
        /// What is wrong with it.
        #[source]
        source: EntryProblem,
    },
    /// A sparse file whose map is wrong.
    #[error("cannot unpack sparse file `{name}`")]
    Sparse {
        /// The entry's name, escaped and cut.
        name: String,
        /// What is wrong with its map.
        #[source]
        source: SparseError,
    },
    /// An entry larger than the limit.
    #[error("entry `{name}` has {size} bytes, more than the {limit} that fit")]
    EntrySize {
        /// The entry's name, escaped and cut.
        name: String,
        /// Its size.
        size: u64,
        /// The limit, [`crate::archive::Limits::entry_bytes`].
        limit: u64,
    },
    /// More entries than the limit.
    #[error("the archive has more than {limit} entries")]
    EntryCount {
        /// The limit, [`crate::archive::Limits::entry_count`].
        limit: u64,
    },
}
