//! Mounts where nothing can be mounted: copies in the places of mounts, for the time of a command.
//!
//! What was in such a place is put aside, on the same file system, and back again. A cache is copied
//! in, and what the command changed of it is copied back; of anything else what the command does to
//! it is gone. The command may do to these places what no mount would allow: so they are found again
//! by device and inode and read through handles that were opened before, and a command that replaced
//! one has failed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use snapshot::{Directory, FileKind, InodeId, Metadata, NewDirectory, Rootfs, RootfsPath};

use super::journal::{Before, Dress, Entry, Journal, Made, keeping_times};
use super::{Gathered, Item, ItemContent, MountsError};
use crate::build::error::StepError;
use crate::build::foreign::Kept;
use crate::build::mirror::{Mirror, list};
use crate::build::session::Session;
use crate::build::steps::Supply;
use crate::plan::MountAccess;
use crate::sandbox::MountedFile;

/// Trees that the kernel makes up: nothing can be put there.
const KERNEL: [&[u8]; 3] = [b"proc", b"sys", b"dev"];

/// What a step is told that wants to mount there.
const IN_KERNEL: &str = "it is in a file system of the kernel's";

/// The same of the directories of the build.
const OWN: &str = "the build's own files are there";

/// What stands in for the mounts of one command.
pub(super) struct StandIns<'a> {
    root: Rootfs,
    journal: Journal,
    /// Held for the locks of caches.
    _items: Vec<Item<'a>>,
    shown: Vec<Shown>,
}

/// One of them, by position among the items.
struct Shown {
    target: RootfsPath,
    inode: InodeId,
    /// Open, so that the number of its inode is not given to what a command puts in its place.
    _held: (Option<File>, Option<Directory>),
    /// Of a cache that the command may write to.
    back: Option<Back>,
}

/// How a cache gets back what became of it.
struct Back {
    /// What the command saw.
    from: Rootfs,
    /// The cache.
    to: Rootfs,
    /// As it was put there.
    known: BTreeMap<RootfsPath, Metadata>,
}

impl<'a> StandIns<'a> {
    /// Puts everything where the command looks for it.
    pub(super) fn make(
        session: &Session<'_>,
        gathered: Gathered<'a>,
        kept: Kept<'_>,
        supply: &mut dyn Supply,
    ) -> Result<Self, StepError> {
        // Unguarded: a target may be on a volume of the container.
        let root = Rootfs::open(Path::new("/"))?;
        let journal = Journal::new(&session.options.execution.work_directory);
        let mut made = Self { root, journal, _items: Vec::new(), shown: Vec::new() };
        for item in &gathered.items {
            if let Err(error) = made.make_one(item, kept, supply) {
                // The first error is the one to tell.
                if let Err(second) = made.undo() {
                    tracing::debug!(%second, "stand-ins for mounts left behind");
                }
                return Err(error);
            }
        }
        made._items = gathered.items;
        Ok(made)
    }

    fn make_one(
        &mut self,
        item: &Item<'_>,
        kept: Kept<'_>,
        supply: &mut dyn Supply,
    ) -> Result<(), StepError> {
        let target = self.root.resolve(&item.target)?;
        let occupied = |reason| MountsError::Occupied { target: target.clone(), reason };
        if target.is_root() {
            return Err(occupied("it leads to the root").into());
        }
        if target.components().next().is_some_and(|first| KERNEL.contains(&first)) {
            return Err(occupied(IN_KERNEL).into());
        }
        let is_own = |own: &RootfsPath| target.starts_with(own) || own.starts_with(&target);
        if kept.own.iter().any(is_own) {
            return Err(occupied(OWN).into());
        }
        // What is copied from must not be put aside.
        let is_missing_or_empty = match self.root.metadata(&target)? {
            None => true,
            Some(found) if found.kind == FileKind::Directory => {
                self.root.read_dir(&target)?.is_empty()
            }
            Some(_) => false,
        };
        if !is_missing_or_empty && self.is_in(&target, kept.protected)? {
            return Err(occupied(OWN).into());
        }
        let place = Shape::of(item)?;
        self.make_room(&target, place, supply)?;
        let mut back = None;
        match &item.content {
            ItemContent::Bind { files, source, .. } if place == Shape::File => {
                let (path, found) = files.find(source)?;
                let mut file =
                    keeping_times(&self.root, &target, || self.root.create_file(&target))?;
                self.note_inode()?;
                std::io::copy(&mut files.root().open_file(&path)?, &mut file)
                    .map_err(|error| MountsError::Source { path, source: error })?;
                self.root.set_mode(&target, found.mode)?;
            }
            ItemContent::Bind { files, source, .. } => {
                files.copy_into(source, &self.root.subtree(&target)?)?;
            }
            ItemContent::Cache { volume, source, access } => {
                let cache = Rootfs::open(volume.path())?.subtree(source)?;
                let shown = self.root.subtree(&target)?;
                let known = copy_all(&cache, &shown)?;
                if *access == MountAccess::Writable {
                    back = Some(Back { from: shown, to: cache, known });
                }
            }
            ItemContent::Memory { .. } => {
                let is_new = self.journal.entries.last().is_some_and(|it| it.before.is_none());
                if is_new {
                    self.root.set_mode(&target, 0o1777)?;
                }
            }
            ItemContent::Secret(file) => self.write_secret(&target, file)?,
        }
        let found = self.root.metadata(&target)?;
        let inode = found.map(|found| found.inode());
        let inode = inode.ok_or_else(|| MountsError::Replaced { target: target.clone() })?;
        let held = match place {
            Shape::File => (Some(self.root.open_file(&target)?), None),
            Shape::Directory => (None, Some(self.root.open_dir(&target)?)),
        };
        self.shown.push(Shown { target, inode, _held: held, back });
        Ok(())
    }

    /// Makes the target, or empties it, putting what is there aside; a file's place is left empty.
    fn make_room(
        &mut self,
        target: &RootfsPath,
        shape: Shape,
        supply: &mut dyn Supply,
    ) -> Result<(), StepError> {
        let occupied = |reason| MountsError::Occupied { target: target.clone(), reason };
        let found = self.root.metadata(target)?;
        let entry = |made: Vec<Made>, before: Option<Before>| Entry {
            target: target.as_bytes().to_vec(),
            made,
            before,
            is_shown: false,
        };
        match (shape, found) {
            (_, None) => {
                let missing = self.missing(target)?;
                let made = |path: &RootfsPath| Made { path: path.as_bytes().to_vec(), inode: None };
                self.journal.entries.push(entry(missing.iter().map(made).collect(), None));
                self.journal.write()?;
                let directories = match shape {
                    Shape::Directory => missing.as_slice(),
                    Shape::File => missing.split_last().map_or(&[][..], |(_, above)| above),
                };
                for path in directories {
                    keeping_times(&self.root, path, || {
                        let new = NewDirectory { mode: 0o755, uid: 0, gid: 0 };
                        self.root.create_dir_all(path, &new)
                    })?;
                }
                self.note_inode()
            }
            (Shape::Directory, Some(found)) if found.kind == FileKind::Directory => {
                let entries = self.root.read_dir(target)?;
                let aside = match entries.is_empty() {
                    true => None,
                    false => Some(supply.make_aside()?),
                };
                let before = Before::of(&found, aside.clone());
                self.journal.entries.push(entry(Vec::new(), Some(before)));
                self.journal.write()?;
                if let Some(aside) = aside {
                    let directory = self.root.open_dir(target)?;
                    let aside = Rootfs::open(&aside)?.open_dir(&RootfsPath::root())?;
                    for entry in entries {
                        directory.rename(&entry.name, &aside, &entry.name).map_err(|error| {
                            tracing::debug!(%error, %target, "cannot be put aside");
                            occupied("what is there cannot be moved")
                        })?;
                    }
                }
                self.say_shown()
            }
            (Shape::File, Some(found)) if found.kind == FileKind::Regular => {
                let aside = supply.make_aside()?;
                let name = target.file_name().unwrap_or_default();
                let made = Made { path: target.as_bytes().to_vec(), inode: None };
                let before = Before::of(&found, Some(aside.clone()));
                self.journal.entries.push(entry(vec![made], Some(before)));
                self.journal.write()?;
                let above = self.root.open_dir(&target.parent().unwrap_or_default())?;
                let aside = Rootfs::open(&aside)?.open_dir(&RootfsPath::root())?;
                let moved = keeping_times(&self.root, target, || above.rename(name, &aside, name));
                moved.map_err(|error| {
                    tracing::debug!(%error, %target, "cannot be put aside");
                    occupied("what is there cannot be moved")
                })?;
                self.say_shown()
            }
            (Shape::Directory, Some(_)) => Err(occupied("it is not a directory").into()),
            (Shape::File, Some(_)) => Err(occupied("it is not a file").into()),
        }
    }

    /// Tells whether a path is one of these directories, or in one.
    fn is_in(&self, path: &RootfsPath, directories: &[InodeId]) -> Result<bool, StepError> {
        for at in std::iter::once(path.clone()).chain(path.ancestors()) {
            if self.root.metadata(&at)?.is_some_and(|found| directories.contains(&found.inode())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns what is missing of a path, outer ones first.
    fn missing(&self, target: &RootfsPath) -> Result<Vec<RootfsPath>, StepError> {
        let mut missing = vec![target.clone()];
        for above in target.ancestors() {
            if self.root.metadata(&above)?.is_some() {
                break;
            }
            missing.push(above);
        }
        missing.reverse();
        Ok(missing)
    }

    /// Writes down what the last entry's paths have become.
    fn note_inode(&mut self) -> Result<(), StepError> {
        if let Some(entry) = self.journal.entries.last_mut() {
            for made in &mut entry.made {
                let Ok(path) = RootfsPath::new(&made.path) else { continue };
                made.inode = self.root.metadata(&path)?.map(|found| (found.dev, found.ino));
            }
        }
        Ok(self.journal.write()?)
    }

    fn say_shown(&mut self) -> Result<(), StepError> {
        if let Some(entry) = self.journal.entries.last_mut() {
            entry.is_shown = true;
        }
        Ok(self.journal.write()?)
    }

    fn write_secret(&mut self, target: &RootfsPath, file: &MountedFile) -> Result<(), StepError> {
        let mut written = keeping_times(&self.root, target, || self.root.create_file(target))?;
        // Known before there is anything in it.
        self.note_inode()?;
        written
            .write_all(&file.content)
            .map_err(|source| MountsError::Source { path: target.clone(), source })?;
        self.root.set_owner(target, file.uid, file.gid)?;
        Ok(self.root.set_mode(target, file.mode)?)
    }

    /// Takes everything away again, inner ones first, and gives caches what became of them.
    ///
    /// # Errors
    /// [`MountsError::Replaced`] when the command replaced one of them; all that can be undone is.
    pub(super) fn take_away(mut self) -> Result<(), StepError> {
        self.undo()
    }

    fn undo(&mut self) -> Result<(), StepError> {
        let mut outcome = Ok(());
        let mut note = |done: Result<(), StepError>| match done {
            Err(error) if outcome.is_err() => {
                tracing::debug!(%error, "a stand-in for a mount is left behind");
            }
            done => outcome = std::mem::replace(&mut outcome, Ok(())).and(done),
        };
        for number in (0..self.journal.entries.len()).rev() {
            // One that failed must not keep the others from being undone.
            if let Some(shown) = self.shown.get(number) {
                note(shown.give_back(&self.root));
            }
            if let Some(entry) = self.journal.entries.get(number) {
                note(entry.undo(&self.root, Dress::AsBefore).map_err(StepError::from));
                entry.remove_aside();
            }
        }
        outcome?;
        Ok(self.journal.remove()?)
    }
}

impl Shown {
    /// Gives a cache what became of it, if it is still where it was put.
    fn give_back(&self, root: &Rootfs) -> Result<(), StepError> {
        let found = root.metadata(&self.target)?;
        if found.is_none_or(|found| found.inode() != self.inode) {
            return Err(MountsError::Replaced { target: self.target.clone() }.into());
        }
        self.back.as_ref().map_or(Ok(()), Back::run)
    }
}

/// What is mounted, as far as its place goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    File,
    Directory,
}

impl Shape {
    fn of(item: &Item<'_>) -> Result<Self, StepError> {
        Ok(match &item.content {
            ItemContent::Bind { files, source, .. } => match files.find(source)?.1.kind {
                FileKind::Directory => Self::Directory,
                _ => Self::File,
            },
            ItemContent::Cache { .. } | ItemContent::Memory { .. } => Self::Directory,
            ItemContent::Secret(_) => Self::File,
        })
    }
}

impl Back {
    /// Copies back what is new or changed, and removes what is gone.
    fn run(&self) -> Result<(), StepError> {
        let top = RootfsPath::root();
        let now = list(&self.from, &top)?;
        let there: std::collections::BTreeSet<&RootfsPath> =
            now.iter().map(|(path, _)| path).collect();
        for path in self.known.keys().filter(|path| !there.contains(path)) {
            self.to.remove_all(path)?;
        }
        let is_changed = |(path, found): &&(RootfsPath, Metadata)| {
            found.kind != FileKind::Socket && self.known.get(path) != Some(found)
        };
        let changed: Vec<(RootfsPath, Metadata)> = now.iter().filter(is_changed).cloned().collect();
        Mirror::new(&self.from, &self.to).copy(&changed)?;
        // What was copied moved the times of directories that did not change.
        for (path, found) in now.iter().rev() {
            if found.kind == FileKind::Directory {
                self.to.set_mtime(path, found.mtime)?;
            }
        }
        Ok(())
    }
}

/// Copies all of a tree, its top's owner and mode with it, and says how it is there.
fn copy_all(from: &Rootfs, to: &Rootfs) -> Result<BTreeMap<RootfsPath, Metadata>, StepError> {
    let top = RootfsPath::root();
    Mirror::new(from, to).copy(&list(from, &top)?)?;
    Ok(list(to, &top)?.into_iter().collect())
}
