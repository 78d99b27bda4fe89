//! Mounts that the sandbox makes: what it is told of them, and copies of what cannot be shown as it
//! is.

use std::path::PathBuf;

use snapshot::{Rootfs, RootfsPath};

use super::{FileSource, Gathered, Item, ItemContent, MountsError};
use crate::build::error::StepError;
use crate::build::session::Session;
use crate::plan::MountAccess;
use crate::sandbox::{MountContent, MountedTree, StepMount, TreeAccess};

/// What holds the mounts of one command while it runs.
pub(super) struct Real<'a> {
    /// What the sandbox mounts.
    pub(super) mounts: Vec<StepMount>,
    /// Held for the locks of caches and the handles of roots.
    _items: Vec<Item<'a>>,
    /// Copies, removed afterwards.
    copies: Vec<PathBuf>,
}

impl<'a> Real<'a> {
    /// Says what is to be mounted.
    pub(super) fn of(session: &Session<'_>, gathered: Gathered<'a>) -> Result<Self, StepError> {
        let mut real = Self { mounts: Vec::new(), _items: Vec::new(), copies: Vec::new() };
        for item in &gathered.items {
            match real.content(session, &item.content) {
                Ok(content) => {
                    real.mounts.push(StepMount { target: item.target.clone(), content });
                }
                Err(error) => {
                    // The first error is the one to tell.
                    if let Err(second) = real.close(session) {
                        tracing::debug!(%second, "copies for mounts left behind");
                    }
                    return Err(error);
                }
            }
        }
        real._items = gathered.items;
        Ok(real)
    }

    fn content(
        &mut self,
        session: &Session<'_>,
        content: &ItemContent<'_>,
    ) -> Result<MountContent, StepError> {
        Ok(match content {
            ItemContent::Bind { files, source, access } => {
                MountContent::Tree(self.bind(session, files, source, *access)?)
            }
            ItemContent::Cache { volume, source, access } => {
                let root = Rootfs::open(volume.path())?;
                let access = match access {
                    MountAccess::ReadOnly => TreeAccess::ReadOnly,
                    MountAccess::Writable => TreeAccess::Writable,
                };
                if root.metadata(&root.resolve(source)?)?.is_none() {
                    let (path, place) = (source.clone(), "the cache");
                    return Err(MountsError::NoSource { path, place }.into());
                }
                MountContent::Tree(tree(&root, source, access)?)
            }
            ItemContent::Memory { size_bytes } => MountContent::Memory(*size_bytes),
            ItemContent::Secret(file) => MountContent::File(file.clone()),
        })
    }

    /// Shows the files themselves where nothing can be written to them and all of them count; else a
    /// copy, which what is written to is gone with.
    fn bind(
        &mut self,
        session: &Session<'_>,
        files: &FileSource<'_>,
        source: &RootfsPath,
        access: MountAccess,
    ) -> Result<MountedTree, StepError> {
        let (resolved, found) = files.find(source)?;
        if access == MountAccess::ReadOnly && files.can_be_shown(&resolved)? {
            return tree(files.root(), &resolved, TreeAccess::ReadOnly);
        }
        let folder = session.store.create_root(&format!("mount-{}", self.copies.len()))?;
        self.copies.push(folder.clone());
        let copy = Rootfs::open(&folder)?;
        files.copy_into(&resolved, &copy)?;
        let place = match found.kind {
            snapshot::FileKind::Directory => RootfsPath::root(),
            _ => RootfsPath::root().join_name(resolved.file_name().unwrap_or_default()),
        };
        let access = match access {
            MountAccess::ReadOnly => TreeAccess::ReadOnly,
            MountAccess::Writable => TreeAccess::Writable,
        };
        tree(&copy, &place, access)
    }

    /// Lets go of everything.
    pub(super) fn close(self, session: &Session<'_>) -> Result<(), StepError> {
        for copy in &self.copies {
            session.store.remove_root(copy)?;
        }
        Ok(())
    }
}

fn tree(root: &Rootfs, path: &RootfsPath, access: TreeAccess) -> Result<MountedTree, StepError> {
    let opened = MountedTree::of(root, path, access);
    Ok(opened.map_err(|source| MountsError::Source { path: path.clone(), source })?)
}
