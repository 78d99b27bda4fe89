//! The wish that a build ends, from a signal to whoever waits for something.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::watch;

use crate::report::fault::{Class, Fault};

/// The wish that a build ends; all clones are one.
///
/// Readable, as a descriptor, from the moment it is raised on.
#[derive(Clone)]
pub struct Interrupt {
    inner: Arc<Inner>,
    grace: Duration,
}

/// What a command may take where nothing else is said: the whole build is to end within a second.
const GRACE: Duration = Duration::from_millis(300);

struct Inner {
    readable: OwnedFd,
    raised: watch::Sender<Option<Signal>>,
    leave: Box<dyn Fn(Signal) + Send + Sync>,
}

/// A build was ended by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the build was ended by {}", .0.as_str())]
pub struct Interrupted(pub Signal);

impl Interrupted {
    /// Returns the exit code that a shell would give: 128 and the signal.
    pub fn code(self) -> u8 {
        u8::try_from(128 + self.0 as i32).unwrap_or(u8::MAX)
    }
}

impl Fault for Interrupted {
    fn class(&self) -> Class {
        Class::Infrastructure
    }

    fn is_temporary(&self) -> bool {
        true
    }

    fn exit_code(&self) -> u8 {
        self.code()
    }
}

impl Interrupt {
    /// Makes one; `leave` ends the process at once, when its time is up or it is asked again.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn new(leave: impl Fn(Signal) + Send + Sync + 'static) -> std::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let inner = Inner {
            readable: eventfd(0, flags)?,
            raised: watch::Sender::new(None),
            leave: Box::new(leave),
        };
        Ok(Self { inner: Arc::new(inner), grace: GRACE })
    }

    /// Gives commands that get the signal another time to heed it, before they are killed.
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Returns how long a command may take to heed the signal.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Tells everybody; the first signal is the one that counts.
    pub fn raise(&self, signal: Signal) {
        self.inner.raised.send_if_modified(|raised| {
            let is_first = raised.is_none();
            *raised = raised.or(Some(signal));
            is_first
        });
        // Fails only when it is full, and readable for long.
        let _ = rustix::io::write(&self.inner.readable, &1_u64.to_ne_bytes());
    }

    /// Returns the signal, if there was one.
    pub fn signal(&self) -> Option<Signal> {
        *self.inner.raised.borrow()
    }

    /// Goes on where there was no signal.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn check(&self) -> Result<(), Interrupted> {
        self.signal().map_or(Ok(()), |signal| Err(Interrupted(signal)))
    }

    /// Waits for a signal.
    pub async fn raised(&self) -> Signal {
        let mut raised = self.inner.raised.subscribe();
        loop {
            if let Some(signal) = *raised.borrow_and_update() {
                return signal;
            }
            // The sender is as old as we are.
            if raised.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends the process, by what [`Interrupt::new`] was given.
    pub fn leave(&self, signal: Signal) {
        (self.inner.leave)(signal);
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.readable.as_fd()
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Interrupt").field(&self.signal()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_is_told_to_everybody() {
        let left = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&left);
        let interrupt = Interrupt::new(move |signal| record.lock().unwrap().push(signal)).unwrap();
        let is_readable = || {
            let mut fds = [PollFd::new(&interrupt, PollFlags::IN)];
            poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() == 1
        };
        assert_eq!((interrupt.check(), is_readable()), (Ok(()), false));
        let waiting = tokio::spawn({
            let interrupt = interrupt.clone();
            async move { interrupt.raised().await }
        });
        interrupt.raise(Signal::SIGTERM);
        interrupt.raise(Signal::SIGINT);
        let interrupted = Interrupted(Signal::SIGTERM);
        assert_eq!((interrupt.check(), is_readable()), (Err(interrupted), true));
        assert_eq!(waiting.await.unwrap(), Signal::SIGTERM);
        assert_eq!(interrupted.to_string(), "the build was ended by SIGTERM");
        assert_eq!(interrupted.code(), 143);
        interrupt.leave(Signal::SIGTERM);
        assert_eq!(*left.lock().unwrap(), [Signal::SIGTERM]);
    }
}
