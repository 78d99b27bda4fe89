//! `fchmodat2`, which alone can change a mode without following a link (Linux 6.6).

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The same on every architecture: calls since 5.1 share one numbering.
const SYS_FCHMODAT2: libc::c_long = 452;

/// Sets the mode of `name` in `directory`, of a symbolic link itself where the file system can.
///
/// # Errors
/// `ENOSYS` before Linux 6.6 (some seccomp filters say `EPERM`); `EOPNOTSUPP` for a symbolic link.
pub(crate) fn fchmodat2_nofollow(
    directory: BorrowedFd<'_>,
    name: &CStr,
    mode: u32,
) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed, the name is a NUL-terminated string
    // that outlives the call, and the kernel writes to no memory of ours.
    let result = unsafe {
        libc::syscall(
            SYS_FCHMODAT2,
            directory.as_raw_fd(),
            name.as_ptr(),
            mode,
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
