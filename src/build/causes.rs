//! What an error goes back to, where that says more than the error itself.

use crate::report::fault::Class;

/// What to do where a file system is full; the kernel says the same of both.
pub(super) const NO_ROOM: &str = "the file system has no space or no inodes left (`df`, `df -i`): give the container more \
     ephemeral storage, or put the build's own files on a volume with `--kaniko-dir`";

/// Tells whether an error goes back to a file system that is full.
pub(super) fn is_for_want_of_room(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| matches!(io.kind(), StorageFull | QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns the class of an error that the machine, not the user, is likely to have caused.
pub(super) fn class_of_cause(error: &(dyn std::error::Error + 'static)) -> Class {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return match Class::of_io(io) {
                Class::Disk => Class::Disk,
                _ => Class::Infrastructure,
            };
        }
        cause = error.source();
    }
    Class::Infrastructure
}
