//! fanotify with file handles, of which other crates know only the parts before Linux 5.1.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Makes an event queue.
///
/// # Errors
/// `EPERM` without privilege (or by a seccomp filter), `EINVAL` for flags that the kernel does not
/// know, `ENOSYS`.
pub(crate) fn fanotify_init(flags: libc::c_uint) -> io::Result<OwnedFd> {
    let event_flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE).cast_unsigned();
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::fanotify_init(flags, event_flags) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned this descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks the whole file system that `file` is on.
///
/// # Errors
/// `EPERM` without privilege, `EOPNOTSUPP` and `ENODEV` for file systems that give no usable
/// handles, `EXDEV` for a part of one (a btrfs subvolume).
pub(crate) fn fanotify_mark_file_system(
    group: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    mask: u64,
) -> io::Result<()> {
    let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
    // SAFETY: both descriptors are open while they are borrowed, and a null path means the second
    // one itself.
    let result = unsafe {
        libc::fanotify_mark(group.as_raw_fd(), flags, mask, file.as_raw_fd(), std::ptr::null())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
