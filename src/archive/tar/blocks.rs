//! A stream cut into blocks, and the count of what was read of it.

use std::io::{self, BufRead};

use super::block::BLOCK_SIZE;
use super::error::TarError;

/// The stream of an archive.
pub(super) struct Blocks<R> {
    source: R,
    /// Bytes taken from `source`.
    offset: u64,
    /// Bytes of `source`'s buffer that were handed out and are taken with the next call.
    lent: usize,
}

impl<R: BufRead> Blocks<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, offset: 0, lent: 0 }
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.source
    }

    /// Returns how many bytes were read, those lent included.
    pub(super) fn offset(&self) -> u64 {
        self.offset + self.lent as u64
    }

    /// Returns the next block; `None` when the stream ends before it.
    pub(super) fn next(&mut self) -> Result<Option<[u8; BLOCK_SIZE]>, TarError> {
        let mut block = [0; BLOCK_SIZE];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let buffer = self.fill()?;
            let length = buffer.len().min(rest.len());
            if length == 0 {
                if filled == 0 {
                    return Ok(None);
                }
                return Err(TarError::Truncated { offset: self.offset, within: "a header" });
            }
            for (to, from) in rest.iter_mut().zip(buffer) {
                *to = *from;
            }
            filled += length;
            self.lent = length;
        }
        Ok(Some(block))
    }

    /// Returns the next block, which has to be there.
    pub(super) fn expect_next(
        &mut self,
        within: &'static str,
    ) -> Result<[u8; BLOCK_SIZE], TarError> {
        self.next()?.ok_or(TarError::Truncated { offset: self.offset(), within })
    }

    /// Returns the next bytes of a content: at least one, at most `most`.
    pub(super) fn lend(&mut self, most: u64) -> Result<&[u8], TarError> {
        let length = self.fill()?.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        if length == 0 {
            let within = "the content of an entry";
            return Err(TarError::Truncated { offset: self.offset, within });
        }
        self.lent = length;
        let offset = self.offset;
        // The same bytes again: borrowing them before the assignment would lock `self`.
        let buffer = self.source.fill_buf();
        let buffer = buffer.map_err(|source| TarError::Read { offset, source })?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// Passes over the rest of a content.
    pub(super) fn skip(&mut self, mut length: u64) -> Result<(), TarError> {
        while length > 0 {
            length -= self.lend(length)?.len() as u64;
        }
        Ok(())
    }

    /// Reads to the end of the stream, whatever is there.
    pub(super) fn drain(&mut self) -> Result<(), TarError> {
        loop {
            let length = self.fill()?.len();
            if length == 0 {
                return Ok(());
            }
            self.lent = length;
        }
    }

    /// Returns what is in the buffer, having read some if it was empty; empty at the end only.
    fn fill(&mut self) -> Result<&[u8], TarError> {
        let lent = std::mem::take(&mut self.lent);
        self.source.consume(lent);
        self.offset += lent as u64;
        let offset = self.offset;
        loop {
            match self.source.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Read { offset, source }),
            }
        }
        // A borrow cannot leave the loop; the buffer is there now and nothing is read for it.
        self.source.fill_buf().map_err(|source| TarError::Read { offset, source })
    }
}
