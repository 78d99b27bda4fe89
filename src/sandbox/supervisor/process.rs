//! Thin wrappers over what a single-threaded process may do to itself.

use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::unistd::{ForkResult, Pid};

/// Starts a copy of this process that does `act`, exits with its result, and never returns.
pub(super) fn fork(act: impl FnOnce() -> i32) -> nix::Result<Pid> {
    // SAFETY: the supervisor has one thread, so the child may do whatever the parent could: no
    // lock can be held by a thread that the copy lacks.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = act();
            // SAFETY: always sound; skips exit handlers, which belong to the parent.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) -> io::Result<()> {
    let (last, flags): (u32, u32) = (u32::MAX, 0);
    // SAFETY: takes plain numbers. Called before anything that owns such a descriptor exists.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 {
        return Ok(());
    }
    // Before Linux 5.9, or kept from us by a seccomp profile.
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for fd in open {
        if u32::try_from(fd).is_ok_and(|fd| fd >= first) {
            // SAFETY: as above. The listing's own descriptor is in the list and closed already:
            // EBADF is no harm.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// Sets a network interface going.
pub(super) fn raise_interface(socket: std::os::fd::RawFd, name: &[u8]) -> nix::Result<()> {
    // SAFETY: a request is plain numbers and bytes, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or_default();
    // SAFETY: `request` is what this call reads, and lives longer than it; it writes nothing.
    let result = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request) };
    Errno::result(result).map(drop)
}

/// Makes standard input a stream that is at its end, and needs no device for it.
pub(super) fn empty_stdin() -> nix::Result<()> {
    let (end, _) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    nix::unistd::dup2_stdin(end)
}

/// Gives every signal its default meaning and blocks none, as a new program expects it: Rust's
/// start-up ignores SIGPIPE, and that would be inherited.
pub(super) fn reset_signals() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: installs no handler, so no code can run at a bad time.
        let result = unsafe { nix::sys::signal::sigaction(signal, &default) };
        match result {
            // Not all numbers exist on all machines.
            Ok(_) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}
