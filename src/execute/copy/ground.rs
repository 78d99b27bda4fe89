//! What a copy is made on: files on disk, or an outline of them.

use snapshot::{
    Directory, FileKind, InodeId, Metadata, NewDirectory, RootfsPath, Timestamp, Xattrs,
};

use super::Copied;
use super::source::{Found, Source};
use super::watch::Watch;
use crate::execute::ExecuteError;
use crate::execute::identity::{Database, Ownership};

/// The tree that a step writes to. Paths are free of links, but for those that are resolved.
pub(in crate::execute) trait Ground {
    /// Returns the users and groups of the tree.
    fn database(&self) -> Result<Database, ExecuteError>;

    /// Returns what `path` is once every link in it is followed; what is missing is kept as written.
    fn resolve(&self, path: &RootfsPath) -> Result<RootfsPath, ExecuteError>;

    /// Returns what is at `path`.
    fn kind(&mut self, path: &RootfsPath) -> Result<Option<FileKind>, ExecuteError>;

    /// Returns which inode is at `path`; `None` where no source can be the same.
    fn inode(&self, path: &RootfsPath) -> Result<Option<InodeId>, ExecuteError>;

    /// Makes `path` and what is missing above it, links followed, and returns what was made.
    fn make_directories(
        &mut self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<Vec<RootfsPath>, ExecuteError>;

    /// Makes one directory, which is dressed later.
    fn make_directory(&mut self, path: &RootfsPath) -> Result<(), ExecuteError>;

    /// Puts a copy of something that is no directory to a place, and returns how many bytes of
    /// content it has.
    fn put(
        &mut self,
        from: &From<'_>,
        place: &Place<'_>,
        dress: &Dress,
    ) -> Result<u64, ExecuteError>;

    /// Makes a place another name of `first`; false when that cannot be.
    fn link(&mut self, first: &RootfsPath, place: &Place<'_>) -> Result<bool, ExecuteError>;

    /// Puts a file with this content to a place.
    fn write(
        &mut self,
        content: &[u8],
        place: &Place<'_>,
        owner: Ownership,
        mode: u32,
    ) -> Result<(), ExecuteError>;

    /// Gives a directory its metadata.
    fn dress(&mut self, path: &RootfsPath, dress: &Dress) -> Result<(), ExecuteError>;

    /// Sets a directory's mode.
    fn set_mode(&mut self, path: &RootfsPath, mode: u32) -> Result<(), ExecuteError>;

    /// Sets a directory's modification time.
    fn set_mtime(&mut self, path: &RootfsPath, mtime: Timestamp) -> Result<(), ExecuteError>;

    /// Unpacks an archive into the directory `path`, which exists.
    fn extract(
        &mut self,
        source: &Source<'_>,
        from: &Found,
        path: &RootfsPath,
        owner: Option<Ownership>,
        copied: &mut Copied,
    ) -> Result<(), ExecuteError>;

    /// Tells whether `path` is beneath something that is mounted there.
    fn is_beneath(&self, path: &RootfsPath) -> bool;

    /// Returns the first entry that could not be given an extended attribute of its source.
    fn lost_xattr(&self) -> Option<&RootfsPath>;
}

/// An entry to be copied.
pub(in crate::execute) struct From<'a> {
    pub(in crate::execute) directory: &'a Directory,
    pub(in crate::execute) name: &'a [u8],
    pub(in crate::execute) metadata: &'a Metadata,
    /// Who wants to know whether it is that all the time that it is read.
    pub(in crate::execute) watch: Option<&'a Watch>,
}

impl From<'_> {
    /// Returns its path in the tree it is in.
    pub(in crate::execute) fn path(&self) -> RootfsPath {
        self.directory.path().join_name(self.name)
    }

    /// Checks that an entry is the same as before it was read.
    pub(in crate::execute) fn check(&self, now: impl FnOnce() -> Option<Metadata>) {
        if let Some(watch) = self.watch {
            watch.expect(self.metadata).check(&self.path(), now().as_ref());
        }
    }
}

/// Where an entry goes that is no directory.
pub(in crate::execute) struct Place<'a> {
    pub(in crate::execute) path: &'a RootfsPath,
    /// What is there and has to go; no directory.
    pub(in crate::execute) found: Option<FileKind>,
}

/// What an entry is to look like.
pub(in crate::execute) struct Dress {
    pub(in crate::execute) owner: Ownership,
    /// Counts for everything but links.
    pub(in crate::execute) mode: u32,
    pub(in crate::execute) mtime: Timestamp,
    pub(in crate::execute) xattrs: Xattrs,
}
