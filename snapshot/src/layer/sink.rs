//! Where a layer's compressed bytes go.

use std::fs::File;
use std::io::{self, Seek, Write};

/// Takes a blob's bytes in order, and can begin again.
///
/// A layer is written in one pass while its files are read. A file that changes under the reader
/// makes what was written so far useless; the writer then calls [`BlobSink::restart`] and writes
/// the blob again from its first byte. A sink that streams to a registry drops its upload session
/// there and opens another.
pub trait BlobSink: Write + Send {
    /// Forgets every byte written so far.
    ///
    /// # Errors
    /// When what was written cannot be taken back; the layer fails then.
    fn restart(&mut self) -> io::Result<()>;
}

impl<S: BlobSink + ?Sized> BlobSink for &mut S {
    fn restart(&mut self) -> io::Result<()> {
        (**self).restart()
    }
}

impl<S: BlobSink + ?Sized> BlobSink for Box<S> {
    fn restart(&mut self) -> io::Result<()> {
        (**self).restart()
    }
}

/// Keeps the blob in memory; for small layers and tests.
impl BlobSink for Vec<u8> {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

/// Discards the blob; what is left is its digest and size.
impl BlobSink for io::Sink {
    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the whole file for the blob: beginning again truncates it.
impl BlobSink for File {
    fn restart(&mut self) -> io::Result<()> {
        self.set_len(0)?;
        self.rewind()
    }
}
