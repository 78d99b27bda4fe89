//! The mount itself.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};

use super::error::OverlayError;

/// What makes an overlay behave like a directory. Each is refused by some kernel or somewhere.
const OPTIONS: [(&str, &str, &str); 4] = [
    // One copy for all names of a file.
    ("index", "on", "an index of hard links"),
    // A directory of the lower layer can be renamed.
    ("redirect_dir", "on", "renamed directories"),
    // A file whose owner changes is copied whole: what is moved over has to have its content.
    ("metacopy", "off", "whole copies"),
    ("nfs_export", "off", "an index of hard links alone"),
];

/// Mounts an overlay, nowhere: it is reached through the descriptor, and goes with the last one.
///
/// Nothing that the step writes is written through to the disk: of a step that a power cut ends
/// nothing is left anyway.
pub(super) fn mount(
    lower: &[BorrowedFd<'_>],
    upper: BorrowedFd<'_>,
    work: BorrowedFd<'_>,
) -> Result<OwnedFd, OverlayError> {
    mount_with(&OPTIONS, lower, Some((upper, work)))
}

/// Mounts an overlay that is what the kernel makes of it by default, as those of containers are.
pub(in crate::track) fn mount_plain(
    lower: BorrowedFd<'_>,
    upper: BorrowedFd<'_>,
    work: BorrowedFd<'_>,
) -> Result<OwnedFd, OverlayError> {
    mount_with(&[], &[lower], Some((upper, work)))
}

/// Mounts directories over each other, topmost first; they cannot be written to.
pub(super) fn mount_lower(lower: &[BorrowedFd<'_>]) -> Result<OwnedFd, OverlayError> {
    mount_with(&[], lower, None)
}

fn mount_with(
    options: &[(&str, &str, &'static str)],
    lower: &[BorrowedFd<'_>],
    upper_and_work: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
) -> Result<OwnedFd, OverlayError> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(refused("overlays"))?;
    let set = |key: &str, value: &str, what| {
        fsconfig_set_string(&context, key, value).map_err(refused(what))
    };
    set("source", "overlay", "a source")?;
    // By descriptor, so that no character of a path has a meaning.
    let path = |directory: &BorrowedFd<'_>| format!("/proc/self/fd/{}", directory.as_raw_fd());
    let lower: Vec<String> = lower.iter().map(path).collect();
    set("lowerdir", &lower.join(":"), "a directory")?;
    if let Some((upper, work)) = &upper_and_work {
        set("upperdir", &path(upper), "a directory")?;
        set("workdir", &path(work), "a directory")?;
    }
    for &(key, value, what) in options {
        set(key, value, what)?;
    }
    if upper_and_work.is_some() {
        fsconfig_set_flag(&context, "volatile")
            .map_err(refused("an overlay that is not synced"))?;
    }
    fsconfig_create(&context).map_err(refused("the mount"))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(refused("the mount"))
}

fn refused(what: &'static str) -> impl FnOnce(Errno) -> OverlayError {
    move |errno| OverlayError::Mount { what, source: io::Error::from(errno) }
}
