//! What a step has changed, as layers: one of it all, or one on top of those of an earlier build.

use std::collections::HashMap;
use std::time::Instant;

use snapshot::track::Tracked;
use snapshot::{Changeset, Digest, HashingWriter, RootfsPath, Row, Scope};

use super::{Files, Ground, StageRun};
use crate::build::caching::Earlier;
use crate::build::delta::{Delta, Now, delta};
use crate::build::error::StepError;
use crate::build::layers::{Made, Told, write};
use crate::build::roots::Home;
use crate::build::session::Session;
use crate::build::tracking::snapshot_work;
use crate::cache::StoredLayer;
use crate::execute::{ExecuteError, Outline};
use crate::report::event::{Event, Phase, SnapshotReach, SnapshotWork};

impl StageRun<'_> {
    /// Makes a layer of what steps added to the outline, if they did.
    pub(super) fn outline_layer(&mut self, earlier: Option<Earlier>) -> Result<Made, StepError> {
        let (session, layers, headers) = (self.session, self.layers, self.headers());
        let mut followed = std::mem::take(&mut self.followed);
        let Ground::Outline(outline) = &mut self.ground else { return Ok(Made::default()) };
        session.events.send(Event::SnapshotStarted { reach: SnapshotReach::Files });
        let start = Instant::now();
        let (changes, contents) = outline.take_changes(&session.snapshot_options()?.ignore)?;
        let elapsed = start.elapsed();
        session.events.send(Event::PhaseTimed { phase: Phase::Snapshot, elapsed });
        let changed_count = changes.len() as u64;
        let work = SnapshotWork { changed_count, elapsed, ..SnapshotWork::default() };
        session.events.send(Event::SnapshotTaken(work));
        if changes.is_empty() {
            session.events.send(Event::NothingChanged);
            return Ok(Made::default());
        }
        let now = Outlined { outline, copied: &self.copied };
        let (earlier, Delta { changes, same }) = go_on(session, earlier, changes, &now)?;
        same.iter().for_each(|(path, digest)| outline.record_content(path, digest));
        if changes.is_empty() {
            return Ok(Made { earlier, ..Made::default() });
        }
        let sink = layers.sink(session)?;
        let on_content: &mut dyn FnMut(&RootfsPath, &Digest) = &mut |path, digest| {
            followed.learn(path, digest);
            outline.record_content(path, digest);
        };
        let new = write(session, &changes, contents, sink, Told { headers, on_content })?;
        Ok(Made { earlier, new: Some(new), known: followed.into_known() })
    }

    /// Looks for changes where they can be and writes them as a layer, if there are any.
    pub(super) fn snapshot(
        &mut self,
        tracked: Tracked,
        earlier: Option<Earlier>,
    ) -> Result<Made, StepError> {
        let session = self.session;
        let reach = match &tracked.scope {
            Scope::Everything(_) => SnapshotReach::FullFilesystem,
            Scope::Only(_) => SnapshotReach::Files,
        };
        session.events.send(Event::SnapshotStarted { reach });
        let (layers, headers) = (self.layers, self.headers());
        let copied = std::mem::take(&mut self.copied);
        let mut followed = std::mem::take(&mut self.followed);
        let files = self.files();
        let start = Instant::now();
        let was_recorded = tracked.by.is_some();
        let taken = files.snapshotter.take_tracked(tracked)?;
        let is_tracked = was_recorded && taken.stats.everything_because.is_none();
        let index = files.snapshotter.index_mut();
        let changeset = files.home.complete(taken.changeset, index).map_err(ExecuteError::from)?;
        let elapsed = start.elapsed();
        session.events.send(Event::PhaseTimed { phase: Phase::Snapshot, elapsed });
        let changed_count = changeset.len() as u64;
        let work = snapshot_work(&files.snapshotter, &taken.stats, is_tracked);
        let work = SnapshotWork { changed_count, elapsed, ..work };
        session.events.send(Event::SnapshotTaken(work));
        if changeset.is_empty() {
            session.events.send(Event::NothingChanged);
            return Ok(Made::default());
        }
        let now = OnDisk { files, copied: &copied };
        let (earlier, Delta { changes: changeset, same }) =
            go_on(session, earlier, changeset, &now)?;
        for (path, digest) in &same {
            files.snapshotter.record_content(path, digest);
        }
        if changeset.is_empty() {
            return Ok(Made { earlier, ..Made::default() });
        }
        let sink = layers.sink(session)?;
        let contents =
            files.home.contents(&files.rootfs, &changeset).map_err(ExecuteError::from)?;
        let snapshotter = &mut files.snapshotter;
        let on_content: &mut dyn FnMut(&RootfsPath, &Digest) = &mut |path, digest| {
            followed.learn(path, digest);
            snapshotter.record_content(path, digest);
        };
        let new = write(session, &changeset, contents, sink, Told { headers, on_content })?;
        Ok(Made { earlier, new: Some(new), known: followed.into_known() })
    }
}

/// What a step has made of an outline.
struct Outlined<'a> {
    outline: &'a Outline,
    copied: &'a HashMap<RootfsPath, Digest>,
}

/// What a step has made of files on disk.
struct OnDisk<'a> {
    files: &'a Files,
    copied: &'a HashMap<RootfsPath, Digest>,
}

/// Returns the earlier layers that a step goes on from, and what is left to be written; no earlier ones
/// and all changes where it goes on from none.
fn go_on(
    session: &Session<'_>,
    earlier: Option<Earlier>,
    changes: Changeset,
    now: &dyn Now,
) -> Result<(Vec<StoredLayer>, Delta), StepError> {
    if let Some(Earlier { layers, said }) = earlier
        && let Some(found) = delta(&said, &changes, now)?
    {
        session.events.send(Event::LayerGoesOn { layer_count: layers.len() as u64 });
        return Ok((layers, found));
    }
    Ok((Vec::new(), Delta { changes, ..Delta::default() }))
}

impl Now for Outlined<'_> {
    fn row(&self, path: &RootfsPath) -> Option<Row> {
        self.outline.row(path)
    }

    fn is_of_image(&self) -> bool {
        true
    }

    fn content(&self, path: &RootfsPath) -> Result<Option<Digest>, StepError> {
        match self.copied.get(path) {
            Some(known) => Ok(Some(*known)),
            None => Ok(self.outline.read_digest(path)?),
        }
    }
}

impl Now for OnDisk<'_> {
    fn row(&self, path: &RootfsPath) -> Option<Row> {
        self.files.snapshotter.index().get(path)
    }

    fn is_of_image(&self) -> bool {
        // In `/` there are somebody else's files too.
        !matches!(self.files.home, Home::Place(_))
    }

    fn content(&self, path: &RootfsPath) -> Result<Option<Digest>, StepError> {
        if let Some(known) = self.copied.get(path) {
            return Ok(Some(*known));
        }
        let mut file = match self.files.rootfs.open_file(path) {
            // It is beneath a mount.
            Err(error) if error.is_missing() => return Ok(None),
            opened => opened?,
        };
        let mut writer = HashingWriter::new(std::io::sink());
        std::io::copy(&mut file, &mut writer)
            .map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
        Ok(Some(writer.into_parts().1.finish()))
    }
}
