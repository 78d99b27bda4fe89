//! The effects of a COPY: files and trees, with everything a layer keeps of them.

use std::collections::HashMap;

use snapshot::{
    Directory, FileKind, InodeId, Metadata, NewDirectory, Rootfs, RootfsError, RootfsPath,
};

use super::Copied;
use super::exclude::Excludes;
use super::ground::{Dress, From, Ground, Place};
use super::parents::Picked;
use super::source::{Found, Source};
use super::watch::Watch;
use crate::context::Attributes;
use crate::execute::ExecuteError;
use crate::execute::identity::Ownership;
use crate::plan::FileMode;

/// Copies to a stage's files with the owner and mode of one step.
pub(super) struct Copier<'a> {
    source: &'a Source<'a>,
    ground: &'a mut dyn Ground,
    owner: Option<Ownership>,
    mode: Option<&'a FileMode>,
    excludes: Option<&'a Excludes>,
    copied: Copied,
}

/// Where the first name of each file with several is now; for one source, as BuildKit has it.
type FirstNames = HashMap<InodeId, RootfsPath>;

impl<'a> Copier<'a> {
    pub fn new(
        source: &'a Source<'a>,
        ground: &'a mut dyn Ground,
        owner: Option<Ownership>,
        mode: Option<&'a FileMode>,
    ) -> Self {
        Self { source, ground, owner, mode, excludes: None, copied: Copied::default() }
    }

    /// Leaves out what a step excludes.
    pub fn excluding(self, excludes: &'a Excludes) -> Self {
        Self { excludes: Some(excludes), ..self }
    }

    /// Copies from elsewhere from here on.
    pub fn read_from(&mut self, source: &'a Source<'a>) {
        self.source = source;
    }

    pub fn ground(&mut self) -> &mut dyn Ground {
        self.ground
    }

    pub fn finish(self) -> Copied {
        let mut copied = self.copied;
        copied.lost_xattr = self.ground.lost_xattr().cloned();
        copied
    }

    /// Makes a directory and what is missing above it.
    pub fn make_directories(
        &mut self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<(), ExecuteError> {
        for made in self.ground.make_directories(path, new)? {
            self.touch(made);
        }
        Ok(())
    }

    /// Copies a source that is no directory to `to`.
    pub fn copy_one(&mut self, from: &Found, to: &RootfsPath) -> Result<(), ExecuteError> {
        let (directory, name) = open_parent(self.source.rootfs(), &from.path)?;
        let (metadata, watch) = (&from.metadata, self.source.watch());
        let from = From { directory: &directory, name: &name, metadata, watch };
        self.copy_entry(&from, to, &mut FirstNames::new())
    }

    /// Writes a file of the Dockerfile to `to`: mode 0644, now.
    pub fn write_inline(&mut self, content: &[u8], to: &RootfsPath) -> Result<(), ExecuteError> {
        let found = self.look(to, FileKind::Regular)?;
        let owner = self.owner.unwrap_or(Ownership::ROOT);
        let mode = self.changed_mode(0o644, false);
        self.ground.write(content, &Place { path: to, found }, owner, mode)?;
        self.copied.contents.remove(to);
        self.copied.bytes += content.len() as u64;
        self.count(to.clone());
        Ok(())
    }

    /// Unpacks the archive `from` into the directory `to`, which exists.
    ///
    /// Its files belong to whom it says, or to the step's owner; no link in it leads out of `to`.
    pub fn extract(&mut self, from: &Found, to: &RootfsPath) -> Result<(), ExecuteError> {
        self.source.watch().into_iter().for_each(Watch::lose_track);
        self.ground.extract(self.source, from, to, self.owner, &mut self.copied)
    }

    /// Merges what is in the directory `from` into the directory `to`, which exists.
    ///
    /// Of `to` itself only the modification time is set.
    pub fn copy_tree(&mut self, from: &RootfsPath, to: &RootfsPath) -> Result<(), ExecuteError> {
        let top = self.source_metadata(from)?;
        let into = self.ground.inode(to)?;
        let excludes = self.excludes;
        let left =
            excludes.map(|excludes| excludes.below(self.source.rootfs(), from)).transpose()?;
        let is_left = |path: &RootfsPath| left.as_ref().is_none_or(|left| left.keeps(path));
        let mut first_names = FirstNames::new();
        // Not recursive: a tree can be deeper than a stack, or than the descriptors there are.
        let mut pending = vec![(from.clone(), to.clone())];
        let mut merged = Vec::new();
        while let Some((from, to)) = pending.pop() {
            let directory = self.source.rootfs().open_dir(&from)?;
            for entry in directory.entries()? {
                let (name, path) = (&entry.name, from.join_name(&entry.name));
                if !self.source.keeps(&path) || !is_left(&path) {
                    continue;
                }
                let Some(metadata) = directory.metadata(name)? else {
                    return Err(ExecuteError::SourceVanished { path });
                };
                self.source.saw(&path, &metadata);
                let from = From {
                    directory: &directory,
                    name,
                    metadata: &metadata,
                    watch: self.source.watch(),
                };
                let place = to.join_name(name);
                if metadata.kind == FileKind::Directory {
                    // Copied into itself, it would never end.
                    if Some(metadata.inode()) == into {
                        continue;
                    }
                    self.enter(&place)?;
                    let dress = self.dress_of(&from)?;
                    if let Some(watch) = from.watch {
                        watch.saw_attributes(&path, &dress.xattrs);
                    }
                    merged.push((place.clone(), dress));
                    pending.push((path, place));
                } else {
                    self.copy_entry(&from, &place, &mut first_names)?;
                }
            }
        }
        // After their contents, which move their times; inner ones first, because a mode may lock
        // us out.
        for (place, dress) in merged.into_iter().rev() {
            self.ground.dress(&place, &dress)?;
            self.count(place);
        }
        self.ground.set_mtime(to, top.mtime)?;
        self.touch(to.clone());
        Ok(())
    }

    /// Copies what was picked into the directory `to`, which exists.
    ///
    /// A directory that is there already gets the mode and time of the source's, and keeps its owner;
    /// `to` stays as it is.
    pub fn copy_picked(&mut self, picks: &[Picked], to: &RootfsPath) -> Result<(), ExecuteError> {
        let mut first_names = FirstNames::new();
        let mut made = Vec::new();
        for picked in picks {
            let place = picked.below.components().fold(to.clone(), |at, name| at.join_name(name));
            let (directory, name) = open_parent(self.source.rootfs(), &picked.path)?;
            let (metadata, watch) = (&picked.metadata, self.source.watch());
            let from = From { directory: &directory, name: &name, metadata, watch };
            if picked.metadata.kind == FileKind::Directory {
                let is_new = self.ground.kind(&place)?.is_none();
                self.enter(&place)?;
                let dress = self.dress_of(&from)?;
                if let Some(watch) = from.watch {
                    watch.saw_attributes(&picked.path, &dress.xattrs);
                }
                made.push((place, dress, is_new));
            } else {
                self.copy_entry(&from, &place, &mut first_names)?;
            }
        }
        // After their contents, which move their times; inner ones first, because a mode may lock
        // us out.
        for (place, dress, is_new) in made.into_iter().rev() {
            if is_new {
                self.ground.dress(&place, &dress)?;
            } else {
                self.ground.set_mode(&place, dress.mode)?;
                self.ground.set_mtime(&place, dress.mtime)?;
            }
            self.count(place);
        }
        Ok(())
    }

    /// Makes sure that a directory of the tree is there.
    fn enter(&mut self, place: &RootfsPath) -> Result<(), ExecuteError> {
        match self.ground.kind(place)? {
            None => self.ground.make_directory(place),
            Some(FileKind::Directory) => Ok(()),
            Some(found) => Err(ExecuteError::DirectoryOver { path: place.clone(), found }),
        }
    }

    /// Copies one entry that is no directory.
    fn copy_entry(
        &mut self,
        from: &From<'_>,
        path: &RootfsPath,
        first_names: &mut FirstNames,
    ) -> Result<(), ExecuteError> {
        let metadata = from.metadata;
        if metadata.kind == FileKind::Socket {
            self.copied.sockets.push(path.clone());
            return Ok(());
        }
        let found = self.look(path, metadata.kind)?;
        let place = Place { path, found };
        if metadata.kind == FileKind::Regular && metadata.nlink > 1 {
            match first_names.get(&metadata.inode()) {
                Some(first) if self.ground.link(first, &place)? => {
                    self.note_content(from, path, Attributes::Some);
                    self.count(path.clone());
                    return Ok(());
                }
                Some(_) | None => {
                    first_names.insert(metadata.inode(), path.clone());
                }
            }
        }
        let dress = self.dress_of(from)?;
        let attributes = match dress.xattrs.is_empty() {
            true => Attributes::None,
            false => Attributes::Some,
        };
        self.copied.bytes += self.ground.put(from, &place, &dress)?;
        self.note_content(from, path, attributes);
        if metadata.kind != FileKind::Regular {
            from.check(|| from.directory.metadata(from.name).ok().flatten());
        }
        self.count(path.clone());
        Ok(())
    }

    /// Notes what is in a file that was put to `path`.
    fn note_content(&mut self, from: &From<'_>, path: &RootfsPath, attributes: Attributes) {
        if let Some(watch) = from.watch {
            let is_file = from.metadata.kind == FileKind::Regular;
            watch.put(path, is_file.then_some((from.metadata, attributes)));
        }
        match self.source.digest_of(from.metadata) {
            Some(digest) if from.metadata.kind == FileKind::Regular => {
                self.copied.contents.insert(path.clone(), digest);
            }
            // Nor is what was there before.
            _ => {
                self.copied.contents.remove(path);
            }
        }
    }

    /// Returns what is at a place where something that is no directory goes.
    fn look(
        &mut self,
        path: &RootfsPath,
        kind: FileKind,
    ) -> Result<Option<FileKind>, ExecuteError> {
        match self.ground.kind(path)? {
            Some(FileKind::Directory) => {
                Err(ExecuteError::OverDirectory { path: path.clone(), kind })
            }
            found => Ok(found),
        }
    }

    /// Returns what a copy is to look like.
    fn dress_of(&self, from: &From<'_>) -> Result<Dress, ExecuteError> {
        let metadata = from.metadata;
        let is_directory = metadata.kind == FileKind::Directory;
        Ok(Dress {
            owner: self.owner_of(metadata),
            mode: self.changed_mode(metadata.mode, is_directory),
            mtime: metadata.mtime,
            xattrs: from.directory.xattrs(from.name)?,
        })
    }

    fn owner_of(&self, metadata: &Metadata) -> Ownership {
        match self.owner {
            Some(owner) => owner,
            None if self.source.keeps_owner() => Ownership { uid: metadata.uid, gid: metadata.gid },
            None => Ownership::ROOT,
        }
    }

    fn changed_mode(&self, mode: u32, is_directory: bool) -> u32 {
        match self.mode {
            None => mode,
            Some(FileMode::Absolute(mode)) => *mode,
            Some(FileMode::Symbolic(symbolic)) => symbolic.apply(mode, is_directory),
        }
    }

    fn source_metadata(&self, path: &RootfsPath) -> Result<Metadata, ExecuteError> {
        self.source
            .rootfs()
            .metadata(path)?
            .ok_or_else(|| ExecuteError::SourceVanished { path: path.clone() })
    }

    fn count(&mut self, place: RootfsPath) {
        self.copied.entry_count += 1;
        self.touch(place);
    }

    fn touch(&mut self, path: RootfsPath) {
        let touched = match self.ground.is_beneath(&path) {
            true => &mut self.copied.beneath,
            false => &mut self.copied.touched,
        };
        touched.insert(path);
    }
}

/// Opens the directory that `path` is in, and returns the name it has there.
fn open_parent(rootfs: &Rootfs, path: &RootfsPath) -> Result<(Directory, Vec<u8>), RootfsError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((rootfs.open_dir(&parent)?, name.to_vec())),
        _ => Ok((rootfs.open_dir(path)?, b".".to_vec())),
    }
}
