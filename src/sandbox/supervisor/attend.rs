//! Waiting for a command while signals for it may come.

use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::{During, reap};
use crate::sandbox::wire::{Ending, SetupAction, SetupFailure};

/// The deaths of children, as something that can be waited for beside other things.
pub(super) struct Deaths(SignalFd);

impl Deaths {
    /// Notes deaths from now on; a child must put its signals back.
    pub fn watch() -> Result<Self, SetupFailure> {
        let mut deaths = SigSet::empty();
        deaths.add(Signal::SIGCHLD);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&deaths), None).during(|| SetupAction::Plumbing)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&deaths, flags).during(|| SetupAction::Plumbing).map(Self)
    }

    /// Returns how `child`, the head of a session, ended, reaping orphans on the way. Its session's
    /// processes get the signals whose numbers are read from `orders`; `None` when those end.
    pub fn attend(&self, orders: &impl AsFd, child: Pid) -> io::Result<Option<Ending>> {
        loop {
            let mut fds = [
                PollFd::new(orders, PollFlags::IN),
                PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled?,
            };
            let [from_executor, _] = fds;
            if !from_executor.revents().is_empty() {
                match order(orders)? {
                    // Nobody may be there any more; its end is reaped below.
                    Some(signal) => drop(kill(Pid::from_raw(-child.as_raw()), signal)),
                    None => return Ok(None),
                }
            }
            // Emptied before reaping, so that a death in between wakes us again.
            while let Ok(Some(_)) = self.0.read_signal() {}
            // Orphans too: a step that makes thousands must not run out of process ids.
            if let Some(ending) = reap::reap_ended(Some(child)).ending {
                return Ok(Some(ending));
            }
        }
    }
}

/// Reads which signal is to be passed on; `None` when there will be no more.
pub(super) fn order(orders: &impl AsFd) -> io::Result<Option<Signal>> {
    let mut number = [0];
    let orders = orders.as_fd().try_clone_to_owned()?;
    match std::fs::File::from(orders).read(&mut number) {
        Ok(0) => Ok(None),
        Ok(_) => {
            let [number] = number;
            Signal::try_from(i32::from(number)).map(Some).map_err(io::Error::from)
        }
        Err(error) => Err(error),
    }
}
