//! What a Dockerfile puts below a mount, shown there while a command runs.
//!
//! In `/` of a container a volume covers a part of the image, whose files are beneath, in a tree of
//! their own. A command has to find what WORKDIR and COPY have made there all the same, and what it
//! makes of that belongs to the image. So where the volume has nothing of that name, the topmost
//! directory (or file) that the Dockerfile has made is put on the volume for the time of a command,
//! and goes back beneath after it: an island in the volume that is the image's. What the volume has
//! itself is neither written over nor taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use snapshot::{FileKind, InodeId, Metadata, Rootfs, RootfsError, RootfsPath, Timestamp};

use super::error::{BuildError, StepError};
use super::leftovers;
use super::mirror::{Mirror, list};

/// What the work directory calls the list of what is shown.
const NAME: &str = "in-place-islands.json";

/// Trees that the kernel makes up: nothing is shown in them.
const KERNEL: [&[u8]; 3] = [b"proc", b"sys", b"dev"];

/// What has to be known to show the image's files.
pub(super) struct Sea<'a> {
    /// The image's files that are covered.
    pub(super) image: &'a Rootfs,
    /// What steps have put there.
    pub(super) put: &'a BTreeSet<RootfsPath>,
    /// The program's own directories, where nothing is shown.
    pub(super) own: &'a [RootfsPath],
    /// Where the command starts.
    pub(super) start: &'a RootfsPath,
    /// The work directory.
    pub(super) work: &'a Path,
}

/// What is shown for one command.
pub(super) struct Islands {
    root: Rootfs,
    list: PathBuf,
    islands: Vec<Island>,
}

struct Island {
    path: RootfsPath,
    /// When the directory that it is in was changed before.
    above: Option<(RootfsPath, Timestamp)>,
    /// As it was put there.
    known: BTreeMap<RootfsPath, Metadata>,
}

/// What a command made of what it was shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Harvest {
    pub(super) changed: Vec<RootfsPath>,
    /// Of what is gone as a whole, the topmost.
    pub(super) removed: Vec<RootfsPath>,
}

/// An island as the work directory remembers it.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    path: Vec<u8>,
    /// Device and inode; `None` until it is there.
    inode: Option<(u64, u64)>,
    /// When the directory that it is in was changed before.
    above: (i64, u32),
}

impl Islands {
    /// Shows what the image has where the container has nothing.
    pub(super) fn show(sea: &Sea<'_>) -> Result<Self, StepError> {
        // Unguarded: it is the container's own mount that is written to.
        let root = Rootfs::open(Path::new("/"))?;
        let list = sea.work.join(NAME);
        let mut shown = Self { root, list, islands: Vec::new() };
        let outcome = shown.show_all(sea);
        if let Err(error) = outcome {
            // The first error is the one to tell.
            if let Err(second) = shown.remove() {
                tracing::debug!(%second, "left on a mount");
            }
            return Err(error);
        }
        Ok(shown)
    }

    fn show_all(&mut self, sea: &Sea<'_>) -> Result<(), StepError> {
        let mut tops: BTreeSet<RootfsPath> = BTreeSet::new();
        for path in sea.put {
            if tops.iter().any(|top| path.starts_with(top)) || is_foreign(path, sea.own) {
                continue;
            }
            tops.extend(self.topmost_missing(path)?);
        }
        let mut listed = Vec::new();
        for top in &tops {
            let above = top.parent().unwrap_or_default();
            let mtime = self.root.metadata(&above)?.map_or_else(Default::default, |it| it.mtime);
            let above = (mtime.seconds, mtime.nanoseconds);
            listed.push(Listed { path: top.as_bytes().to_vec(), inode: None, above });
        }
        for (top, place) in tops.iter().zip(0..) {
            self.write_list(&listed)?;
            match self.show_one(sea.image, top) {
                Ok(found) => {
                    if let Some(entry) = listed.get_mut::<usize>(place) {
                        entry.inode = found.map(|found| (found.dev, found.ino));
                    }
                }
                // A read-only volume shows what it has; only where the command starts it has to be.
                Err(error) if is_read_only(&error) && !sea.start.starts_with(top) => {
                    tracing::debug!(path = %top, %error, "not shown to the command");
                }
                Err(error) => return Err(error),
            }
        }
        if !listed.is_empty() {
            self.write_list(&listed)?;
        }
        for island in &mut self.islands {
            let entries = super::mirror::list(sea.image, &island.path)?;
            Mirror::new(sea.image, &self.root).copy(&entries)?;
            island.known = super::mirror::list(&self.root, &island.path)?.into_iter().collect();
        }
        Ok(())
    }

    /// Returns the topmost of `path` and the directories above it that the container has not, unless
    /// a link or something else is on the way.
    fn topmost_missing(&self, path: &RootfsPath) -> Result<Option<RootfsPath>, StepError> {
        let mut way: Vec<RootfsPath> = path.ancestors().collect();
        way.reverse();
        way.push(path.clone());
        for candidate in way.into_iter().filter(|candidate| !candidate.is_root()) {
            match self.root.metadata(&candidate)?.map(|found| found.kind) {
                Some(FileKind::Directory) => {}
                Some(_) => return Ok(None),
                None => return Ok(Some(candidate)),
            }
        }
        Ok(None)
    }

    /// Makes an island, empty, and says what it is.
    fn show_one(
        &mut self,
        image: &Rootfs,
        path: &RootfsPath,
    ) -> Result<Option<Metadata>, StepError> {
        let Some(kind) = image.metadata(path)?.map(|found| found.kind) else { return Ok(None) };
        let above = path.parent().unwrap_or_else(RootfsPath::root);
        let before = self.root.metadata(&above)?.map(|found| (above, found.mtime));
        match kind {
            FileKind::Directory => self.root.create_dir(path, 0o700)?,
            _ => drop(self.root.create_file(path)?),
        }
        self.islands.push(Island { path: path.clone(), above: before, known: BTreeMap::new() });
        Ok(self.root.metadata(path)?)
    }

    fn write_list(&self, listed: &[Listed]) -> Result<(), StepError> {
        let written = leftovers::write(&self.list, listed);
        written.map_err(|source| BuildError::Record { path: self.list.clone(), source }.into())
    }

    /// Takes back beneath what the command has made of it, and says what that was.
    pub(super) fn take_back(self, image: &Rootfs) -> Result<Harvest, StepError> {
        let harvest = self.harvest(image);
        let removed = self.remove();
        let harvest = harvest?;
        removed?;
        Ok(harvest)
    }

    fn harvest(&self, image: &Rootfs) -> Result<Harvest, StepError> {
        let mut harvest = Harvest::default();
        for island in &self.islands {
            let now = list(&self.root, &island.path)?;
            let there: BTreeSet<&RootfsPath> = now.iter().map(|(path, _)| path).collect();
            for path in island.known.keys().filter(|path| !there.contains(path)) {
                if !harvest.removed.iter().any(|removed| path.starts_with(removed)) {
                    image.remove_all(path)?;
                    harvest.removed.push(path.clone());
                }
            }
            let is_changed = |(path, found): &&(RootfsPath, Metadata)| {
                found.kind != FileKind::Socket && island.known.get(path) != Some(found)
            };
            let changed: Vec<(RootfsPath, Metadata)> =
                now.iter().filter(is_changed).cloned().collect();
            Mirror::new(&self.root, image).copy(&changed)?;
            // What was copied moved the times of directories that did not change.
            for (path, found) in now.iter().rev() {
                if found.kind == FileKind::Directory {
                    image.set_mtime(path, found.mtime)?;
                }
            }
            harvest.changed.extend(changed.into_iter().map(|(path, _)| path));
        }
        Ok(harvest)
    }

    /// Takes it away from the mounts.
    pub(super) fn remove(self) -> Result<(), StepError> {
        for Island { path, above, .. } in &self.islands {
            if self.root.metadata(path)?.is_some() {
                self.root.remove_all(path)?;
            }
            if let Some((above, mtime)) = above {
                self.root.set_mtime(above, *mtime)?;
            }
        }
        match fs::remove_file(&self.list) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BuildError::Record { path: self.list.clone(), source: error }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Removes from mounts what a build that was killed has left there.
pub(super) fn settle_last(work: &Path) -> Result<(), BuildError> {
    leftovers::settle(&work.join(NAME), |listed: Vec<Listed>| {
        let root = Rootfs::open(Path::new("/"))?;
        for Listed { path, inode, above } in listed {
            if let Ok(path) = RootfsPath::new(&path) {
                remove_listed(&root, &path, inode, above)?;
            }
        }
        Ok(())
    })
}

/// Removes an island by what it was; one that may not have come to be, where it is empty.
fn remove_listed(
    root: &Rootfs,
    path: &RootfsPath,
    inode: Option<(u64, u64)>,
    above: (i64, u32),
) -> Result<(), RootfsError> {
    let Some(found) = root.metadata(path)? else { return Ok(()) };
    let is_ours = match inode {
        Some((dev, ino)) => found.inode() == InodeId { dev, ino },
        None if found.kind == FileKind::Directory => root.read_dir(path)?.is_empty(),
        None => found.kind == FileKind::Regular && found.size == 0,
    };
    if !is_ours {
        return Ok(());
    }
    root.remove_all(path)?;
    let (seconds, nanoseconds) = above;
    root.set_mtime(&path.parent().unwrap_or_default(), Timestamp { seconds, nanoseconds })
}

/// Tells whether a path is the kernel's or the program's own.
fn is_foreign(path: &RootfsPath, own: &[RootfsPath]) -> bool {
    path.components().next().is_some_and(|first| KERNEL.contains(&first))
        || own.iter().any(|own| path.starts_with(own))
}

fn is_read_only(error: &StepError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            let refusals = [Errno::ROFS, Errno::ACCESS, Errno::PERM];
            return refusals.iter().any(|errno| errno.raw_os_error() == number);
        }
        cause = error.source();
    }
    false
}
