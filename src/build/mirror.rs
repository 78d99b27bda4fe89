//! Copies trees from one root file system to the same paths of another, on whatever file systems
//! they are: everything that a layer holds of them, and nothing else.

use std::collections::HashMap;
use std::io;

use snapshot::{FileKind, InodeId, Metadata, Rootfs, RootfsPath};

use crate::execute::ExecuteError;

/// What is at a path and below it, parents first.
pub(super) type Tree = Vec<(RootfsPath, Metadata)>;

/// Lists what is at `path` and below it; nothing where nothing is.
pub(super) fn list(root: &Rootfs, path: &RootfsPath) -> Result<Tree, ExecuteError> {
    let mut found = Vec::new();
    let mut pending = vec![path.clone()];
    while let Some(path) = pending.pop() {
        let Some(metadata) = root.metadata(&path)? else { continue };
        if metadata.kind == FileKind::Directory {
            pending.extend(root.read_dir(&path)?.iter().map(|entry| path.join_name(&entry.name)));
        }
        found.push((path, metadata));
    }
    Ok(found)
}

/// A copy of entries from one tree to another.
pub(super) struct Mirror<'a> {
    from: &'a Rootfs,
    to: &'a Rootfs,
    /// Where the first name of each file with several is now.
    first_names: HashMap<InodeId, RootfsPath>,
}

impl<'a> Mirror<'a> {
    pub(super) fn new(from: &'a Rootfs, to: &'a Rootfs) -> Self {
        Self { from, to, first_names: HashMap::new() }
    }

    /// Copies these entries, each after the directory that it is in; what is in the way of one goes.
    pub(super) fn copy(&mut self, entries: &[(RootfsPath, Metadata)]) -> Result<(), ExecuteError> {
        for (path, metadata) in entries {
            self.copy_one(path, metadata)?;
        }
        // Inner ones first: what happens in a directory moves its time.
        for (path, metadata) in entries.iter().rev() {
            if metadata.kind == FileKind::Directory {
                self.to.set_mtime(path, metadata.mtime)?;
            }
        }
        Ok(())
    }

    fn copy_one(&mut self, path: &RootfsPath, metadata: &Metadata) -> Result<(), ExecuteError> {
        let found = self.to.metadata(path)?;
        let is_there = match (found.map(|found| found.kind), metadata.kind) {
            (Some(FileKind::Directory), FileKind::Directory) => true,
            (Some(_), _) => {
                self.to.remove_all(path)?;
                false
            }
            (None, _) => false,
        };
        match metadata.kind {
            FileKind::Directory if is_there => {}
            FileKind::Directory => self.to.create_dir(path, 0o700)?,
            FileKind::Regular => {
                if metadata.nlink > 1 {
                    if let Some(first) = self.first_names.get(&metadata.inode()) {
                        return Ok(self.to.hard_link(first, path)?);
                    }
                    self.first_names.insert(metadata.inode(), path.clone());
                }
                let mut writer = self.to.create_file(path)?;
                io::copy(&mut self.from.open_file(path)?, &mut writer)
                    .map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
            }
            FileKind::Symlink => self.to.symlink(&self.from.read_link(path)?, path)?,
            FileKind::CharDevice | FileKind::BlockDevice | FileKind::Fifo => {
                let (major, minor) = (metadata.rdev_major, metadata.rdev_minor);
                self.to.make_node(path, metadata.kind, 0o600, major, minor)?;
            }
            // No layer holds one.
            FileKind::Socket => return Ok(()),
        }
        self.dress(path, metadata)
    }

    /// Gives an entry its owner, attributes, mode and time, in the order in which none undoes
    /// another.
    fn dress(&self, path: &RootfsPath, metadata: &Metadata) -> Result<(), ExecuteError> {
        self.to.set_owner(path, metadata.uid, metadata.gid)?;
        for (attribute, value) in &self.from.xattrs(path)? {
            match self.to.set_xattr(path, attribute, value) {
                // A volume that keeps none has nothing to give back either.
                Err(error) if error.raw_os_error() == Some(UNSUPPORTED) => {
                    tracing::debug!(%error, "extended attribute left out");
                }
                set => set?,
            }
        }
        if metadata.kind != FileKind::Symlink {
            self.to.set_mode(path, metadata.mode)?;
        }
        Ok(self.to.set_mtime(path, metadata.mtime)?)
    }
}

/// What the kernel says where a file system has no extended attributes.
const UNSUPPORTED: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_copied_with_its_links_and_over_what_is_there() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (Rootfs::open(one.path()).unwrap(), Rootfs::open(two.path()).unwrap());
        let write = |folder: &tempfile::TempDir, name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(&one, "a/b/file", "text");
        std::fs::hard_link(one.path().join("a/b/file"), one.path().join("a/other")).unwrap();
        std::os::unix::fs::symlink("b/file", one.path().join("a/link")).unwrap();
        write(&two, "a/link/in-the-way", "x");
        write(&two, "a/kept", "kept");
        let path = RootfsPath::new("a").unwrap();
        let listed = list(&from, &path).unwrap();
        Mirror::new(&from, &to).copy(&listed).unwrap();
        let read = |name: &str| std::fs::read_to_string(two.path().join(name)).unwrap();
        assert_eq!((read("a/b/file"), read("a/kept")), ("text".to_owned(), "kept".to_owned()));
        let link = std::fs::read_link(two.path().join("a/link")).unwrap();
        assert_eq!(link, std::path::Path::new("b/file"));
        let copied = list(&to, &path).unwrap();
        let of = |name: &str| {
            let path = RootfsPath::new(name).unwrap();
            copied.iter().find(|(found, _)| *found == path).unwrap().1
        };
        assert_eq!(of("a/b/file").inode(), of("a/other").inode());
        for (path, metadata) in &listed {
            let found = copied.iter().find(|(found, _)| found == path).unwrap().1;
            assert_eq!((found.mtime, found.mode), (metadata.mtime, metadata.mode), "{path}");
        }
        assert!(list(&to, &RootfsPath::new("none").unwrap()).unwrap().is_empty());
    }
}
