//! The effects of a COPY: files and trees, with everything a layer keeps of them.

use std::collections::HashMap;
use std::io::Write;

use rustix::io::Errno;
use snapshot::{
    Directory, FileKind, InodeId, Metadata, NewDirectory, Rootfs, RootfsError, RootfsPath, Xattrs,
};

use super::Copied;
use super::content::ContentCopier;
use super::source::{Found, Source};
use super::target::Target;
use crate::archive::{self, Contents, ExtractError, ExtractOptions, ExtractTo, limits_for};
use crate::execute::ExecuteError;
use crate::execute::identity::Ownership;
use crate::plan::FileMode;

/// Copies from one root file system to another with the owner and mode of one step.
pub(super) struct Copier<'a> {
    source: &'a Source<'a>,
    target: Target<'a>,
    owner: Option<Ownership>,
    mode: Option<&'a FileMode>,
    content: ContentCopier,
    copied: Copied,
}

/// Where the first name of each file with several is now; for one source, as BuildKit has it.
type FirstNames = HashMap<InodeId, RootfsPath>;

impl<'a> Copier<'a> {
    pub fn new(
        source: &'a Source<'a>,
        target: Target<'a>,
        owner: Option<Ownership>,
        mode: Option<&'a FileMode>,
    ) -> Self {
        let (content, copied) = (ContentCopier::new(), Copied::default());
        Self { source, target, owner, mode, content, copied }
    }

    pub fn target(&self) -> Target<'a> {
        self.target
    }

    pub fn finish(self) -> Copied {
        self.copied
    }

    /// Makes a directory and what is missing above it.
    pub fn make_directories(
        &mut self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<(), ExecuteError> {
        for made in self.target.make_directories(path, new)? {
            self.touch(made);
        }
        Ok(())
    }

    /// Copies a source that is no directory to `to`.
    pub fn copy_one(&mut self, from: &Found, to: &RootfsPath) -> Result<(), ExecuteError> {
        let (from_directory, name) = open_parent(self.source.rootfs(), &from.path)?;
        let (to_directory, to_name) = self.target.open_parent(to)?;
        let from = From { directory: &from_directory, name: &name, metadata: &from.metadata };
        self.copy_entry(&from, &to_directory, &to_name, &mut FirstNames::new())
    }

    /// Writes a file of the Dockerfile to `to`: mode 0644, now.
    pub fn write_inline(&mut self, content: &[u8], to: &RootfsPath) -> Result<(), ExecuteError> {
        let (directory, name) = self.target.open_parent(to)?;
        self.clear(&directory, &name, FileKind::Regular)?;
        let mut file = directory.create_file(&name)?;
        file.write_all(content)
            .map_err(|source| ExecuteError::Content { path: to.clone(), source })?;
        let Ownership { uid, gid } = self.owner.unwrap_or(Ownership::ROOT);
        directory.set_owner(&name, uid, gid)?;
        directory.set_mode(&name, self.changed_mode(0o644, false))?;
        self.copied.bytes += content.len() as u64;
        self.count(to.clone());
        Ok(())
    }

    /// Unpacks the archive `from` into the directory `to`, which exists.
    ///
    /// Its files belong to whom it says, or to the step's owner; no link in it leads out of `to`.
    pub fn extract(&mut self, from: &Found, to: &RootfsPath) -> Result<(), ExecuteError> {
        let failed = |source| ExecuteError::Archive { path: from.path.clone(), source };
        let file = self.source.rootfs().open_file(&from.path)?;
        let tree = self.target.tree(to);
        let options = ExtractOptions {
            limits: limits_for(tree).map_err(ExtractError::Open).map_err(failed)?,
            ownership: match self.owner {
                Some(Ownership { uid, gid }) => archive::Ownership::Fixed { uid, gid },
                None => archive::Ownership::Archive,
            },
            contents: Contents::Ignore,
        };
        let place =
            ExtractTo { rootfs: tree, destination: to, beneath: self.target.tree_beneath(to) };
        let extracted = archive::extract_to(file, &place, &options).map_err(failed)?;
        for touched in extracted.touched {
            self.touch(touched.path);
        }
        self.copied.entry_count += extracted.entry_count;
        self.copied.bytes += extracted.tar_bytes;
        self.copied.not_on_disk.extend(extracted.not_on_disk);
        if let Some((_, dropped)) = extracted.dropped_xattrs.into_iter().next() {
            self.copied.lost_xattr.get_or_insert(dropped.first);
        }
        Ok(())
    }

    /// Merges what is in the directory `from` into the directory `to`, which exists.
    ///
    /// Of `to` itself only the modification time is set.
    pub fn copy_tree(&mut self, from: &RootfsPath, to: &RootfsPath) -> Result<(), ExecuteError> {
        let top = self.source_metadata(from)?;
        let into = self.target.tree(to).metadata(to)?.map(|metadata| metadata.inode());
        let mut first_names = FirstNames::new();
        // Not recursive: a tree can be deeper than a stack, or than the descriptors there are.
        let mut pending = vec![(from.clone(), to.clone())];
        let mut merged = Vec::new();
        while let Some((from, to)) = pending.pop() {
            let from_directory = self.source.rootfs().open_dir(&from)?;
            let to_directory = self.target.tree(&to).open_dir(&to)?;
            for entry in from_directory.entries()? {
                let (name, path) = (&entry.name, from.join_name(&entry.name));
                if !self.source.keeps(&path) {
                    continue;
                }
                let Some(metadata) = from_directory.metadata(name)? else {
                    return Err(ExecuteError::SourceVanished { path });
                };
                if metadata.kind == FileKind::Directory {
                    // Copied into itself, it would never end.
                    if Some(metadata.inode()) == into {
                        continue;
                    }
                    let place = to.join_name(name);
                    self.enter(&place)?;
                    let xattrs = from_directory.xattrs(name)?;
                    merged.push((place.clone(), metadata, xattrs));
                    pending.push((path, place));
                } else {
                    let from = From { directory: &from_directory, name, metadata: &metadata };
                    self.copy_entry(&from, &to_directory, name, &mut first_names)?;
                }
            }
        }
        // After their contents, which move their times; inner ones first, because a mode may lock
        // us out.
        for (place, metadata, xattrs) in merged.iter().rev() {
            let (directory, name) = self.target.open_parent(place)?;
            self.dress(&directory, &name, metadata, xattrs)?;
            self.count(place.clone());
        }
        self.target.tree(to).set_mtime(to, top.mtime)?;
        self.touch(to.clone());
        Ok(())
    }

    /// Makes sure that a directory of the tree is there.
    fn enter(&self, place: &RootfsPath) -> Result<(), ExecuteError> {
        let (directory, name) = self.target.open_parent(place)?;
        match directory.metadata(&name)?.map(|metadata| metadata.kind) {
            None => Ok(directory.create_dir(&name, 0o700)?),
            Some(FileKind::Directory) => Ok(()),
            Some(found) => Err(ExecuteError::DirectoryOver { path: place.clone(), found }),
        }
    }

    /// Copies one entry that is no directory.
    fn copy_entry(
        &mut self,
        from: &From<'_>,
        to: &Directory,
        to_name: &[u8],
        first_names: &mut FirstNames,
    ) -> Result<(), ExecuteError> {
        let From { directory, name, metadata } = *from;
        let place = to.path().join_name(to_name);
        // Something may be mounted right on it.
        let beneath;
        let to = match self.target.is_beneath(&place) && !self.target.is_beneath(to.path()) {
            true => {
                beneath = self.target.open_parent(&place)?.0;
                &beneath
            }
            false => to,
        };
        if metadata.kind == FileKind::Socket {
            self.copied.sockets.push(place);
            return Ok(());
        }
        self.clear(to, to_name, metadata.kind)?;
        if metadata.kind == FileKind::Regular && metadata.nlink > 1 {
            match first_names.get(&metadata.inode()) {
                Some(first) if self.link(first, &place)? => {
                    self.count(place);
                    return Ok(());
                }
                Some(_) | None => {
                    first_names.insert(metadata.inode(), place.clone());
                }
            }
        }
        match metadata.kind {
            FileKind::Regular => self.copy_content(from, to, to_name, &place)?,
            FileKind::Symlink => to.symlink(&directory.read_link(name)?, to_name)?,
            kind => {
                let device = (metadata.rdev_major, metadata.rdev_minor);
                to.make_node(to_name, kind, 0o600, device)?;
            }
        }
        let xattrs = directory.xattrs(name)?;
        self.dress(to, to_name, metadata, &xattrs)?;
        self.count(place);
        Ok(())
    }

    /// Makes `place` another name of `first`; false when that file has as many as it can have, or is
    /// elsewhere.
    fn link(&self, first: &RootfsPath, place: &RootfsPath) -> Result<bool, ExecuteError> {
        if self.target.is_beneath(first) != self.target.is_beneath(place) {
            return Ok(false);
        }
        match self.target.tree(place).hard_link(first, place) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::MLINK.raw_os_error()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn copy_content(
        &mut self,
        from: &From<'_>,
        to: &Directory,
        to_name: &[u8],
        place: &RootfsPath,
    ) -> Result<(), ExecuteError> {
        let mut reader = from.directory.open_file(from.name)?;
        let mut writer = to.create_file(to_name)?;
        let copied = self.content.copy(&mut reader, &mut writer);
        self.copied.bytes +=
            copied.map_err(|source| ExecuteError::Content { path: place.clone(), source })?;
        Ok(())
    }

    /// Takes away what is at a place where something that is no directory goes.
    fn clear(
        &self,
        directory: &Directory,
        name: &[u8],
        kind: FileKind,
    ) -> Result<(), ExecuteError> {
        match directory.metadata(name)?.map(|metadata| metadata.kind) {
            None => Ok(()),
            Some(FileKind::Directory) => {
                Err(ExecuteError::OverDirectory { path: directory.path().join_name(name), kind })
            }
            Some(_) => Ok(directory.remove(name)?),
        }
    }

    /// Gives an entry its owner, attributes, mode and time, in the order in which none undoes
    /// another: a new owner clears set-id bits and capabilities, an ACL rewrites the mode.
    fn dress(
        &mut self,
        directory: &Directory,
        name: &[u8],
        metadata: &Metadata,
        xattrs: &Xattrs,
    ) -> Result<(), ExecuteError> {
        let Ownership { uid, gid } = self.owner_of(metadata);
        directory.set_owner(name, uid, gid)?;
        for (attribute, value) in xattrs {
            match directory.set_xattr(name, attribute, value) {
                Err(error) if is_unsupported(&error) => {
                    tracing::debug!(%error, "extended attribute left out");
                    let place = || directory.path().join_name(name);
                    self.copied.lost_xattr.get_or_insert_with(place);
                }
                set => set?,
            }
        }
        if metadata.kind != FileKind::Symlink {
            let is_directory = metadata.kind == FileKind::Directory;
            directory.set_mode(name, self.changed_mode(metadata.mode, is_directory))?;
        }
        directory.set_mtime(name, metadata.mtime)?;
        Ok(())
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
        let touched = match self.target.is_beneath(&path) {
            true => &mut self.copied.beneath,
            false => &mut self.copied.touched,
        };
        touched.insert(path);
    }
}

/// An entry to be copied.
struct From<'a> {
    directory: &'a Directory,
    name: &'a [u8],
    metadata: &'a Metadata,
}

/// Opens the directory that `path` is in, and returns the name it has there.
fn open_parent(rootfs: &Rootfs, path: &RootfsPath) -> Result<(Directory, Vec<u8>), RootfsError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((rootfs.open_dir(&parent)?, name.to_vec())),
        _ => Ok((rootfs.open_dir(path)?, b".".to_vec())),
    }
}

/// Tells whether a file system, or this process, cannot set an attribute: no reason to fail, as in
/// BuildKit.
fn is_unsupported(error: &RootfsError) -> bool {
    let number = error.raw_os_error();
    [Errno::OPNOTSUPP, Errno::PERM].iter().any(|errno| number == Some(errno.raw_os_error()))
}
