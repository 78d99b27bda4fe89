//! Why a change tracker cannot be used.

use std::io;

use thiserror::Error;

use super::budget::Allowance;
use super::overlay::OverlayError;
use crate::scope::Reason;

/// A tracker that cannot be started, or goes on no longer.
#[derive(Debug, Error)]
pub enum TrackError {
    /// The tree has more inodes than may be watched.
    #[error(
        "{inode_count} inodes would have to be watched and {} may be ({})",
        allowance.watch_count, allowance.bound
    )]
    TooManyInodes {
        /// Inodes in the root.
        inode_count: u64,
        /// How many may be watched.
        allowance: Allowance,
    },
    /// The node's limit does not leave the reserve that other Pods must find.
    #[error("other users of the node would be left without inotify watches")]
    NoReserve,
    /// The kernel refused a watch.
    #[error("cannot watch an inode of the root file system")]
    Watch(#[source] io::Error),
    /// The kernel gave no event queue.
    #[error("cannot make an event queue")]
    Queue(#[source] io::Error),
    /// The file system cannot be marked as a whole.
    #[error("cannot mark the file system of the root")]
    Mark(#[source] io::Error),
    /// The file system's handles cannot be led back to inodes.
    #[error("file handles of this file system do not tell their inode")]
    Handles,
    /// The root spans several devices, and events would not say which.
    #[error("the root spans several devices")]
    SeveralDevices,
    /// Part of the image cannot be on disk, and what is around it can.
    #[error("a directory of the root is not known to be on disk")]
    Incomplete,
    /// A step's record said nothing that narrows it down.
    #[error("it records nothing")]
    Blind,
    /// An operation of the trial run was not reported.
    #[error("a trial run did not report `{0}`")]
    Missed(&'static str),
    /// An overlay cannot be used.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// What a step on an overlay saw is not what the root is afterwards.
    #[error("an overlay's changes cannot be moved into the root as they were")]
    Unmerged,
    /// What a step writes on an overlay reaches the root before the step ends.
    #[error("an overlay writes to the root itself")]
    NoCopyUp,
    /// The trial run itself failed.
    #[error("cannot make the trial run")]
    Trial(#[source] io::Error),
}

impl TrackError {
    /// Returns the reason that a scope gives for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooManyInodes { .. } | Self::NoReserve => Reason::WatchLimit,
            Self::Watch(source) | Self::Queue(source) | Self::Mark(source) => {
                match source.raw_os_error() {
                    Some(libc::ENOSPC | libc::EMFILE) => Reason::WatchLimit,
                    Some(libc::ENOMEM) => Reason::OutOfMemory,
                    _ => Reason::NoTracker,
                }
            }
            _ => Reason::NoTracker,
        }
    }
}
