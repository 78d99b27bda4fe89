//! Sparse files: which stretches of a file the archive holds; the rest are holes.
//!
//! Pure. Three writers' forms come here as (offset, length) pairs and leave as a checked map.

use thiserror::Error;

use super::block::BLOCK_SIZE;
use super::pax::decimal;
use crate::archive::limits::SPARSE_REGIONS;

/// A sparse map that does not describe a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SparseError {
    /// The map has no end, holds something else than numbers, or not as many as it says.
    #[error("malformed sparse map")]
    Malformed,
    /// Regions overlap, are out of order or reach past the end of the file.
    #[error("the sparse map's regions are not in order within the file")]
    Order,
    /// A region before the last is not a whole number of blocks.
    #[error("the sparse map has a region of part of a block")]
    Alignment,
    /// The last region does not end where the file does.
    #[error("the sparse map does not reach the end of the file")]
    End,
    /// The regions and the data that follow differ in size.
    #[error("the sparse map covers {mapped} bytes, the entry holds {stored}")]
    Size {
        /// Sum of the regions' lengths.
        mapped: u64,
        /// Bytes of data in the archive.
        stored: u64,
    },
    /// A size in the extended header beside that of the map.
    #[error("a sparse file with a size in its extended header")]
    TwoSizes,
    /// More regions than the limit.
    #[error("the sparse map has more than {SPARSE_REGIONS} regions")]
    TooMany,
    /// A format of sparse files that readers do not agree on.
    #[error("sparse format {0} is not supported")]
    Format(String),
}

/// A stretch of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Returns the map of a file of `size` bytes, of which the archive holds `stored`.
///
/// # Errors
/// [`SparseError::Order`], [`SparseError::Size`] when the pairs are no such map.
pub(super) fn regions(
    pairs: &[(u64, u64)],
    size: u64,
    stored: u64,
) -> Result<Vec<Region>, SparseError> {
    let mut regions = Vec::with_capacity(pairs.len());
    let (mut end, mut mapped) = (0, 0);
    for &(offset, length) in pairs {
        // GNU tar reads each region from a block of its own, others read on where the last ended.
        if length > 0 && mapped % BLOCK_SIZE as u64 != 0 {
            return Err(SparseError::Alignment);
        }
        let next_end = offset.checked_add(length).ok_or(SparseError::Order)?;
        if offset < end || next_end > size {
            return Err(SparseError::Order);
        }
        end = next_end;
        // Cannot overflow: regions do not overlap and end within `size`.
        mapped += length;
        if length > 0 {
            regions.push(Region { offset, length });
        }
    }
    // Writers end a map with an empty region at the file's end. Without it GNU tar leaves the last
    // hole out, and Python does not.
    if end != size {
        return Err(SparseError::End);
    }
    if mapped != stored {
        return Err(SparseError::Size { mapped, stored });
    }
    Ok(regions)
}

/// Parses the map of format 0.1: `OFFSET,LENGTH,OFFSET,LENGTH,…`.
pub(super) fn parse_list(value: &[u8], count: u64) -> Result<Vec<(u64, u64)>, SparseError> {
    let mut numbers = Vec::new();
    for number in value.split(|&byte| byte == b',') {
        numbers.push(decimal(number).ok_or(SparseError::Malformed)?);
        check_count(numbers.len() / 2)?;
    }
    pairs(&numbers, count)
}

/// The map of format 1.0, which stands before the data: a count and then two numbers a region,
/// each a line; padded to whole blocks. Fed byte by byte, because its size is in itself.
#[derive(Debug, Default)]
pub(super) struct MapLines {
    number: Vec<u8>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl MapLines {
    /// Takes the next byte; returns the map's pairs once it is whole.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<Vec<(u64, u64)>>, SparseError> {
        if byte != b'\n' {
            self.number.push(byte);
            // No number has more than 19 digits, so that this never grows.
            return if self.number.len() > 19 { Err(SparseError::Malformed) } else { Ok(None) };
        }
        let number = decimal(&self.number).ok_or(SparseError::Malformed)?;
        self.number.clear();
        let count = match self.count {
            Some(count) => {
                self.numbers.push(number);
                count
            }
            None => {
                check_count(usize::try_from(number).unwrap_or(usize::MAX))?;
                self.count = Some(number);
                number
            }
        };
        // Cannot overflow: the count is within `SPARSE_REGIONS`.
        if self.numbers.len() as u64 == count * 2 {
            return pairs(&self.numbers, count).map(Some);
        }
        Ok(None)
    }
}

fn pairs(numbers: &[u64], count: u64) -> Result<Vec<(u64, u64)>, SparseError> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() as u64 != count {
        return Err(SparseError::Malformed);
    }
    Ok(pairs.iter().map(|&[offset, length]| (offset, length)).collect())
}

/// # Errors
/// [`SparseError::TooMany`] when a map of `count` regions is larger than the limit.
pub(super) fn check_count(count: usize) -> Result<(), SparseError> {
    if count > SPARSE_REGIONS { Err(SparseError::TooMany) } else { Ok(()) }
}
