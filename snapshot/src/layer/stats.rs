//! What writing a layer took.

use crate::path::RootfsPath;

/// Counts of one layer's work. Where the layer was begun again, both tries are in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerStats {
    /// Entries in the tar, whiteouts included.
    pub entry_count: u64,
    /// Whiteouts among them.
    pub whiteout_count: u64,
    /// Hard links among them: names without bytes of their own.
    pub hard_link_count: u64,
    /// Regular files opened.
    pub opened_count: u64,
    /// Bytes read from them.
    pub read_bytes: u64,
    /// Bytes of content digested for the Index (the layer's own two digests apart).
    pub hashed_bytes: u64,
    /// Times the layer was begun again because a file changed under the reader.
    pub restart_count: u64,
    /// What is not in the layer because no layer can hold it.
    pub skipped: Skips,
}

/// What no layer can hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skips {
    /// How many there were.
    pub count: u64,
    /// The first of them, at most [`Skips::LISTED`].
    pub first: Vec<Skipped>,
}

impl Skips {
    /// How many are listed.
    pub const LISTED: usize = 20;

    pub(super) fn add(&mut self, skipped: Skipped) {
        self.count += 1;
        if self.first.len() < Self::LISTED {
            self.first.push(skipped);
        }
    }
}

/// One thing that no layer can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// A socket: it means nothing without the process that listens on it.
    Socket(RootfsPath),
    /// An extended attribute with `=` in its name, which PAX ends a name with.
    Xattr {
        /// Whose.
        path: RootfsPath,
        /// The attribute's name.
        name: Vec<u8>,
    },
}
