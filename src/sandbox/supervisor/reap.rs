//! Waits for the command, then ends and reaps whatever it left behind.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sandbox::wire::Ending;

/// Returns how `child` ended, reaping orphans that were handed to us on the way.
pub(super) fn wait_for(child: Pid) -> nix::Result<Ending> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(child) => {
                if let Some(ending) = ending(status) {
                    return Ok(ending);
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

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

/// Reaps those that have ended already: they are no stragglers.
pub(super) fn reap_ended() {
    while matches!(
        waitpid(None, Some(WaitPidFlag::WNOHANG)),
        Ok(status) if !matches!(status, WaitStatus::StillAlive)
    ) {}
}

/// Returns id and name of every process of this PID namespace but ourselves.
///
/// RUN may have covered `/proc`: what cannot be read is not named, and dies all the same.
pub(super) fn others() -> Vec<(i32, String)> {
    let own = nix::unistd::getpid().as_raw();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<(i32, String)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (pid, name.trim_end().to_owned())
        })
        .collect();
    found.sort_unstable();
    found
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
