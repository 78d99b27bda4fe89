//! System calls that no crate wraps; the only unsafe code of this crate.
//!
//! Each wrapper is one call, with no policy and no logging.
#![expect(unsafe_code, reason = "raw system calls live here and nowhere else")]

mod chmod;
mod fanotify;
mod handle;
mod mapping;
mod unshare;
mod watch;

pub(crate) use chmod::fchmodat2_nofollow;
pub(crate) use fanotify::{fanotify_init, fanotify_mark_file_system};
pub(crate) use handle::{name_to_handle, open_by_handle};
pub(crate) use mapping::SharedPage;
pub(crate) use unshare::unshare_mounts;
pub(crate) use watch::{REFUSED, WatchScript, WatchTarget, add_watches};
