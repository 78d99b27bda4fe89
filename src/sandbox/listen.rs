//! What the executor hears while a step runs: its output, its end, and the wish that it ends.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::OutputLine;
use super::output::LineCutter;
use super::wire::{self, Reply};
use crate::interrupt::Interrupt;

/// Bytes read from a step's output at once: the size of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// Passes output on until the answer is there and the output has ended.
pub(super) fn listen(
    socket: UnixStream,
    output: OwnedFd,
    interrupt: Option<&Interrupt>,
    on_output: &mut dyn FnMut(OutputLine<'_>),
) -> io::Result<Option<Reply>> {
    rustix::io::ioctl_fionbio(&output, true)?;
    let mut output = std::fs::File::from(output);
    let mut cutter = LineCutter::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut has_ended = false;
    let mut deadline = None;
    // The socket becomes readable when the supervisor answers or dies, which it does only after
    // every process of the step is gone, so that what is in the pipe then is all there is.
    loop {
        let mut fds = vec![PollFd::new(&socket, PollFlags::IN)];
        if !has_ended {
            fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
        }
        if let (Some(interrupt), None) = (interrupt, deadline) {
            fds.push(PollFd::new(interrupt, PollFlags::IN));
        }
        let rest = deadline.map(|end: Instant| end.saturating_duration_since(Instant::now()));
        match poll(&mut fds, timespec(rest).as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            polled => polled?,
        };
        if rest.is_some_and(|rest| rest.is_zero()) {
            return Ok(None);
        }
        if let (Some(interrupt), None) = (interrupt, deadline)
            && let Some(signal) = interrupt.signal()
        {
            deadline = Some(Instant::now() + interrupt.grace());
            (&socket).write_all(&[signal as u8])?;
        }
        let is_answered = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if !has_ended {
            has_ended = drain(&mut output, &mut chunk, &mut cutter, on_output, is_answered)?;
        }
        if is_answered {
            break;
        }
    }
    cutter.finish(on_output);
    wire::read_message(&socket)
}

fn timespec(duration: Option<Duration>) -> Option<Timespec> {
    duration.map(|duration| Timespec::try_from(duration).unwrap_or_default())
}

/// Reads one chunk, or with `to_the_end` all there is; tells whether the output has ended.
fn drain(
    output: &mut std::fs::File,
    chunk: &mut [u8],
    cutter: &mut LineCutter,
    on_output: &mut dyn FnMut(OutputLine<'_>),
    to_the_end: bool,
) -> io::Result<bool> {
    loop {
        match output.read(chunk) {
            Ok(0) => return Ok(true),
            Ok(length) => cutter.push(chunk.get(..length).unwrap_or_default(), on_output),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if !to_the_end {
            return Ok(false);
        }
    }
}
