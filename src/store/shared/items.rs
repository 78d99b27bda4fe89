//! What a shared store holds, how large it is, and when it was last used.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::trees::{self, size_of};
use super::volumes::{LOCK, id_of};
use super::{BLOBS, CONTEXTS, HEADERS, SharedStore, TAGS, TREES, VOLUMES};

/// Kinds of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A layer, config or manifest of an image.
    Blob,
    /// What a tag named.
    Tag,
    /// What a layer says in its headers.
    Headers,
    /// What is known of a context's files.
    Context,
    /// The directory of a cache mount.
    Mount,
    /// An unpacked image, or layers that were unpacked upon one.
    Tree,
}

impl ItemKind {
    /// Returns the name shown in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tag => "tag",
            Self::Headers => "headers",
            Self::Context => "context",
            Self::Mount => "mount",
            Self::Tree => "tree",
        }
    }
}

/// One thing that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its digest's digits, those of the layers that a tree was unpacked from, or the id of a cache
    /// mount.
    pub name: String,
    /// Room that it takes on disk, in bytes.
    pub size_bytes: u64,
    /// When it was last used, as far as that is noted.
    pub used: SystemTime,
    /// Where it is.
    pub path: PathBuf,
}

/// All that is kept, what was not used for longest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// The things.
    pub items: Vec<Item>,
    /// Room that all of them take, in bytes.
    pub total_bytes: u64,
}

impl SharedStore {
    /// Looks at all that is kept; directories of cache mounts are walked.
    ///
    /// What vanishes meanwhile is not there.
    ///
    /// # Errors
    /// When a folder of the store cannot be listed; a store that is not there is empty.
    pub fn items(&self) -> io::Result<Items> {
        let mut items = Vec::new();
        for (kind, name) in [
            (ItemKind::Blob, BLOBS),
            (ItemKind::Tag, TAGS),
            (ItemKind::Headers, HEADERS),
            (ItemKind::Context, CONTEXTS),
            (ItemKind::Mount, VOLUMES),
            (ItemKind::Tree, TREES),
        ] {
            let folder = self.path(name);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let path = entry?.path();
                items.extend(item(kind, path));
            }
        }
        items.sort_by(|one, other| {
            (one.used, one.kind, &one.name).cmp(&(other.used, other.kind, &other.name))
        });
        let total_bytes = items.iter().map(|item| item.size_bytes).sum();
        Ok(Items { items, total_bytes })
    }
}

pub(super) fn item(kind: ItemKind, path: PathBuf) -> Option<Item> {
    let metadata = fs::symlink_metadata(&path).ok()?;
    let file_name = path.file_name()?.to_string_lossy().into_owned();
    let (name, size_bytes, used) = match kind {
        ItemKind::Mount => {
            let used = fs::metadata(path.join(LOCK)).and_then(|lock| lock.modified());
            let name = id_of(&path).unwrap_or(file_name);
            (name, tree_bytes(&path), used.or_else(|_| metadata.modified()))
        }
        ItemKind::Tree => {
            let used = fs::metadata(path.join(trees::LOCK)).and_then(|lock| lock.modified());
            (file_name, size_of(&path), used.or_else(|_| metadata.modified()))
        }
        ItemKind::Blob | ItemKind::Tag | ItemKind::Headers | ItemKind::Context => {
            (file_name, room_of(&metadata), metadata.modified())
        }
    };
    // A file system without times: it counts as not used for longest.
    let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
    Some(Item { kind, name, size_bytes, used, path })
}

/// Returns the room that a file takes: its blocks, which are of 512 bytes whatever the file system
/// has.
fn room_of(metadata: &Metadata) -> u64 {
    metadata.blocks().saturating_mul(512)
}

/// Returns the room that a directory takes with all in it; what cannot be read counts nothing.
pub(super) fn tree_bytes(top: &Path) -> u64 {
    let mut bytes = 0_u64;
    let mut linked = HashSet::new();
    let mut open = vec![top.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            bytes = bytes.saturating_add(room_of(&metadata));
        }
    }
    bytes
}
