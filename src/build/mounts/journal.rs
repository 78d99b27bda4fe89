//! The list of what stands in for mounts in `/`, kept in the work directory as long as it is there,
//! so that the next build can undo what one that was killed has left.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snapshot::{FileKind, InodeId, Metadata, Rootfs, RootfsError, RootfsPath, Timestamp};

use super::MountsError;
use crate::build::error::BuildError;

/// What the work directory calls it.
const NAME: &str = "in-place-mounts.json";

/// One thing that stands in for a mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Bytes of the path, links resolved.
    pub(super) target: Vec<u8>,
    /// What was made on the way to the target, outer ones first; the target itself last.
    pub(super) made: Vec<Made>,
    /// What was there before.
    pub(super) before: Option<Before>,
    /// Whether all that was at the target is aside, so that what is there stands in.
    pub(super) is_shown: bool,
}

/// Something that was not there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) path: Vec<u8>,
    /// Device and inode; `None` until it is there.
    pub(super) inode: Option<(u64, u64)>,
}

/// Something that is to be there again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) inode: (u64, u64),
    pub(super) is_directory: bool,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    /// Where it is meanwhile, or what was in it; `None`: nothing was.
    pub(super) aside: Option<PathBuf>,
}

impl Before {
    pub(super) fn of(found: &Metadata, aside: Option<PathBuf>) -> Self {
        Self {
            inode: (found.dev, found.ino),
            is_directory: found.kind == FileKind::Directory,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            mtime: (found.mtime.seconds, found.mtime.nanoseconds),
            aside,
        }
    }
}

/// Who sees to the owner, mode and time of a directory that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dress {
    /// It gets those that it had.
    AsBefore,
    /// In the root's own file system somebody else has.
    OfOthersInRoot,
}

/// The list, and where it is kept.
pub(super) struct Journal {
    path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

impl Journal {
    pub(super) fn new(work: &Path) -> Self {
        Self { path: work.join(NAME), entries: Vec::new() }
    }

    /// Writes it down, whole or not at all; called before each thing that it says is done.
    pub(super) fn write(&self) -> Result<(), MountsError> {
        let new = self.path.with_extension("new");
        serde_json::to_vec(&self.entries)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &self.path))
            .map_err(|source| MountsError::Journal { path: self.path.clone(), source })
    }

    /// Says that nothing is left.
    pub(super) fn remove(&self) -> Result<(), MountsError> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(MountsError::Journal { path: self.path.clone(), source })
            }
            _ => Ok(()),
        }
    }
}

impl Entry {
    /// Takes away what stands in, and puts back what was there. Does nothing twice.
    pub(super) fn undo(&self, root: &Rootfs, dress: Dress) -> Result<(), RootfsError> {
        let Ok(target) = RootfsPath::new(&self.target) else { return Ok(()) };
        if let Some(before) = &self.before {
            self.put_back(root, &target, before, dress)?;
        }
        for made in self.made.iter().rev() {
            let Ok(path) = RootfsPath::new(&made.path) else { continue };
            let Some(found) = root.metadata(&path)? else { continue };
            let is_empty = match found.kind {
                FileKind::Directory => root.read_dir(&path)?.is_empty(),
                _ => found.size == 0,
            };
            let is_known = made.inode.map(|(dev, ino)| found.inode() == InodeId { dev, ino });
            // All that is at the target stands in; in what was made on the way to it the command
            // may have put something.
            let goes = is_known.unwrap_or(is_empty) && (is_empty || path == target);
            if goes {
                keeping_times(root, &path, || root.remove_all(&path))?;
            }
        }
        Ok(())
    }

    fn put_back(
        &self,
        root: &Rootfs,
        target: &RootfsPath,
        before: &Before,
        dress: Dress,
    ) -> Result<(), RootfsError> {
        let (dev, ino) = before.inode;
        let found = root.metadata(target)?;
        if !before.is_directory {
            // It is aside, under its own name.
            let Some(aside) = &before.aside else { return Ok(()) };
            let aside = Rootfs::open(aside)?;
            let name = target.file_name().unwrap_or_default();
            let top = RootfsPath::root();
            if aside.metadata(&top.join_name(name))?.is_none() {
                return Ok(());
            }
            return keeping_times(root, target, || {
                // A directory in its place is none that was put there by the build.
                let above = root.open_dir(&target.parent().unwrap_or_default())?;
                aside.open_dir(&top)?.rename(name, &above, name)
            });
        }
        let Some(found) = found.filter(|found| found.inode() == InodeId { dev, ino }) else {
            tracing::debug!(%target, "replaced meanwhile: what was there is not put back");
            return Ok(());
        };
        let directory = root.open_dir(target)?;
        if self.is_shown {
            for entry in directory.entries()? {
                directory.remove_all(&entry.name)?;
            }
        }
        if let Some(aside) = &before.aside {
            let aside = Rootfs::open(aside)?.open_dir(&RootfsPath::root())?;
            for entry in aside.entries()? {
                aside.rename(&entry.name, &directory, &entry.name)?;
            }
        }
        if dress == Dress::OfOthersInRoot
            && root.metadata(&RootfsPath::root())?.is_some_and(|top| top.dev == found.dev)
        {
            return root.set_mtime(target, found.mtime);
        }
        let (seconds, nanoseconds) = before.mtime;
        root.set_owner(target, before.uid, before.gid)?;
        root.set_mode(target, before.mode)?;
        root.set_mtime(target, Timestamp { seconds, nanoseconds })
    }

    /// Removes where things were put aside, which is empty now.
    pub(super) fn remove_aside(&self) {
        let aside = self.before.as_ref().and_then(|before| before.aside.as_ref());
        // Something in it means that it could not be put back: better there than gone.
        if let Some(Err(error)) = aside.map(fs::remove_dir) {
            tracing::debug!(%error, "what was put aside stays there");
        }
    }
}

/// Does something to an entry of a directory without moving the directory's modification time.
pub(super) fn keeping_times<T>(
    root: &Rootfs,
    path: &RootfsPath,
    act: impl FnOnce() -> Result<T, RootfsError>,
) -> Result<T, RootfsError> {
    let above = path.parent().unwrap_or_default();
    let before = root.metadata(&above)?;
    let done = act()?;
    if let Some(before) = before {
        root.set_mtime(&above, before.mtime)?;
    }
    Ok(done)
}

/// Reads what a build that was killed has left.
fn last(work: &Path) -> Result<Journal, BuildError> {
    let mut journal = Journal::new(work);
    match fs::read(&journal.path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(entries) => journal.entries = entries,
            // Written by another version: nothing can be learned from it.
            Err(error) => tracing::debug!(%error, "what an earlier build left is not known"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            let path = journal.path;
            return Err(MountsError::Journal { path, source }.into());
        }
    }
    Ok(journal)
}

/// Puts back what a build that was killed has put aside outside of the work directory, where it goes
/// with all that that build has left; nobody else may be building in `/`.
pub(in crate::build) fn rescue_last(work: &Path) -> Result<(), BuildError> {
    let mut journal = last(work)?;
    let root = Rootfs::open(Path::new("/"))?;
    for number in (0..journal.entries.len()).rev() {
        let Some(entry) = journal.entries.get_mut(number) else { continue };
        let aside = entry.before.as_ref().and_then(|before| before.aside.as_deref());
        if aside.is_some_and(|aside| aside.exists() && !aside.starts_with(work)) {
            entry.undo(&root, Dress::AsBefore)?;
            (entry.before, entry.is_shown) = (None, false);
            journal.write()?;
        }
    }
    Ok(())
}

/// Undoes what a build that was killed has left, when all else is gone that it left in `/`.
pub(in crate::build) fn settle_last(work: &Path) -> Result<(), BuildError> {
    let journal = last(work)?;
    let root = Rootfs::open(Path::new("/"))?;
    for entry in journal.entries.iter().rev() {
        entry.undo(&root, Dress::OfOthersInRoot)?;
        entry.remove_aside();
    }
    journal.remove()?;
    remove_empty_asides(work)
}

/// What directories are called where things are put aside, in the work directory.
pub(in crate::build) const ASIDE: &str = "displaced-";

/// Removes places where things could be put aside and were not.
fn remove_empty_asides(work: &Path) -> Result<(), BuildError> {
    let failed = |source| MountsError::Journal { path: work.to_owned(), source };
    let entries = match fs::read_dir(work) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source).into()),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_bytes().starts_with(ASIDE.as_bytes()) {
            // Something in it could not be put back: better there than gone.
            _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}
