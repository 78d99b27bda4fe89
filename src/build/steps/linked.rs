//! `--link`: a copy whose layer does not depend on what is below it.
//!
//! The files are copied to an empty root, which is the layer. Then they are laid over the stage's, as
//! whoever unpacks that layer does: what is in the way goes, no link is followed, and directories on
//! the way are as the copy made them.

use snapshot::layer::Contents;
use snapshot::track::Tracked;
use snapshot::{Change, ChangeKind, Changeset, FileKind, Metadata, Rootfs, RootfsPath};

use super::{Ground, Layers, StageRun, Supply, Touched};
use crate::build::error::StepError;
use crate::build::layers::{NewLayer, Told, write};
use crate::build::mirror::list;
use crate::execute::ExecuteError;
use crate::plan::CopyStep;
use crate::report::event::Event;

/// What the store calls the root that is copied to; one step at a time has one.
const NAME: &str = "linked";

impl StageRun<'_> {
    /// Carries out a COPY or ADD with `--link`.
    pub(super) fn execute_linked(
        &mut self,
        copy: &CopyStep,
        supply: &mut dyn Supply,
    ) -> Result<Touched, StepError> {
        if let Ground::Outline(_) = self.ground {
            let path = copy.destination.path.clone();
            let reason = "`--link` takes away what is in its way";
            return Err(ExecuteError::NeedsFiles { path, reason }.into());
        }
        let session = self.session;
        let folder = session.store.create_root(NAME)?;
        let touched = Rootfs::open(&folder)
            .map_err(StepError::from)
            .and_then(|own| self.copy_and_lay(copy, supply, &own));
        let removed = session.store.remove_root(&folder);
        let touched = touched?;
        removed?;
        Ok(touched)
    }

    fn copy_and_lay(
        &mut self,
        copy: &CopyStep,
        supply: &mut dyn Supply,
        own: &Rootfs,
    ) -> Result<Touched, StepError> {
        let session = self.session;
        self.copy_onto(copy, supply, Some(own))?;
        let ignore = session.snapshot_options()?.ignore;
        let is_in_layer = |(path, found): &(RootfsPath, Metadata)| {
            !path.is_root() && found.kind != FileKind::Socket && !ignore.contains(path)
        };
        let mut entries = list(own, &RootfsPath::root())?;
        entries.retain(|entry| !entry.0.is_root());
        let layer = match self.layers == Layers::NotNeeded || session.is_single_snapshot() {
            true => None,
            false => self.linked_layer(own, entries.iter().filter(|entry| is_in_layer(entry)))?,
        };
        let files = self.files();
        let top = RootfsPath::root();
        let before = files.rootfs.metadata(&top)?;
        files.home.lay(&files.rootfs, own, &entries)?;
        if let Some(before) = before {
            // The layer has no root.
            files.rootfs.set_mtime(&top, before.mtime)?;
        }
        let paths = files.home.note(session, entries.into_iter().map(|(path, _)| path));
        if session.is_single_snapshot() {
            return Ok(Touched::Paths(paths));
        }
        // It is in the layer already.
        let taken = files.snapshotter.take_tracked(Tracked::by_writer(paths))?;
        let index = files.snapshotter.index_mut();
        files.home.complete(taken.changeset, index).map_err(ExecuteError::from)?;
        Ok(Touched::Linked(layer))
    }

    fn linked_layer<'e>(
        &self,
        own: &Rootfs,
        entries: impl Iterator<Item = &'e (RootfsPath, Metadata)>,
    ) -> Result<Option<NewLayer>, StepError> {
        let session = self.session;
        let added = entries.map(|(path, found)| Change {
            path: path.clone(),
            kind: ChangeKind::Added,
            metadata: Some(*found),
        });
        let changes = Changeset::new(added);
        if changes.is_empty() {
            session.events.send(Event::NothingChanged);
            return Ok(None);
        }
        let sink = self.layers.sink(session)?;
        let contents = Contents::in_rootfs(own.clone());
        let told = Told { headers: self.headers(), on_content: &mut |_, _| {} };
        write(session, &changes, contents, sink, told).map(Some)
    }
}
