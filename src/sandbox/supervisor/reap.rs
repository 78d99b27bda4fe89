//! Reaps what has ended, and ends whatever a command left behind.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::processes::{Process, ProcessTable};
use crate::sandbox::wire::Ending;

/// Returns how a process ended, `None` when it only stopped or went on.
pub(super) fn ending(status: WaitStatus) -> Option<Ending> {
    match status {
        WaitStatus::Exited(_, code) => Some(Ending::Exited(code)),
        WaitStatus::Signaled(_, signal, _) => Some(Ending::Signaled(signal as i32)),
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => None,
    }
}

/// What reaping those that have ended already found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reaped {
    /// How the process that was looked for ended, if it did.
    pub ending: Option<Ending>,
    /// Whether there are children left.
    pub is_alone: bool,
}

/// Reaps every child that has ended, and looks for `child` among them.
pub(super) fn reap_ended(child: Option<Pid>) -> Reaped {
    let mut reaped = Reaped { ending: None, is_alone: false };
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return reaped,
            Ok(status) => {
                if child.is_some() && status.pid() == child {
                    reaped.ending = ending(status);
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => {
                reaped.is_alone = true;
                return reaped;
            }
        }
    }
}

/// Kills every process of this PID namespace, whose head we are, and returns when none is left.
pub(super) fn kill_namespace() {
    loop {
        // Again after each death: a process may have been born while the first round went on.
        // ESRCH, for nobody there, is as good as success.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Kills all our descendants, for whom we are the subreaper, and returns those that are still there
/// when the time is up.
pub(super) fn kill_descendants(table: &ProcessTable, grace: Duration) -> Vec<Process> {
    let mut patience = Patience::new(grace);
    loop {
        let descendants = table.descendants();
        for process in &descendants {
            // Gone already, or somebody else's by now: both are as good as dead. The process ids
            // of our own descendants are not used again before we reap them or their parents do.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        // The children of the dead become ours, so this ends with the last of them.
        if reap_ended(None).is_alone {
            return Vec::new();
        }
        if !patience.wait() {
            return descendants;
        }
    }
}

/// Pauses that grow, for as long as it is worth waiting: deaths take microseconds, and no
/// descriptor tells of them on every kernel we run on.
pub(super) struct Patience {
    end: Instant,
    pause: Duration,
}

impl Patience {
    pub fn new(time: Duration) -> Self {
        Self { end: Instant::now() + time, pause: Duration::from_micros(50) }
    }

    /// Pauses; false when the time is up.
    pub fn wait(&mut self) -> bool {
        if Instant::now() >= self.end {
            return false;
        }
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(Duration::from_millis(10));
        true
    }
}

/// Returns processes as a reply has them.
pub(super) fn named(processes: Vec<Process>) -> Vec<(i32, String)> {
    processes.into_iter().map(|process| (process.pid, process.name)).collect()
}
