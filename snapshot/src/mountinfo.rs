//! Mounts: which one a file is on.
//!
//! Mounts are told apart by id, never by device: an overlay can show several devices in one mount,
//! and a bind mount of the same file system shows none.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use crate::path::RootfsPath;

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

/// Returns the paths, inside the root, on which something is mounted below it.
///
/// # Errors
/// When `/proc` does not tell, or tells what nobody understands.
pub(crate) fn mount_points_below(root: BorrowedFd<'_>) -> io::Result<Vec<RootfsPath>> {
    let root = std::fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd()))?;
    let table = std::fs::read("/proc/self/mountinfo")?;
    let points = parse_mountinfo(&table).ok_or(io::ErrorKind::InvalidData)?;
    Ok(below(points, root.as_os_str().as_bytes()))
}

/// Returns the mount points of a `mountinfo` table; `None` when a line has none.
fn parse_mountinfo(table: &[u8]) -> Option<Vec<Vec<u8>>> {
    let lines = table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| unescape_mount_field(line.split(|&byte| byte == b' ').nth(4)?)).collect()
}

/// Undoes the `\ooo` that the kernel writes for blanks and backslashes in a field of a `mountinfo`
/// table; `None` for what it never writes.
pub fn unescape_mount_field(field: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = field.iter().copied();
    let mut plain = Vec::with_capacity(field.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let mut value = 0_u32;
        for _ in 0..3 {
            let digit = bytes.next().and_then(|digit| char::from(digit).to_digit(8))?;
            value = value * 8 + digit;
        }
        plain.push(u8::try_from(value).ok()?);
    }
    Some(plain)
}

/// Returns those of the host's paths that are below `root`, as paths inside it.
fn below(points: Vec<Vec<u8>>, root: &[u8]) -> Vec<RootfsPath> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let inside = |point: Vec<u8>| {
        let rest = point.strip_prefix(root)?.strip_prefix(b"/")?;
        RootfsPath::new(rest).ok().filter(|path| !path.is_root())
    };
    points.into_iter().filter_map(inside).collect()
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
    fn mount_points_below_a_root_are_named_from_it() {
        let table = b"22 28 0:21 / / rw - ext4 /dev/x rw\n\
            23 22 0:22 / /root rw - tmpfs t rw\n\
            24 23 0:23 / /root/a\\040b\\134 rw shared:5 - tmpfs t rw\n\
            25 22 0:24 / /rooted rw - tmpfs t rw\n";
        let points = parse_mountinfo(table).expect("a table");
        assert_eq!(points, [&b"/"[..], b"/root", b"/root/a b\\", b"/rooted"]);
        let path = |text: &str| RootfsPath::new(text).expect("valid");
        assert_eq!(below(points.clone(), b"/root"), [path("a b\\")]);
        assert_eq!(below(points, b"/"), ["root", "root/a b\\", "rooted"].map(path));
        for broken in [&b"22 28 0:21 /"[..], b"1 2 3 4 /x\\04 rw", b"1 2 3 4 /x\\999 rw"] {
            assert_eq!(parse_mountinfo(broken), None);
        }
    }

    #[test]
    fn the_kernels_table_is_understood() {
        let root = std::fs::File::open("/").expect("opens");
        let points = mount_points_below(root.as_fd()).expect("a table");
        assert!(points.contains(&RootfsPath::new("proc").expect("valid")), "{points:?}");
    }

    #[test]
    fn fdinfo_is_parsed_or_refused() {
        assert_eq!(parse_fdinfo("pos:\t0\nflags:\t010000000\nmnt_id:\t29\nino:\t2\n"), Some(29));
        assert_eq!(parse_fdinfo("pos:\t0\n"), None);
        assert_eq!(parse_fdinfo("mnt_id:\tx\n"), None);
    }
}
