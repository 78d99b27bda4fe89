//! What must stay as it is around a step, for its record to mean what it says.

use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::time::ClockId;

use crate::rootfs::Rootfs;
use crate::scope::Reason;

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAY: u64 = 0x794c_7630;

/// Clocks are disciplined by less than this while a step runs; more was set by somebody.
const CLOCK_STEP_NS: i128 = 1_000_000_000;

/// The clock and the mounts when a step began.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Realtime less monotonic, in nanoseconds.
    clock_offset_ns: i128,
    mounts: Vec<u8>,
    /// Whether the root is an overlay.
    pub(super) is_overlay: bool,
}

impl Surroundings {
    pub(super) fn of(rootfs: &Rootfs) -> io::Result<Self> {
        Ok(Self {
            clock_offset_ns: clock_offset_ns(),
            mounts: mounts_below(rootfs)?,
            is_overlay: is_overlay(rootfs)?,
        })
    }

    /// Makes it seem as if the clock had been set since.
    #[cfg(test)]
    pub(super) fn set_clock_back(&mut self) {
        self.clock_offset_ns += 2 * CLOCK_STEP_NS;
    }

    /// Checks that nothing has changed.
    pub(super) fn check(&self, rootfs: &Rootfs) -> Result<(), Reason> {
        if (clock_offset_ns() - self.clock_offset_ns).abs() > CLOCK_STEP_NS {
            return Err(Reason::ClockStepped);
        }
        match mounts_below(rootfs) {
            Ok(mounts) if mounts == self.mounts => Ok(()),
            _ => Err(Reason::MountsChanged),
        }
    }
}

fn clock_offset_ns() -> i128 {
    let nanoseconds = |clock| {
        let time = rustix::time::clock_gettime(clock);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Monotonic)
}

/// Tells whether a root is on an overlay.
pub(super) fn is_overlay(rootfs: &Rootfs) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(rootfs.as_fd())?.f_type.cast_unsigned() == OVERLAY)
}

/// Returns the lines of the mounts at the root and below it, as this process sees them.
fn mounts_below(rootfs: &Rootfs) -> io::Result<Vec<u8>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(lines_below(&table, rootfs.host_path().as_os_str().as_bytes()))
}

/// Pure: `table` is that of `proc_pid_mountinfo(5)`, where the fifth field is the mount point, with
/// spaces and the like in octal.
fn lines_below(table: &[u8], root: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::with_capacity(root.len());
    for &byte in root.strip_suffix(b"/").unwrap_or(root) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => spelled.extend(format!("\\{byte:03o}").bytes()),
            _ => spelled.push(byte),
        }
    }
    let is_below = |line: &&[u8]| {
        let point = line.split(|&byte| byte == b' ').nth(4).unwrap_or_default();
        let rest = point.strip_prefix(&spelled[..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    table.split_inclusive(|&byte| byte == b'\n').filter(is_below).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_point() {
        let line = |point: &str| format!("36 35 98:0 /mnt1 {point} rw - ext4 /dev/root rw\n");
        let table = ["/", "/a", "/a/b", "/ab", "/a\\040b", "/a\\040b/c"].map(line).concat();
        for (root, expected) in [
            ("/", vec!["/", "/a", "/a/b", "/ab", "/a\\040b", "/a\\040b/c"]),
            ("/a", vec!["/a", "/a/b"]),
            ("/a b", vec!["/a\\040b", "/a\\040b/c"]),
            ("/x", vec![]),
        ] {
            let expected: String = expected.into_iter().map(line).collect();
            let found = lines_below(table.as_bytes(), root.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), expected, "{root}");
        }
    }

    #[test]
    fn nothing_changes_by_itself() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = Rootfs::open(directory.path()).expect("it is there");
        let surroundings = Surroundings::of(&root).expect("there is a mount table");
        assert_eq!(surroundings.check(&root), Ok(()));
        let stepped = Surroundings {
            clock_offset_ns: surroundings.clock_offset_ns - 2 * CLOCK_STEP_NS,
            ..surroundings
        };
        assert_eq!(stepped.check(&root), Err(Reason::ClockStepped));
        let surroundings = Surroundings::of(&root).expect("there is a mount table");
        let mounted = Surroundings { mounts: b"another".to_vec(), ..surroundings };
        assert_eq!(mounted.check(&root), Err(Reason::MountsChanged));
    }
}
