//! Takes a stage out of the root, so that the next one finds it as the first did.
//!
//! By renaming where possible: what a stage unpacked and made is in directories of its own, whose
//! size does not matter then. A directory that has to stay (because it was there before, or
//! because something protected or mounted is below it) is taken apart.

use std::collections::HashSet;

use rustix::io::Errno;
use snapshot::{Directory, FileKind, Metadata, Rootfs, RootfsError, RootfsPath};

use super::InPlace;
use super::residents::Residents;
use crate::sandbox::SandboxError;

/// What becomes of what a stage left in the root.
#[derive(Clone, Copy, Debug)]
pub enum Eviction<'a> {
    /// It is removed.
    Remove,
    /// It is moved to this directory, which is then the stage's root: on the same file system, and
    /// protected.
    MoveTo(&'a Rootfs),
}

impl InPlace {
    /// Takes everything out of the root that was not there before the first stage.
    ///
    /// Directories that were there get back the owner, mode and time they had. What is mounted or
    /// protected stays, and so do the directories above it; where the stage is moved, it gets its
    /// own copies of those.
    ///
    /// # Errors
    /// What the kernel says. Half of it may have been taken out then.
    pub fn evict(&self, residents: &Residents, to: Eviction<'_>) -> Result<(), SandboxError> {
        Evictor::new(self, residents, to)?.run()
    }
}

struct Evictor<'a> {
    place: &'a InPlace,
    residents: &'a Residents,
    mounts: HashSet<RootfsPath>,
    /// The directories above mounts.
    above: HashSet<RootfsPath>,
    to: Eviction<'a>,
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is not the stage's.
    Leave,
    /// It goes as a whole.
    Take,
    /// The directory stays; what is in it is looked at.
    Enter,
}

impl<'a> Evictor<'a> {
    fn new(
        place: &'a InPlace,
        residents: &'a Residents,
        to: Eviction<'a>,
    ) -> Result<Self, SandboxError> {
        let mounts: HashSet<RootfsPath> = place.root.mount_points()?.into_iter().collect();
        let above = mounts.iter().flat_map(RootfsPath::ancestors).collect();
        Ok(Self { place, residents, mounts, above, to })
    }

    fn run(&self) -> Result<(), SandboxError> {
        let root = &self.place.root;
        let mut pending = vec![RootfsPath::root()];
        let mut entered = Vec::new();
        while let Some(path) = pending.pop() {
            let metadata = root.metadata(&path)?.ok_or(SandboxError::RootGone)?;
            let directory = root.open_dir(&path)?;
            let target = self.make_target(&path)?;
            for entry in directory.entries()? {
                let inner = path.join_name(&entry.name);
                let Some(found) = directory.metadata(&entry.name)? else { continue };
                match self.judge(&directory, &inner, &found) {
                    Verdict::Leave => {}
                    Verdict::Enter => pending.push(inner),
                    Verdict::Take => {
                        if !self.take(&directory, &entry.name, target.as_ref())? {
                            match found.kind {
                                FileKind::Directory => pending.push(inner),
                                _ => return Err(SandboxError::Evict { path: inner }),
                            }
                        }
                    }
                }
            }
            entered.push((path, metadata));
        }
        // Inner directories first: what happens in a directory moves its time.
        for (path, metadata) in entered.iter().rev() {
            self.leave(path, metadata)?;
        }
        Ok(())
    }

    fn judge(&self, directory: &Directory, path: &RootfsPath, found: &Metadata) -> Verdict {
        if self.mounts.contains(path) || self.place.protected.contains(&found.inode()) {
            return Verdict::Leave;
        }
        let is_directory = found.kind == FileKind::Directory;
        let name = path.file_name().unwrap_or(b".");
        let is_resident =
            self.residents.get(path).is_some_and(|resident| resident.is(directory, name, found));
        match (is_resident, is_directory) {
            (true, true) => Verdict::Enter,
            (true, false) => Verdict::Leave,
            (false, true) if self.above.contains(path) => Verdict::Enter,
            (false, _) => Verdict::Take,
        }
    }

    /// Takes one entry away; false when it is a directory that can only be taken apart.
    fn take(
        &self,
        directory: &Directory,
        name: &[u8],
        target: Option<&Directory>,
    ) -> Result<bool, SandboxError> {
        let taken = match target {
            Some(target) => directory.rename(name, target, name),
            None => directory.remove_all(name),
        };
        match taken {
            Ok(()) => Ok(true),
            // Something protected is in it, or (for a rename) it is not this layer's own.
            Err(RootfsError::Protected { .. } | RootfsError::OnMount { .. }) => Ok(false),
            Err(error) if is_immovable(&error) && target.is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the counterpart of a directory that is taken apart, made when it is missing.
    fn make_target(&self, path: &RootfsPath) -> Result<Option<Directory>, SandboxError> {
        let Eviction::MoveTo(target) = self.to else { return Ok(None) };
        if target.metadata(path)?.is_none() {
            target.create_dir(path, 0o700)?;
        }
        Ok(Some(target.open_dir(path)?))
    }

    /// Finishes a directory that was taken apart: its counterpart becomes as it was, and it becomes
    /// what it was before the stage, or nothing.
    fn leave(&self, path: &RootfsPath, metadata: &Metadata) -> Result<(), SandboxError> {
        let root = &self.place.root;
        if let Eviction::MoveTo(target) = self.to {
            target.set_owner(path, metadata.uid, metadata.gid)?;
            for (attribute, value) in root.xattrs(path)? {
                target.set_xattr(path, &attribute, &value)?;
            }
            target.set_mode(path, metadata.mode)?;
            target.set_mtime(path, metadata.mtime)?;
        }
        match self.residents.get(path) {
            Some(resident) => resident.restore(root, path),
            None => match root.remove(path) {
                Ok(()) => Ok(()),
                // Something that stays is in it.
                Err(RootfsError::Protected { .. } | RootfsError::OnMount { .. }) => Ok(()),
                Err(error) if is_immovable(&error) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// Tells whether the kernel refuses to move or remove a directory because of what it is or what is
/// in it: a directory of a lower layer, a mount below, entries.
pub(super) fn is_immovable(error: &RootfsError) -> bool {
    let number = error.raw_os_error();
    [Errno::XDEV, Errno::BUSY, Errno::NOTEMPTY]
        .iter()
        .any(|errno| number == Some(errno.raw_os_error()))
}
