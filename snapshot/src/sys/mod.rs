//! System calls that no crate wraps; the only unsafe code of this crate.
//!
//! Each wrapper is one call, with no policy and no logging.
#![expect(unsafe_code, reason = "raw system calls live here and nowhere else")]

mod chmod;

pub(crate) use chmod::fchmodat2_nofollow;
