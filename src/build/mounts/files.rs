//! Where the files of a bind come from, and how they are copied where they cannot be shown.

use std::io;

use snapshot::{FileKind, Metadata, Rootfs, RootfsPath};

use super::MountsError;
use crate::build::error::StepError;
use crate::context::BuildContext;
use crate::execute::{self, Source};
use crate::plan::{CopySource, CopyStep};

/// Where the files of a mount come from.
pub(super) enum FileSource<'a> {
    /// A context: what its ignore file leaves of it, owned by root.
    Context(&'a BuildContext),
    /// A stage or an image.
    Root(Rootfs),
}

impl FileSource<'_> {
    /// Returns the tree that the files are in.
    pub(super) fn root(&self) -> &Rootfs {
        match self {
            Self::Context(context) => context.root(),
            Self::Root(root) => root,
        }
    }

    /// Follows a path to what it leads to.
    pub(super) fn find(&self, path: &RootfsPath) -> Result<(RootfsPath, Metadata), StepError> {
        let resolved = self.root().resolve(path)?;
        let is_kept = match self {
            Self::Context(context) => resolved.is_root() || context.contains(&resolved),
            Self::Root(_) => true,
        };
        let found = self.root().metadata(&resolved)?.filter(|_| is_kept);
        match found {
            Some(found) => Ok((resolved, found)),
            None => {
                let place = match self {
                    Self::Context(_) => "the context",
                    Self::Root(_) => "what the mount's `from` names",
                };
                Err(MountsError::NoSource { path: path.clone(), place }.into())
            }
        }
    }

    /// Tells whether a command can be shown the files themselves: all that is there counts, and
    /// belongs to whom it has to.
    pub(super) fn can_be_shown(&self, path: &RootfsPath) -> Result<bool, StepError> {
        let Self::Context(context) = self else { return Ok(true) };
        let root = context.root();
        let mut pending = vec![path.clone()];
        while let Some(path) = pending.pop() {
            let Some(found) = root.metadata(&path)? else { continue };
            let counts = path.is_root() || context.contains(&path);
            if !counts || (found.uid, found.gid) != (0, 0) {
                return Ok(false);
            }
            if found.kind == FileKind::Directory {
                let entries = root.read_dir(&path)?;
                pending.extend(entries.iter().map(|entry| path.join_name(&entry.name)));
            }
        }
        Ok(true)
    }

    /// Copies what is at `path` to the root of `target`, a directory's own mode and owner with it;
    /// a file keeps its name.
    pub(super) fn copy_into(&self, path: &RootfsPath, target: &Rootfs) -> Result<(), StepError> {
        let (resolved, found) = self.find(path)?;
        let top = RootfsPath::root();
        let (uid, gid) = match self {
            Self::Context(_) => (0, 0),
            Self::Root(_) => (found.uid, found.gid),
        };
        let place = match found.kind {
            FileKind::Directory => {
                self.copy_tree(&resolved, target)?;
                top
            }
            _ => {
                let place = top.join_name(resolved.file_name().unwrap_or_default());
                let mut file = target.create_file(&place)?;
                io::copy(&mut self.root().open_file(&resolved)?, &mut file)
                    .map_err(|source| MountsError::Source { path: path.clone(), source })?;
                place
            }
        };
        target.set_owner(&place, uid, gid)?;
        target.set_mode(&place, found.mode)?;
        target.set_mtime(&place, found.mtime)?;
        Ok(())
    }

    /// Copies what is in a directory.
    fn copy_tree(&self, directory: &RootfsPath, target: &Rootfs) -> Result<(), StepError> {
        // As a root of its own, so that no name in the path can be taken for a pattern.
        let from = self.root().subtree(directory)?;
        let step = CopyStep::whole(CopySource::Context, RootfsPath::root());
        match self {
            Self::Context(context) => {
                let keeps = |path: &RootfsPath| {
                    directory
                        .join(path.as_bytes())
                        .is_ok_and(|path| path.is_root() || context.contains(&path))
                };
                execute::copy(&step, &Source::context(&from, &keeps), target)?;
            }
            Self::Root(_) => drop(execute::copy(&step, &Source::root(&from), target)?),
        }
        Ok(())
    }
}
