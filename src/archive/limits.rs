//! What an archive may cost before it is refused.
//!
//! The constants are properties of the format that no honest archive reaches; [`Limits`] holds what
//! depends on where the archive is unpacked to.

/// Largest extended (PAX) header, local or global. Every reader holds one in memory.
pub const EXTENDED_HEADER_BYTES: u64 = 1 << 20;

/// Largest name in a GNU `L` or `K` header.
pub const GNU_NAME_BYTES: u64 = 64 << 10;

/// Longest path of an entry. Kernels take 4096 bytes in one call; deeper trees are built step by
/// step, but each step costs one call.
pub const PATH_BYTES: usize = 128 << 10;

/// Most components in the path of an entry.
pub const PATH_COMPONENTS: usize = 4096;

/// Longest name of a directory entry (`NAME_MAX`).
pub const NAME_BYTES: usize = 255;

/// Longest target of a symbolic link: `PATH_MAX` without its NUL.
pub const SYMLINK_BYTES: usize = 4095;

/// Longest name and largest value of an extended attribute (`XATTR_NAME_MAX`, `XATTR_SIZE_MAX`).
pub const XATTR_NAME_BYTES: usize = 255;
/// See [`XATTR_NAME_BYTES`].
pub const XATTR_VALUE_BYTES: usize = 64 << 10;

/// Most data regions of one sparse file (16 bytes of memory each).
pub const SPARSE_REGIONS: usize = 100_000;

/// Largest zstd window, as a power of two: 128 MiB, what `zstd --long` writes and every reader
/// takes without asking.
pub const ZSTD_WINDOW_LOG: u32 = 27;

/// Most memory an xz decoder may take: `xz -9` needs 65 MiB, a 128 MiB dictionary 129.
pub const XZ_MEMORY_BYTES: u64 = 160 << 20;

/// How far a stream may grow when it is decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatioLimit {
    /// Most decompressed bytes for one compressed byte.
    pub ratio: u64,
    /// Decompressed bytes up to which the ratio is not looked at.
    pub after_bytes: u64,
}

/// The limits of one archive.
///
/// The default is what holds when nothing is known of the target: no archive of more than ten
/// million entries, none that grows by more than 200:1 once it is larger than 100 MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most decompressed bytes of the whole stream, padding and trailing bytes included.
    pub stream_bytes: u64,
    /// Largest content of one entry, holes included.
    pub entry_bytes: u64,
    /// Most entries.
    pub entry_count: u64,
    /// How far the stream may grow; `None` takes any ratio (layers of zeros exist).
    pub ratio: Option<RatioLimit>,
}

impl Limits {
    /// Most entries in one archive.
    pub const ENTRY_COUNT: u64 = 10_000_000;

    /// The default ratio limit.
    pub const RATIO: RatioLimit = RatioLimit { ratio: 200, after_bytes: 100_000_000 };

    /// How many times the free space a stream may hold: later entries can replace earlier ones.
    pub const FREE_SPACE_FACTOR: u64 = 10;

    /// Returns the limits for a target with `free_bytes` of free space: an entry must fit, the
    /// stream may hold ten times as much.
    #[must_use]
    pub fn for_free_space(free_bytes: u64) -> Self {
        Self {
            stream_bytes: free_bytes.saturating_mul(Self::FREE_SPACE_FACTOR),
            entry_bytes: free_bytes,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stream_bytes: u64::MAX,
            // The largest size that a file offset can name.
            entry_bytes: i64::MAX as u64,
            entry_count: Self::ENTRY_COUNT,
            ratio: Some(Self::RATIO),
        }
    }
}
