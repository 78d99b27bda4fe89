//! Where the root file systems of stages are: a directory each in the work directory, or `/` for
//! one stage after the other.
//!
//! In place, only stages that run commands have to be in `/`; the others, and the images that are
//! copied from, get directories all the same.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use snapshot::{Change, ChangeKind, Changeset, Index, InodeId, Rootfs, RootfsPath};

use super::error::BuildError;
use super::options::{BuildOptions, Cleanup, ContextSource, NamedContextSource};
use super::session::Session;
use super::timed;
use crate::report::event::Phase;
use crate::sandbox::{Eviction, InPlace, Leftovers, Residents};

/// What the work directory calls the list of what a build left in `/`.
const RECORD: &str = "leftovers.json";

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
    /// In `/`, where these paths are somebody else's.
    Place(Foreign),
}

impl Home {
    /// Returns where the files are on this machine.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) => path,
            Self::Place(_) => Path::new("/"),
        }
    }
}

/// What in `/` belongs to no image.
#[derive(Default)]
pub(super) struct Foreign {
    /// Paths that were there before the first stage, and that no stage has changed.
    paths: HashSet<RootfsPath>,
    /// Directories that no snapshot looks at.
    protected: Vec<InodeId>,
}

impl Foreign {
    pub(super) fn protected(&self) -> impl Iterator<Item = InodeId> + '_ {
        self.protected.iter().copied()
    }

    /// Leaves out the removal of what was never in the image: a whiteout for nothing is an error to
    /// some who unpack it. What a stage has changed is the image's from then on.
    pub(super) fn without_removals(&mut self, changes: Changeset) -> Changeset {
        if self.paths.is_empty() {
            return changes;
        }
        let ours = |change: &Change| match change.kind {
            ChangeKind::Removed => !self.paths.contains(&change.path),
            ChangeKind::Added
            | ChangeKind::Modified
            | ChangeKind::Ancestor
            | ChangeKind::Linked => true,
        };
        let kept: Vec<Change> = changes.iter().filter(|change| ours(change)).cloned().collect();
        for change in &kept {
            self.paths.remove(&change.path);
        }
        Changeset::new(kept)
    }
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
    residents: Residents,
    /// The stage, by position, whose files are there.
    occupant: Option<usize>,
}

impl<'a> Roots<'a> {
    /// Takes possession of `/`, if that is where commands run, and cleans it of what an earlier
    /// build left there.
    pub(super) fn open(session: &'a Session<'a>) -> Result<Self, BuildError> {
        let protected = protected(session.options);
        let place = match session.sandbox.open_place(&protected)? {
            None => None,
            Some(in_place) => {
                remove_leftovers(&in_place, &record(session.options))?;
                let residents = in_place.survey()?;
                Some(Place { in_place, residents, occupant: None })
            }
        };
        Ok(Self { session, place, folder_count: 0 })
    }

    /// Makes an empty root file system in a directory of its own.
    pub(super) fn create(&mut self) -> Result<(Rootfs, PathBuf), BuildError> {
        let folder = self.session.store.create_root(&self.folder_count.to_string())?;
        self.folder_count += 1;
        Ok((Rootfs::open(&folder)?, folder))
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

    /// Returns `/`, empty but for its residents, for `stage`; those who were there before must have
    /// been moved or forgotten.
    pub(super) fn occupy(&mut self, stage: usize) -> Result<Rootfs, BuildError> {
        let place = self.place.as_mut().expect("asked only where commands run in place");
        if place.occupant.take().is_some() {
            timed(self.session.events, Phase::Cleanup, || {
                place.in_place.evict(&place.residents, Eviction::Remove)
            })?;
        }
        place.occupant = Some(stage);
        Ok(place.in_place.root().clone())
    }

    /// Moves what is in `/` to a directory of its own, where its stage can still be copied from.
    pub(super) fn move_aside(&mut self, root: Root) -> Result<Root, BuildError> {
        let (target, folder) = self.create()?;
        let place = self.place.as_mut().expect("asked only where commands run in place");
        place.in_place.evict(&place.residents, Eviction::MoveTo(&target))?;
        place.occupant = None;
        Ok(Root { rootfs: target, index: root.index, home: Home::Folder(folder) })
    }

    /// Describes the files of a stage that were just unpacked into `/`.
    pub(super) fn settle(&self, mut index: Index) -> Result<Root, BuildError> {
        let place = self.place.as_ref().expect("asked only where commands run in place");
        let rows =
            place.in_place.resident_rows(&place.residents, |path| index.get(path).is_some())?;
        let foreign = Foreign {
            paths: rows.iter().map(|(path, _)| path.clone()).collect(),
            protected: place.in_place.protected().collect(),
        };
        for (path, row) in rows {
            index.insert(&path, row);
        }
        let rootfs = place.in_place.root().clone();
        Ok(Root { rootfs, index, home: Home::Place(foreign) })
    }

    /// Removes a root that nobody reads any more; what is in `/` goes when the room is needed.
    pub(super) fn remove(&self, root: &Root) -> Result<(), BuildError> {
        match &root.home {
            Home::Folder(folder) => timed(self.session.events, Phase::Cleanup, || {
                Ok(self.session.store.remove_root(folder)?)
            }),
            Home::Place(_) => Ok(()),
        }
    }

    /// Leaves `/` as was asked for, whatever came of the build.
    pub(super) fn close(self) -> Result<(), BuildError> {
        let Some(Place { in_place, residents, occupant: Some(_) }) = self.place else {
            return Ok(());
        };
        match self.session.options.execution.cleanup {
            Cleanup::Removed => timed(self.session.events, Phase::Cleanup, || {
                Ok(in_place.evict(&residents, Eviction::Remove)?)
            }),
            Cleanup::Kept => {
                let path = record(self.session.options);
                let leftovers = in_place.leftovers(&residents)?;
                serde_json::to_vec(&leftovers)
                    .map_err(io::Error::other)
                    .and_then(|text| fs::write(&path, text))
                    .map_err(|source| BuildError::Record { path, source })
            }
        }
    }
}

/// Returns the directories that a build in `/` must leave alone: its own, and those it reads.
fn protected(options: &BuildOptions) -> Vec<PathBuf> {
    let mut protected = vec![options.execution.work_directory.clone()];
    if let ContextSource::Directory(path) = &options.context.source {
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

fn record(options: &BuildOptions) -> PathBuf {
    options.execution.work_directory.join(RECORD)
}

/// Removes what the build before left in `/`. A record of another container is none.
fn remove_leftovers(in_place: &InPlace, record: &PathBuf) -> Result<(), BuildError> {
    let failed = |source| BuildError::Record { path: record.clone(), source };
    let text = match fs::read(record) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    match serde_json::from_slice::<Leftovers>(&text) {
        Ok(leftovers) => {
            let is_ours = in_place.remove_leftovers(&leftovers)?;
            tracing::debug!(is_ours, "looked for what an earlier build left");
        }
        // Written by another version, or torn: nothing can be learned from it.
        Err(error) => tracing::debug!(%error, "what an earlier build left is not known"),
    }
    fs::remove_file(record).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, kind: ChangeKind) -> Change {
        let path = RootfsPath::new(path).expect("a path");
        Change { path, kind, metadata: None }
    }

    #[test]
    fn what_was_never_in_the_image_is_not_removed_from_it() {
        let path = |text: &str| RootfsPath::new(text).expect("a path");
        let paths = ["etc", "etc/a", "etc/b"].map(path).into_iter().collect();
        let mut foreign = Foreign { paths, protected: Vec::new() };
        let removed = |path: &str| change(path, ChangeKind::Removed);
        let modified = change("etc/b", ChangeKind::Modified);
        let kept =
            foreign.without_removals(Changeset::new([removed("etc/a"), modified, removed("usr")]));
        let kept: Vec<String> = kept.iter().map(|change| change.path.to_string()).collect();
        assert_eq!(kept, ["/etc/b", "/usr"]);
        // Once a stage has changed it, it is in the image, and its removal counts.
        let kept = foreign.without_removals(Changeset::new([removed("etc/b")]));
        assert_eq!(kept.len(), 1);
    }
}
