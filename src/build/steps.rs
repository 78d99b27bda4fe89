//! Runs the steps of one stage: effect, snapshot, layer, history.

mod changes;
mod effects;
mod linked;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use snapshot::track::Tracked;
use snapshot::{Digest, PathSet, Rootfs, RootfsPath, Snapshotter};

use super::caching::Caching;
use super::error::{BuildError, StepError};
use super::layers::{Headers, Layers, Made, NewLayer, append, or_empty};
use super::overlays;
use super::roots::{Home, Root};
use super::session::Session;
use super::timed;
use super::tracking::{Tracking, Work};
use crate::execute::{ExecuteError, Followed, Outline};
use crate::image::{History, Image, Layer};
use crate::plan::{CopySource, PlannedStage, Step, StepKind};
use crate::report::event::{Event, Phase};
/// What a stage needs of the others while its steps run.
pub(super) trait Supply {
    /// Returns the root that a `COPY --from` reads: an earlier stage's or an image's.
    fn copy_root(&mut self, source: &CopySource) -> Result<Rootfs, BuildError>;

    /// Makes an empty directory that what is in `/` can be moved to.
    fn make_aside(&mut self) -> Result<PathBuf, BuildError>;

    /// Unpacks an image, for the step that this is the text of.
    fn unpack(&mut self, image: &Image, because_of: String) -> Result<Root, BuildError>;
}

/// What a stage has of its files.
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// What headers tell.
    Outline(Outline),
    /// All of them.
    Files(Root),
}

/// Steps of one stage that are run one after the other.
#[derive(Clone)]
pub(super) struct Steps<'a> {
    /// The stage's position in the plan.
    pub(super) position: usize,
    pub(super) stage: &'a PlannedStage,
    /// Which of its steps.
    pub(super) range: Range<usize>,
    /// What is told of what they make.
    pub(super) caching: Option<&'a Caching<'a>>,
}

impl<'a> Steps<'a> {
    /// Returns the steps with their numbers in the stage, from 0.
    fn iter(&self) -> impl Iterator<Item = (usize, &'a Step)> + use<'a> {
        let Range { start, end } = self.range;
        self.stage.steps.iter().enumerate().take(end).skip(start)
    }
}

/// Steps of one stage while they run.
pub(super) struct StageRun<'a> {
    session: &'a Session<'a>,
    steps: Steps<'a>,
    tracking: &'a Tracking,
    /// What it starts with.
    base: Image,
    image: Image,
    ground: Ground,
    layers: Layers,
    /// The number of the step that runs.
    current: usize,
    /// History entries that wait for the one layer of `--single-snapshot`.
    waiting: Vec<(History, bool)>,
    /// What is in files that the last copy has put, where that is known.
    copied: HashMap<RootfsPath, Digest>,
    /// Where files of a context went with it, where somebody asks.
    followed: Followed,
}

/// What the steps write to.
enum Ground {
    Nothing,
    Outline(Outline),
    Files(Box<Files>),
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
    /// It wrote to an outline, which knows.
    Outlined,
    /// It wrote to these paths.
    Paths(PathSet),
    /// It has written its layer itself, if it changed something.
    Linked(Option<NewLayer>),
    /// Whatever its command did.
    Anything,
}

impl<'a> StageRun<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        steps: Steps<'a>,
        image: Image,
        held: Held,
        tracking: &'a Tracking,
        layers: Layers,
    ) -> Result<Self, BuildError> {
        let ground = match held {
            Held::Nothing => Ground::Nothing,
            Held::Outline(outline) => Ground::Outline(outline),
            Held::Files(root) => Ground::Files(Files::new(session, root)?),
        };
        let (base, waiting) = (image.clone(), Vec::new());
        let (copied, followed, current) = (HashMap::new(), Followed::default(), 0);
        Ok(Self {
            session,
            steps,
            tracking,
            base,
            image,
            ground,
            layers,
            current,
            waiting,
            copied,
            followed,
        })
    }

    /// Runs the steps and returns the image and files that they make, its config still that of the
    /// base.
    pub(super) fn run(mut self, supply: &mut dyn Supply) -> Result<(Image, Held), BuildError> {
        for (number, step) in self.steps.iter() {
            self.session.interrupt.check()?;
            let shown = self.session.shown(self.steps.stage, number, step);
            let start = Instant::now();
            self.session.events.send(Event::StepStarted(shown.clone()));
            self.run_step_somehow(number, step, supply)
                .map_err(|error| self.session.dockerfile.at_step(step, error))?;
            let elapsed = start.elapsed();
            self.session.events.send(Event::StepFinished { step: shown, elapsed });
        }
        self.append_waiting()?;
        let held = match self.ground {
            Ground::Nothing => Held::Nothing,
            Ground::Outline(outline) => Held::Outline(outline),
            Ground::Files(files) => Held::Files(Root {
                rootfs: files.rootfs,
                index: files.snapshotter.into_index(),
                home: files.home,
            }),
        };
        Ok((self.image, held))
    }

    /// Runs a step, on files where an outline does not do.
    fn run_step_somehow(
        &mut self,
        number: usize,
        step: &Step,
        supply: &mut dyn Supply,
    ) -> Result<(), StepError> {
        match self.run_step(number, step, supply) {
            Err(StepError::Execute(error @ ExecuteError::NeedsFiles { .. })) => {
                tracing::debug!(%error, "the stage is unpacked after all");
                self.get_files(number, step, supply)?;
                self.run_step(number, step, supply)
            }
            outcome => outcome,
        }
    }

    fn run_step(
        &mut self,
        number: usize,
        step: &Step,
        supply: &mut dyn Supply,
    ) -> Result<(), StepError> {
        if self.is_recorded(&step.kind) {
            self.begin_record()?;
        }
        self.current = number;
        if let Some(caching) = self.steps.caching {
            caching.begin_step(self.steps.position, number, step);
        }
        let touched = self.execute(&step.kind, supply)?;
        if self.layers == Layers::NotNeeded {
            return Ok(());
        }
        if self.session.is_single_snapshot() {
            // The one layer is looked for at the end.
            let changes = !matches!(touched, Touched::Nothing);
            if let (Touched::Paths(paths), Ground::Files(files)) = (touched, &mut self.ground) {
                files.written.merge(paths);
            }
            let history = step.history.as_ref().map(|text| self.session.history(text));
            self.waiting.extend(history.map(|history| (history, changes)));
            return Ok(());
        }
        let (position, caching) = (self.steps.position, self.steps.caching);
        let earlier = caching.and_then(|caching| caching.earlier(position, number, step));
        let made = match touched {
            Touched::Nothing => Made::default(),
            Touched::Outlined => self.outline_layer(earlier)?,
            Touched::Linked(new) => Made { new, ..Made::default() },
            Touched::Paths(paths) => self.snapshot(Tracked::by_writer(paths), earlier)?,
            Touched::Anything => {
                let tracked = self.end_record();
                self.snapshot(tracked, None)?
            }
        };
        if let Some(caching) = caching {
            caching.made(position, number, step, &made);
        }
        let (image, layers) = (self.image.clone(), made.into_layers());
        self.image = append(self.session, self.layers, image, layers, step)?;
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
        let has_files = matches!(self.ground, Ground::Files(_));
        has_files && writes && self.layers != Layers::NotNeeded
    }

    /// Has the tracker record, unless it does; starts it the first time.
    fn begin_record(&mut self) -> Result<(), StepError> {
        let (session, tracking) = (self.session, self.tracking);
        let runs = |step: &&Step| matches!(step.kind, StepKind::Run(_));
        let run_count = self.steps.iter().map(|(_, step)| step).filter(runs).count();
        let files = self.files();
        let is_first = files.record == Record::NotStarted;
        if is_first {
            let snapshot_count =
                if session.is_single_snapshot() { run_count.min(1) } else { run_count };
            let inode_count = files.snapshotter.index().len() as u64 + 1;
            let work = Work { snapshot_count, inode_count };
            if let Some(tracker) =
                tracking.start(session, &files.rootfs, files.home.kind(), work)?
            {
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

    /// Tells whether the headers of the layer that is made now are noted.
    fn headers(&self) -> Headers {
        let stage = self.steps.stage;
        let is_stored = |caching: &Caching<'_>| match self.session.is_single_snapshot() {
            true => caching.stores_stage(stage),
            false => stage.steps.get(self.current).is_some_and(|step| caching.stores(step)),
        };
        match self.steps.caching.is_some_and(is_stored) {
            true => Headers::Noted,
            false => Headers::NotNeeded,
        }
    }

    fn append(&mut self, layer: Option<Layer>, history: History) {
        self.image = self.image.clone().append(layer, history);
    }

    /// Makes the one layer of `--single-snapshot` and hangs it on the last entry that could have
    /// made it.
    fn append_waiting(&mut self) -> Result<(), BuildError> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(end) = waiting.len().checked_sub(1) else { return Ok(()) };
        let changing = waiting.iter().rposition(|(_, changes)| *changes);
        let layer = match (changing, &self.ground) {
            (None, _) => Ok(Made::default()),
            (Some(_), Ground::Outline(_)) => self.outline_layer(None),
            (Some(_), Ground::Nothing | Ground::Files(_)) => {
                let tracked = self.end_record();
                self.snapshot(tracked, None)
            }
        };
        let made = layer.map_err(BuildError::Snapshot)?;
        if let (Some(caching), Some(_)) = (self.steps.caching, changing) {
            caching.made_stage(self.steps.position, self.steps.stage, &made);
        }
        let layer = or_empty(self.session, self.layers, made.new.map(|new| new.layer));
        let mut layer = layer.map_err(BuildError::Snapshot)?;
        let last = changing.unwrap_or(end);
        for (position, (history, _)) in waiting.into_iter().enumerate() {
            let its_layer = if position == last { layer.take() } else { None };
            self.append(its_layer, history);
        }
        Ok(())
    }

    fn files(&mut self) -> &mut Files {
        match &mut self.ground {
            Ground::Files(files) => files,
            Ground::Nothing | Ground::Outline(_) => {
                unreachable!("a stage with steps that need files has a root")
            }
        }
    }
}

impl Files {
    fn new(session: &Session<'_>, root: Root) -> Result<Box<Self>, BuildError> {
        let Root { rootfs, index, home } = root;
        let mut options = session.snapshot_options()?;
        if let Home::Place(foreign) = &home {
            foreign.protected().for_each(|inode| options.ignore.insert_inode(inode));
        }
        let snapshotter = Snapshotter::new(rootfs.clone(), index, options);
        let (record, written) = (Record::NotStarted, PathSet::new());
        Ok(Box::new(Self { home, rootfs, snapshotter, record, written }))
    }
}
