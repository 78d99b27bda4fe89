//! Reads an archive's entries and their contents, one after the other, from a stream.

use std::io::BufRead;

use snapshot::path::Escaped;

use super::block::{BLOCK_SIZE, Block, Dialect};
use super::blocks::Blocks;
use super::entry::{Entry, EntryProblem, Extensions, entry, raw_name};
use super::error::TarError;
use super::pax::{self, Extended};
use super::sparse::{Region, SparseError, regions};
use super::sparse_map::{MapError, read_map};
use crate::archive::limits::{EXTENDED_HEADER_BYTES, GNU_NAME_BYTES, Limits};

const BLOCK_BYTES: u64 = BLOCK_SIZE as u64;
const ZERO_BLOCK: [u8; BLOCK_SIZE] = [0; BLOCK_SIZE];

/// A stretch of an entry's content.
#[derive(Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// So many zeros, which the archive does not hold.
    Hole(u64),
}

/// Reads a tar stream, already decompressed.
///
/// [`Reader::next_entry`] until it returns `None`; in between, [`Reader::next_segment`] gives the
/// content of the entry returned last. What is not read of a content is passed over.
pub struct Reader<R> {
    blocks: Blocks<R>,
    limits: Limits,
    entry_count: u64,
    content: Content,
    ended: bool,
}

/// What is left of the current entry's content.
#[derive(Default)]
struct Content {
    /// Data regions not handed out yet, last first.
    regions: Vec<Region>,
    /// Where in the file the next segment starts.
    position: u64,
    /// Size of the file.
    size: u64,
    /// Bytes of data still in the stream, those lent included.
    stored: u64,
    /// Zeros after the data.
    padding: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the archive in `source` from its start. `limits.stream_bytes` and `limits.ratio` are
    /// kept where the stream is decompressed, not here.
    pub fn new(source: R, limits: Limits) -> Self {
        Self {
            blocks: Blocks::new(source),
            limits,
            entry_count: 0,
            content: Content::default(),
            ended: false,
        }
    }

    /// Returns how many bytes of the archive were read.
    pub fn offset(&self) -> u64 {
        self.blocks.offset()
    }

    /// Returns the stream.
    pub fn get_ref(&self) -> &R {
        self.blocks.get_ref()
    }

    /// Returns how many entries were returned.
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// Returns the next entry; `None` at the end, when the whole stream has been read, whatever
    /// follows the archive's end in it included.
    ///
    /// # Errors
    /// See [`TarError`]. Nothing can be read after one.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let start = self.offset();
            let Some(bytes) = self.blocks.next()? else {
                // GNU tar, Python and Go all take an archive without an end mark, but not nothing.
                if start == 0 {
                    return Err(TarError::Nothing);
                }
                return self.end(&extensions);
            };
            if bytes == ZERO_BLOCK {
                if self.blocks.next()?.is_some_and(|second| second != ZERO_BLOCK) {
                    return Err(TarError::LoneZeroBlock { offset: start });
                }
                return self.end(&extensions);
            }
            let block = Block::parse(bytes).map_err(|source| {
                if start == 0 {
                    TarError::NotTar
                } else {
                    TarError::Block { offset: start, source }
                }
            })?;
            match block.type_flag() {
                b'x' => {
                    let data = self.read_records(&block, start)?;
                    let extended = Extended::parse(&data)
                        .map_err(|source| TarError::Pax { offset: start, source })?;
                    put(&mut extensions.extended, extended, &block, start)?;
                }
                b'g' => {
                    let data = self.read_records(&block, start)?;
                    pax::check_global(&data)
                        .map_err(|source| TarError::Pax { offset: start, source })?;
                    // Readers differ in whether what came before still counts for the next entry.
                    if extensions.any() {
                        return Err(misplaced(&block, start));
                    }
                    extensions.global = true;
                }
                b'L' => {
                    let name = self.read_name(&block, start)?;
                    put(&mut extensions.long_name, name, &block, start)?;
                }
                b'K' => {
                    let name = self.read_name(&block, start)?;
                    put(&mut extensions.long_link, name, &block, start)?;
                }
                _ => return self.open_entry(&block, extensions, start).map(Some),
            }
        }
    }

    /// Returns the next stretch of the current entry's content, `None` after the last one.
    ///
    /// # Errors
    /// [`TarError::Read`], [`TarError::Truncated`].
    pub fn next_segment(&mut self) -> Result<Option<Segment<'_>>, TarError> {
        let content = &mut self.content;
        let Some(region) = content.regions.last_mut() else {
            let hole = content.size - content.position;
            content.position = content.size;
            return Ok((hole > 0).then_some(Segment::Hole(hole)));
        };
        if region.offset > content.position {
            let hole = region.offset - content.position;
            content.position = region.offset;
            return Ok(Some(Segment::Hole(hole)));
        }
        let data = self.blocks.lend(region.length)?;
        let length = data.len() as u64;
        content.position += length;
        content.stored -= length;
        region.offset += length;
        region.length -= length;
        if region.length == 0 {
            content.regions.pop();
        }
        Ok(Some(Segment::Data(data)))
    }

    /// Reads the content of the current entry into memory.
    ///
    /// # Errors
    /// [`TarError::EntrySize`] when there are more than `limit` bytes left of it.
    pub fn read_content(&mut self, limit: u64) -> Result<Vec<u8>, TarError> {
        let size = self.content.size - self.content.position;
        if size > limit {
            return Err(TarError::EntrySize { name: String::new(), size, limit });
        }
        let mut read = Vec::new();
        while let Some(segment) = self.next_segment()? {
            match segment {
                Segment::Data(data) => read.extend_from_slice(data),
                // Within `limit`, which the caller can hold.
                Segment::Hole(length) => {
                    read.resize(read.len().saturating_add(usize::try_from(length).unwrap_or(0)), 0);
                }
            }
        }
        Ok(read)
    }

    fn open_entry(
        &mut self,
        block: &Block,
        extensions: Extensions,
        start: u64,
    ) -> Result<Entry, TarError> {
        self.entry_count += 1;
        if self.entry_count > self.limits.entry_count {
            return Err(TarError::EntryCount { limit: self.limits.entry_count });
        }
        let raw_name = raw_name(block, &extensions);
        let name = || raw_name.as_ref().map_or(format!("at byte {start}"), |name| shown(name));
        let problem = |source| TarError::Entry { name: name(), source };
        let extended_size = extensions.extended.as_ref().and_then(|extended| extended.size);
        let header_size = block.size().map_err(|source| problem(source.into()))?;
        let stored = extended_size.unwrap_or(header_size);
        let padding = stored.wrapping_neg() % BLOCK_BYTES;
        let sparse = |source| TarError::Sparse { name: name(), source };
        let keys = extensions.extended.as_ref().map(|extended| &extended.sparse);
        let (size, stored, map) = match read_map(&mut self.blocks, block, keys, stored) {
            // Python takes the extended header's size for that of the file.
            Ok(Some(_)) if extended_size.is_some() => return Err(sparse(SparseError::TwoSizes)),
            Ok(Some(map)) => (map.size, map.stored, map.pairs),
            Ok(None) => (stored, stored, vec![(0, stored)]),
            Err(MapError::Sparse(source)) => return Err(sparse(source)),
            Err(MapError::Field(source)) => return Err(problem(source)),
            Err(MapError::Tar(error)) => return Err(error),
        };
        let mut regions = regions(&map, size, stored).map_err(sparse)?;
        regions.reverse();
        if size > self.limits.entry_bytes {
            return Err(TarError::EntrySize { name: name(), size, limit: self.limits.entry_bytes });
        }
        let entry = entry(block, extensions, size).map_err(problem)?;
        self.content = Content { regions, position: 0, size, stored, padding };
        Ok(entry)
    }

    /// Reads an extension header's data, its padding included, and its size.
    fn read_extension(
        &mut self,
        block: &Block,
        start: u64,
        limit: u64,
    ) -> Result<(Vec<u8>, usize), TarError> {
        // Without a magic these types are a vendor's; readers differ.
        if block.dialect == Dialect::V7 {
            return Err(misplaced(block, start));
        }
        let size = block.check_numbers().and_then(|()| block.size());
        let size = size.map_err(|source| TarError::Block { offset: start, source })?;
        if size > limit {
            return Err(TarError::ExtensionSize { offset: start, size, limit });
        }
        let mut data = Vec::new();
        while (data.len() as u64) < size {
            data.extend_from_slice(&self.blocks.expect_next("an extension header")?);
        }
        Ok((data, usize::try_from(size).unwrap_or(usize::MAX)))
    }

    /// Reads the records of an extended header.
    fn read_records(&mut self, block: &Block, start: u64) -> Result<Vec<u8>, TarError> {
        let (mut data, size) = self.read_extension(block, start, EXTENDED_HEADER_BYTES)?;
        data.truncate(size);
        Ok(data)
    }

    /// Reads the name in an `L` or `K` header: up to the first NUL, after which only NULs may come.
    fn read_name(&mut self, block: &Block, start: u64) -> Result<Vec<u8>, TarError> {
        let (mut name, size) = self.read_extension(block, start, GNU_NAME_BYTES)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        // GNU tar reads on to a NUL in the padding, Python stops at the size.
        let ends_twice = end > size || name.iter().skip(end).any(|&byte| byte != 0);
        name.truncate(end);
        let problem = match (name.is_empty(), ends_twice) {
            (_, true) => EntryProblem::Nul,
            (true, _) => EntryProblem::NoName,
            _ => return Ok(name),
        };
        Err(TarError::Entry { name: shown(&name), source: problem })
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let content = std::mem::take(&mut self.content);
        self.blocks.skip(content.stored.saturating_add(content.padding))
    }

    fn end(&mut self, extensions: &Extensions) -> Result<Option<Entry>, TarError> {
        if extensions.any() || extensions.global {
            return Err(TarError::Orphaned { offset: self.offset() });
        }
        self.blocks.drain()?;
        self.ended = true;
        Ok(None)
    }
}

fn put<T>(slot: &mut Option<T>, value: T, block: &Block, start: u64) -> Result<(), TarError> {
    if slot.is_some() {
        return Err(misplaced(block, start));
    }
    *slot = Some(value);
    Ok(())
}

fn misplaced(block: &Block, offset: u64) -> TarError {
    TarError::Misplaced { offset, type_flag: block.type_flag().escape_ascii().to_string() }
}

/// Shows a name in a message: escaped, and cut where it would fill the screen.
fn shown(name: &[u8]) -> String {
    const SHOWN_BYTES: usize = 256;
    match name.split_at_checked(SHOWN_BYTES) {
        Some((start, rest)) if !rest.is_empty() => format!("{}…", Escaped(start)),
        _ => Escaped(name).to_string(),
    }
}
