//! Reads the map of a sparse file, which stands in its header, in blocks after it, in an extended
//! header or before the data.

use std::io::BufRead;

use super::block::{BLOCK_SIZE, Block, BlockError, sparse_block};
use super::blocks::Blocks;
use super::entry::EntryProblem;
use super::error::TarError;
use super::pax::SparseKeys;
use super::sparse::{MapLines, SparseError, check_count, parse_list};

const BLOCK_BYTES: u64 = BLOCK_SIZE as u64;

/// Which stretches of a file an entry holds.
pub(super) struct SparseMap {
    /// Size of the file.
    pub(super) size: u64,
    /// Bytes of data that follow the map.
    pub(super) stored: u64,
    /// Offset and length of each stretch, unchecked.
    pub(super) pairs: Vec<(u64, u64)>,
}

/// Why a map cannot be read; the caller knows the entry's name.
#[derive(Debug)]
pub(super) enum MapError {
    Sparse(SparseError),
    Field(EntryProblem),
    Tar(TarError),
}

impl From<SparseError> for MapError {
    fn from(error: SparseError) -> Self {
        Self::Sparse(error)
    }
}

impl From<BlockError> for MapError {
    fn from(error: BlockError) -> Self {
        Self::Field(error.into())
    }
}

impl From<TarError> for MapError {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

/// Returns the map of a sparse file, having read those parts of it that follow the header;
/// `None` for an ordinary file of `stored` bytes.
pub(super) fn read_map<R: BufRead>(
    blocks: &mut Blocks<R>,
    block: &Block,
    keys: Option<&SparseKeys>,
    stored: u64,
) -> Result<Option<SparseMap>, MapError> {
    let none = SparseKeys::default();
    let keys = keys.unwrap_or(&none);
    if block.type_flag() == b'S' {
        if *keys != none {
            return Err(SparseError::Format("GNU and PAX at once".to_owned()).into());
        }
        let size = block.sparse_size()?;
        let mut part = block.sparse()?;
        let mut pairs = part.pairs;
        while part.more {
            let within = "a sparse map";
            let bytes = blocks.expect_next(within)?;
            part = sparse_block(&bytes)?;
            pairs.append(&mut part.pairs);
            check_count(pairs.len())?;
        }
        return Ok(Some(SparseMap { size, stored, pairs }));
    }
    match (keys.major, keys.minor, keys.real_size, keys.size, &keys.map) {
        (None, None, None, None, None) if *keys == none => Ok(None),
        (Some(1), Some(0), Some(size), None, None) if keys.block_count.is_none() => {
            let (pairs, map_bytes) = read_map_lines(blocks, stored)?;
            let stored = stored.checked_sub(map_bytes).ok_or(SparseError::Malformed)?;
            Ok(Some(SparseMap { size, stored, pairs }))
        }
        (None, None, None, Some(size), Some(map)) => {
            let count = keys.block_count.ok_or(SparseError::Malformed)?;
            Ok(Some(SparseMap { size, stored, pairs: parse_list(map, count)? }))
        }
        (major, minor, ..) => {
            let shown = |number: Option<u64>| number.map_or("?".to_owned(), |n| n.to_string());
            Err(SparseError::Format(format!("{}.{}", shown(major), shown(minor))).into())
        }
    }
}

/// Reads the map at the start of a content of `stored` bytes; returns it and its size.
fn read_map_lines<R: BufRead>(
    blocks: &mut Blocks<R>,
    stored: u64,
) -> Result<(Vec<(u64, u64)>, u64), MapError> {
    let mut lines = MapLines::default();
    let mut map_bytes = 0;
    while map_bytes < stored {
        let within = "a sparse map";
        let bytes = blocks.expect_next(within)?;
        map_bytes += BLOCK_BYTES;
        let mut pairs = None;
        for byte in bytes {
            match &pairs {
                None => pairs = lines.push(byte)?,
                Some(_) if byte == 0 => {}
                Some(_) => return Err(SparseError::Malformed.into()),
            }
        }
        if let Some(pairs) = pairs {
            return Ok((pairs, map_bytes));
        }
    }
    Err(SparseError::Malformed.into())
}
