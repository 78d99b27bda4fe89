//! Runs the steps of one stage: effect, snapshot, layer, history.

use std::time::Instant;

use snapshot::layer::{Contents, WrittenLayer, write_layer};
use snapshot::{Changeset, Reason, Rootfs, RootfsPath, Scope, Snapshotter};

use super::error::{BuildError, StepError};
use super::roots::{Home, Root};
use super::session::Session;
use super::timed;
use crate::context::BuildContext;
use crate::execute::{self, Copied, Source};
use crate::image::{History, Image, Layer, descriptor};
use crate::plan::{CopySource, CopyStep, PlannedStage, RunStep, Step, StepKind};
use crate::report::event::{self, Event, Phase, SnapshotReach};
use crate::sandbox::OutputLine;

/// Whether a stage's changes become layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layers {
    /// One a step, or one a stage with `--single-snapshot`.
    Written,
    /// Only its files are read, by later stages.
    NotNeeded,
}

/// Finds the root of a `COPY --from`.
pub(super) type CopyRoot<'a> = &'a mut dyn FnMut(&CopySource) -> Result<Rootfs, BuildError>;

/// One stage while its steps run.
pub(super) struct StageRun<'a> {
    session: &'a Session<'a>,
    stage: &'a PlannedStage,
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
}

impl<'a> StageRun<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        stage: &'a PlannedStage,
        image: Image,
        root: Option<Root>,
        layers: Layers,
    ) -> Result<Self, BuildError> {
        let files = match root {
            Some(Root { rootfs, index, home }) => {
                let mut options = session.snapshot_options()?;
                if let Home::Place(foreign) = &home {
                    foreign.protected().for_each(|inode| options.ignore.insert_inode(inode));
                }
                let snapshotter = Snapshotter::new(rootfs.clone(), index, options);
                Some(Files { home, rootfs, snapshotter })
            }
            None => None,
        };
        Ok(Self { session, stage, image, files, layers, waiting: Vec::new() })
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
        let scope = match &step.kind {
            StepKind::Run(run) => Some(self.execute_run(run)?),
            StepKind::Copy(copy) => Some(self.execute_copy(copy, copy_root)?),
            StepKind::Workdir(workdir) => {
                let files = self.files();
                let made = execute::make_working_dir(&files.rootfs, workdir)?;
                Some(Scope::Only(made))
            }
            StepKind::Metadata => None,
        };
        let history = step.history.as_ref().map(|text| self.session.history(text));
        if self.layers == Layers::NotNeeded {
            return Ok(());
        }
        if self.session.is_single_snapshot() {
            // The one layer is found by looking everywhere, so what each step touched is dropped.
            let changes = scope.is_some();
            self.waiting.extend(history.map(|history| (history, changes)));
            return Ok(());
        }
        let layer = match scope {
            Some(scope) => self.snapshot(scope)?,
            None => None,
        };
        if layer.is_some() || history.is_some() {
            let history = history.unwrap_or_else(|| self.session.history(&step.text));
            self.append(layer, history);
        }
        Ok(())
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
        let mut layer =
            self.snapshot(Scope::Everything(Reason::NoTracker)).map_err(BuildError::Snapshot)?;
        for (position, (history, _)) in waiting.into_iter().enumerate() {
            let its_layer = if position == last { layer.take() } else { None };
            self.append(its_layer, history);
        }
        Ok(())
    }

    fn files(&mut self) -> &mut Files {
        self.files.as_mut().expect("a stage with steps that touch files has a root")
    }

    fn execute_run(&mut self, run: &RunStep) -> Result<Scope, StepError> {
        let session = self.session;
        let files = self.files();
        files.snapshotter.begin();
        let rootfs = files.rootfs.clone();
        let outcome = timed(session.events, Phase::Run, || {
            execute::run(&session.sandbox, &rootfs, run, &mut |line: OutputLine<'_>| {
                session.events.send(Event::RunOutput { bytes: line.bytes.to_vec() });
            })
        })?;
        for straggler in &outcome.stragglers {
            tracing::warn!(name = %straggler.name, "a process outlived its RUN and was killed");
        }
        match outcome.exit_code() {
            0 => Ok(Scope::Everything(Reason::NoTracker)),
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
    ) -> Result<Scope, StepError> {
        let session = self.session;
        let target = self.files().rootfs.clone();
        let copied = match &copy.from {
            CopySource::Context => copy_from_context(session, &session.context, copy, &target)?,
            CopySource::NamedContext(name) => {
                copy_from_context(session, session.named_directory(name)?, copy, &target)?
            }
            CopySource::Stage(_) | CopySource::Image(_) => {
                let root = copy_root(&copy.from)?;
                timed(session.events, Phase::Copy, || {
                    execute::copy(copy, &Source::root(&root), &target)
                })?
            }
        };
        for socket in &copied.sockets {
            tracing::warn!(path = %socket, "a socket cannot be in an image and was not copied");
        }
        Ok(Scope::Only(copied.touched))
    }

    /// Looks for changes in `scope` and writes them as a layer, if there are any.
    fn snapshot(&mut self, scope: Scope) -> Result<Option<Layer>, StepError> {
        let session = self.session;
        let reach = match &scope {
            Scope::Everything(_) => SnapshotReach::FullFilesystem,
            Scope::Only(_) => SnapshotReach::Files,
        };
        session.events.send(Event::SnapshotStarted { reach });
        let files = self.files();
        let start = Instant::now();
        let taken = files.snapshotter.take(scope)?;
        let changeset = match &mut files.home {
            Home::Place(foreign) => foreign.without_removals(taken.changeset),
            Home::Folder(_) => taken.changeset,
        };
        let elapsed = start.elapsed();
        session.events.send(Event::PhaseTimed { phase: Phase::Snapshot, elapsed });
        session.events.send(Event::SnapshotTaken {
            examined_count: taken.stats.entries_stated,
            changed_count: changeset.len() as u64,
            hashed_bytes: taken.stats.bytes_hashed,
            elapsed,
        });
        if changeset.is_empty() {
            session.events.send(Event::NothingChanged);
            return Ok(None);
        }
        let layer = write(session, files, &changeset)?;
        Ok(Some(layer))
    }
}

fn copy_from_context(
    session: &Session<'_>,
    context: &BuildContext,
    copy: &CopyStep,
    target: &Rootfs,
) -> Result<Copied, StepError> {
    let keeps = |path: &RootfsPath| context.contains(path);
    let source = Source::context(context.root(), &keeps);
    timed(session.events, Phase::Copy, || Ok(execute::copy(copy, &source, target)?))
}

fn write(
    session: &Session<'_>,
    files: &mut Files,
    changeset: &Changeset,
) -> Result<Layer, StepError> {
    let start = Instant::now();
    let sink = session.store.spool().map_err(StepError::Store)?;
    let options = session.layer_options()?;
    let contents = Contents::in_rootfs(files.rootfs.clone());
    let snapshotter = &mut files.snapshotter;
    let (written, sink) =
        write_layer(&contents, changeset, &options, sink, &mut |path, digest| {
            snapshotter.record_content(path, digest);
        })?;
    let WrittenLayer { digest, diff_id, size_bytes, tar_bytes, .. } = written;
    sink.commit(Some((&digest, size_bytes))).map_err(StepError::Store)?;
    let elapsed = start.elapsed();
    session.events.send(Event::PhaseTimed { phase: Phase::Layer, elapsed });
    session.events.send(Event::LayerWritten {
        digest: digest.to_string(),
        size_bytes,
        tar_bytes,
        elapsed,
    });
    let media_type = session.layer_media_type();
    Ok(Layer { descriptor: descriptor(media_type, &digest, size_bytes), diff_id })
}
