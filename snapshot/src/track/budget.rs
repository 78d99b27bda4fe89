//! How many watches a tracker may take.
//!
//! Pure, but for the question what the node allows. Watches are counted per user and user namespace, so that all root Pods of a node, and the
//! kubelet, share one limit; each also pins its inode in memory that is charged to the Pod.

use std::fmt;
use std::io;

/// Of the node's limit, this part is taken at most …
const WATCH_SHARE: u64 = 8;
/// … and of the memory limit this.
const MEMORY_SHARE: u64 = 4;

/// Kernel memory that a watched inode holds: about 100 bytes for the watch, and inode and directory
/// entry, which cannot be reclaimed any more (measured on an overlay over ext4).
const BYTES_PER_WATCH: u64 = 1700;

/// What a user allows a tracker to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackerLimits {
    /// Watches at most; an eighth of `fs.inotify.max_user_watches` when not given.
    pub watch_count: Option<u64>,
    /// The memory that the build may use in all, in bytes; a quarter of it may be pinned by watches.
    /// Without it memory sets no bound.
    pub memory_bytes: Option<u64>,
}

/// How many watches may be taken, and what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The number of watches, and so of inodes that can be watched.
    pub watch_count: u64,
    /// What bounds it.
    pub bound: Bound,
}

/// What bounds the number of watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`TrackerLimits::watch_count`].
    Chosen,
    /// The share of the node's limit, which is this.
    NodeLimit(u64),
    /// The share of the memory limit, which is this many bytes.
    Memory(u64),
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => formatter.write_str("the limit given"),
            Self::NodeLimit(limit) => {
                write!(formatter, "an eighth of fs.inotify.max_user_watches = {limit}")
            }
            Self::Memory(bytes) => {
                write!(formatter, "a quarter of the memory limit of {bytes} bytes")
            }
        }
    }
}

impl TrackerLimits {
    /// Returns the smallest of the bounds, where the node's limit is `max_user_watches`.
    pub fn allowance(&self, max_user_watches: u64) -> Allowance {
        let by_count = match self.watch_count {
            Some(watch_count) => Allowance { watch_count, bound: Bound::Chosen },
            None => Allowance {
                watch_count: max_user_watches / WATCH_SHARE,
                bound: Bound::NodeLimit(max_user_watches),
            },
        };
        match self.memory_bytes.map(|bytes| (bytes, bytes / MEMORY_SHARE / BYTES_PER_WATCH)) {
            Some((bytes, watch_count)) if watch_count < by_count.watch_count => {
                Allowance { watch_count, bound: Bound::Memory(bytes) }
            }
            _ => by_count,
        }
    }
}

/// Returns how many watches all processes of a user may have on this node.
///
/// # Errors
/// When the kernel has no such limit to read.
pub fn max_user_watches() -> io::Result<u64> {
    let limit = |path: &str| -> io::Result<u64> {
        std::fs::read_to_string(path)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
    };
    let everywhere = limit("/proc/sys/fs/inotify/max_user_watches")?;
    // A user namespace may have a lower limit of its own. Where it cannot be read there is none that
    // could be known; the kernel's refusal counts all the same.
    let here = limit("/proc/sys/user/max_inotify_watches").unwrap_or(everywhere);
    Ok(everywhere.min(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_bound_counts() {
        let limits = |watch_count, memory_bytes| TrackerLimits { watch_count, memory_bytes };
        for (limits, max_user_watches, watch_count, bound) in [
            (limits(None, None), 192_536, 24_067, Bound::NodeLimit(192_536)),
            (limits(None, None), 7, 0, Bound::NodeLimit(7)),
            (limits(Some(100_000), None), 192_536, 100_000, Bound::Chosen),
            (limits(None, Some(64 << 20)), 192_536, 9_868, Bound::Memory(64 << 20)),
            (limits(None, Some(1 << 40)), 192_536, 24_067, Bound::NodeLimit(192_536)),
            (limits(Some(5), Some(1 << 30)), 192_536, 5, Bound::Chosen),
            (limits(Some(1_000_000), Some(1 << 30)), 8, 157_903, Bound::Memory(1 << 30)),
        ] {
            let expected = Allowance { watch_count, bound };
            assert_eq!(limits.allowance(max_user_watches), expected, "{limits:?}");
        }
    }
}
