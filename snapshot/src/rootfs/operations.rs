//! What can be done to a path of a root file system: looks up the directory it is in and hands over
//! to [`Directory`].

use std::fs::File;
use std::io::Read as _;

use rustix::io::Errno;

use super::{DirEntry, Directory, NewDirectory, Operation, Rootfs, RootfsError, io_error, lookup};
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::RootfsPath;
use crate::xattr::Xattrs;

impl Rootfs {
    /// Returns what is at `path`, `None` when there is nothing (`ENOENT`, `ENOTDIR`).
    ///
    /// # Errors
    /// Any other answer of the kernel.
    pub fn metadata(&self, path: &RootfsPath) -> Result<Option<Metadata>, RootfsError> {
        match self.parent(Operation::Stat, path) {
            Ok((directory, name)) => directory.metadata(name),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what `path` is once every symbolic link in it is followed, the last component
    /// included.
    ///
    /// From the first component that does not exist, or is no directory, the rest is kept as
    /// written (with `..` in a link's target taken lexically).
    ///
    /// # Errors
    /// `ELOOP` after 40 links, and what the kernel answers on the way.
    pub fn resolve(&self, path: &RootfsPath) -> Result<RootfsPath, RootfsError> {
        self.fault(Operation::Resolve, path)?;
        lookup::resolve(self.as_fd(), path).map_err(io_error(Operation::Resolve, path))
    }

    /// Returns `path` with the links in all but its last component followed.
    ///
    /// # Errors
    /// As [`Rootfs::resolve`].
    pub fn resolve_parent(&self, path: &RootfsPath) -> Result<RootfsPath, RootfsError> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(self.resolve(&parent)?.join_name(name)),
            _ => Ok(RootfsPath::root()),
        }
    }

    /// Returns the target of the symbolic link `path`.
    ///
    /// # Errors
    /// `EINVAL` when it is something else.
    pub fn read_link(&self, path: &RootfsPath) -> Result<Vec<u8>, RootfsError> {
        let (directory, name) = self.parent(Operation::ReadLink, path)?;
        directory.read_link(name)
    }

    /// Returns what is in the directory `path`, sorted by name.
    ///
    /// # Errors
    /// `ENOTDIR` when it is something else, a symbolic link included.
    pub fn read_dir(&self, path: &RootfsPath) -> Result<Vec<DirEntry>, RootfsError> {
        self.open_dir(path)?.entries()
    }

    /// Opens the regular file `path` for reading.
    ///
    /// Its access time stays where the kernel lets us (`O_NOATIME`).
    ///
    /// # Errors
    /// [`RootfsError::NotRegular`] for anything else, which is not opened: opening a device or a
    /// named pipe can have effects, or never return.
    pub fn open_file(&self, path: &RootfsPath) -> Result<File, RootfsError> {
        let (directory, name) = self.parent(Operation::OpenFile, path)?;
        directory.open_file(name)
    }

    /// Returns the content of the regular file `path`, which must not exceed `limit_bytes`.
    ///
    /// # Errors
    /// [`RootfsError::TooLarge`] beyond the limit, and as [`Rootfs::open_file`].
    pub fn read_file(&self, path: &RootfsPath, limit_bytes: u64) -> Result<Vec<u8>, RootfsError> {
        let file = self.open_file(path)?;
        self.fault(Operation::ReadFile, path)?;
        let mut content = Vec::new();
        let read = file.take(limit_bytes.saturating_add(1)).read_to_end(&mut content);
        read.map_err(|source| RootfsError::Io {
            operation: Operation::ReadFile,
            path: path.clone(),
            source,
        })?;
        if content.len() as u64 > limit_bytes {
            return Err(RootfsError::TooLarge { path: path.clone(), limit_bytes });
        }
        Ok(content)
    }

    /// Returns the extended attributes of `path` that belong in an image
    /// ([`crate::xattr::belongs_in_image`]).
    ///
    /// # Errors
    /// What the kernel says; a file system without attributes has none.
    pub fn xattrs(&self, path: &RootfsPath) -> Result<Xattrs, RootfsError> {
        let (directory, name) = self.parent(Operation::ReadXattrs, path)?;
        directory.xattrs(name)
    }

    /// Makes the directory `path` with exactly this mode.
    ///
    /// # Errors
    /// `EEXIST` when something is there.
    pub fn create_dir(&self, path: &RootfsPath, mode: u32) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::CreateDirectory, path)?;
        directory.create_dir(name, mode)
    }

    /// Makes the directory `path` and those missing above it. Returns the ones it made, top first.
    ///
    /// Symbolic links are followed, the last component's too, so that what is returned may lie
    /// elsewhere than `path`.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is in the way.
    pub fn create_dir_all(
        &self,
        path: &RootfsPath,
        new: &NewDirectory,
    ) -> Result<Vec<RootfsPath>, RootfsError> {
        let resolved = self.resolve(path)?;
        let mut missing = Vec::new();
        for candidate in std::iter::once(resolved.clone()).chain(resolved.ancestors()) {
            match self.metadata(&candidate)? {
                None => missing.push(candidate),
                Some(found) if found.kind == FileKind::Directory => break,
                Some(_) => {
                    return Err(io_error(Operation::CreateDirectory, &candidate)(Errno::NOTDIR));
                }
            }
        }
        missing.reverse();
        for directory in &missing {
            self.create_dir(directory, 0o700)?;
            self.set_owner(directory, new.uid, new.gid)?;
            // After the owner, because a change of owner clears the set-id bits.
            self.set_mode(directory, new.mode)?;
        }
        Ok(missing)
    }

    /// Makes the regular file `path`, mode 0600, and opens it for writing.
    ///
    /// # Errors
    /// `EEXIST` when something is there, a dangling symbolic link included.
    pub fn create_file(&self, path: &RootfsPath) -> Result<File, RootfsError> {
        let (directory, name) = self.parent(Operation::CreateFile, path)?;
        directory.create_file(name)
    }

    /// Makes the symbolic link `path` with the given target, which is not looked at.
    ///
    /// # Errors
    /// `EEXIST` when something is there.
    pub fn symlink(&self, target: &[u8], path: &RootfsPath) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::CreateSymlink, path)?;
        directory.symlink(target, name)
    }

    /// Makes `path` another name of `existing`; of a symbolic link, of the link itself.
    ///
    /// # Errors
    /// `EEXIST` when something is at `path`; `EPERM` for a directory.
    pub fn hard_link(&self, existing: &RootfsPath, path: &RootfsPath) -> Result<(), RootfsError> {
        let (from, from_name) = self.parent(Operation::HardLink, existing)?;
        let (to, to_name) = self.parent(Operation::HardLink, path)?;
        from.hard_link(from_name, &to, to_name)
    }

    /// Makes a device node, named pipe or socket with exactly this mode. The numbers count for
    /// devices only.
    ///
    /// # Errors
    /// `EPERM` for devices without `CAP_MKNOD` or in a user namespace; `EINVAL` for other kinds.
    pub fn make_node(
        &self,
        path: &RootfsPath,
        kind: FileKind,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::CreateNode, path)?;
        directory.make_node(name, kind, mode, (major, minor))
    }

    /// Renames `from` to `to`, replacing what is there as `rename(2)` does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rename(&self, from: &RootfsPath, to: &RootfsPath) -> Result<(), RootfsError> {
        let (from, from_name) = self.parent(Operation::Rename, from)?;
        let (to, to_name) = self.parent(Operation::Rename, to)?;
        from.rename(from_name, &to, to_name)
    }

    /// Removes `path`: anything but a directory, or an empty directory.
    ///
    /// # Errors
    /// `ENOTEMPTY` for a directory with something in it.
    pub fn remove(&self, path: &RootfsPath) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::Remove, path)?;
        directory.remove(name)
    }

    /// Removes `path` and everything below it. Nothing there is no error.
    ///
    /// What is on another mount, and what the guard protects, stays with the directories above it;
    /// everything else goes.
    ///
    /// # Errors
    /// [`RootfsError::OnMount`] or [`RootfsError::Protected`], naming the first that stayed.
    pub fn remove_all(&self, path: &RootfsPath) -> Result<(), RootfsError> {
        match self.parent(Operation::Remove, path) {
            Ok((directory, name)) => directory.remove_all(name),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets owner and group of `path`, of a symbolic link itself. Clears set-id bits and file
    /// capabilities.
    ///
    /// # Errors
    /// `EPERM` without `CAP_CHOWN`.
    pub fn set_owner(&self, path: &RootfsPath, uid: u32, gid: u32) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::SetOwner, path)?;
        directory.set_owner(name, uid, gid)
    }

    /// Sets the mode of `path`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a symbolic link, which has none of its own.
    pub fn set_mode(&self, path: &RootfsPath, mode: u32) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::SetMode, path)?;
        directory.set_mode(name, mode)
    }

    /// Sets the modification time of `path`, of a symbolic link itself; the access time stays.
    ///
    /// # Errors
    /// `EINVAL` for a nanosecond count beyond 999,999,999. A time that the file system cannot hold
    /// is clamped by the kernel without an error.
    pub fn set_mtime(&self, path: &RootfsPath, mtime: Timestamp) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::SetModificationTime, path)?;
        directory.set_mtime(name, mtime)
    }

    /// Sets an extended attribute of `path`, of a symbolic link itself.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the file system or the kind of file has none of that name; `EPERM`
    /// without the capability it takes.
    pub fn set_xattr(
        &self,
        path: &RootfsPath,
        attribute: &[u8],
        value: &[u8],
    ) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::SetXattr, path)?;
        directory.set_xattr(name, attribute, value)
    }

    /// Removes an extended attribute of `path`, of a symbolic link itself.
    ///
    /// # Errors
    /// `ENODATA` when it has none of that name.
    pub fn remove_xattr(&self, path: &RootfsPath, attribute: &[u8]) -> Result<(), RootfsError> {
        let (directory, name) = self.parent(Operation::RemoveXattr, path)?;
        directory.remove_xattr(name, attribute)
    }

    /// Opens the directory `path`, its last component not followed.
    ///
    /// # Errors
    /// `ENOTDIR` when it is something else.
    pub fn open_dir(&self, path: &RootfsPath) -> Result<Directory, RootfsError> {
        let (directory, name) = self.parent(Operation::OpenDirectory, path)?;
        directory.open_dir(name)
    }
}
