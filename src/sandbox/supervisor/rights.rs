//! Tries what an image's files and users take, in a process that gives its own user up for it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::fs::{AtFlags, FileType, Gid as FileGid, Mode, OFlags, Uid as FileUid, XattrFlags};
use rustix::fs::{Timespec, Timestamps};

use crate::sandbox::rights::Right;

/// Somebody else, in whatever ids a container has.
const OTHER: u32 = 1;

/// Tries each right in turn; the directory must be empty.
pub(super) fn try_out(directory: &Path) -> Vec<(Right, Option<i32>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    Right::ALL
        .into_iter()
        .map(|right| {
            let tried = match &opened {
                Ok(directory) => attempt(right, directory),
                Err(error) => Err(io::Error::from_raw_os_error(errno(error))),
            };
            (right, tried.err().map(|error| errno(&error)))
        })
        .collect()
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(nix::libc::EIO)
}

fn attempt(right: Right, directory: &OwnedFd) -> io::Result<()> {
    match right {
        Right::Owners => make_others(directory, c"owners"),
        Right::Access => {
            make_others(directory, c"access")?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(directory, c"access", flags, Mode::empty()).map(drop)?)
        }
        Right::Modes => {
            make_others(directory, c"modes")?;
            set_mode(directory, c"modes", 0o644)?;
            let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
            let times = Timestamps { last_access: epoch, last_modification: epoch };
            Ok(rustix::fs::utimensat(directory, c"modes", &times, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        Right::SetIds => {
            make_others(directory, c"ids")?;
            set_mode(directory, c"ids", 0o2755)?;
            let stat = rustix::fs::statat(directory, c"ids", AtFlags::SYMLINK_NOFOLLOW)?;
            // The kernel takes the bit away without a word.
            let is_kept = Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID);
            if is_kept { Ok(()) } else { Err(rustix::io::Errno::PERM.into()) }
        }
        Right::FileCapabilities => {
            let file = create(directory, c"capabilities")?;
            // Version 2, effective, nothing but `cap_net_bind_service`.
            let mut value = [0_u8; 20];
            let words = [0x0200_0001_u32, 1 << 10, 0, 0, 0].map(u32::to_le_bytes);
            value.iter_mut().zip(words.iter().flatten()).for_each(|(to, from)| *to = *from);
            let name = c"security.capability";
            Ok(rustix::fs::fsetxattr(&file, name, &value, XattrFlags::empty())?)
        }
        Right::Devices => {
            let null = rustix::fs::makedev(1, 3);
            let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o600));
            Ok(rustix::fs::mknodat(directory, c"device", kind, mode, null)?)
        }
        Right::Users => {
            setgroups(&[Gid::from_raw(OTHER)])?;
            setgid(Gid::from_raw(OTHER))?;
            Ok(setuid(Uid::from_raw(OTHER))?)
        }
    }
}

fn create(directory: &OwnedFd, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Makes a file that nobody but somebody else has a right to.
fn make_others(directory: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
    drop(create(directory, name)?);
    let (uid, gid) = (FileUid::from_raw(OTHER), FileGid::from_raw(OTHER));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)?)
}

fn set_mode(directory: &OwnedFd, name: &std::ffi::CStr, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    Ok(rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?)
}
