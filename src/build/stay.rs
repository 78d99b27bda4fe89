//! The record of a build in `/`: written before the first file is, so that the next build in the
//! same container can remove what this one leaves, also when this one is killed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use snapshot::Timestamp;

use super::error::BuildError;
use super::leftovers;
use crate::sandbox::{InPlace, Tenancy};

/// What the work directory calls it.
const NAME: &str = "in-place.json";

/// How often a build shows that it lives. Short, because what somebody else makes in `/` less than
/// two of these after a kill counts as the build's.
const BEAT: Duration = Duration::from_millis(100);

/// The record of a build that is under way.
pub(super) struct Record {
    path: PathBuf,
    _heart: Heart,
}

impl Record {
    /// Tells whether a build before has left something in `/`, or may have.
    pub(super) fn is_there(work: &Path) -> bool {
        work.join(NAME).exists()
    }

    /// Removes what the build before left in `/`, if it was in this container.
    pub(super) fn settle_last(work: &Path, place: &InPlace) -> Result<(), BuildError> {
        let path = work.join(NAME);
        leftovers::settle(&path, |tenancy: Tenancy| {
            let beat = fs::metadata(&path).and_then(|found| found.modified());
            let beat = beat.map_err(|source| BuildError::Record { path: path.clone(), source })?;
            // It may have lived almost to the next beat, and be late with that.
            let is_ours = place.clear_after(&tenancy, timestamp(beat + 2 * BEAT))?;
            tracing::debug!(is_ours, "looked for what an earlier build left");
            Ok(())
        })
    }

    /// Writes down that a build is in `/`, and that it lives as long as what is returned.
    pub(super) fn start(work: &Path, tenancy: &Tenancy) -> Result<Self, BuildError> {
        let path = work.join(NAME);
        let failed = |source| BuildError::Record { path: path.clone(), source };
        let file = write(&path, tenancy).map_err(failed)?;
        let heart = Heart::start(file).map_err(failed)?;
        Ok(Self { path, _heart: heart })
    }

    /// Says that nothing is left in `/`.
    pub(super) fn remove(self) -> Result<(), BuildError> {
        fs::remove_file(&self.path)
            .map_err(|source| BuildError::Record { path: self.path.clone(), source })
    }

    /// Says that the build is over, and that what it put into `/` is still there.
    pub(super) fn end(self, tenancy: Tenancy) -> Result<(), BuildError> {
        match write(&self.path, &tenancy.ended()) {
            Ok(_) => Ok(()),
            Err(source) => Err(BuildError::Record { path: self.path.clone(), source }),
        }
    }
}

fn write(path: &Path, tenancy: &Tenancy) -> io::Result<File> {
    leftovers::write(path, tenancy)?;
    File::options().append(true).open(path)
}

fn timestamp(time: SystemTime) -> Timestamp {
    // Before 1970 there were no containers.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: since.subsec_nanos() }
}

/// Moves a file's time on as long as it exists.
struct Heart {
    /// Dropped first, which the thread takes as its end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    fn start(file: File) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("heart".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(BEAT) {
                if let Err(error) = file.set_modified(SystemTime::now()) {
                    // Whoever finds the record then removes less.
                    tracing::debug!(%error, "cannot say that the build lives");
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}
