//! The tar format: bytes in, entries out; no file system.
//!
//! Owns the strict parser. Its rule: what GNU tar, Python's `tarfile` and Go's `archive/tar` read
//! alike is read that way; what any two of them read differently is an error, because then what one
//! of them scanned is not what another unpacks.

mod block;
mod blocks;
mod entry;
mod error;
mod pax;
mod reader;
mod sparse;
mod sparse_map;

pub use block::BlockError;
pub use entry::{Entry, EntryKind, EntryProblem, entry_path, symlink_target};
pub use error::TarError;
pub use pax::PaxError;
pub use reader::{Reader, Segment};
pub use sparse::SparseError;

pub(super) use block::{BLOCK_SIZE, is_header};

#[cfg(test)]
mod tests;
