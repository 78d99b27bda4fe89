//! The bytes of all names, kept in chunks so that growing copies nothing.

/// Large enough that the unused end of a chunk does not count, small enough for a small tree.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a name is: the place in the upper bits, the length in the lowest eight (a name has at
/// most 255 bytes on Linux).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameRef(u64);

const LENGTH_BITS: u32 = 8;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;

impl NameRef {
    /// The empty name, which the root has.
    pub(super) const EMPTY: Self = Self(0);

    fn new(chunk: usize, start: usize, length: usize) -> Self {
        let place = chunk * CHUNK_BYTES + start;
        Self((place as u64) << LENGTH_BITS | length as u64)
    }

    fn length(self) -> usize {
        (self.0 & LENGTH_MASK) as usize
    }

    fn place(self) -> usize {
        (self.0 >> LENGTH_BITS) as usize
    }
}

/// The names, and how much of the space nobody uses any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    chunks: Vec<Vec<u8>>,
    live_bytes: usize,
    total_bytes: usize,
}

impl Names {
    /// Stores `name`.
    ///
    /// # Panics
    /// When it has more than 255 bytes, which no Linux file system allows.
    pub(super) fn add(&mut self, name: &[u8]) -> NameRef {
        assert!(name.len() as u64 <= LENGTH_MASK, "a file name has at most 255 bytes");
        let fits = |chunk: &Vec<u8>| chunk.len() + name.len() <= CHUNK_BYTES;
        if !self.chunks.last().is_some_and(fits) {
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let start = chunk.len();
        chunk.extend_from_slice(name);
        self.live_bytes += name.len();
        self.total_bytes += name.len();
        NameRef::new(index, start, name.len())
    }

    /// Returns a stored name.
    pub(super) fn get(&self, name: NameRef) -> &[u8] {
        let (place, length) = (name.place(), name.length());
        if length == 0 {
            return &[];
        }
        let start = place % CHUNK_BYTES;
        &self.chunks[place / CHUNK_BYTES][start..start + length]
    }

    /// Notes that a name is no longer used.
    pub(super) fn release(&mut self, name: NameRef) {
        self.live_bytes -= name.length();
    }

    /// Tells whether copying the names that are used would save at least half of the space.
    pub(super) fn is_wasteful(&self) -> bool {
        self.total_bytes > 16 * CHUNK_BYTES && self.live_bytes < self.total_bytes / 2
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum::<usize>()
            + self.chunks.capacity() * size_of::<Vec<u8>>()
    }
}
