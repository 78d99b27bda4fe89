//! Where the files of a step go: the stage's root, and for what cannot be put there a tree beside
//! it.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use snapshot::{Directory, FileKind, NewDirectory, Rootfs, RootfsPath, Timestamp};

use crate::archive::Beneath;
use crate::execute::ExecuteError;

/// A stage's files, as a step that writes to them has them.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    root: &'a Rootfs,
    beneath: Option<&'a Beneath>,
    /// What is in the root and not in the image.
    foreign: Option<&'a HashSet<RootfsPath>>,
}

impl<'a> From<&'a Rootfs> for Target<'a> {
    fn from(root: &'a Rootfs) -> Self {
        Self { root, beneath: None, foreign: None }
    }
}

impl<'a> Target<'a> {
    /// A root of which parts are `beneath` something else.
    pub fn new(root: &'a Rootfs, beneath: Option<&'a Beneath>) -> Self {
        Self { root, beneath, foreign: None }
    }

    /// A root where `foreign` directories are in the place of those that the image has not: a step
    /// that needs one makes it, as far as the image goes.
    pub fn with_foreign(self, foreign: Option<&'a HashSet<RootfsPath>>) -> Self {
        Self { foreign, ..self }
    }

    /// Returns the root on disk, where users and links are looked up.
    pub(in crate::execute) fn root(&self) -> &'a Rootfs {
        self.root
    }

    /// Tells whether `path`, free of links, is beneath something.
    pub(super) fn is_beneath(&self, path: &RootfsPath) -> bool {
        self.beneath.is_some_and(|beneath| beneath.cover(path).is_some())
    }

    /// Returns the tree that `path`, free of links, is in.
    pub(super) fn tree(&self, path: &RootfsPath) -> &'a Rootfs {
        match self.beneath.filter(|beneath| beneath.cover(path).is_some()) {
            Some(beneath) => beneath.files(),
            None => self.root,
        }
    }

    /// Returns the tree beside that of `path`, for what in it turns out to be beneath something.
    pub(super) fn tree_beneath(&self, path: &RootfsPath) -> Option<&'a Rootfs> {
        self.beneath.filter(|beneath| beneath.cover(path).is_none()).map(Beneath::files)
    }

    /// Opens the directory that `path`, free of links, is to be put into; the root's is itself.
    pub(super) fn open_parent(&self, path: &RootfsPath) -> Result<Directory, ExecuteError> {
        let tree = self.tree(path);
        let Some(parent) = path.parent() else { return Ok(tree.open_dir(path)?) };
        self.make_way(&parent, tree)?;
        Ok(tree.open_dir(&parent)?)
    }

    /// Makes sure that the tree beneath has `directory`, if that is the one.
    fn make_way(&self, directory: &RootfsPath, tree: &Rootfs) -> Result<(), ExecuteError> {
        if self.beneath.is_some_and(|beneath| std::ptr::eq(beneath.files(), tree)) {
            tree.create_dir_all(directory, &Beneath::WAY)?;
        }
        Ok(())
    }

    /// Makes `path` and what is missing above it, links followed, and returns what was made.
    pub(in crate::execute) fn make_directories(
        &self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<Vec<RootfsPath>, ExecuteError> {
        let resolved = self.root.resolve(path)?;
        let tree = self.tree(&resolved);
        // Said here, in the image's words, where the kernel would only say ENOTDIR.
        for candidate in std::iter::once(resolved.clone()).chain(resolved.ancestors()) {
            match tree.metadata(&candidate)?.map(|metadata| metadata.kind) {
                None => {}
                Some(FileKind::Directory) => break,
                Some(found) => return Err(ExecuteError::NotADirectory { path: candidate, found }),
            }
        }
        let mut made = self.adopt(&resolved, new)?;
        made.extend(tree.create_dir_all(&resolved, new)?);
        Ok(made)
    }

    /// Makes foreign directories on the way to `path` what new ones would be, and returns them,
    /// outer ones first.
    fn adopt(
        &self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<Vec<RootfsPath>, ExecuteError> {
        let Some(foreign) = self.foreign else { return Ok(Vec::new()) };
        let on_way = std::iter::once(path.clone()).chain(path.ancestors());
        let mut adopted: Vec<RootfsPath> =
            on_way.filter(|path| !path.is_root() && foreign.contains(path)).collect();
        adopted.reverse();
        // Not before 1970.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = Timestamp { seconds, nanoseconds: now.subsec_nanos() };
        for path in &adopted {
            self.root.set_owner(path, new.uid, new.gid)?;
            self.root.set_mode(path, new.mode)?;
            self.root.set_mtime(path, now)?;
        }
        Ok(adopted)
    }
}
