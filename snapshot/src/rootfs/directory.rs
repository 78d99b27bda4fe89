//! A directory inside a root file system, and what can be done to the names in it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, StatxFlags, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use super::error::{Operation, RootfsError};
use super::guard::{Effect, Refusal};
use super::{Rootfs, SystemCalls, lookup, remove, xattrs};
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::path::{self, RootfsPath};
use crate::sys;
use crate::xattr::Xattrs;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// What it names.
    pub kind: FileKind,
}

/// An open directory of a [`Rootfs`].
///
/// Its operations are those of [`Rootfs`] with one name in place of a path; the name `.` is the
/// directory itself. They cost no lookup, which is what bulk writers want. The directory stays the
/// same one when it is renamed.
pub struct Directory {
    rootfs: Rootfs,
    /// `None` for the root, whose handle the `Rootfs` keeps.
    fd: Option<OwnedFd>,
    path: RootfsPath,
    refusal: Option<Refusal>,
}

impl Directory {
    pub(super) fn root(rootfs: &Rootfs, operation: Operation) -> Result<Self, RootfsError> {
        let path = RootfsPath::root();
        let refusal = lookup::refusal(&rootfs.0.guard, rootfs.as_fd())
            .map_err(super::io_error(operation, &path))?;
        Ok(Self { rootfs: rootfs.clone(), fd: None, path, refusal })
    }

    pub(super) fn found(rootfs: &Rootfs, path: RootfsPath, found: lookup::Found) -> Self {
        let lookup::Found { directory, refusal } = found;
        Self { rootfs: rootfs.clone(), fd: Some(directory), path, refusal }
    }

    /// Returns the handle (opened with `O_PATH`).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().map_or(self.rootfs.as_fd(), |fd| fd.as_fd())
    }

    /// Returns the path the directory was opened by.
    pub fn path(&self) -> &RootfsPath {
        &self.path
    }

    /// Returns the root file system the directory is in.
    pub fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Returns what `name` is, `None` when there is no such name.
    ///
    /// # Errors
    /// As [`Rootfs::metadata`].
    pub fn metadata(&self, name: &[u8]) -> Result<Option<Metadata>, RootfsError> {
        let name = self.enter(Operation::Stat, name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(self.as_fd(), &*name, flags, StatxFlags::BASIC_STATS) {
            Ok(stat) => match Metadata::from_statx(&stat) {
                Some(metadata) => Ok(Some(metadata)),
                None => Err(RootfsError::UnknownKind { path: self.entry_path(name.to_bytes()) }),
            },
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.error(Operation::Stat, name.to_bytes(), errno)),
        }
    }

    /// Returns the target of the symbolic link `name`.
    ///
    /// # Errors
    /// As [`Rootfs::read_link`].
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, RootfsError> {
        let checked = self.enter(Operation::ReadLink, name)?;
        rustix::fs::readlinkat(self.as_fd(), &*checked, Vec::new())
            .map(CString::into_bytes)
            .map_err(|errno| self.error(Operation::ReadLink, name, errno))
    }

    /// Returns what is in the directory, sorted by name.
    ///
    /// # Errors
    /// `EACCES` where it may not be listed.
    pub fn entries(&self) -> Result<Vec<DirEntry>, RootfsError> {
        let listing = self.open_listing(b".")?;
        let error = |errno| self.error(Operation::ReadDirectory, b".", errno);
        let mut entries = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut raw = RawDir::new(listing.as_fd(), &mut buffer);
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match FileKind::from_file_type(entry.file_type()) {
                Some(kind) => kind,
                // The file system keeps no types in its directories.
                None => match self.metadata(name)? {
                    Some(metadata) => metadata.kind,
                    None => continue,
                },
            };
            entries.push(DirEntry { name: name.to_vec(), kind });
        }
        entries.sort();
        Ok(entries)
    }

    /// Opens the directory `name` for listing.
    pub(crate) fn open_listing(&self, name: &[u8]) -> Result<OwnedFd, RootfsError> {
        let checked = self.enter(Operation::ReadDirectory, name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        open_without_atime(self.as_fd(), &checked, flags)
            .map_err(|errno| self.error(Operation::ReadDirectory, name, errno))
    }

    /// Opens the regular file `name` for reading.
    ///
    /// # Errors
    /// As [`Rootfs::open_file`].
    pub fn open_file(&self, name: &[u8]) -> Result<File, RootfsError> {
        let checked = self.enter(Operation::OpenFile, name)?;
        let not_regular = |kind| RootfsError::NotRegular { path: self.entry_path(name), kind };
        match self.metadata(name)?.map(|metadata| metadata.kind) {
            None => return Err(self.error(Operation::OpenFile, name, Errno::NOENT)),
            Some(FileKind::Regular) => {}
            Some(kind) => return Err(not_regular(kind)),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = open_without_atime(self.as_fd(), &checked, flags)
            .map_err(|errno| self.error(Operation::OpenFile, name, errno))?;
        // What was opened need not be what was looked at.
        let stat =
            rustix::fs::fstat(&fd).map_err(|errno| self.error(Operation::OpenFile, name, errno))?;
        match FileKind::from_raw_mode(stat.st_mode) {
            Some(FileKind::Regular) => Ok(File::from(fd)),
            Some(kind) => Err(not_regular(kind)),
            None => Err(RootfsError::UnknownKind { path: self.entry_path(name) }),
        }
    }

    /// Returns the extended attributes of `name` that belong in an image.
    ///
    /// # Errors
    /// As [`Rootfs::xattrs`].
    pub fn xattrs(&self, name: &[u8]) -> Result<Xattrs, RootfsError> {
        let checked = self.enter(Operation::ReadXattrs, name)?;
        xattrs::read(self.as_fd(), &checked)
            .map_err(|errno| self.error(Operation::ReadXattrs, name, errno))
    }

    /// Makes the directory `name` with exactly this mode.
    ///
    /// # Errors
    /// As [`Rootfs::create_dir`].
    pub fn create_dir(&self, name: &[u8], mode: u32) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::CreateDirectory, name, Effect::Change)?;
        let at_creation = Mode::from_raw_mode(mode & 0o700);
        rustix::fs::mkdirat(self.as_fd(), &*checked, at_creation)
            .and_then(|()| self.chmod(&checked, mode))
            .map_err(|errno| self.error(Operation::CreateDirectory, name, errno))
    }

    /// Makes the regular file `name`, mode 0600, and opens it for writing.
    ///
    /// # Errors
    /// As [`Rootfs::create_file`].
    pub fn create_file(&self, name: &[u8]) -> Result<File, RootfsError> {
        let checked = self.enter_to_write(Operation::CreateFile, name, Effect::Change)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(self.as_fd(), &*checked, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(|errno| self.error(Operation::CreateFile, name, errno))
    }

    /// Makes the symbolic link `name`.
    ///
    /// # Errors
    /// As [`Rootfs::symlink`].
    pub fn symlink(&self, target: &[u8], name: &[u8]) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::CreateSymlink, name, Effect::Change)?;
        rustix::fs::symlinkat(target, self.as_fd(), &*checked)
            .map_err(|errno| self.error(Operation::CreateSymlink, name, errno))
    }

    /// Makes `to_name` in `to` another name of `name` here.
    ///
    /// # Errors
    /// As [`Rootfs::hard_link`].
    pub fn hard_link(
        &self,
        name: &[u8],
        to: &Directory,
        to_name: &[u8],
    ) -> Result<(), RootfsError> {
        // The file's link count changes, so both ends are written to.
        let from = self.enter_to_write(Operation::HardLink, name, Effect::Change)?;
        let checked = to.enter_to_write(Operation::HardLink, to_name, Effect::Change)?;
        rustix::fs::linkat(self.as_fd(), &*from, to.as_fd(), &*checked, AtFlags::empty())
            .map_err(|errno| to.error(Operation::HardLink, to_name, errno))
    }

    /// Makes a device node (`device` is major and minor), named pipe or socket.
    ///
    /// # Errors
    /// As [`Rootfs::make_node`].
    pub fn make_node(
        &self,
        name: &[u8],
        kind: FileKind,
        mode: u32,
        device: (u32, u32),
    ) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::CreateNode, name, Effect::Change)?;
        let (file_type, device) = match kind {
            FileKind::CharDevice => (FileType::CharacterDevice, device),
            FileKind::BlockDevice => (FileType::BlockDevice, device),
            FileKind::Fifo => (FileType::Fifo, (0, 0)),
            FileKind::Socket => (FileType::Socket, (0, 0)),
            FileKind::Directory | FileKind::Regular | FileKind::Symlink => {
                return Err(self.error(Operation::CreateNode, name, Errno::INVAL));
            }
        };
        let device = rustix::fs::makedev(device.0, device.1);
        let at_creation = Mode::from_raw_mode(mode & 0o600);
        rustix::fs::mknodat(self.as_fd(), &*checked, file_type, at_creation, device)
            .and_then(|()| self.chmod(&checked, mode))
            .map_err(|errno| self.error(Operation::CreateNode, name, errno))
    }

    /// Renames `name` to `to_name` in `to`.
    ///
    /// # Errors
    /// As [`Rootfs::rename`].
    pub fn rename(&self, name: &[u8], to: &Directory, to_name: &[u8]) -> Result<(), RootfsError> {
        let from = self.enter_to_write(Operation::Rename, name, Effect::Remove)?;
        let checked = to.enter_to_write(Operation::Rename, to_name, Effect::Remove)?;
        rustix::fs::renameat(self.as_fd(), &*from, to.as_fd(), &*checked)
            .map_err(|errno| self.error(Operation::Rename, name, errno))
    }

    /// Removes `name`, a directory only when it is empty.
    ///
    /// # Errors
    /// As [`Rootfs::remove`].
    pub fn remove(&self, name: &[u8]) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::Remove, name, Effect::Remove)?;
        match rustix::fs::unlinkat(self.as_fd(), &*checked, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(self.as_fd(), &*checked, AtFlags::REMOVEDIR),
            other => other,
        }
        .map_err(|errno| self.error(Operation::Remove, name, errno))
    }

    /// Removes `name` and everything below it.
    ///
    /// # Errors
    /// As [`Rootfs::remove_all`].
    pub fn remove_all(&self, name: &[u8]) -> Result<(), RootfsError> {
        remove::remove_all(self, name)
    }

    /// Sets owner and group of `name`.
    ///
    /// # Errors
    /// As [`Rootfs::set_owner`].
    pub fn set_owner(&self, name: &[u8], uid: u32, gid: u32) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::SetOwner, name, Effect::Change)?;
        // The greatest id means "leave it" to the kernel.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(self.error(Operation::SetOwner, name, Errno::INVAL));
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(self.as_fd(), &*checked, Some(uid), Some(gid), flags)
            .map_err(|errno| self.error(Operation::SetOwner, name, errno))
    }

    /// Sets the mode of `name`.
    ///
    /// # Errors
    /// As [`Rootfs::set_mode`].
    pub fn set_mode(&self, name: &[u8], mode: u32) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::SetMode, name, Effect::Change)?;
        self.chmod(&checked, mode).map_err(|errno| self.error(Operation::SetMode, name, errno))
    }

    fn chmod(&self, name: &CStr, mode: u32) -> Result<(), Errno> {
        if self.rootfs.0.system_calls == SystemCalls::Detect {
            match sys::fchmodat2_nofollow(self.as_fd(), name, mode & 0o7777) {
                Ok(()) => return Ok(()),
                Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                    // Older than 6.6, or a seccomp filter that is; the way below tells whether a
                    // refusal is meant.
                    Some(Errno::NOSYS | Errno::PERM) => {}
                    errno => return Err(errno.unwrap_or(Errno::IO)),
                },
            }
        }
        xattrs::chmod_through_handle(self.as_fd(), name, Mode::from_raw_mode(mode & 0o7777))
    }

    /// Sets the modification time of `name`.
    ///
    /// # Errors
    /// As [`Rootfs::set_mtime`].
    pub fn set_mtime(&self, name: &[u8], mtime: Timestamp) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::SetModificationTime, name, Effect::Change)?;
        let error = |errno| self.error(Operation::SetModificationTime, name, errno);
        // Beyond lie the kernel's marks for "now" and "leave it".
        if mtime.nanoseconds > 999_999_999 {
            return Err(error(Errno::INVAL));
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: mtime.seconds,
                tv_nsec: mtime.nanoseconds.into(),
            },
        };
        rustix::fs::utimensat(self.as_fd(), &*checked, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(error)
    }

    /// Sets an extended attribute of `name`.
    ///
    /// # Errors
    /// As [`Rootfs::set_xattr`].
    pub fn set_xattr(
        &self,
        name: &[u8],
        attribute: &[u8],
        value: &[u8],
    ) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::SetXattr, name, Effect::Change)?;
        xattrs::write(self.as_fd(), &checked, attribute, Some(value))
            .map_err(|errno| self.error(Operation::SetXattr, name, errno))
    }

    /// Removes an extended attribute of `name`.
    ///
    /// # Errors
    /// As [`Rootfs::remove_xattr`].
    pub fn remove_xattr(&self, name: &[u8], attribute: &[u8]) -> Result<(), RootfsError> {
        let checked = self.enter_to_write(Operation::RemoveXattr, name, Effect::Change)?;
        xattrs::write(self.as_fd(), &checked, attribute, None)
            .map_err(|errno| self.error(Operation::RemoveXattr, name, errno))
    }

    /// Opens the directory `name`, which is not followed.
    ///
    /// # Errors
    /// As [`Rootfs::open_dir`].
    pub fn open_dir(&self, name: &[u8]) -> Result<Directory, RootfsError> {
        let checked = self.enter(Operation::OpenDirectory, name)?;
        let error = |errno| self.error(Operation::OpenDirectory, name, errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(self.as_fd(), &*checked, flags, Mode::empty()).map_err(error)?;
        let directory = self.at_handle(opened, self.entry_path(name))?;
        // Below something protected everything is.
        let inherited = self.refusal.filter(|&refusal| refusal == Refusal::Protected);
        Ok(Self { refusal: inherited.or(directory.refusal), ..directory })
    }

    /// Wraps a handle opened by other means.
    pub(super) fn at_handle(&self, fd: OwnedFd, path: RootfsPath) -> Result<Self, RootfsError> {
        let refusal = lookup::refusal(&self.rootfs.0.guard, fd.as_fd())
            .map_err(super::io_error(Operation::OpenDirectory, &path))?;
        Ok(Self { rootfs: self.rootfs.clone(), fd: Some(fd), path, refusal })
    }

    pub(super) fn error(&self, operation: Operation, name: &[u8], errno: Errno) -> RootfsError {
        RootfsError::Io { operation, path: self.entry_path(name), source: errno.into() }
    }

    pub(super) fn entry_path(&self, name: &[u8]) -> RootfsPath {
        if name == b"." { self.path.clone() } else { self.path.join_name(name) }
    }

    /// Checks the name (nothing but one component must ever reach the kernel).
    fn enter(&self, operation: Operation, name: &[u8]) -> Result<CString, RootfsError> {
        let invalid =
            || RootfsError::InvalidName { directory: self.path.clone(), name: name.to_vec() };
        if name != b"." && !path::is_name(name) {
            return Err(invalid());
        }
        if self.rootfs.0.faults.is_some() {
            self.rootfs.fault(operation, &self.entry_path(name))?;
        }
        CString::new(name).map_err(|_| invalid())
    }

    pub(super) fn enter_to_write(
        &self,
        operation: Operation,
        name: &[u8],
        effect: Effect,
    ) -> Result<CString, RootfsError> {
        let checked = self.enter(operation, name)?;
        let guard = &self.rootfs.0.guard;
        let refusal =
            match self.refusal {
                None if guard.is_active() => {
                    guard.refuses(self.as_fd(), &checked, effect).map_err(|source| {
                        RootfsError::Io { operation, path: self.entry_path(name), source }
                    })?
                }
                known => known,
            };
        match refusal {
            None => Ok(checked),
            Some(Refusal::Protected) => Err(RootfsError::Protected { path: self.entry_path(name) }),
            Some(Refusal::OnMount) => Err(RootfsError::OnMount { path: self.entry_path(name) }),
        }
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Directory").field(&self.path).finish()
    }
}

/// Opens with `O_NOATIME`, which only the owner and root may, or without.
pub(crate) fn open_without_atime(
    directory: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        other => other,
    }
}
