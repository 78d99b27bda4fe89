//! Bytes from file to file, by the cheapest way the two file systems have in common.

use std::fs::File;
use std::io::{self, Read, Seek};

use rustix::fs::{SeekFrom, fstat, ftruncate, ioctl_ficlone, seek};
use rustix::io::Errno;

/// Copies file contents; remembers what turned out not to work.
#[derive(Debug)]
pub(super) struct ContentCopier {
    tries_clone: bool,
}

impl ContentCopier {
    pub fn new() -> Self {
        Self { tries_clone: true }
    }

    /// Copies all of `from` to the empty file `to` and returns its size. Holes stay holes.
    pub fn copy(&mut self, from: &mut File, to: &mut File) -> io::Result<u64> {
        let stat = fstat(&*from)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            // Sizes of files in /proc and /sys lie.
            return io::copy(from, to);
        }
        if self.tries_clone {
            match ioctl_ficlone(&*to, &*from) {
                Ok(()) => return Ok(size),
                // Another file system, or one that shares no blocks: it will be so for the rest.
                Err(_) => self.tries_clone = false,
            }
        }
        // Blocks are of 512 bytes whatever the file system has.
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        if allocated < size { copy_with_holes(from, to, size) } else { io::copy(from, to) }
    }
}

/// Copies the parts that hold data.
fn copy_with_holes(from: &mut File, to: &mut File, size: u64) -> io::Result<u64> {
    let mut at = 0;
    while at < size {
        let start = match seek(&*from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // The file system cannot tell.
            Err(Errno::INVAL) => {
                from.seek(io::SeekFrom::Start(at))?;
                to.seek(io::SeekFrom::Start(at))?;
                return Ok(at + io::copy(from, to)?);
            }
            Err(errno) => return Err(errno.into()),
        };
        let end = seek(&*from, SeekFrom::Hole(start))?;
        from.seek(io::SeekFrom::Start(start))?;
        to.seek(io::SeekFrom::Start(start))?;
        io::copy(&mut from.take(end.saturating_sub(start)), to)?;
        at = end;
    }
    ftruncate(&*to, size)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let mut from = tempfile::tempfile().expect("a file");
        from.set_len(8 << 20).expect("grow");
        from.write_all_at(b"middle", 4 << 20).expect("write");
        let mut to = tempfile::tempfile().expect("a file");
        // A clone would hide the other way.
        let mut copier = ContentCopier { tries_clone: false };
        assert_eq!(copier.copy(&mut from, &mut to).expect("copy"), 8 << 20);
        let metadata = to.metadata().expect("stat");
        assert_eq!(metadata.size(), 8 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        let mut bytes = [0; 8];
        to.read_exact_at(&mut bytes, (4 << 20) - 1).expect("read");
        assert_eq!(&bytes, b"\0middle\0");
    }

    #[test]
    fn a_file_without_holes_is_copied_whole() {
        let mut from = tempfile::tempfile().expect("a file");
        from.write_all(&vec![7; 100_000]).expect("write");
        from.rewind().expect("rewind");
        let mut to = tempfile::tempfile().expect("a file");
        assert_eq!(ContentCopier::new().copy(&mut from, &mut to).expect("copy"), 100_000);
        let mut bytes = Vec::new();
        to.rewind().expect("rewind");
        to.read_to_end(&mut bytes).expect("read");
        assert!(bytes == vec![7; 100_000]);
    }
}
