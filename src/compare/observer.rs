//! Listens to a build and notes what each step took; reads the tree where that is asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::bare_walk;
use super::kaniko::{Emulation, Work};
use super::layer::judge_paths;
use super::mode::Mode;
use super::record::{RunRecord, StepRecord};
use super::tree::{self, Entry, Ignored, Tree};
use crate::report::event::{Event, EventSink};

/// What is watched for.
pub(super) struct Watch {
    pub(super) mode: Mode,
    /// Whether the tree is read after each step.
    pub(super) check: bool,
    pub(super) ignored: Ignored,
}

/// What changed on disk in each step with a snapshot, where the tree was read.
pub(super) type ChangesByStep = Vec<Option<BTreeMap<Vec<u8>, Option<Entry>>>>;

/// A sink between a build and its log.
pub(super) struct Observer<'a> {
    log: &'a dyn EventSink,
    state: Mutex<State>,
}

struct State {
    watch: Watch,
    root: Option<PathBuf>,
    emulation: Option<Emulation>,
    tree: Option<Tree>,
    step: Option<OpenStep>,
    record: RunRecord,
    changes: ChangesByStep,
}

/// A step that runs.
struct OpenStep {
    record: StepRecord,
    is_run: bool,
    started: Mark,
    /// When the build began to look.
    looking_from: Option<Mark>,
    /// CPU time spent up to the end of the build's own looking.
    looked_cpu: Duration,
    reported: Option<std::collections::BTreeSet<Vec<u8>>>,
    has_snapshot: bool,
}

/// A moment, in wall time and in CPU time of this process.
#[derive(Clone, Copy)]
struct Mark {
    wall: Instant,
    cpu: Duration,
}

impl Mark {
    fn now() -> Self {
        Self { wall: Instant::now(), cpu: process_cpu() }
    }

    fn cpu_since(self) -> Duration {
        process_cpu().saturating_sub(self.cpu)
    }
}

/// Returns the CPU time that all threads of this process have used.
pub(super) fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

impl<'a> Observer<'a> {
    pub(super) fn new(log: &'a dyn EventSink, watch: Watch) -> Self {
        let state = State {
            watch,
            root: None,
            emulation: None,
            tree: None,
            step: None,
            record: RunRecord::default(),
            changes: Vec::new(),
        };
        Self { log, state: Mutex::new(state) }
    }

    /// Returns what was noted, and what changed in each step of it.
    pub(super) fn finish(self) -> (RunRecord, ChangesByStep) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.record, state.changes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for Observer<'_> {
    fn send(&self, event: Event) {
        self.lock().take(&event);
        self.log.send(event);
    }
}

impl State {
    fn take(&mut self, event: &Event) {
        match event {
            Event::RootReady { path } => self.open_root(path),
            Event::StepStarted(step) => self.start_step(&step.text),
            Event::SnapshotStarted { .. } => self.start_looking(),
            Event::SnapshotTaken(_) => self.end_looking(event),
            Event::LayerWritten { digest, size_bytes, .. } => {
                if let Some(step) = &mut self.step {
                    step.record.layer_digest = Some(digest.clone());
                    step.record.layer_bytes = *size_bytes;
                }
            }
            Event::StepFinished { .. } => self.end_step(),
            Event::PhaseTimed { phase, elapsed } => {
                *self.record.phases.entry(phase.name().to_owned()).or_default() +=
                    elapsed.as_secs_f64();
            }
            Event::RunOutput { bytes } => {
                let line = String::from_utf8_lossy(bytes);
                if let (Some(step), Some(cost)) = (&mut self.step, super::step::read_cost(&line)) {
                    step.record.command = Some(cost);
                }
                if let Some(note) = line.strip_prefix(super::step::SKIPPED) {
                    self.record.notes.push(format!("not done here: {}", note.trim()));
                }
            }
            Event::Warning { text } => self.record.notes.push(text.clone()),
            _ => {}
        }
    }

    fn open_root(&mut self, path: &std::path::Path) {
        self.root = Some(path.to_owned());
        self.tree = None;
        self.emulation = match self.watch.mode {
            Mode::Kaniko(algorithm) => {
                Some(Emulation::new(algorithm, path, self.watch.ignored.clone()))
            }
            Mode::Tracker(_) | Mode::Auto | Mode::Snapshot(_) | Mode::BareWalk => None,
        };
    }

    fn start_step(&mut self, text: &str) {
        let is_run = text.split_whitespace().next().is_some_and(|w| w.eq_ignore_ascii_case("RUN"));
        if self.watch.check && self.tree.is_none() && self.root.is_some() {
            self.tree = self.read_tree();
        }
        let mut record = StepRecord { text: text.to_owned(), ..StepRecord::default() };
        if is_run {
            let before = Mark::now();
            if let Some(emulation) = &mut self.emulation {
                match emulation.before_run() {
                    Ok(work) => add_work(&mut record, work),
                    Err(error) => self.record.notes.push(format!("the emulation: {error}")),
                }
                add_looking(&mut record, before);
            }
        }
        self.step = Some(OpenStep {
            record,
            is_run,
            started: Mark::now(),
            looking_from: None,
            looked_cpu: Duration::ZERO,
            reported: None,
            has_snapshot: false,
        });
    }

    /// Lets the emulation look first; the tree does not change between it and the build's own.
    fn start_looking(&mut self) {
        let Self { step: Some(step), emulation, watch, root, record, .. } = self else { return };
        step.has_snapshot = true;
        // So far: getting ready, and passing on what the command wrote.
        step.looked_cpu = step.started.cpu_since();
        let before = Mark::now();
        match (emulation, watch.mode, root) {
            (Some(emulation), _, _) if step.is_run => match emulation.after_run() {
                Ok((reported, work)) => {
                    add_work(&mut step.record, work);
                    step.record.changed = reported.len() as u64;
                    step.reported = Some(reported);
                    add_looking(&mut step.record, before);
                }
                Err(error) => record.notes.push(format!("the emulation: {error}")),
            },
            (Some(emulation), _, _) => {
                if let Err(error) = emulation.after_other_step() {
                    record.notes.push(format!("the emulation: {error}"));
                }
            }
            (None, Mode::BareWalk, Some(root)) if step.is_run => match bare_walk::walk(root) {
                Ok(count) => {
                    step.record.entries_stated += count;
                    add_looking(&mut step.record, before);
                }
                Err(error) => record.notes.push(format!("the bare walk: {error}")),
            },
            _ => {}
        }
        step.looking_from = Some(Mark::now());
    }

    fn end_looking(&mut self, event: &Event) {
        let Some(step) = &mut self.step else { return };
        let Event::SnapshotTaken(work) = event else { return };
        let Some(from) = step.looking_from else { return };
        let (wall, cpu) = (from.wall.elapsed().as_secs_f64(), from.cpu_since());
        let all_cpu = (step.looked_cpu + cpu).as_secs_f64();
        if self.watch.mode.is_emulated() && step.is_run {
            self.record.replaced.wall_s += wall;
            self.record.replaced.cpu_s += all_cpu;
            return;
        }
        step.record.looking_wall_s += wall;
        step.record.looking_cpu_s += all_cpu;
        step.record.entries_stated += work.examined_count;
        step.record.files_opened += work.opened_count;
        step.record.bytes_hashed += work.hashed_bytes;
        step.record.found_by = work.tracker.clone().unwrap_or_default();
        let because = work.fallback.iter().chain(&work.content_because);
        for reason in because {
            let note = format!("looked further than its mode would: {reason}");
            if !self.record.notes.contains(&note) {
                self.record.notes.push(note);
            }
        }
        step.record.changed = work.changed_count;
    }

    fn end_step(&mut self) {
        let Some(mut step) = self.step.take() else { return };
        if !step.has_snapshot {
            // What it did to the tree is nobody's layer, so the next step is compared without it.
            if self.watch.check && self.root.is_some() {
                self.tree = self.read_tree();
            }
            return;
        }
        step.record.wall_s = step.started.wall.elapsed().as_secs_f64();
        let changes = match (self.watch.check, self.tree.take()) {
            (true, Some(before)) => {
                self.tree = self.read_tree();
                self.tree.as_ref().map(|after| tree::changes(&before, after))
            }
            _ => None,
        };
        if let (Some(reported), Some(changes)) = (&step.reported, &changes) {
            step.record.truth = Some(judge_paths(reported, changes));
        }
        // A floor misses everything, and says nothing by it.
        self.changes.push(changes.filter(|_| self.watch.mode != Mode::BareWalk));
        self.record.steps.push(step.record);
    }

    fn read_tree(&mut self) -> Option<Tree> {
        let root = self.root.as_deref()?;
        match tree::read(root, &self.watch.ignored) {
            Ok(tree) => Some(tree),
            Err(error) => {
                self.record.notes.push(format!("the tree could not be read: {error}"));
                None
            }
        }
    }
}

fn add_work(record: &mut StepRecord, work: Work) {
    record.entries_stated += work.entries_stated;
    record.files_opened += work.files_opened;
    record.bytes_hashed += work.bytes_hashed;
}

fn add_looking(record: &mut StepRecord, from: Mark) {
    record.looking_wall_s += from.wall.elapsed().as_secs_f64();
    record.looking_cpu_s += from.cpu_since().as_secs_f64();
}
