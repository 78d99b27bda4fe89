//! Runs the steps of one stage: effect, snapshot, layer, history.

use std::time::Instant;

use snapshot::layer::{WrittenLayer, write_layer};
use snapshot::track::{StepOverlay, Tracked};
use snapshot::{Changeset, PathSet, Rootfs, RootfsPath, Scope, Snapshotter};

use super::error::{BuildError, StepError};
use super::overlays;
use super::roots::{Home, Root};
use super::session::Session;
use super::timed;
use super::tracking::{Tracking, Work, snapshot_work};
use crate::context::BuildContext;
use crate::execute::{self, Copied, ExecuteError, Source, Target};
use crate::image::{History, Image, Layer, descriptor};
use crate::plan::{CopySource, CopyStep, PlannedStage, RunStep, Step, StepKind};
use crate::report::event::{self, Event, LayerCounts, Phase, SnapshotReach, SnapshotWork};
use crate::sandbox::OutputLine;
use crate::uploads::LayerSink;

/// Whether a stage's changes become layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layers {
    /// One a step, or one a stage with `--single-snapshot`; they go to registries while the build
    /// goes on.
    Pushed,
    /// As many, for stages that start from this one.
    Kept,
    /// Only its files are read, by later stages.
    NotNeeded,
}

/// Finds the root of a `COPY --from`.
pub(super) type CopyRoot<'a> = &'a mut dyn FnMut(&CopySource) -> Result<Rootfs, BuildError>;

/// One stage while its steps run.
pub(super) struct StageRun<'a> {
    session: &'a Session<'a>,
    stage: &'a PlannedStage,
    tracking: &'a Tracking,
    image: Image,
    files: Option<Files>,
    layers: Layers,
    /// History entries that wait for the one layer of `--single-snapshot`.
    waiting: Vec<(History, bool)>,
}

struct Files {
    home: Home,
    rootfs: Rootfs,
    snapshotter: Snapshotter,
    record: Record,
    /// What was written since the last snapshot, where commands run on overlays.
    written: PathSet,
}

/// What is known of writes that no snapshot has looked for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// Nothing, and the tracker of this stage was not started yet.
    NotStarted,
    /// There was none since the last snapshot.
    Idle,
    /// They are being recorded.
    Running,
}

/// What a step has done to the files.
enum Touched {
    /// Nothing.
    Nothing,
    /// It wrote to these paths.
    Paths(PathSet),
    /// Whatever its command did.
    Anything,
}

impl<'a> StageRun<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        stage: &'a PlannedStage,
        image: Image,
        root: Option<Root>,
        tracking: &'a Tracking,
        layers: Layers,
    ) -> Result<Self, BuildError> {
        let files = match root {
            Some(Root { rootfs, index, home }) => {
                let mut options = session.snapshot_options()?;
                if let Home::Place(foreign) = &home {
                    foreign.protected().for_each(|inode| options.ignore.insert_inode(inode));
                }
                let snapshotter = Snapshotter::new(rootfs.clone(), index, options);
                let (record, written) = (Record::NotStarted, PathSet::new());
                Some(Files { home, rootfs, snapshotter, record, written })
            }
            None => None,
        };
        Ok(Self { session, stage, tracking, image, files, layers, waiting: Vec::new() })
    }

    /// Runs the steps and returns the stage's image and files.
    pub(super) fn run(
        mut self,
        copy_root: CopyRoot<'_>,
    ) -> Result<(Image, Option<Root>), BuildError> {
        let stage = self.stage;
        for (number, step) in stage.steps.iter().enumerate() {
            let shown = event::Step {
                stage: stage.index,
                number: number + 1,
                total: stage.steps.len(),
                line: self.session.dockerfile.line_of(step),
                text: step.text.clone(),
            };
            let start = Instant::now();
            self.session.events.send(Event::StepStarted(shown.clone()));
            self.run_step(step, copy_root)
                .map_err(|error| self.session.dockerfile.at_step(step, error))?;
            let elapsed = start.elapsed();
            self.session.events.send(Event::StepFinished { step: shown, elapsed });
        }
        self.append_waiting()?;
        // The plan's image has what no single step says: labels of the command line, the platform
        // of the result.
        let image =
            self.image.with_settings_of(&stage.image).with_created(self.session.created.clone());
        let root = self.files.map(|files| Root {
            rootfs: files.rootfs,
            index: files.snapshotter.into_index(),
            home: files.home,
        });
        Ok((image, root))
    }

    fn run_step(&mut self, step: &Step, copy_root: CopyRoot<'_>) -> Result<(), StepError> {
        if self.is_recorded(&step.kind) {
            self.begin_record()?;
        }
        let touched = match &step.kind {
            StepKind::Run(run) => {
                self.execute_run(run)?;
                Touched::Anything
            }
            StepKind::Copy(copy) => Touched::Paths(self.execute_copy(copy, copy_root)?),
            StepKind::Workdir(workdir) => {
                let session = self.session;
                let files = self.files();
                let made = execute::make_working_dir(files.home.target(&files.rootfs), workdir)?;
                Touched::Paths(files.home.note(session, made))
            }
            StepKind::Metadata => Touched::Nothing,
        };
        let history = step.history.as_ref().map(|text| self.session.history(text));
        if self.layers == Layers::NotNeeded {
            return Ok(());
        }
        if self.session.is_single_snapshot() {
            // The one layer is looked for at the end.
            let changes = !matches!(touched, Touched::Nothing);
            if let Touched::Paths(paths) = touched {
                self.files().written.merge(paths);
            }
            self.waiting.extend(history.map(|history| (history, changes)));
            return Ok(());
        }
        let layer = match touched {
            Touched::Nothing => None,
            Touched::Paths(paths) => self.snapshot(Tracked::by_writer(paths))?,
            Touched::Anything => {
                let tracked = self.end_record();
                self.snapshot(tracked)?
            }
        };
        if layer.is_some() || history.is_some() {
            let history = history.unwrap_or_else(|| self.session.history(&step.text));
            self.append(layer, history);
        }
        Ok(())
    }

    /// Tells whether what a step writes has to be recorded, because it does not say so itself; with
    /// one snapshot a stage, nobody asks it.
    fn is_recorded(&self, step: &StepKind) -> bool {
        let writes = match step {
            StepKind::Run(_) => true,
            StepKind::Copy(_) | StepKind::Workdir(_) => self.session.is_single_snapshot(),
            StepKind::Metadata => false,
        };
        writes && self.layers != Layers::NotNeeded
    }

    /// Has the tracker record, unless it does; starts it the first time.
    fn begin_record(&mut self) -> Result<(), StepError> {
        let (session, tracking) = (self.session, self.tracking);
        let runs = |step: &&Step| matches!(step.kind, StepKind::Run(_));
        let run_count = self.stage.steps.iter().filter(runs).count();
        let files = self.files();
        let is_first = files.record == Record::NotStarted;
        if is_first {
            let snapshot_count =
                if session.is_single_snapshot() { run_count.min(1) } else { run_count };
            let inode_count = files.snapshotter.index().len() as u64 + 1;
            let work = Work { snapshot_count, inode_count };
            if let Some(tracker) = tracking.start(session, &files.rootfs, work)? {
                files.snapshotter.track_with(tracker);
            }
        }
        if files.record != Record::Running {
            timed(session.events, Phase::Snapshot, || files.snapshotter.begin());
        }
        files.record = Record::Running;
        if is_first && let Some(tracker) = files.snapshotter.tracker() {
            tracking.check(tracker)?;
        }
        Ok(())
    }

    fn end_record(&mut self) -> Tracked {
        let session = self.session;
        let files = self.files();
        files.record = Record::Idle;
        let written = std::mem::take(&mut files.written);
        if overlays::are_used(&files.snapshotter) {
            return Tracked::by_overlay(written);
        }
        timed(session.events, Phase::Snapshot, || files.snapshotter.end_step())
    }

    fn append(&mut self, layer: Option<Layer>, history: History) {
        self.image = self.image.clone().append(layer, history);
    }

    /// Makes the one layer of `--single-snapshot` and hangs it on the last entry that could have
    /// made it.
    fn append_waiting(&mut self) -> Result<(), BuildError> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(last) = waiting.iter().rposition(|(_, changes)| *changes) else {
            waiting.into_iter().for_each(|(history, _)| self.append(None, history));
            return Ok(());
        };
        let tracked = self.end_record();
        let mut layer = self.snapshot(tracked).map_err(BuildError::Snapshot)?;
        for (position, (history, _)) in waiting.into_iter().enumerate() {
            let its_layer = if position == last { layer.take() } else { None };
            self.append(its_layer, history);
        }
        Ok(())
    }

    fn files(&mut self) -> &mut Files {
        self.files.as_mut().expect("a stage with steps that touch files has a root")
    }

    fn execute_run(&mut self, run: &RunStep) -> Result<(), StepError> {
        let session = self.session;
        let tracking = self.tracking;
        let files = self.files();
        let overlay = overlays::mount(session, tracking, &mut files.snapshotter)?;
        let rootfs = overlay.as_ref().map_or(&files.rootfs, StepOverlay::rootfs).clone();
        let outcome = timed(session.events, Phase::Run, || {
            execute::run(&session.sandbox, &rootfs, run, &mut |line: OutputLine<'_>| {
                session.events.send(Event::RunOutput { bytes: line.bytes.to_vec() });
            })
        })?;
        // Nobody may hold on to an overlay that is to be merged.
        drop(rootfs);
        for straggler in &outcome.stragglers {
            tracing::warn!(name = %straggler.name, "a process outlived its RUN and was killed");
        }
        match outcome.exit_code() {
            0 => {
                if let Some(overlay) = overlay {
                    files.written.merge(overlays::merge(session, overlay, &files.snapshotter)?);
                }
                Ok(())
            }
            code => Err(StepError::Failed {
                command: run.argv.join(" "),
                code,
                out_of_memory: outcome.out_of_memory,
            }),
        }
    }

    fn execute_copy(
        &mut self,
        copy: &CopyStep,
        copy_root: CopyRoot<'_>,
    ) -> Result<PathSet, StepError> {
        let session = self.session;
        let files = self.files();
        let target = files.home.target(&files.rootfs);
        let copied = match &copy.from {
            CopySource::Context => copy_from_context(session, &session.context, copy, target)?,
            CopySource::NamedContext(name) => {
                copy_from_context(session, session.named_directory(name)?, copy, target)?
            }
            CopySource::Stage(_) | CopySource::Image(_) => {
                let root = copy_root(&copy.from)?;
                timed(session.events, Phase::Copy, || {
                    execute::copy(copy, &Source::root(&root), target)
                })?
            }
        };
        files.home.note(session, copied.beneath.iter().map(|(path, _)| path.clone()));
        for socket in &copied.sockets {
            tracing::warn!(path = %socket, "a socket cannot be in an image and was not copied");
        }
        Ok(copied.touched)
    }

    /// Looks for changes where they can be and writes them as a layer, if there are any.
    fn snapshot(&mut self, tracked: Tracked) -> Result<Option<Layer>, StepError> {
        let session = self.session;
        let reach = match &tracked.scope {
            Scope::Everything(_) => SnapshotReach::FullFilesystem,
            Scope::Only(_) => SnapshotReach::Files,
        };
        session.events.send(Event::SnapshotStarted { reach });
        let layers = self.layers;
        let files = self.files();
        let start = Instant::now();
        let is_tracked = tracked.by.is_some();
        let taken = files.snapshotter.take_tracked(tracked)?;
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
            return Ok(None);
        }
        let sink = match layers {
            Layers::Pushed => session.uploads.sink(&session.store),
            Layers::Kept | Layers::NotNeeded => LayerSink::kept(&session.store),
        };
        let layer = write(session, files, &changeset, sink.map_err(StepError::Store)?)?;
        Ok(Some(layer))
    }
}

fn copy_from_context(
    session: &Session<'_>,
    context: &BuildContext,
    copy: &CopyStep,
    target: Target<'_>,
) -> Result<Copied, StepError> {
    let keeps = |path: &RootfsPath| context.contains(path);
    let source = Source::context(context.root(), &keeps);
    timed(session.events, Phase::Copy, || Ok(execute::copy(copy, &source, target)?))
}

fn write(
    session: &Session<'_>,
    files: &mut Files,
    changeset: &Changeset,
    sink: LayerSink,
) -> Result<Layer, StepError> {
    let start = Instant::now();
    let options = session.layer_options()?;
    let contents = files.home.contents(&files.rootfs, changeset).map_err(ExecuteError::from)?;
    let snapshotter = &mut files.snapshotter;
    let (written, sink) =
        write_layer(&contents, changeset, &options, sink, &mut |path, digest| {
            snapshotter.record_content(path, digest);
        })?;
    let WrittenLayer { digest, diff_id, size_bytes, tar_bytes, stats, .. } = written;
    sink.commit(Some((&digest, size_bytes))).map_err(StepError::Store)?;
    let elapsed = start.elapsed();
    session.events.send(Event::PhaseTimed { phase: Phase::Layer, elapsed });
    session.events.send(Event::LayerWritten {
        digest: digest.to_string(),
        size_bytes,
        tar_bytes,
        elapsed,
    });
    session.events.send(Event::LayerCounted(LayerCounts {
        digest: digest.to_string(),
        entry_count: stats.entry_count,
        opened_count: stats.opened_count,
        read_bytes: stats.read_bytes,
        hashed_bytes: stats.hashed_bytes,
        compressed_bytes: tar_bytes,
        spooled_bytes: size_bytes,
        restart_count: stats.restart_count,
    }));
    let media_type = session.layer_media_type();
    Ok(Layer { descriptor: descriptor(media_type, &digest, size_bytes), diff_id })
}
