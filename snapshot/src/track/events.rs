//! The kernel's event records, from bytes.
//!
//! Pure: owns the record formats (`inotify(7)`, `fanotify(7)`) and knows nothing of what an event
//! means. The idea to hold in mind: the bytes come from the kernel, and are believed no more for it;
//! what does not add up is an error, and the snapshot then looks at everything.

use thiserror::Error;

mod fanotify;
mod inotify;

pub(crate) use fanotify::{FanotifyEvent, FanotifyEvents, Handle};
pub(crate) use inotify::{InotifyEvent, InotifyEvents};

/// Bytes that are no event records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum EventError {
    /// A record is longer than what is left, or shorter than it can be.
    #[error("an event record has a length that cannot be")]
    Length,
    /// The records are of another version than the one known.
    #[error("event records of version {0} are not known")]
    Version(u8),
}

/// Takes the first `N` bytes off.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], EventError> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(EventError::Length)?;
    *bytes = rest;
    Ok(*first)
}

fn take_i32(bytes: &mut &[u8]) -> Result<i32, EventError> {
    take(bytes).map(i32::from_ne_bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, EventError> {
    take(bytes).map(u32::from_ne_bytes)
}

/// Takes off as many bytes as a length read from the records says.
fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], EventError> {
    let (first, rest) = bytes.split_at_checked(length).ok_or(EventError::Length)?;
    *bytes = rest;
    Ok(first)
}

/// Returns what comes before the first NUL, or everything.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
