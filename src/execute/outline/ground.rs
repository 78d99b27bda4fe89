//! Copies onto an outline.

use snapshot::{FileKind, InodeId, Metadata, NewDirectory, RootfsPath, Timestamp, Xattrs};

use super::node::{self, Bytes, Node};
use super::{Outline, needs_files};
use crate::execute::ExecuteError;
use crate::execute::copy::{Copied, Dress, Found, From, Ground, Place, Source};
use crate::execute::identity::{Database, Ownership};

impl Ground for Outline {
    fn database(&self) -> Result<Database, ExecuteError> {
        Ok(Database::parse(&self.read("etc/passwd")?, &self.read("etc/group")?))
    }

    fn resolve(&self, path: &RootfsPath) -> Result<RootfsPath, ExecuteError> {
        self.follow(path)
    }

    fn kind(&mut self, path: &RootfsPath) -> Result<Option<FileKind>, ExecuteError> {
        Ok(self.kind_at(path))
    }

    fn inode(&self, _path: &RootfsPath) -> Result<Option<InodeId>, ExecuteError> {
        // It is on no disk, where a source could be the same.
        Ok(None)
    }

    fn make_directories(
        &mut self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<Vec<RootfsPath>, ExecuteError> {
        let resolved = self.follow(path)?;
        let mut missing = Vec::new();
        for candidate in std::iter::once(resolved.clone()).chain(resolved.ancestors()) {
            match self.kind_at(&candidate) {
                None => missing.push(candidate),
                Some(FileKind::Directory) => break,
                Some(found) => return Err(ExecuteError::NotADirectory { path: candidate, found }),
            }
        }
        missing.reverse();
        for directory in &missing {
            self.open_for(directory)?;
            self.set(directory.clone(), Node::directory(new.mode, new.uid, new.gid));
        }
        Ok(missing)
    }

    fn make_directory(&mut self, path: &RootfsPath) -> Result<(), ExecuteError> {
        self.open_for(path)?;
        self.set(path.clone(), Node::directory(0o700, 0, 0));
        Ok(())
    }

    fn put(
        &mut self,
        from: &From<'_>,
        place: &Place<'_>,
        dress: &Dress,
    ) -> Result<u64, ExecuteError> {
        let Metadata { kind, size, rdev_major, rdev_minor, .. } = *from.metadata;
        let Ownership { uid, gid } = dress.owner;
        let mut metadata = Metadata {
            mode: dress.mode,
            uid,
            gid,
            ino: self.next_inode(),
            rdev_major,
            rdev_minor,
            ..node::metadata(kind, dress.mtime)
        };
        let bytes = match kind {
            FileKind::Regular => {
                metadata.size = size;
                let expected = from.watch.map(|watch| watch.expect(from.metadata));
                let root = from.directory.rootfs().clone();
                Bytes::Elsewhere { root, path: from.path(), expected }
            }
            FileKind::Symlink => {
                let target = from.directory.read_link(from.name)?;
                metadata.mode = 0o777;
                metadata.size = target.len() as u64;
                Bytes::Held(target.into())
            }
            _ => Bytes::None,
        };
        let node = Node { metadata, xattrs: dress.xattrs.clone(), bytes, digest: None };
        self.place(place, node)?;
        Ok(if kind == FileKind::Regular { size } else { 0 })
    }

    fn link(&mut self, first: &RootfsPath, place: &Place<'_>) -> Result<bool, ExecuteError> {
        let mut node = self.node(first).ok_or_else(|| needs_files(first, "it is missing"))?;
        // For a layer, more than one name is as good as any number.
        node.metadata.nlink = 2;
        self.set(first.clone(), node.clone());
        self.place(place, node)?;
        Ok(true)
    }

    fn write(
        &mut self,
        content: &[u8],
        place: &Place<'_>,
        owner: Ownership,
        mode: u32,
    ) -> Result<(), ExecuteError> {
        let Ownership { uid, gid } = owner;
        let metadata = Metadata {
            mode,
            uid,
            gid,
            size: content.len() as u64,
            ino: self.next_inode(),
            ..node::metadata(FileKind::Regular, node::now())
        };
        let bytes = Bytes::Held(content.into());
        self.place(place, Node { metadata, xattrs: Xattrs::new(), bytes, digest: None })
    }

    fn dress(&mut self, path: &RootfsPath, dress: &Dress) -> Result<(), ExecuteError> {
        let mut node = self.node(path).ok_or_else(|| needs_files(path, "it is missing"))?;
        let Ownership { uid, gid } = dress.owner;
        let (mode, mtime) = (dress.mode, dress.mtime);
        node.metadata = Metadata { mode, uid, gid, mtime, ..node.metadata };
        // Those that it has already stay.
        node.xattrs.extend(dress.xattrs.clone());
        if node.has_acl() {
            return Err(needs_files(path, "it has an access control list"));
        }
        self.set(path.clone(), node);
        Ok(())
    }

    fn set_mode(&mut self, path: &RootfsPath, mode: u32) -> Result<(), ExecuteError> {
        let mut node = self.node(path).ok_or_else(|| needs_files(path, "it is missing"))?;
        if node.has_acl() {
            return Err(needs_files(path, "it has an access control list"));
        }
        node.metadata.mode = mode;
        self.set(path.clone(), node);
        Ok(())
    }

    fn set_mtime(&mut self, path: &RootfsPath, mtime: Timestamp) -> Result<(), ExecuteError> {
        let mut node = self.node(path).ok_or_else(|| needs_files(path, "it is missing"))?;
        node.metadata.mtime = mtime;
        self.set(path.clone(), node);
        Ok(())
    }

    fn extract(
        &mut self,
        _source: &Source<'_>,
        from: &Found,
        _path: &RootfsPath,
        _owner: Option<Ownership>,
        _copied: &mut Copied,
    ) -> Result<(), ExecuteError> {
        Err(needs_files(&from.path, "an archive is unpacked"))
    }

    fn is_beneath(&self, _path: &RootfsPath) -> bool {
        false
    }

    fn lost_xattr(&self) -> Option<&RootfsPath> {
        None
    }
}

impl Outline {
    /// Puts something that is no directory to a place.
    fn place(&mut self, place: &Place<'_>, node: Node) -> Result<(), ExecuteError> {
        if node.has_acl() {
            return Err(needs_files(place.path, "it has an access control list"));
        }
        self.check_replaced(place.path, &node)?;
        self.open_for(place.path)?;
        self.set(place.path.clone(), node);
        Ok(())
    }
}
