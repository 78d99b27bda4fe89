//! Reading what a file holds.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::digest::{Digest, Digester};

/// As much as one read takes: larger ones were not faster, and each thread has one.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;

/// Returns the digest of everything in the file, and how many bytes that was.
pub(super) fn digest(file: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Result<(Digest, u64), Errno> {
    buffer.resize(BUFFER_BYTES, 0);
    let mut digester = Digester::new();
    loop {
        match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => {
                let byte_count = digester.count();
                return Ok((digester.finish(), byte_count));
            }
            Ok(count) => digester.update(buffer.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
