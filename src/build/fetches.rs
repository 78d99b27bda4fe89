//! What `ADD` fetches: each thing once a build, in the work directory, until the build ends.
//!
//! A layer may be written from there, and a key may be made of it before the step that copies it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use snapshot::{Digest, Rootfs};
use url::Url;

use super::error::BuildError;
use super::session::Session;
use crate::context::{FetchError, Means, fetch_file};
use crate::http::redact;
use crate::plan::{CopyStep, RemoteFile};

/// What was fetched so far.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    files: Mutex<BTreeMap<Url, FetchedFile>>,
}

#[derive(Clone, Debug)]
struct FetchedFile {
    /// A directory with nothing but the file in it.
    room: Rootfs,
    digest: Digest,
}

impl Session<'_> {
    /// Returns the directories with what a step fetches, in the order of its sources.
    pub(super) fn fetched(&self, copy: &CopyStep) -> Result<Vec<Rootfs>, BuildError> {
        copy.remote_files().map(|file| Ok(self.fetched_file(file)?.room)).collect()
    }

    /// Returns what a file is that a step fetches, without fetching it where its checksum says so.
    pub(super) fn digest_of_remote(&self, file: &RemoteFile) -> Result<Digest, BuildError> {
        match file.checksum {
            Some(digest) => Ok(digest),
            None => Ok(self.fetched_file(file)?.digest),
        }
    }

    fn fetched_file(&self, file: &RemoteFile) -> Result<FetchedFile, BuildError> {
        // Of a map that was left by a panic every entry is whole.
        let mut files = self.fetches.files.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = match files.get(&file.url) {
            Some(fetched) => fetched.clone(),
            None => {
                let fetched = self.fetch_file(file)?;
                files.insert(file.url.clone(), fetched.clone());
                fetched
            }
        };
        match file.checksum {
            Some(expected) if expected != fetched.digest => {
                let (url, found) = (redact(&file.url), fetched.digest);
                Err(FetchError::Checksum { url, expected, found }.into())
            }
            _ => Ok(fetched),
        }
    }

    fn fetch_file(&self, file: &RemoteFile) -> Result<FetchedFile, BuildError> {
        let folder = self.store.create_room()?;
        let room = Rootfs::open(&folder)?;
        match fetch_file(&file.url, &self.means(), &room, &file.name) {
            Ok(digest) => Ok(FetchedFile { room, digest }),
            Err(error) => {
                // What is half there would take room for as long as the build lives.
                self.store.remove_root(&folder)?;
                Err(error.into())
            }
        }
    }

    fn means(&self) -> Means<'_> {
        Means {
            http: &self.http,
            runtime: self.runtime.handle(),
            events: self.events,
            interrupt: self.interrupt,
        }
    }
}
