//! Process 1 of a container, kept apart from the executor.
//!
//! Every orphan of a container is handed to process 1. Were that the executor, it would have to
//! reap processes it knows nothing of, and could reap those that somebody else waits for. So
//! process 1 does nothing but reap, pass signals on, and end as the executor ends.

use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid};

use super::reap;
use crate::sandbox::hide_process;
use crate::sandbox::wire::Ending;

/// Where this process is process 1, goes on as a child of it.
///
/// Returns `None` in the process that is to do the work, and in process 1, once that has ended, the
/// code to exit with. `main` calls it while it has one thread.
pub fn leave_pid_one() -> Option<ExitCode> {
    if getpid().as_raw() != 1 {
        return None;
    }
    // Before the fork: a signal that comes now must not be lost, and process 1 gets only those
    // that it asks for.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before)).ok()?;
    // SAFETY: `main` has started no thread, so no lock can be held by one that the copy lacks.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => {
            // The environment that the container was given is in this process, too.
            let _ = hide_process();
            Some(attend(child))
        }
        // Without a process of its own the executor still works, as process 1.
        Ok(ForkResult::Child) | Err(_) => {
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
            None
        }
    }
}

fn attend(executor: Pid) -> ExitCode {
    loop {
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap_all(executor) {
                    return code;
                }
            }
            // Gone already: the next signal is SIGCHLD.
            Ok(signal) => drop(kill(executor, signal)),
            // A signal without a name, such as a real-time one.
            Err(_) => {}
        }
    }
}

/// Reaps everything that has ended; the exit code once the executor has.
fn reap_all(executor: Pid) -> Option<ExitCode> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return None,
            Ok(status) if status.pid() == Some(executor) => {
                if let Some(ending) = reap::ending(status) {
                    return Some(exit_code(ending));
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Some(ExitCode::FAILURE),
        }
    }
}

/// Returns the code that a shell gives.
fn exit_code(ending: Ending) -> ExitCode {
    let code = match ending {
        Ending::Exited(code) => code,
        Ending::Signaled(signal) => 128 + signal,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
