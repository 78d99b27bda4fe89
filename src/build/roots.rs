//! Where the root file systems of stages are: a directory each in the work directory, or `/` for
//! one stage after the other.
//!
//! In place, only stages that run commands have to be in `/`; the others, and the images that are
//! copied from, get directories all the same.

use std::path::{Path, PathBuf};

use snapshot::{Index, Rootfs};

use super::error::BuildError;
use super::foreign::{Foreign, Strangers};
use super::options::{
    BuildOptions, CacheOptions, CachePlace, Cleanup, ContextSource, ExecutionOptions, Inhabitants,
    NamedContextSource,
};
use super::session::Session;
use super::stay::Record;
use super::timed;
use super::trees::TreeRoot;
use super::{islands, mounts};
use crate::archive::Beneath;
use crate::report::event::{Event, Phase};
use crate::sandbox::{Eviction, InPlace, Sandbox, SandboxError, Tenancy, is_container};

/// A root file system on disk, and what is known of it.
pub(super) struct Root {
    pub(super) rootfs: Rootfs,
    pub(super) index: Index,
    pub(super) home: Home,
}

/// Where a root file system is.
pub(super) enum Home {
    /// In a directory of its own.
    Folder(PathBuf),
    /// In `/`, together with somebody else's files.
    Place(Foreign),
    /// In a directory of its own, moved there from `/`: the index knows it as it was.
    Moved(PathBuf),
    /// Over a tree that other builds use too.
    Tree(TreeRoot),
}

impl Home {
    pub(super) fn kind(&self) -> HomeKind {
        match self {
            Self::Tree(_) => HomeKind::Tree,
            Self::Folder(_) | Self::Place(_) | Self::Moved(_) => HomeKind::Other,
        }
    }

    /// Returns where the files are on this machine.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Moved(path) => path,
            Self::Place(_) => Path::new("/"),
            Self::Tree(root) => root.path(),
        }
    }
}

/// What matters to trackers of where a root file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HomeKind {
    /// It is an overlay over a tree.
    Tree,
    /// It is not.
    Other,
}

/// The root file systems of one build.
pub(super) struct Roots<'a> {
    session: &'a Session<'a>,
    place: Option<Place>,
    folder_count: usize,
}

/// `/`, and who is in it.
struct Place {
    in_place: InPlace,
    tenancy: Tenancy,
    record: Record,
    /// The stage, by position, whose files are there.
    occupant: Option<usize>,
}

impl<'a> Roots<'a> {
    /// Takes possession of `/`, if that is where commands run, and cleans it of what an earlier
    /// build left there. Without a sandbox, no command runs.
    pub(super) fn open(
        session: &'a Session<'a>,
        sandbox: Option<&Sandbox>,
    ) -> Result<Self, BuildError> {
        let protected = protected(session.options);
        let opened = sandbox.map(|sandbox| sandbox.open_place(&protected)).transpose()?;
        let place = match opened.flatten() {
            None => None,
            Some(in_place) => Some(Place::take(in_place, session)?),
        };
        Ok(Self { session, place, folder_count: 0 })
    }

    /// Makes an empty root file system in a directory of its own.
    pub(super) fn create(&mut self) -> Result<(Rootfs, PathBuf), BuildError> {
        let folder = self.session.store.create_root(&self.folder_count.to_string())?;
        self.folder_count += 1;
        Ok((Rootfs::open(&folder)?, folder))
    }

    /// Makes an empty directory for a root that is not in it itself.
    pub(super) fn create_folder(&mut self) -> Result<PathBuf, BuildError> {
        Ok(self.create()?.1)
    }

    /// Makes an empty root file system where what is in `/` can be moved to.
    fn create_aside(&mut self) -> Result<(Rootfs, PathBuf), BuildError> {
        let number = self.folder_count;
        let place = self.place.as_ref();
        match place.map(|place| place.in_place.create_aside(number)).transpose()?.flatten() {
            None => self.create(),
            Some(folder) => {
                self.folder_count += 1;
                Ok((Rootfs::open(&folder)?, folder))
            }
        }
    }

    /// Makes an empty directory that what is in `/` can be moved to for the time of a command, and
    /// that the next build finds again.
    pub(super) fn make_aside(&mut self) -> Result<PathBuf, BuildError> {
        let work = &self.session.options.execution.work_directory;
        loop {
            let number = self.folder_count;
            self.folder_count += 1;
            let place = self.place.as_ref();
            if let Some(Some(folder)) =
                place.map(|place| place.in_place.create_aside(number)).transpose()?
            {
                return Ok(folder);
            }
            let folder = work.join(format!("{}{number}", mounts::ASIDE));
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                // In it is what an earlier build could not put back.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(BuildError::Record { path: folder, source }),
            }
        }
    }

    /// Tells whether commands need their files in `/`.
    pub(super) fn are_in_place(&self) -> bool {
        self.place.is_some()
    }

    /// Returns the stage whose files are in `/`.
    pub(super) fn occupant(&self) -> Option<usize> {
        self.place.as_ref()?.occupant
    }

    /// Hands `/` over to a stage that goes on with the files that are there.
    pub(super) fn pass_on(&mut self, stage: usize) {
        if let Some(place) = &mut self.place {
            place.occupant = Some(stage);
        }
    }

    /// Returns `/`, empty but for its residents, for `stage`, and a tree for what cannot be in it;
    /// those who were there before must have been moved or forgotten.
    pub(super) fn occupy(&mut self, stage: usize) -> Result<(Rootfs, Beneath), BuildError> {
        let (files, _) = self.create_aside()?;
        let place = self.place.as_mut().expect("asked only where commands run in place");
        if place.occupant.take().is_some() {
            timed(self.session.events, Phase::Cleanup, || {
                place.in_place.evict(place.tenancy.residents(), Eviction::Remove)
            })?;
        }
        place.occupant = Some(stage);
        let beneath = Beneath::new(files, place.in_place.covers()?);
        Ok((place.in_place.root().clone(), beneath))
    }

    /// Moves a root that is in `/` to a directory of its own, where it can be copied from.
    pub(super) fn move_aside(&mut self, root: Root) -> Result<Root, BuildError> {
        let Home::Place(foreign) = &root.home else { return Ok(root) };
        let (target, folder) = self.create_aside()?;
        let place = self.place.as_mut().expect("what is in `/` is in a place");
        place.in_place.evict(place.tenancy.residents(), Eviction::MoveTo(&target))?;
        foreign.move_into(&target)?;
        place.occupant = None;
        Ok(Root { rootfs: target, index: root.index, home: Home::Moved(folder) })
    }

    /// Describes the files of a stage that were just unpacked into `/`.
    pub(super) fn settle(&self, mut index: Index, beneath: Beneath) -> Result<Root, BuildError> {
        let place = self.place.as_ref().expect("asked only where commands run in place");
        let rows = place
            .in_place
            .resident_rows(place.tenancy.residents(), |path| index.get(path).is_some())?;
        let own = own_directories(&self.session.options.execution);
        let strangers = Strangers {
            paths: rows.iter().map(|(path, _)| path.clone()).collect(),
            protected: place.in_place.protected().collect(),
            ignore: self.session.snapshot_options()?.ignore,
            own: own.iter().filter_map(|path| place.in_place.path_inside(path)).collect(),
        };
        let foreign = Foreign::new(strangers, beneath);
        for (path, row) in rows {
            index.insert(&path, row);
        }
        let rootfs = place.in_place.root().clone();
        Ok(Root { rootfs, index, home: Home::Place(foreign) })
    }

    /// Removes a root that nobody reads any more; what is in `/` goes when the room is needed.
    pub(super) fn remove(&self, root: &Root) -> Result<(), BuildError> {
        match &root.home {
            Home::Folder(folder) | Home::Moved(folder) => {
                timed(self.session.events, Phase::Cleanup, || {
                    Ok(self.session.store.remove_root(folder)?)
                })
            }
            Home::Place(_) => Ok(()),
            // What was written to it goes with it, and the directory at the end.
            Home::Tree(_) => Ok(()),
        }
    }

    /// Leaves `/` as was asked for, whatever came of the build.
    pub(super) fn close(self) -> Result<(), BuildError> {
        let Some(Place { in_place, tenancy, record, occupant }) = self.place else {
            return Ok(());
        };
        in_place.remove_aside()?;
        match (occupant, self.session.options.execution.cleanup) {
            (None, _) => record.remove(),
            (Some(_), Cleanup::Removed) => {
                timed(self.session.events, Phase::Cleanup, || {
                    in_place.evict(tenancy.residents(), Eviction::Remove)
                })?;
                record.remove()
            }
            (Some(_), Cleanup::Kept) => record.end(tenancy),
        }
    }
}

impl Place {
    /// Takes possession of `/`, cleans it of what an earlier build left there, and writes down who
    /// else is in it.
    fn take(in_place: InPlace, session: &Session<'_>) -> Result<Self, BuildError> {
        let work = &session.options.execution.work_directory;
        let mut in_place = in_place.claim()?;
        mounts::rescue_last(work)?;
        Record::settle_last(work, &in_place)?;
        mounts::settle_last(work)?;
        islands::settle_last(work)?;
        in_place.sweep()?;
        let examples = admit(&in_place, &session.options.execution)?;
        match session.options.execution.inhabitants {
            Inhabitants::Removed => in_place.clear()?,
            Inhabitants::Kept if !examples.is_empty() => {
                session.events.send(Event::Warning { text: mixed_text(&examples) });
            }
            Inhabitants::Kept | Inhabitants::Refused => {}
        }
        if !in_place.is_beside(work)? {
            in_place = in_place.make_aside()?;
        }
        let tenancy = in_place.move_in()?;
        let record = Record::start(work, &tenancy)?;
        Ok(Self { in_place, tenancy, record, occupant: None })
    }
}

/// Returns the directories that a build in `/` must leave alone: its own, and those it reads.
fn protected(options: &BuildOptions) -> Vec<PathBuf> {
    let mut protected = own_directories(&options.execution);
    if let ContextSource::Directory(path) = &options.context.source {
        protected.push(path.clone());
    }
    if let Some(CacheOptions { place: CachePlace::Directory(path), .. }) = &options.cache
        && path.exists()
    {
        protected.push(path.clone());
    }
    for named in &options.context.named {
        match &named.source {
            NamedContextSource::Directory(path) | NamedContextSource::OciLayout { path, .. } => {
                protected.push(path.clone());
            }
            NamedContextSource::Image(_) => {}
        }
    }
    protected
}

/// Returns the directories of the program and its work.
pub(super) fn own_directories(execution: &ExecutionOptions) -> Vec<PathBuf> {
    let kept = execution.kept_directories.iter().filter(|path| path.exists());
    std::iter::once(&execution.work_directory).chain(kept).cloned().collect()
}

/// Returns some of another image's files in `/`, if there are.
///
/// # Errors
/// When they are neither to be removed nor to be kept, or are those of a machine.
pub(super) fn admit(
    in_place: &InPlace,
    execution: &ExecutionOptions,
) -> Result<Vec<String>, SandboxError> {
    if execution.inhabitants == Inhabitants::Removed {
        return match is_container(execution.surroundings) {
            true => Ok(Vec::new()),
            false => Err(SandboxError::ClearMachine),
        };
    }
    let examples: Vec<String> =
        in_place.inhabitants()?.iter().map(|path| format!("`{path}`")).collect();
    match execution.inhabitants {
        Inhabitants::Refused if !examples.is_empty() => Err(SandboxError::Inhabited { examples }),
        Inhabitants::Refused | Inhabitants::Kept | Inhabitants::Removed => Ok(examples),
    }
}

fn mixed_text(examples: &[String]) -> String {
    format!(
        "`/` is that of another image: a RUN finds its files beside those of the base ({}); \
         `--pre-cleanup` removes them before the build",
        examples.join(", ")
    )
}
