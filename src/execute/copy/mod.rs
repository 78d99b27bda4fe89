//! COPY and ADD of files: from one root file system to another, by BuildKit's rules.
//!
//! Owns the algorithm: which sources a pattern means ([`source`]), where each lands ([`landing`],
//! pure), and how files and trees get there ([`tree`]). Must not know where the root file systems
//! come from. The idea to hold in mind: links in a *named* path are followed, inside its own root;
//! links met on the way through a tree are things to be copied.

mod content;
mod digests;
mod disk;
mod exclude;
mod ground;
mod inputs;
mod landing;
mod parents;
mod source;
mod target;
mod tree;
mod watch;

use std::collections::HashMap;

use snapshot::{Digest, FileKind, NewDirectory, PathSet, RootfsPath};

pub use digests::ContentDigests;
pub(in crate::execute) use ground::{Dress, From, Ground, Place};
pub use inputs::{Input, InputContent, inputs, look};
pub(in crate::execute) use source::Found;
pub use source::Source;
pub use target::Target;
pub use watch::{Followed, Seen, Watch};

use super::ExecuteError;
use super::identity::{Ownership, file_ownership, owner_in_numbers};
use crate::archive::NotOnDisk;
use crate::plan::{Archives, CopyItem, CopyStep, FileMode, InlineFile};
use disk::Disk;
use exclude::Excludes;
use tree::Copier;

/// What a COPY or ADD did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Every path that was made, replaced or whose metadata was set.
    pub touched: PathSet,
    /// The same for what is not on disk but beneath something (see [`Target`]).
    pub beneath: PathSet,
    /// Sockets among the sources, which no layer can hold; they were left out.
    pub sockets: Vec<RootfsPath>,
    /// What an archive holds and the disk does not.
    pub not_on_disk: Vec<(RootfsPath, NotOnDisk)>,
    /// The first entry that could not be given an extended attribute of its source, because the
    /// file system or the kernel refuses it.
    pub lost_xattr: Option<RootfsPath>,
    /// Files, directories, links and so on that were copied.
    pub entry_count: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// What is in regular files, by where they are now; of those of which the source knows it.
    pub contents: HashMap<RootfsPath, Digest>,
}

/// Carries out a COPY or ADD step on `target`.
///
/// # Errors
/// A literal source that is missing, a directory where a file has to be and the other way round, an
/// unknown `--chown`. A pattern that nothing matches copies nothing and is no error.
pub fn copy<'a>(
    step: &CopyStep,
    source: &Source<'_>,
    target: impl Into<Target<'a>>,
) -> Result<Copied, ExecuteError> {
    copy_onto(step, source, &mut Disk::new(target.into()))
}

/// Carries out a COPY or ADD step on whatever holds the stage's files.
pub(super) fn copy_onto(
    step: &CopyStep,
    source: &Source<'_>,
    ground: &mut dyn Ground,
) -> Result<Copied, ExecuteError> {
    let owner = match &step.owner {
        None => None,
        Some(name) => match owner_in_numbers(name) {
            Some(owner) => Some(owner),
            None => Some(
                file_ownership(name, &ground.database()?)
                    .map_err(|source| ExecuteError::Identity { name: name.clone(), source })?,
            ),
        },
    };
    let excludes = Excludes::of(step)?;
    let fetched = source.fetched();
    let mut fetched = fetched.iter();
    let mut copier = Copier::new(source, ground, owner, step.mode.as_ref()).excluding(&excludes);
    let mut to = To { step, made: new_directory(owner, step.mode.as_ref()), is_taken: false };
    for item in &step.sources {
        match item {
            CopyItem::Path(pattern) => {
                copier.read_from(source);
                for path in source.matches(pattern)? {
                    let named = Named { source, path: &path, archives: step.archives };
                    copy_named(&named, &excludes, &mut copier, &mut to)?;
                }
            }
            CopyItem::WithParents { directory, pattern } => {
                copier.read_from(source);
                for picks in parents::pick(source, &excludes, directory, pattern)? {
                    let place = to.place_for_directory(&mut copier)?;
                    copier.copy_picked(&picks, &place)?;
                }
            }
            CopyItem::File(file) => {
                let missing = || ExecuteError::NotFetched { path: file.name.clone() };
                let source = fetched.next().ok_or_else(missing)?;
                copier.read_from(source);
                let named = Named { source, path: &file.name, archives: file.archives };
                copy_named(&named, &excludes, &mut copier, &mut to)?;
            }
            CopyItem::Repository(repository) => {
                let missing = || ExecuteError::NotFetched { path: repository.directory.clone() };
                let source = fetched.next().ok_or_else(missing)?;
                copier.read_from(source);
                let (path, archives) = (&RootfsPath::root(), Archives::Copied);
                let named = Named { source, path, archives };
                copy_named(&named, &excludes, &mut copier, &mut to)?;
            }
        }
    }
    for InlineFile { name, content } in &step.inline {
        let place = to.place_for_file(&mut copier, name.as_bytes())?;
        copier.write_inline(content, &place)?;
    }
    Ok(copier.finish())
}

/// One thing to copy, by its name.
struct Named<'a> {
    source: &'a Source<'a>,
    path: &'a RootfsPath,
    archives: Archives,
}

fn copy_named(
    named: &Named<'_>,
    excludes: &Excludes,
    copier: &mut Copier<'_>,
    to: &mut To<'_>,
) -> Result<(), ExecuteError> {
    let Named { source, path, archives } = *named;
    let found = source.follow(path)?;
    if found.metadata.kind != FileKind::Directory && !excludes.keeps(path)? {
        return Ok(());
    }
    if archives == Archives::Unpacked && source.is_archive(&found)? {
        // `--chmod` is not for what an archive holds.
        let place = to.place_for_archive(copier)?;
        copier.extract(&found, &place)?;
        source.check(&found);
        Ok(())
    } else if found.metadata.kind == FileKind::Directory {
        let place = to.place_for_directory(copier)?;
        copier.copy_tree(&found.path, &place)
    } else {
        // Its name is that of the link, where it was named by one.
        let place = to.place_for_file(copier, path.file_name().unwrap_or_default())?;
        copier.copy_one(&found, &place)
    }
}

/// The destination of a step, looked at anew for each source: the one before may have made it.
struct To<'a> {
    step: &'a CopyStep,
    /// What directories are like that have to be made.
    made: NewDirectory,
    /// Whether a source became the destination itself.
    is_taken: bool,
}

impl To<'_> {
    /// Makes the directory that a source's contents go into.
    fn place_for_directory(&mut self, copier: &mut Copier<'_>) -> Result<RootfsPath, ExecuteError> {
        let (place, found) = self.look(copier)?;
        let place = landing::of_directory(&place, found)?;
        copier.make_directories(&place, &self.made)?;
        Ok(place)
    }

    /// Makes the directory that an archive is unpacked into: the destination, in any case.
    fn place_for_archive(&self, copier: &mut Copier<'_>) -> Result<RootfsPath, ExecuteError> {
        let place = copier.ground().resolve(&self.step.destination.path)?;
        copier.make_directories(&place, &NewDirectory { mode: 0o755, ..self.made })?;
        Ok(place)
    }

    /// Makes the directory that a source goes into and says what it becomes.
    fn place_for_file(
        &mut self,
        copier: &mut Copier<'_>,
        name: &[u8],
    ) -> Result<RootfsPath, ExecuteError> {
        let (destination, found) = self.look(copier)?;
        let place = landing::of_file(&destination, found, name);
        // BuildKit lets the last one win; the classic builder and kaniko call it an error, and
        // whoever writes it means a directory.
        if place == destination && std::mem::replace(&mut self.is_taken, true) {
            return Err(ExecuteError::SeveralToOne { path: place });
        }
        // A dangling link may lead to where no directory is yet.
        let parent = place.parent().unwrap_or_else(RootfsPath::root);
        copier.make_directories(&parent, &self.made)?;
        Ok(place)
    }

    /// Makes the directories that any source needs and says what the destination leads to.
    fn look(
        &self,
        copier: &mut Copier<'_>,
    ) -> Result<(RootfsPath, Option<FileKind>), ExecuteError> {
        let destination = &self.step.destination;
        let parent = destination.path.parent().unwrap_or_else(RootfsPath::root);
        let needed = if destination.is_directory { &destination.path } else { &parent };
        copier.make_directories(needed, &self.made)?;
        let place = copier.ground().resolve(&destination.path)?;
        let found = copier.ground().kind(&place)?;
        Ok((place, found))
    }
}

/// Returns what a directory is like that a copy has to make on its way: an octal `--chmod` counts
/// for it, be it of any use there or not; a symbolic one does not.
fn new_directory(owner: Option<Ownership>, mode: Option<&FileMode>) -> NewDirectory {
    let Ownership { uid, gid } = owner.unwrap_or(Ownership::ROOT);
    let mode = match mode {
        Some(FileMode::Absolute(mode)) => *mode,
        Some(FileMode::Symbolic(_)) | None => 0o755,
    };
    NewDirectory { mode, uid, gid }
}
