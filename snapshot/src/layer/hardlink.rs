//! Which name of an inode carries its bytes.

use std::collections::HashMap;

use crate::metadata::{FileKind, InodeId, Metadata};
use crate::path::RootfsPath;

/// The first names, in the layer's order, of inodes with several.
///
/// Keyed by device and inode number: numbers alone repeat where the root spans file systems.
#[derive(Default)]
pub(super) struct LinkGroups<'a>(HashMap<InodeId, &'a RootfsPath>);

impl<'a> LinkGroups<'a> {
    /// Returns the name that this one is a hard link to, `None` if it carries the bytes itself.
    /// Ask once for each entry, in the layer's order.
    pub(super) fn first_name(
        &mut self,
        path: &'a RootfsPath,
        metadata: &Metadata,
    ) -> Option<&'a RootfsPath> {
        if metadata.nlink < 2 || metadata.kind == FileKind::Directory {
            return None;
        }
        let first = *self.0.entry(metadata.inode()).or_insert(path);
        (first != path).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Timestamp;

    fn metadata(kind: FileKind, dev: u64, ino: u64, nlink: u32) -> Metadata {
        Metadata {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::EPOCH,
            ctime: Timestamp::EPOCH,
            dev,
            ino,
            nlink,
            rdev_major: 0,
            rdev_minor: 0,
        }
    }

    #[test]
    fn first_name_carries_the_bytes() {
        use FileKind::{Directory, Fifo, Regular, Symlink};
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"]
            .map(|name| RootfsPath::new(name).expect("valid"));
        let of = [
            (metadata(Regular, 1, 7, 3), None),
            (metadata(Regular, 2, 7, 2), None),
            (metadata(Regular, 1, 7, 3), Some(0)),
            (metadata(Symlink, 1, 8, 2), None),
            (metadata(Symlink, 1, 8, 2), Some(3)),
            (metadata(Regular, 1, 7, 1), None),
            (metadata(Directory, 1, 7, 2), None),
            (metadata(Fifo, 2, 7, 2), Some(1)),
        ];
        let mut groups = LinkGroups::default();
        for (name, (metadata, expected)) in names.iter().zip(of) {
            let first = groups.first_name(name, &metadata);
            assert_eq!(first, expected.map(|index: usize| &names[index]), "{name}");
        }
    }
}
