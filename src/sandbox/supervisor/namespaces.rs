//! A step in namespaces: the supervisor proper outside, the head of the PID namespace inside.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use rustix::event::{PollFd, PollFlags, poll};

use super::attend::{self, Deaths};
use super::command::Neighbours;
use super::processes::ProcessTable;
use super::reap::Patience;
use super::{During, command, mounts, process, reap, step_mounts};
use crate::sandbox::GRACE;
use crate::sandbox::step_mount::StepNetwork;
use crate::sandbox::wire::{
    self, Command, Ending, NamespaceRoot, Reply, SetupAction, SetupFailure,
};

/// Runs `command`, or nothing for a probe; `None` when the executor is gone and nobody listens.
pub(super) fn run(
    socket: &UnixStream,
    root: NamespaceRoot,
    mount: Option<OwnedFd>,
    command: Option<Command>,
) -> Option<Reply> {
    let grace = command.as_ref().map_or(GRACE, |command| command.grace);
    // Now: what is `/proc` afterwards is the step's.
    let table = ProcessTable::open();
    match start(root, mount, command) {
        Ok(step) => attend(socket, &step, grace, table.ok().as_ref()),
        Err(failure) => Some(failure.into()),
    }
}

/// A step that runs.
struct Step {
    head: Pid,
    /// What the head says.
    report: OwnedFd,
    /// Where the head is told of signals for the command.
    orders: OwnedFd,
}

/// Makes the namespaces and the process at their head.
fn start(
    root: NamespaceRoot,
    mount: Option<OwnedFd>,
    command: Option<Command>,
) -> Result<Step, SetupFailure> {
    let network = match root.network {
        StepNetwork::Shared => CloneFlags::empty(),
        StepNetwork::None => CloneFlags::CLONE_NEWNET,
    };
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | network,
    )
    .during(|| SetupAction::Unshare)?;
    if root.network == StepNetwork::None {
        step_mounts::raise_loopback()?;
    }
    let (report, report_end) = pipe2(OFlag::O_CLOEXEC).during(|| SetupAction::Plumbing)?;
    let (orders_end, orders) = pipe2(OFlag::O_CLOEXEC).during(|| SetupAction::Plumbing)?;
    let ends = Ends { report: report_end, orders: orders_end };
    let head = process::fork(|| match lead(&root, mount.as_ref(), command.as_ref(), &ends) {
        Ok(()) => 0,
        Err(_) => 1,
    })
    .during(|| SetupAction::Fork)?;
    Ok(Step { head, report, orders })
}

/// The head's ends of its pipes.
struct Ends {
    report: OwnedFd,
    orders: OwnedFd,
}

/// What the head of the namespace does: everything, and its last words are the reply.
fn lead(
    root: &NamespaceRoot,
    mount: Option<&OwnedFd>,
    command: Option<&Command>,
    ends: &Ends,
) -> io::Result<()> {
    let report = std::fs::File::from(ends.report.try_clone()?);
    // Should the supervisor be killed, nobody would answer for this namespace.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // For whoever looks at a list of processes; the name is not needed for anything.
    let _ = rustix::thread::set_name(c"zuwai-init");
    if let Err(failure) = mounts::enter(root, mount) {
        return wire::write_message(report, &Reply::SetupFailed(failure));
    }
    let Some(command) = command else {
        return wire::write_message(report, &Reply::Works);
    };
    let table = match ProcessTable::open().during(|| SetupAction::ProcessTable) {
        Ok(table) => table,
        Err(failure) => return wire::write_message(report, &Reply::SetupFailed(failure)),
    };
    let deaths = match Deaths::watch() {
        Ok(deaths) => deaths,
        Err(failure) => return wire::write_message(report, &Reply::SetupFailed(failure)),
    };
    let child = match command::start(command, Neighbours::OwnStep) {
        Ok(Ok(child)) => child,
        Ok(Err(failure)) => return wire::write_message(report, &Reply::NotStarted(failure)),
        Err(failure) => return wire::write_message(report, &Reply::SetupFailed(failure)),
    };
    // The orders do not end: this process has the far end too, and dies with the supervisor.
    let Some(ending) = deaths.attend(&ends.orders, child)? else { return Ok(()) };
    reap::reap_ended(None);
    let stragglers = reap::named(table.others());
    // Said before the killing: whoever cannot be ended must not keep this from being said.
    wire::write_message(&report, &Reply::Ended { ending, stragglers })?;
    reap::kill_namespace();
    Ok(())
}

/// Waits for the report and then for the death of the whole namespace.
fn attend(
    socket: &UnixStream,
    step: &Step,
    grace: Duration,
    table: Option<&ProcessTable>,
) -> Option<Reply> {
    let Step { head, report, orders } = step;
    loop {
        let mut fds = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(report.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
        }
        let [from_executor, from_head] = fds;
        if !from_executor.revents().is_empty() {
            if let Ok(Some(signal)) = attend::order(socket) {
                // A head that is gone has said how the command ended.
                let _ = rustix::io::write(orders, &[signal as u8]);
            } else {
                // The executor is gone; the kernel ends the namespace with its head.
                let _ = kill(*head, Signal::SIGKILL);
                let _ = waitpid(*head, None);
                return None;
            }
        }
        if !from_head.revents().is_empty() {
            break;
        }
    }
    let reported = report
        .try_clone()
        .and_then(|report| wire::read_message::<Reply>(std::fs::File::from(report)));
    // The kernel lets the head be reaped only when every process of its namespace is.
    let Some(ended) = wait_patiently(*head, grace) else {
        let left = table.map(ProcessTable::descendants).unwrap_or_default();
        // The head itself ends last.
        let left = left.into_iter().filter(|process| process.pid != head.as_raw()).collect();
        return Some(Reply::Unkillable { stragglers: reap::named(left) });
    };
    Some(match reported {
        Ok(Some(reply)) => reply,
        Ok(None) | Err(_) => Reply::Lost {
            signal: match ended {
                Ending::Signaled(signal) => Some(signal),
                Ending::Exited(_) => None,
            },
        },
    })
}

/// Returns how `child` ended; `None` when it is still there after a while.
fn wait_patiently(child: Pid, grace: Duration) -> Option<Ending> {
    let mut patience = Patience::new(grace);
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                if !patience.wait() {
                    return None;
                }
            }
            Ok(status) => {
                if let Some(ending) = reap::ending(status) {
                    return Some(ending);
                }
            }
            Err(nix::errno::Errno::EINTR) => {}
            // Nobody else reaps it, so this does not happen; there is no such child any more.
            Err(_) => return Some(Ending::Exited(1)),
        }
    }
}
