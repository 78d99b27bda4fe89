//! Trials where the roots of stages will be: in the work directory, or in `/`.

use std::path::{Path, PathBuf};

use snapshot::track::{TrackerKind, TrackerLimits};
use snapshot::{Rootfs, RootfsPath, Timestamp};

use super::error::BuildError;
use crate::sandbox::{Form, Sandbox};
use crate::store::Store;

/// What the directory of a trial is called, in `/` and in the work directory.
const TRIAL: &str = ".zuwai-tracker-trial";

/// Where things are tried.
#[derive(Clone, Copy)]
pub(super) struct TrialPlace<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) store: &'a Store,
}

impl TrialPlace<'_> {
    /// Tries a tracker; says why it cannot be used, if it cannot.
    pub(super) fn try_tracker(
        self,
        kind: TrackerKind,
        limits: TrackerLimits,
    ) -> Result<Option<String>, BuildError> {
        if kind == TrackerKind::Overlay
            && let Some(reason) = why_no_overlay(self.sandbox.form())
        {
            return Ok(Some(reason.to_owned()));
        }
        self.on_grounds(|path| Ok(self.sandbox.try_tracker(kind, path, limits.watch_count)?))
    }

    /// Does something in an empty directory on the file system of stages' roots.
    pub(super) fn on_grounds<T>(
        self,
        work: impl FnOnce(&Path) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let grounds = Grounds::make(self)?;
        let outcome = work(&grounds.path);
        grounds.remove(self.store)?;
        outcome
    }
}

/// Says why a form of sandbox has no overlays, if it has none.
pub(super) fn why_no_overlay(form: Form) -> Option<&'static str> {
    match form {
        Form::Namespaces => None,
        Form::UserNamespace => {
            Some("in a user namespace the kernel keeps no index of hard links for it")
        }
        Form::InPlace => Some("commands run in the root of the container itself"),
    }
}

/// A directory for a trial.
struct Grounds {
    path: PathBuf,
    /// What it is in, where that is `/`, and the time of that.
    root: Option<(Rootfs, Timestamp)>,
}

impl Grounds {
    fn make(place: TrialPlace<'_>) -> Result<Self, BuildError> {
        match place.sandbox.form() {
            Form::Namespaces | Form::UserNamespace => {
                Ok(Self { path: place.store.create_root(TRIAL)?, root: None })
            }
            Form::InPlace => {
                let path = Path::new("/");
                let root = Rootfs::open(path)?;
                let before = root.metadata(&RootfsPath::root())?.map(|found| found.mtime);
                // What a killed build left is in the way, and by its name ours.
                let name = RootfsPath::root().join_name(TRIAL.as_bytes());
                if root.metadata(&name)?.is_some() {
                    root.remove_all(&name)?;
                }
                root.create_dir(&name, 0o700)?;
                Ok(Self { path: path.join(TRIAL), root: Some((root, before.unwrap_or_default())) })
            }
        }
    }

    fn remove(self, store: &Store) -> Result<(), BuildError> {
        match self.root {
            None => Ok(store.remove_root(&self.path)?),
            Some((root, before)) => {
                root.remove_all(&RootfsPath::root().join_name(TRIAL.as_bytes()))?;
                Ok(root.set_mtime(&RootfsPath::root(), before)?)
            }
        }
    }
}
