//! Making, changing and removing the names in a directory.

use std::ffi::CStr;
use std::fs::File;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::Directory;
use crate::metadata::{FileKind, Timestamp};
use crate::rootfs::error::{Operation, RootfsError, UnmappedOwner};
use crate::rootfs::guard::Effect;
use crate::rootfs::{SystemCalls, remove, xattrs};
use crate::sys;

impl Directory {
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
        rustix::fs::chownat(self.as_fd(), &*checked, Some(uid), Some(gid), flags).map_err(|errno| {
            RootfsError::Io {
                operation: Operation::SetOwner,
                path: self.entry_path(name),
                source: UnmappedOwner::explain(errno.into(), uid.as_raw(), gid.as_raw()),
            }
        })
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
}
