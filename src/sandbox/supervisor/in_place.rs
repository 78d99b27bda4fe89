//! A step in the root that is there already: no namespaces, so the supervisor itself is the one
//! whom every orphan of the step is handed to.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::processes::ProcessTable;
use super::{During, command, reap};
use crate::sandbox::wire::{Command, Ending, Reply, SetupAction, SetupFailure};

/// Runs `command`; `None` when the executor is gone and nobody listens.
pub(super) fn run(socket: &UnixStream, command: &Command) -> Option<Reply> {
    match try_run(socket, command) {
        Ok(reply) => reply,
        Err(failure) => Some(failure.into()),
    }
}

fn try_run(socket: &UnixStream, command: &Command) -> Result<Option<Reply>, SetupFailure> {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).during(|| SetupAction::Subreaper)?;
    let table = ProcessTable::open().during(|| SetupAction::ProcessTable)?;
    let mut deaths = SigSet::empty();
    deaths.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&deaths), None).during(|| SetupAction::Plumbing)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let deaths = SignalFd::with_flags(&deaths, flags).during(|| SetupAction::Plumbing)?;
    let child = match command::start(command)? {
        Ok(child) => child,
        Err(failure) => return Ok(Some(Reply::NotStarted(failure))),
    };
    let ending = attend(socket, &deaths, child).during(|| SetupAction::Plumbing)?;
    let stragglers = table.descendants();
    let unkillable = reap::kill_descendants(&table);
    Ok(ending.map(|ending| {
        if unkillable.is_empty() {
            Reply::Ended { ending, stragglers: reap::named(stragglers) }
        } else {
            Reply::Unkillable { stragglers: reap::named(unkillable) }
        }
    }))
}

/// Returns how `child` ended; `None` when the executor is gone.
fn attend(
    socket: &UnixStream,
    deaths: &SignalFd,
    child: Pid,
) -> rustix::io::Result<Option<Ending>> {
    loop {
        let mut fds = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(deaths.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        let [from_executor, _] = fds;
        if !from_executor.revents().is_empty() {
            return Ok(None);
        }
        // Emptied before reaping, so that a death in between wakes us again.
        while let Ok(Some(_)) = deaths.read_signal() {}
        // Orphans too: a step that makes thousands must not run out of process ids.
        if let Some(ending) = reap::reap_ended(Some(child)).ending {
            return Ok(Some(ending));
        }
    }
}
