//! Whether the root is another image's: with programs and libraries of its own, which a stage would
//! find beside those of its base.

use std::collections::BTreeMap;

use snapshot::{FileKind, InodeId, Metadata, RootfsPath};

use super::{Eviction, InPlace, Residents};
use crate::sandbox::{SandboxError, THIS_BINARY};

/// Where distributions have programs and libraries.
const PLACES: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"];

/// How many files are enough to name.
const EXAMPLES: usize = 3;

impl InPlace {
    /// Names some of the files that make the root another image's, none where it is not.
    ///
    /// Links do not count, such as our debug image's `/bin/sh`, nor does what is mounted, such as a
    /// GPU's libraries, nor this program.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn inhabitants(&self) -> Result<Vec<RootfsPath>, SandboxError> {
        let mounts = self.root.mount_points()?;
        let own = rustix::fs::stat(THIS_BINARY).ok();
        let own = own.map(|own| InodeId { dev: own.st_dev, ino: own.st_ino });
        let is_directory = |found: &Metadata| found.kind == FileKind::Directory;
        let mut found = Vec::new();
        let mut pending = Vec::new();
        for place in PLACES {
            let place = RootfsPath::root().join_name(place.as_bytes());
            if self.root.metadata(&place)?.as_ref().is_some_and(is_directory) {
                pending.push(place);
            }
        }
        while let Some(path) = pending.pop() {
            if mounts.contains(&path) {
                continue;
            }
            let directory = self.root.open_dir(&path)?;
            for entry in directory.entries()? {
                let inner = path.join_name(&entry.name);
                let Some(metadata) = directory.metadata(&entry.name)? else { continue };
                if self.protected.contains(&metadata.inode()) || mounts.contains(&inner) {
                    continue;
                }
                match metadata.kind {
                    FileKind::Directory => pending.push(inner),
                    FileKind::Regular if Some(metadata.inode()) != own => found.push(inner),
                    _ => {}
                }
                if found.len() == EXAMPLES {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Removes everything from the root that is neither mounted nor protected.
    ///
    /// # Errors
    /// What the kernel says. Half of it may have been removed then.
    pub fn clear(&self) -> Result<(), SandboxError> {
        let nobody = Residents { entries: BTreeMap::from([(Vec::new(), self.root_itself()?)]) };
        self.evict(&nobody, Eviction::Remove)
    }
}
