//! One page of a file, mapped and shared.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Any file system's page is at least this long.
const LENGTH: usize = 4096;

/// The first page of a file, shared with it.
pub(crate) struct SharedPage(NonNull<u8>);

impl SharedPage {
    /// Maps the first 4096 bytes of a file that has as many and is open for reading and writing.
    ///
    /// # Errors
    /// What `mmap` says.
    pub(crate) fn map(file: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: with a null hint the kernel chooses a place that nothing else uses, and the
        // descriptor is open while it is borrowed.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                LENGTH,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast()).map(Self).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reads the first byte from memory.
    pub(crate) fn read(&self) -> u8 {
        // SAFETY: the page is mapped readable until the value is dropped; the file is ours and
        // keeps its length.
        unsafe { self.0.read_volatile() }
    }

    /// Writes the first byte to memory.
    pub(crate) fn write(&mut self, byte: u8) {
        // SAFETY: the page is mapped writable until the value is dropped; the file is ours and
        // keeps its length.
        unsafe { self.0.write_volatile(byte) };
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: the address and length are those that `mmap` gave, and nothing refers to the
        // memory any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), LENGTH) };
    }
}
