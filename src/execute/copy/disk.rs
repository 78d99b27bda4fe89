//! Copies onto files on disk.

use std::io::Write;

use rustix::io::Errno;
use snapshot::{
    Directory, FileKind, InodeId, Metadata, NewDirectory, RootfsError, RootfsPath, Timestamp,
};

use super::Copied;
use super::content::ContentCopier;
use super::ground::{Dress, From, Ground, Place};
use super::source::{Found, Source};
use super::target::Target;
use crate::archive::{self, Contents, ExtractError, ExtractOptions, ExtractTo, limits_for};
use crate::execute::ExecuteError;
use crate::execute::identity::{Database, Ownership, read_database};

/// A stage's files on disk, while a step writes to them.
pub(super) struct Disk<'a> {
    target: Target<'a>,
    directories: Directories<'a>,
    content: ContentCopier,
    lost_xattr: Option<RootfsPath>,
}

/// The directories that are written to.
struct Directories<'a> {
    target: Target<'a>,
    last: Option<Opened>,
}

/// The directory that was written to last; the next entry is most often in it too.
struct Opened {
    path: RootfsPath,
    /// It is the one of the tree beneath.
    is_beneath: bool,
    directory: Directory,
}

impl Directories<'_> {
    /// Opens the directory that `path` is to be put into, and returns the name it gets there.
    fn parent<'p>(&mut self, path: &'p RootfsPath) -> Result<(&Directory, &'p [u8]), ExecuteError> {
        let above = path.parent().unwrap_or_default();
        let name = path.file_name().unwrap_or(b".");
        // Something may be mounted right on it: then it is in another tree than its directory.
        let is_beneath = self.target.is_beneath(path);
        let is_it = |last: &Opened| last.path == above && last.is_beneath == is_beneath;
        let opened = match self.last.take().filter(is_it) {
            Some(last) => last,
            None => {
                let directory = self.target.open_parent(path)?;
                Opened { path: above, is_beneath, directory }
            }
        };
        Ok((&self.last.insert(opened).directory, name))
    }

    /// Returns what is at `path`; opens nothing for it that nobody may need.
    fn metadata(&self, path: &RootfsPath) -> Result<Option<Metadata>, ExecuteError> {
        let is_beneath = self.target.is_beneath(path);
        let split = path.parent().zip(path.file_name());
        match (&self.last, split) {
            (Some(last), Some((above, name)))
                if last.path == above && last.is_beneath == is_beneath =>
            {
                Ok(last.directory.metadata(name)?)
            }
            _ => Ok(self.target.tree(path).metadata(path)?),
        }
    }
}

impl<'a> Disk<'a> {
    pub(super) fn new(target: Target<'a>) -> Self {
        let directories = Directories { target, last: None };
        Self { target, directories, content: ContentCopier::new(), lost_xattr: None }
    }

    /// Gives an entry its owner, attributes, mode and time, in the order in which none undoes
    /// another: a new owner clears set-id bits and capabilities, an ACL rewrites the mode.
    fn dress_as(
        &mut self,
        kind: FileKind,
        path: &RootfsPath,
        dress: &Dress,
    ) -> Result<(), ExecuteError> {
        let (directory, name) = self.directories.parent(path)?;
        let mut has_lost = false;
        directory.set_owner(name, dress.owner.uid, dress.owner.gid)?;
        for (attribute, value) in &dress.xattrs {
            match directory.set_xattr(name, attribute, value) {
                Err(error) if is_unsupported(&error) => {
                    tracing::debug!(%error, "extended attribute left out");
                    has_lost = true;
                }
                set => set?,
            }
        }
        if kind != FileKind::Symlink {
            directory.set_mode(name, dress.mode)?;
        }
        directory.set_mtime(name, dress.mtime)?;
        if has_lost {
            self.lost_xattr.get_or_insert_with(|| path.clone());
        }
        Ok(())
    }
}

impl Ground for Disk<'_> {
    fn database(&self) -> Result<Database, ExecuteError> {
        Ok(read_database(self.target.root())?)
    }

    fn resolve(&self, path: &RootfsPath) -> Result<RootfsPath, ExecuteError> {
        Ok(self.target.root().resolve(path)?)
    }

    fn kind(&mut self, path: &RootfsPath) -> Result<Option<FileKind>, ExecuteError> {
        Ok(self.directories.metadata(path)?.map(|metadata| metadata.kind))
    }

    fn inode(&self, path: &RootfsPath) -> Result<Option<InodeId>, ExecuteError> {
        Ok(self.directories.metadata(path)?.map(|metadata| metadata.inode()))
    }

    fn make_directories(
        &mut self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<Vec<RootfsPath>, ExecuteError> {
        self.target.make_directories(path, new)
    }

    fn make_directory(&mut self, path: &RootfsPath) -> Result<(), ExecuteError> {
        let (directory, name) = self.directories.parent(path)?;
        Ok(directory.create_dir(name, 0o700)?)
    }

    fn put(
        &mut self,
        from: &From<'_>,
        place: &Place<'_>,
        dress: &Dress,
    ) -> Result<u64, ExecuteError> {
        let (kind, path) = (from.metadata.kind, place.path);
        let (directory, name) = self.directories.parent(path)?;
        clear(place, directory, name)?;
        let mut bytes = 0;
        match kind {
            FileKind::Regular => {
                let mut writer = directory.create_file(name)?;
                let mut reader = from.directory.open_file(from.name)?;
                let copied = self.content.copy(&mut reader, &mut writer);
                bytes = copied
                    .map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
                from.check(|| Metadata::of(&reader).ok());
            }
            FileKind::Symlink => directory.symlink(&from.directory.read_link(from.name)?, name)?,
            kind => {
                let device = (from.metadata.rdev_major, from.metadata.rdev_minor);
                directory.make_node(name, kind, 0o600, device)?;
            }
        }
        self.dress_as(kind, path, dress)?;
        Ok(bytes)
    }

    fn link(&mut self, first: &RootfsPath, place: &Place<'_>) -> Result<bool, ExecuteError> {
        let path = place.path;
        if self.target.is_beneath(first) != self.target.is_beneath(path) {
            return Ok(false);
        }
        let (directory, name) = self.directories.parent(path)?;
        clear(place, directory, name)?;
        match self.target.tree(path).hard_link(first, path) {
            Ok(()) => Ok(true),
            // That file has as many names as it can have.
            Err(error) if error.raw_os_error() == Some(Errno::MLINK.raw_os_error()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write(
        &mut self,
        content: &[u8],
        place: &Place<'_>,
        owner: Ownership,
        mode: u32,
    ) -> Result<(), ExecuteError> {
        let path = place.path;
        let (directory, name) = self.directories.parent(path)?;
        clear(place, directory, name)?;
        let mut file = directory.create_file(name)?;
        file.write_all(content)
            .map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
        directory.set_owner(name, owner.uid, owner.gid)?;
        Ok(directory.set_mode(name, mode)?)
    }

    fn dress(&mut self, path: &RootfsPath, dress: &Dress) -> Result<(), ExecuteError> {
        self.dress_as(FileKind::Directory, path, dress)
    }

    fn set_mode(&mut self, path: &RootfsPath, mode: u32) -> Result<(), ExecuteError> {
        Ok(self.target.tree(path).set_mode(path, mode)?)
    }

    fn set_mtime(&mut self, path: &RootfsPath, mtime: Timestamp) -> Result<(), ExecuteError> {
        Ok(self.target.tree(path).set_mtime(path, mtime)?)
    }

    fn extract(
        &mut self,
        source: &Source<'_>,
        from: &Found,
        path: &RootfsPath,
        owner: Option<Ownership>,
        copied: &mut Copied,
    ) -> Result<(), ExecuteError> {
        // It may put other directories in the place of those that are there.
        self.directories.last = None;
        let failed = |source| ExecuteError::Archive { path: from.path.clone(), source };
        let file = source.rootfs().open_file(&from.path)?;
        let tree = self.target.tree(path);
        let options = ExtractOptions {
            limits: limits_for(tree).map_err(ExtractError::Open).map_err(failed)?,
            ownership: match owner {
                Some(Ownership { uid, gid }) => archive::Ownership::Fixed { uid, gid },
                None => archive::Ownership::Archive,
            },
            contents: Contents::Ignore,
        };
        let place =
            ExtractTo { rootfs: tree, destination: path, beneath: self.target.tree_beneath(path) };
        let extracted = archive::extract_to(file, &place, &options).map_err(failed)?;
        for touched in extracted.touched {
            let is_beneath = self.target.is_beneath(&touched.path);
            let paths = if is_beneath { &mut copied.beneath } else { &mut copied.touched };
            paths.insert(touched.path);
        }
        copied.entry_count += extracted.entry_count;
        copied.bytes += extracted.tar_bytes;
        copied.not_on_disk.extend(extracted.not_on_disk);
        if let Some((_, dropped)) = extracted.dropped_xattrs.into_iter().next() {
            self.lost_xattr.get_or_insert(dropped.first);
        }
        Ok(())
    }

    fn is_beneath(&self, path: &RootfsPath) -> bool {
        self.target.is_beneath(path)
    }

    fn lost_xattr(&self) -> Option<&RootfsPath> {
        self.lost_xattr.as_ref()
    }
}

/// Takes away what is at a place, which is no directory.
fn clear(place: &Place<'_>, directory: &Directory, name: &[u8]) -> Result<(), ExecuteError> {
    match place.found.map(|_| directory.remove(name)) {
        // A link that could not be made has taken it away already.
        Some(Err(error)) if error.is_missing() => Ok(()),
        Some(removed) => Ok(removed?),
        None => Ok(()),
    }
}

/// Tells whether a file system, or this process, cannot set an attribute: no reason to fail, as in
/// BuildKit.
fn is_unsupported(error: &RootfsError) -> bool {
    let number = error.raw_os_error();
    [Errno::OPNOTSUPP, Errno::PERM].iter().any(|errno| number == Some(errno.raw_os_error()))
}
