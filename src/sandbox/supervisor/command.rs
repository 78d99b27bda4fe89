//! The command's own process, from fork to exec.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Pid, Uid, pipe2, setgid, setgroups, setsid, setuid};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{During, capabilities, process, program};
use crate::sandbox::start_failure::StartFailure;
use crate::sandbox::wire::{self, Command, SetupAction, SetupFailure};

/// Whose processes a command can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// Those of its own step.
    OwnStep,
    /// Those of the whole container, the executor's among them.
    Container,
}

/// Starts `command` and returns its id once the program itself runs.
///
/// The outer error is ours, the inner one the command's.
pub(super) fn start(
    command: &Command,
    neighbours: Neighbours,
) -> Result<Result<Pid, StartFailure>, SetupFailure> {
    let (failure, failure_end) = pipe2(OFlag::O_CLOEXEC).during(|| SetupAction::Plumbing)?;
    let child = process::fork(|| {
        let failure = become_command(command, neighbours);
        // The reader sees an end without a message as success, so a failed write must not be
        // one: it makes the exit code below the command's own.
        let code = i32::from(failure.exit_code());
        let _ = wire::write_message(std::fs::File::from(failure_end_of(&failure_end)), &failure);
        code
    })
    .during(|| SetupAction::Fork)?;
    // Closed on exec in the child, so the end of this stream is the start of the program.
    drop(failure_end);
    let said = wire::read_message::<StartFailure>(std::fs::File::from(failure))
        .during(|| SetupAction::Plumbing)?;
    Ok(match said {
        Some(failure) => {
            let _ = nix::sys::wait::waitpid(child, None);
            Err(failure)
        }
        None => Ok(child),
    })
}

/// Does everything between fork and exec; returns only when that fails, and says why.
fn become_command(command: &Command, neighbours: Neighbours) -> StartFailure {
    match prepare(command, neighbours) {
        Ok(()) => program::execute(command),
        Err(failure) => failure,
    }
}

fn prepare(command: &Command, neighbours: Neighbours) -> Result<(), StartFailure> {
    let identity = |errno: Errno| StartFailure::Identity { errno: errno as i32 };
    setsid().map_err(identity)?;
    process::reset_signals().map_err(identity)?;
    // `/dev/null` where there is one, for programs that look; an ended stream is there already.
    if let Ok(null) = std::fs::File::open("/dev/null") {
        nix::unistd::dup2_stdin(&null).map_err(identity)?;
    }
    let (uid, gid) = (Uid::from_raw(command.uid), Gid::from_raw(command.gid));
    // So that the command may open `/dev/stdout`, which is this pipe; where that is refused, it
    // can still write to it.
    let _ = nix::unistd::fchown(io::stdout(), Some(uid), Some(gid));
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // First as root, for directories the user cannot reach; but where root is kept out (a file
    // server that squashes it) the user may have more rights.
    let entered = enter(&command.working_dir);
    if neighbours == Neighbours::Container {
        capabilities::withhold()
            .map_err(|errno| StartFailure::Identity { errno: errno.raw_os_error() })?;
    }
    let groups: Vec<Gid> = command.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).map_err(identity)?;
    setgid(gid).map_err(identity)?;
    setuid(uid).map_err(identity)?;
    // Should the supervisor be killed, nobody would end this step. The kernel forgets it when ids
    // change, and when a set-user-id program is executed.
    let death = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(death)
        .map_err(|errno| StartFailure::Identity { errno: errno.raw_os_error() })?;
    entered.or_else(|_| enter(&command.working_dir)).map_err(|errno| StartFailure::WorkingDir {
        path: format!("/{}", snapshot::path::Escaped(command.working_dir.as_slice())),
        errno: errno.raw_os_error(),
    })
}

/// Makes `path`, seen from the root, the working directory.
///
/// Magic links are refused: `WORKDIR /proc/self/fd/7` must not lead out of the root.
fn enter(path: &[u8]) -> rustix::io::Result<()> {
    let root =
        rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let directory = if path.is_empty() { root } else { open_inside(&root, path)? };
    rustix::process::fchdir(&directory)?;
    // The kernel says `(unreachable)/…` for a directory that is not below the root.
    let directory = rustix::process::getcwd(Vec::new())?;
    if directory.to_bytes().starts_with(b"/") { Ok(()) } else { Err(rustix::io::Errno::XDEV) }
}

fn open_inside(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    use rustix::io::Errno;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or kept from us by a seccomp profile; the check of the working
        // directory remains.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(root, path, flags, Mode::empty()),
        opened => opened,
    }
}

fn failure_end_of(end: &OwnedFd) -> OwnedFd {
    // Cannot fail for want of descriptors: this process has a handful.
    end.try_clone().expect("a descriptor is free")
}

/// Returns the words as the kernel takes them; an error when one holds a NUL.
pub(super) fn c_strings(words: &[String]) -> Result<Vec<CString>, std::ffi::NulError> {
    words.iter().map(|word| CString::new(word.as_bytes())).collect()
}
