//! A step in the root that is there already: no namespaces, so the supervisor itself is the one
//! whom every orphan of the step is handed to.

use std::os::unix::net::UnixStream;

use super::attend::Deaths;
use super::command::Neighbours;
use super::processes::ProcessTable;
use super::{During, command, reap};
use crate::sandbox::wire::{Command, Reply, SetupAction, SetupFailure};

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
    let deaths = Deaths::watch()?;
    let child = match command::start(command, Neighbours::Container)? {
        Ok(child) => child,
        Err(failure) => return Ok(Some(Reply::NotStarted(failure))),
    };
    // `None`: the executor is gone.
    let ending = deaths.attend(socket, child).during(|| SetupAction::Plumbing)?;
    let stragglers = table.descendants();
    let unkillable = reap::kill_descendants(&table, command.grace);
    Ok(ending.map(|ending| {
        if unkillable.is_empty() {
            Reply::Ended { ending, stragglers: reap::named(stragglers) }
        } else {
            Reply::Unkillable { stragglers: reap::named(unkillable) }
        }
    }))
}
