//! Who may ask at all: one build at a time, for as long as it holds a connection open.
//!
//! Commands of a build in `/` can reach every socket that the build can. So the broker gives a
//! ticket to the first that asks, which is the build before its first command, and nobody else gets
//! anything until that connection ends. The ticket is in the memory of two processes that hide it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::rand::{GetRandomFlags, getrandom};

/// What the ticket begins with where it is shown.
const SCHEME: &str = "Bearer ";

/// Who has the broker.
#[derive(Default)]
pub(super) struct Door(Mutex<Option<String>>);

/// The claim of one build; dropped when its connection ends.
pub(super) struct Lease {
    door: Arc<Door>,
    ticket: String,
}

impl Door {
    /// Lets one build in; `None` while another is.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(super) fn claim(self: &Arc<Self>) -> rustix::io::Result<Option<Lease>> {
        let mut holder = self.lock();
        if holder.is_some() {
            return Ok(None);
        }
        let ticket = format!("{SCHEME}{}", random_name()?);
        *holder = Some(ticket.clone());
        Ok(Some(Lease { door: Arc::clone(self), ticket }))
    }

    /// Returns whether this is the ticket of the build that has the broker.
    pub(super) fn admits(&self, shown: &[u8]) -> bool {
        self.lock().as_deref().is_some_and(|ticket| {
            // In the same time wherever they differ.
            let ticket = ticket.as_bytes();
            let pairs = ticket.iter().zip(shown);
            ticket.len() == shown.len() && pairs.fold(0, |all, (a, b)| all | (a ^ b)) == 0
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // Nothing is half-done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Returns the value of the header that requests show.
    pub(super) fn ticket(&self) -> &str {
        &self.ticket
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.door.lock() = None;
    }
}

/// Returns a name that cannot be guessed, of 128 random bits.
///
/// # Errors
/// When the kernel gives no random numbers.
pub(super) fn random_name() -> rustix::io::Result<String> {
    let mut bytes = [0; 16];
    // So few come all at once.
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_build_is_let_in_until_it_leaves() {
        let door = Arc::new(Door::default());
        assert!(!door.admits(b""));
        let lease = door.claim().unwrap().unwrap();
        assert!(door.claim().unwrap().is_none());
        assert!(door.admits(lease.ticket().as_bytes()));
        assert!(!door.admits(b"Bearer "));
        assert!(!door.admits(&lease.ticket().as_bytes()[1..]));
        let old = lease.ticket().to_owned();
        drop(lease);
        assert!(!door.admits(old.as_bytes()));
        let next = door.claim().unwrap().unwrap();
        assert!(!door.admits(old.as_bytes()) && door.admits(next.ticket().as_bytes()));
    }
}
