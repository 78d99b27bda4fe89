//! Mounts: which one a file is on.
//!
//! Mounts are told apart by id, never by device: an overlay can show several devices in one mount,
//! and a bind mount of the same file system shows none.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

/// Returns the id of the mount that `name` in `directory` is on; with an empty name that of
/// `directory` itself. A name with a mount on it is on that mount. Symbolic links are not followed.
///
/// # Errors
/// What the kernel says; before Linux 5.8 the answer is in `/proc/self/fdinfo`, and without it there
/// is none.
pub(crate) fn mount_id(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let stat = rustix::fs::statx(directory, name, flags, StatxFlags::MNT_ID)?;
    if StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID) {
        return Ok(stat.stx_mnt_id);
    }
    mount_id_from_fdinfo(directory, name)
}

fn mount_id_from_fdinfo(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<u64> {
    let opened;
    let fd = if name.is_empty() {
        directory
    } else {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        opened = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        std::os::fd::AsFd::as_fd(&opened)
    };
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    parse_fdinfo(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse_fdinfo(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn both_ways_to_the_mount_id_agree() {
        let root = std::fs::File::open("/").expect("the root opens");
        for name in [c"", c"proc", c"usr"] {
            let id = mount_id(root.as_fd(), name).expect("an id");
            assert_eq!(mount_id_from_fdinfo(root.as_fd(), name).expect("an id"), id, "{name:?}");
        }
        assert_ne!(
            mount_id(root.as_fd(), c"").expect("an id"),
            mount_id(root.as_fd(), c"proc").expect("an id")
        );
    }

    #[test]
    fn fdinfo_is_parsed_or_refused() {
        assert_eq!(parse_fdinfo("pos:\t0\nflags:\t010000000\nmnt_id:\t29\nino:\t2\n"), Some(29));
        assert_eq!(parse_fdinfo("pos:\t0\n"), None);
        assert_eq!(parse_fdinfo("mnt_id:\tx\n"), None);
    }
}
