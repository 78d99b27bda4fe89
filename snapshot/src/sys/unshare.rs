//! Mounts of one thread.

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a mount namespace of its own: a copy of the one that it has.
///
/// # Errors
/// What the kernel says; it takes CAP_SYS_ADMIN.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: The call is unsafe for the table of descriptors alone, which stays as it is.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(io::Error::from)
}
