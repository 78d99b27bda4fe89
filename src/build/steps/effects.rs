//! What each step of a stage does to its files, or to their outline.

use jiff::Timestamp;
use snapshot::track::Tracked;
use snapshot::{Rootfs, RootfsPath};

use super::{Files, Ground, StageRun, Supply, Touched};
use crate::build::error::StepError;
use crate::build::islands::Islands;
use crate::build::overlays::Recording;
use crate::build::{mounts, overlays, timed};
use crate::execute::{self, Copied, Followed, Invocation, Source};
use crate::plan::{CopySource, CopyStep, Footing, RunStep, Step, StepKind};
use crate::report::event::{Event, Phase};
use crate::sandbox::OutputLine;

impl StageRun<'_> {
    /// Does what a step does to the files.
    pub(super) fn execute(
        &mut self,
        kind: &StepKind,
        supply: &mut dyn Supply,
    ) -> Result<Touched, StepError> {
        let session = self.session;
        match kind {
            StepKind::Run(run) => {
                self.execute_run(run, supply)?;
                Ok(Touched::Anything)
            }
            StepKind::Copy(copy) => self.execute_copy(copy, supply),
            StepKind::Workdir(workdir) => match &mut self.ground {
                Ground::Outline(outline) => {
                    outline.make_working_dir(workdir)?;
                    Ok(Touched::Outlined)
                }
                Ground::Nothing | Ground::Files(_) => {
                    let files = self.files();
                    let target = files.home.target(&files.rootfs);
                    let made = execute::make_working_dir(target, workdir)?;
                    Ok(Touched::Paths(files.home.note(session, made)))
                }
            },
            StepKind::Metadata => Ok(Touched::Nothing),
        }
    }

    /// Has the stage on disk as it was before a step.
    pub(super) fn get_files(
        &mut self,
        number: usize,
        step: &Step,
        supply: &mut dyn Supply,
    ) -> Result<(), StepError> {
        let Ground::Outline(outline) = std::mem::replace(&mut self.ground, Ground::Nothing) else {
            return Ok(());
        };
        let root = supply.unpack(&self.base, step.text.clone())?;
        self.ground = Ground::Files(Files::new(self.session, root)?);
        let is_single = self.session.is_single_snapshot();
        if is_single {
            self.begin_record()?;
        }
        // Done again, and not taken from the layers: times in those may be other ones.
        let steps = self.steps.clone();
        for (its, done) in steps.iter().take_while(|(its, _)| *its < number) {
            self.current = its;
            match self.execute(&done.kind, supply)? {
                Touched::Paths(paths) if is_single => self.files().written.merge(paths),
                Touched::Paths(paths) => {
                    // It is in a layer already.
                    self.files().snapshotter.take_tracked(Tracked::by_writer(paths))?;
                }
                Touched::Nothing | Touched::Outlined | Touched::Linked(_) | Touched::Anything => {}
            }
        }
        for (path, digest) in outline.contents() {
            self.files().snapshotter.record_content(path, digest);
        }
        Ok(())
    }

    fn execute_run(&mut self, run: &RunStep, supply: &mut dyn Supply) -> Result<(), StepError> {
        let session = self.session;
        let tracking = self.tracking;
        let files = self.files();
        let recording = overlays::mount(session, tracking, &files.home, &mut files.snapshotter)?;
        let rootfs = match &recording {
            Some(Recording::Step(overlay)) => overlay.rootfs().clone(),
            Some(Recording::Root(_)) | None => files.rootfs.clone(),
        };
        let sandbox = session.sandbox()?;
        let islands = files.home.show(session, &files.rootfs, run)?;
        let outcome = mounts::during(session, run, &files.home, supply, |mounts, secrets| {
            let invocation = Invocation { step: run, mounts, secrets };
            timed(session.events, Phase::Run, || {
                let told = |line: OutputLine<'_>| {
                    session.events.send(Event::RunOutput { bytes: line.bytes.to_vec() });
                };
                Ok(execute::run(sandbox, &rootfs, invocation, &mut { told })?)
            })
        });
        let islands = match (&outcome, islands) {
            (Ok(outcome), Some(islands)) if outcome.exit_code() == 0 => Some(islands),
            (_, islands) => {
                islands.map(Islands::remove).transpose()?;
                None
            }
        };
        let outcome = outcome?;
        // Nobody may hold on to an overlay that is to be merged.
        drop(rootfs);
        for straggler in &outcome.stragglers {
            tracing::warn!(name = %straggler.name, "a process outlived its RUN and was killed");
        }
        match outcome.exit_code() {
            0 => {
                if let Some(islands) = islands {
                    files.home.take_back(islands)?;
                }
                if let Some(recording) = recording {
                    let (home, snapshotter) = (&files.home, &files.snapshotter);
                    files.written.merge(overlays::merge(session, recording, home, snapshotter)?);
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
        supply: &mut dyn Supply,
    ) -> Result<Touched, StepError> {
        if copy.footing == Footing::Nothing {
            return self.execute_linked(copy, supply);
        }
        let session = self.session;
        let copied = self.copy_onto(copy, supply, None)?;
        if let Ground::Outline(_) = self.ground {
            return Ok(Touched::Outlined);
        }
        let beneath = copied.beneath.iter().map(|(path, _)| path.clone());
        self.files().home.note(session, beneath);
        Ok(Touched::Paths(copied.touched))
    }

    /// Copies to the stage's files, or to a root of the step's own.
    pub(super) fn copy_onto(
        &mut self,
        copy: &CopyStep,
        supply: &mut dyn Supply,
        own: Option<&Rootfs>,
    ) -> Result<Copied, StepError> {
        let session = self.session;
        let fetched = session.fetched(copy)?;
        self.followed = Followed::default();
        let mut copied = match &copy.from {
            CopySource::Context | CopySource::NamedContext(_) => {
                let context = match &copy.from {
                    CopySource::NamedContext(name) => session.named_directory(name)?,
                    _ => &session.context,
                };
                let keeps = |path: &RootfsPath| context.contains(path);
                let digests = self.steps.caching.and_then(|caching| caching.content_digests());
                let source = Source::context(context.root(), &keeps)
                    .with_fetched(&fetched)
                    .with_digests(digests);
                match self.steps.caching.and_then(|caching| Some((caching, caching.watch()?))) {
                    Some((caching, watch)) => {
                        let place = (self.steps.position, self.current);
                        // What is fetched or written for it may go where a file of the context went.
                        let is_plain = copy.inline.is_empty() && copy.remotes().next().is_none();
                        let follows = is_plain && caching.asks_later(place);
                        let watch = if follows { watch.following() } else { watch };
                        let began = Timestamp::now();
                        let copied = self.copy_from(&source.watched_by(&watch), copy, own)?;
                        caching.has_read(place, began, &watch);
                        self.followed = watch.take_followed();
                        copied
                    }
                    None => self.copy_from(&source, copy, own)?,
                }
            }
            CopySource::Stage(_) | CopySource::Image(_) => {
                let root = supply.copy_root(&copy.from)?;
                self.copy_from(&Source::root(&root), copy, own)?
            }
        };
        self.copied = std::mem::take(&mut copied.contents);
        for socket in &copied.sockets {
            tracing::warn!(path = %socket, "a socket cannot be in an image and was not copied");
        }
        Ok(copied)
    }

    fn copy_from(
        &mut self,
        source: &Source<'_>,
        copy: &CopyStep,
        own: Option<&Rootfs>,
    ) -> Result<Copied, StepError> {
        let events = self.session.events;
        if let Some(own) = own {
            return timed(events, Phase::Copy, || Ok(execute::copy(copy, source, own)?));
        }
        timed(events, Phase::Copy, || match &mut self.ground {
            Ground::Outline(outline) => Ok(outline.copy(copy, source)?),
            Ground::Nothing | Ground::Files(_) => {
                let files = self.files();
                Ok(execute::copy(copy, source, files.home.target(&files.rootfs))?)
            }
        })
    }
}
