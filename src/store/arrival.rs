//! A blob on its way into the store: read from its spool file while that is written.
//!
//! The spool file is the queue: its writer never waits for a reader, and each reader follows at its
//! own pace. A reader sees the blob's end only when the blob has its name, so that whoever has read
//! to the end has read verified bytes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The blob's writer failed, or found that it was not what was promised. Arrives inside an
/// [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the blob did not arrive whole")]
pub struct NotArrived;

/// A blob on its way; cheap to clone.
#[derive(Clone, Debug)]
pub struct ArrivingBlob {
    arrival: Arc<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Debug)]
struct State {
    /// The file; `None` before there is one.
    path: Option<PathBuf>,
    /// Bytes from its start that can be read.
    written_bytes: u64,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More bytes may follow.
    Open,
    /// It has its name.
    Stored,
    /// It will never have one.
    GivenUp,
}

impl State {
    fn opened(&self) -> io::Result<File> {
        match &self.path {
            Some(path) if self.end != End::GivenUp => File::open(path),
            _ => Err(io::Error::other(NotArrived)),
        }
    }
}

impl Arrival {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half-done while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_enough`, and returns the state then.
    fn wait(&self, is_enough: impl Fn(&State) -> bool) -> State {
        let waited = self.changed.wait_while(self.state(), |state| !is_enough(state));
        waited.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ArrivingBlob {
    /// Opens the blob for reading from its start; waits for its first bytes.
    ///
    /// # Errors
    /// The system's, and [`NotArrived`] for a blob that is given up.
    pub fn open(&self) -> io::Result<ArrivingReader> {
        let state = self.arrival.wait(|state| state.path.is_some() || state.end != End::Open);
        let file = match state.opened() {
            // It was renamed or removed just now, and that is said next.
            Err(error) if state.end == End::Open && error.kind() == io::ErrorKind::NotFound => {
                self.arrival.wait(|state| state.end != End::Open).opened()?
            }
            opened => opened?,
        };
        let arrival = Arc::clone(&self.arrival);
        Ok(ArrivingReader { arrival, file, offset: 0, readable_bytes: 0 })
    }

    /// Waits until the blob is stored or given up, and returns whether it is stored.
    pub fn is_stored_in_the_end(&self) -> bool {
        self.arrival.wait(|state| state.end != End::Open).end == End::Stored
    }
}

/// Reads a blob that is being written; waits for what is not there yet.
#[derive(Debug)]
pub struct ArrivingReader {
    arrival: Arc<Arrival>,
    file: File,
    offset: u64,
    /// What could be read when that was last looked up.
    readable_bytes: u64,
}

impl Read for ArrivingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.offset >= self.readable_bytes {
            let offset = self.offset;
            let state =
                self.arrival.wait(|state| state.written_bytes > offset || state.end != End::Open);
            // What was given up is not read on, although bytes may be left: they are worth nothing.
            if state.end == End::GivenUp {
                return Err(io::Error::other(NotArrived));
            }
            self.readable_bytes = state.written_bytes;
        }
        let left = usize::try_from(self.readable_bytes - self.offset).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let count = self.file.read_at(buffer.get_mut(..length).unwrap_or_default(), self.offset)?;
        self.offset += u64::try_from(count).unwrap_or_default();
        Ok(count)
    }
}

/// The writer's end; dropped before the blob is stored, it gives it up.
#[derive(Debug)]
pub(super) struct Announcer(ArrivingBlob);

impl Announcer {
    pub(super) fn new() -> Self {
        let state = State { path: None, written_bytes: 0, end: End::Open };
        let arrival = Arrival { state: Mutex::new(state), changed: Condvar::new() };
        Self(ArrivingBlob { arrival: Arc::new(arrival) })
    }

    pub(super) fn blob(&self) -> ArrivingBlob {
        self.0.clone()
    }

    /// Says where the blob's bytes will be.
    pub(super) fn begun(&self, path: PathBuf) {
        self.change(|state| state.path = Some(path));
    }

    /// Says that so many bytes more can be read.
    pub(super) fn grown(&self, bytes: u64) {
        self.change(|state| state.written_bytes = state.written_bytes.saturating_add(bytes));
    }

    /// Says that the blob is whole, and where it is now.
    pub(super) fn stored(&self, path: PathBuf) {
        self.change(|state| {
            state.path = Some(path);
            state.end = End::Stored;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.arrival.state());
        self.0.arrival.changed.notify_all();
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.change(|state| {
            if state.end == End::Open {
                state.end = End::GivenUp;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use snapshot::Digest;

    use super::*;
    use crate::store::Store;

    fn not_arrived(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<NotArrived>())
    }

    #[test]
    fn a_blob_is_read_while_it_is_written() {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path()).unwrap();
        let expected = store.expect_blob();
        let arriving = expected.arriving();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reader = arriving.open().unwrap();
                let mut first = [0; 4];
                reader.read_exact(&mut first).unwrap();
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest).unwrap();
                (first, rest)
            });
            let mut writer = expected.begin(7).unwrap();
            writer.write_all(b"one,").unwrap();
            writer.write_all(b"two").unwrap();
            writer.commit(&Digest::of(b"one,two")).unwrap();
            assert_eq!(reader.join().unwrap(), (*b"one,", b"two".to_vec()));
        });
        assert!(arriving.is_stored_in_the_end());
        let mut again = Vec::new();
        arriving.open().unwrap().read_to_end(&mut again).unwrap();
        assert_eq!(again, b"one,two");
    }

    #[test]
    fn nobody_reads_to_the_end_of_a_blob_that_is_given_up() {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path()).unwrap();
        let expected = store.expect_blob();
        let arriving = expected.arriving();
        let mut writer = expected.begin(7).unwrap();
        writer.write_all(b"other").unwrap();
        let mut reader = arriving.open().unwrap();
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(read, *b"other");
        drop(writer);
        assert!(not_arrived(&reader.read(&mut read).unwrap_err()));
        assert!(!arriving.is_stored_in_the_end());
        assert!(not_arrived(&arriving.open().unwrap_err()));
    }

    #[test]
    fn a_blob_that_is_never_begun_is_given_up() {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path()).unwrap();
        let expected = store.expect_blob();
        let arriving = expected.arriving();
        drop(expected);
        assert!(not_arrived(&arriving.open().unwrap_err()));
    }
}
