//! The re-executed child of a step: makes the sandbox, starts the command, kills and reaps
//! everything, and reports.
//!
//! Owns forks, namespaces and mounts. Must not read arguments or the environment (both can be seen
//! by RUN): the request comes over the socket that is descriptor 0. Single-threaded from its first
//! instruction to its last, which is what makes fork and unshare sound here; but for the trial of a
//! change tracker, which does neither.

#![expect(unsafe_code, reason = "fork, close_range and signal dispositions have no safe wrapper")]

mod attend;
mod capabilities;
mod command;
mod in_place;
mod map_ids;
mod mounts;
mod namespaces;
mod pid_one;
mod process;
mod processes;
mod program;
mod reap;
mod rights;
mod step_mounts;
mod tracker;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::errno::Errno;

pub use pid_one::leave_pid_one;

use super::wire::{self, Reply, Request, RootSource, SetupAction, SetupFailure};
use super::{passing, probe};

/// Runs the hidden sub-command; `main` calls it before it does anything else.
///
/// Fails, without a word, when it was not started by [`super::Sandbox`].
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    // Whatever the starter of the executor left open must not reach RUN. Nothing of ours is open
    // yet above the three streams.
    process::close_from(3)?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    process::empty_stdin()?;
    // Signals of a terminal go to the executor, which decides what becomes of the step.
    let _ = nix::unistd::setsid();
    let Some(request) = wire::read_message::<Request>(&socket)? else { return Ok(()) };
    let reply = match request {
        Request::ProbeNamespaces(root) => namespaces::run(&socket, root, None, None),
        Request::RunInNamespaces(root, command) => {
            let source = root.directory.as_ref().map(|directory| directory.source);
            let mount = match source {
                Some(RootSource::Passed) => Some(passing::receive(&socket)?),
                Some(RootSource::There) | None => None,
            };
            namespaces::run(&socket, root, mount, Some(command))
        }
        Request::RunInPlace(command) => in_place::run(&socket, &command),
        Request::MapIds(maps) => Some(map_ids::run(&maps)),
        Request::TryTracker(trial) => Some(tracker::try_out(&trial)),
        Request::ProbeUserNamespace => Some(probe::user_namespace_here()),
        Request::TryRights(directory) => Some(Reply::Rights(rights::try_out(&directory))),
    };
    if let Some(reply) = reply {
        wire::write_message(&socket, &reply)?;
    }
    Ok(())
}

/// Names the step of the set-up that failed.
trait During<T> {
    fn during(self, action: impl FnOnce() -> SetupAction) -> Result<T, SetupFailure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, action: impl FnOnce() -> SetupAction) -> Result<T, SetupFailure> {
        self.map_err(|errno| SetupFailure { action: action(), errno: errno as i32 })
    }
}

impl<T> During<T> for rustix::io::Result<T> {
    fn during(self, action: impl FnOnce() -> SetupAction) -> Result<T, SetupFailure> {
        self.map_err(|errno| SetupFailure { action: action(), errno: errno.raw_os_error() })
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: impl FnOnce() -> SetupAction) -> Result<T, SetupFailure> {
        self.map_err(|error| SetupFailure {
            action: action(),
            errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
        })
    }
}

impl From<SetupFailure> for Reply {
    fn from(failure: SetupFailure) -> Self {
        Self::SetupFailed(failure)
    }
}
