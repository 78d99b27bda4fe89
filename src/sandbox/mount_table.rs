//! The mounts that this process sees, as the kernel lists them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use snapshot::unescape_mount_field;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: PathBuf,
    /// The type of its file system, such as `overlay`.
    pub kind: String,
    /// The options of the file system itself, separated by commas.
    pub options: String,
    /// Whether nothing can be written there.
    pub is_read_only: bool,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(4);
        let (point, own) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, _, options) = (after.next()?, after.next()?, after.next().unwrap_or_default());
        let says_so = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Self {
            point: OsString::from_vec(unescape_mount_field(point.as_bytes())?).into(),
            kind: kind.to_owned(),
            options: options.to_owned(),
            is_read_only: says_so(own) || says_so(options),
        })
    }
}

/// Returns the mounts in the order they were made; none where the kernel does not tell.
pub fn mounts() -> Vec<Mount> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    parse(&String::from_utf8_lossy(&table))
}

/// Returns the mount that `path`, which has no link in it, is on: the last of the innermost.
pub fn mount_over<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let over = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    over.max_by_key(|mount| mount.point.components().count())
}

/// Reads a `mountinfo` table; lines that nobody understands are left out.
pub(super) fn parse(table: &str) -> Vec<Mount> {
    table.lines().filter_map(Mount::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_says_where_it_is_and_what() {
        let table = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,errors=remount-ro\n\
                     23 22 0:26 / /a\\040b rw shared:1 - tmpfs tmpfs ro,size=4k\n\
                     24 22 0:27 /x /etc/hosts ro,nosuid master:1 - ext4 /dev/vda rw\n\
                     nonsense\n\
                     25 22 0:28 / /broken\\04 rw - tmpfs tmpfs rw\n";
        let mount = |point: &str, kind: &str, options: &str, is_read_only| Mount {
            point: point.into(),
            kind: kind.to_owned(),
            options: options.to_owned(),
            is_read_only,
        };
        let mounts = parse(table);
        assert_eq!(
            mounts,
            [
                mount("/", "ext4", "rw,errors=remount-ro", false),
                mount("/a b", "tmpfs", "ro,size=4k", true),
                mount("/etc/hosts", "ext4", "rw", true),
            ]
        );
        let over = |path: &str| mount_over(&mounts, Path::new(path)).map(|mount| &mount.point);
        assert_eq!(over("/a b/c"), Some(&PathBuf::from("/a b")));
        assert_eq!(over("/a bc"), Some(&PathBuf::from("/")));
    }
}
