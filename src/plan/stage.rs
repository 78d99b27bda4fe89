//! One stage: what its instructions do, one after the other.

use snapshot::RootfsPath;

use super::error::{PlanError, PlanErrorKind};
use super::graph::{BaseLink, External, From, Graph, Node};
use super::inputs::{is_not_environment, proxy_variables};
use super::scope::Expander;
use super::step::{
    Archives, CopyItem, CopySource, CopyStep, Destination, Footing, Origin, Step, StepKind,
};
use super::variables::{Variables, set_entry, split_entry};
use super::{HISTORY_COMMENT, copy, metadata, run};
use crate::dockerfile::instruction::{Arg, Instruction, Kind};
use crate::dockerfile::{Span, Word};
use crate::image::{History, ImageConfig, Platform, RuntimeConfig};

/// The search path of images that set none; as in Docker.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage at some point of its instructions.
#[derive(Debug, Clone)]
pub(super) struct StageState {
    /// What words expand with: the config's environment and the arguments in sight.
    pub(super) variables: Variables,
    /// Every `ARG` so far, those of the stages that this one starts from too.
    pub(super) arguments: Vec<(String, Option<String>)>,
    pub(super) image: ImageConfig,
    pub(super) platform: Platform,
    /// A `CMD` of the stage itself: an `ENTRYPOINT` clears only an inherited one.
    pub(super) has_cmd: bool,
}

/// What the instructions of a stage are read with.
pub(super) struct StageReader<'g, 'a> {
    pub(super) graph: &'g Graph<'a>,
    pub(super) expander: Expander,
    pub(super) proxies: Vec<(String, String)>,
    /// Its index among the Dockerfile's stages.
    pub(super) index: usize,
    /// Position in the plan of every stage before it that is in the plan.
    pub(super) positions: &'g [Option<usize>],
}

impl StageState {
    /// Returns a stage's state after its `FROM`.
    pub(super) fn start(graph: &Graph<'_>, node: &Node<'_>, parent: Option<&StageState>) -> Self {
        let target = &graph.platform.normal;
        let mut state = match (&node.base, parent) {
            (_, Some(parent)) => StageState { has_cmd: false, ..parent.clone() },
            (BaseLink::External(External::Image(request)), None) => {
                let image = graph.config(request).cloned().unwrap_or_default();
                StageState::of_image(image, request.platform.clone())
            }
            _ => StageState::of_image(empty_image(target), target.clone()),
        };
        state.image.created = None;
        state.image.config.on_build.clear();
        let env = &mut state.image.config.env;
        if !env.iter().any(|entry| split_entry(entry).0 == "PATH") {
            set_entry(env, "PATH", DEFAULT_PATH);
        }
        // Also over arguments of a parent stage: there an ENV counts again.
        for entry in &state.image.config.env {
            let (name, value) = split_entry(entry);
            state.variables.set(name, value);
        }
        state
    }

    fn of_image(mut image: ImageConfig, platform: Platform) -> Self {
        if image.os.is_empty() || image.architecture.is_empty() {
            image.os.clone_from(&platform.os);
            image.architecture.clone_from(&platform.architecture);
            image.variant.clone_from(&platform.variant);
        }
        Self {
            variables: Variables::default(),
            arguments: Vec::new(),
            image,
            platform,
            has_cmd: false,
        }
    }

    /// Returns the working directory as a path.
    pub(super) fn working_directory(&self) -> Result<RootfsPath, PlanErrorKind> {
        rootfs_path(&self.image.config.working_dir)
    }
}

/// Returns the config that `FROM scratch` starts with.
fn empty_image(platform: &Platform) -> ImageConfig {
    ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        variant: platform.variant.clone(),
        config: RuntimeConfig { working_dir: "/".to_owned(), ..RuntimeConfig::default() },
        ..ImageConfig::default()
    }
}

pub(super) fn rootfs_path(text: &str) -> Result<RootfsPath, PlanErrorKind> {
    RootfsPath::new(text).map_err(|source| PlanErrorKind::Path { word: text.to_owned(), source })
}

/// What an instruction comes to, beside its changes to the state.
pub(super) struct Outcome {
    pub(super) kind: StepKind,
    /// `created_by`, unless it leaves no trace.
    pub(super) history: Option<String>,
    /// The first thing in it that is not built yet; config and history are right all the same.
    pub(super) unsupported: Option<PlanError>,
}

impl Outcome {
    pub(super) fn metadata(history: String) -> Self {
        Self { kind: StepKind::Metadata, history: Some(history), unsupported: None }
    }
}

impl<'g, 'a> StageReader<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>, index: usize, positions: &'g [Option<usize>]) -> Self {
        Self {
            graph,
            expander: Expander::new(graph.dockerfile),
            proxies: proxy_variables(graph.inputs.build_args),
            index,
            positions,
        }
    }

    /// Reads one instruction: changes `state` and returns the step, with what in it is not built
    /// yet.
    pub(super) fn read(
        &self,
        state: &mut StageState,
        instruction: &Instruction,
        origin: Origin,
        stage: Span,
    ) -> Result<(Step, Option<PlanError>), PlanError> {
        let in_trigger = |error: PlanError| match origin {
            Origin::Instruction => error,
            Origin::Trigger | Origin::From => error.in_trigger(&instruction.text, stage),
        };
        let outcome = self.apply(state, instruction).map_err(in_trigger)?;
        let step = Step {
            span: match origin {
                Origin::Instruction => instruction.span,
                Origin::Trigger | Origin::From => stage,
            },
            text: instruction.text.clone(),
            origin,
            history: outcome.history,
            kind: outcome.kind,
            config: state.image.config.clone(),
        };
        state.image.history.extend(step.history_entry());
        Ok((step, outcome.unsupported.map(in_trigger)))
    }

    fn apply(
        &self,
        state: &mut StageState,
        instruction: &Instruction,
    ) -> Result<Outcome, PlanError> {
        match &instruction.kind {
            Kind::Run(command) => run::read(self, state, command),
            Kind::Copy(command) => copy::read_copy(self, state, command),
            Kind::Add(command) => copy::read_add(self, state, command),
            Kind::Arg(arg) => self.arg(state, arg),
            Kind::Env(pairs) => metadata::env(self, state, pairs),
            Kind::Label(pairs) => metadata::label(self, state, pairs),
            Kind::Expose(ports) => metadata::expose(self, state, ports),
            Kind::Volume(paths) => metadata::volume(self, state, paths),
            Kind::Workdir(path) => metadata::workdir(self, state, path),
            Kind::User(user) => metadata::user(self, state, user),
            Kind::Stopsignal(signal) => metadata::stop_signal(self, state, signal),
            Kind::Maintainer(author) => Ok(metadata::maintainer(state, author)),
            Kind::Cmd(command) => Ok(metadata::cmd(state, command)),
            Kind::Entrypoint(command) => Ok(metadata::entrypoint(state, command)),
            Kind::Shell(words) => Ok(metadata::shell(state, words)),
            Kind::Healthcheck(check) => Ok(metadata::healthcheck(state, check)),
            Kind::Onbuild(onbuild) => {
                state.image.config.on_build.push(onbuild.expression.clone());
                Ok(Outcome { kind: StepKind::Metadata, history: None, unsupported: None })
            }
        }
    }

    /// Expands a word with the variables of the stage.
    pub(super) fn word(&self, state: &StageState, word: &Word) -> Result<String, PlanError> {
        self.expander.word(word, &state.variables)
    }

    /// `ARG`: each declaration sees the ones before it. A value given wins over the default, the
    /// default over a global one.
    fn arg(&self, state: &mut StageState, arg: &Arg) -> Result<Outcome, PlanError> {
        let mut history = "ARG".to_owned();
        for definition in &arg.definitions {
            let name = &definition.name.value;
            let value = match (self.graph.inputs.build_args.get(name), &definition.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.word(state, default)?),
                (None, None) => self.graph.globals.get(name).map(str::to_owned),
            };
            history.push(' ');
            history.push_str(name);
            if let Some(value) = &value {
                history.push('=');
                history.push_str(value);
                if !is_not_environment(name) {
                    state.variables.set(name, value);
                }
            }
            state.arguments.push((name.clone(), value));
        }
        Ok(Outcome::metadata(history))
    }

    /// Returns where a `COPY --from` copies from.
    pub(super) fn copy_source(&self, word: &Word) -> Result<CopySource, PlanError> {
        match self.graph.from(word)? {
            From::External(External::Image(request)) => Ok(CopySource::Image(request)),
            From::External(External::Directory(name)) => Ok(CopySource::NamedContext(name)),
            From::Stage(source) => {
                let position = self.positions.get(source).copied().flatten();
                position.filter(|_| source < self.index).map(CopySource::Stage).ok_or_else(|| {
                    let kind = PlanErrorKind::LaterStage {
                        source_stage: self.graph.display_name(source),
                        stage: self.graph.display_name(self.index),
                    };
                    kind.at(word.span)
                })
            }
        }
    }
}

/// Returns the step that makes a `FROM` of a directory: a copy of all of it.
pub(super) fn copy_of_directory(name: &str, state: &mut StageState, node: &Node<'_>) -> Step {
    let root = RootfsPath::root();
    let copied = CopyStep {
        from: CopySource::NamedContext(name.to_owned()),
        sources: vec![CopyItem::Path(root.clone())],
        inline: Vec::new(),
        destination: Destination { path: root, is_directory: true },
        owner: None,
        mode: None,
        archives: Archives::Copied,
        exclude: Vec::new(),
        footing: Footing::Stage,
    };
    let step = Step {
        span: node.stage.span,
        text: node.stage.text.clone(),
        origin: Origin::From,
        history: Some(format!("FROM {name} # named context")),
        kind: StepKind::Copy(copied),
        config: state.image.config.clone(),
    };
    state.image.history.extend(step.history_entry());
    step
}

impl Step {
    /// Returns the step's history entry, without its time; `None` for a step that leaves no trace.
    pub fn history_entry(&self) -> Option<History> {
        Some(History {
            created_by: Some(self.history.clone()?),
            comment: Some(HISTORY_COMMENT.to_owned()),
            empty_layer: !self.makes_layer(),
            ..History::default()
        })
    }
}
