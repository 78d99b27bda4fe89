//! From a graph of stages to what each does.

use std::collections::BTreeSet;

use super::error::{PlanError, PlanErrorKind};
use super::graph::{BaseLink, External, From, Graph, Node, source_words};
use super::inputs::{PlanInputs, is_predefined};
use super::stage::{StageReader, StageState, copy_of_directory};
use super::step::{Base, ImageRequest, Origin, Plan, PlanWarning, PlannedStage};
use crate::dockerfile::instruction::{Arg, Dockerfile, Kind};
use crate::image::{ImageConfig, Platform};

/// Returns the images whose configs a plan still needs, sorted.
///
/// A resolved base can bring triggers that name more, so ask again with what was resolved, until
/// none is left.
///
/// # Errors
/// [`PlanError`] for mistakes that show before any base is known.
pub fn references(
    dockerfile: &Dockerfile,
    inputs: &PlanInputs<'_>,
) -> Result<Vec<ImageRequest>, PlanError> {
    let graph =
        Graph::new(dockerfile, inputs).map_err(|error| error.with_snippet(&dockerfile.source))?;
    Ok(graph.missing.into_iter().collect())
}

/// Returns the images whose files will be needed: those that needed stages with a `RUN` are built upon,
/// and those that files are copied from. Triggers of bases that are not resolved yet may bring more.
///
/// # Errors
/// As [`references`].
pub fn unpacked(
    dockerfile: &Dockerfile,
    inputs: &PlanInputs<'_>,
) -> Result<BTreeSet<ImageRequest>, PlanError> {
    let graph =
        Graph::new(dockerfile, inputs).map_err(|error| error.with_snippet(&dockerfile.source))?;
    images_on_disk(&graph).map_err(|error| error.with_snippet(&dockerfile.source))
}

fn images_on_disk(graph: &Graph<'_>) -> Result<BTreeSet<ImageRequest>, PlanError> {
    let mut images = BTreeSet::new();
    for index in &graph.reached {
        for instruction in graph.instructions(*index) {
            if matches!(instruction.kind, Kind::Run(_)) {
                images.extend(base_image(graph, *index).cloned());
            }
            for word in source_words(instruction) {
                images.extend(match graph.from(&word)? {
                    From::Stage(source) => base_image(graph, source).cloned(),
                    From::External(External::Image(request)) => Some(request),
                    From::External(External::Directory(_)) => None,
                });
            }
        }
    }
    Ok(images)
}

/// Returns the image that a stage is built upon in the end.
fn base_image<'g>(graph: &'g Graph<'_>, index: usize) -> Option<&'g ImageRequest> {
    let mut base = &graph.nodes.get(index)?.base;
    while let BaseLink::Stage(below) = base {
        base = &graph.nodes.get(*below)?.base;
    }
    match base {
        BaseLink::External(External::Image(request)) => Some(request),
        BaseLink::Scratch | BaseLink::Stage(_) | BaseLink::External(External::Directory(_)) => None,
    }
}

/// Returns what will be built.
///
/// # Errors
/// [`PlanError`], with the Dockerfile's lines. [`PlanErrorKind::Unresolved`] while [`references`]
/// has something to resolve; [`PlanErrorKind::NotSupported`] for what is not built yet. Mistakes in
/// stages that are not needed are none, but for what makes the stages' order unclear.
pub fn plan(dockerfile: &Dockerfile, inputs: &PlanInputs<'_>) -> Result<Plan, PlanError> {
    let planned = Graph::new(dockerfile, inputs)
        .and_then(|graph| plan_graph(&graph))
        .and_then(|(plan, unsupported)| unsupported.map_or(Ok(plan), Err));
    planned.map_err(|error| error.with_snippet(&dockerfile.source))
}

/// Returns the config that the image will have, as [`PlannedStage::image`] of the target, also of a
/// Dockerfile that uses what is not built yet.
///
/// # Errors
/// As [`plan`], without [`PlanErrorKind::NotSupported`].
pub fn image_config(
    dockerfile: &Dockerfile,
    inputs: &PlanInputs<'_>,
) -> Result<ImageConfig, PlanError> {
    let planned = Graph::new(dockerfile, inputs).and_then(|graph| plan_graph(&graph));
    let (plan, _) = planned.map_err(|error| error.with_snippet(&dockerfile.source))?;
    let target = plan.stages.into_iter().nth(plan.target);
    target.map(|stage| stage.image).ok_or_else(|| PlanErrorKind::NoStages.into())
}

/// Returns the plan and, if it cannot be carried out, the first reason.
fn plan_graph(graph: &Graph<'_>) -> Result<(Plan, Option<PlanError>), PlanError> {
    if !graph.missing.is_empty() {
        let missing = graph.missing.iter().cloned().collect();
        return Err(PlanErrorKind::Unresolved(missing).into());
    }
    let mut done = Done {
        positions: vec![None; graph.nodes.len()],
        states: vec![None; graph.nodes.len()],
        unsupported: None,
    };
    let mut stages = Vec::new();
    let mut warnings = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if !graph.reached.contains(&index) {
            continue;
        }
        warnings.extend(check_platform(graph, node)?);
        let (planned, state) = plan_stage(graph, index, &mut done)?;
        if let Some(position) = done.positions.get_mut(index) {
            *position = Some(stages.len());
        }
        if let Some(slot) = done.states.get_mut(index) {
            *slot = Some(state);
        }
        stages.push(planned);
    }
    let target = done.positions.get(graph.target).copied().flatten().unwrap_or_default();
    if let Some(stage) = stages.get_mut(target) {
        finish_target(graph, stage);
    }
    warnings.extend(unused_build_args(graph));
    Ok((Plan { stages, target, warnings }, done.unsupported))
}

/// What is known of the stages before, by their index in the Dockerfile.
struct Done {
    /// Positions in the plan.
    positions: Vec<Option<usize>>,
    states: Vec<Option<StageState>>,
    /// The first use of something that is not built yet.
    unsupported: Option<PlanError>,
}

fn plan_stage(
    graph: &Graph<'_>,
    index: usize,
    done: &mut Done,
) -> Result<(PlannedStage, StageState), PlanError> {
    let node = graph.nodes.get(index).expect("the index is one of `nodes`");
    let parent = match &node.base {
        BaseLink::Stage(base) => done.states.get(*base).and_then(Option::as_ref),
        BaseLink::Scratch | BaseLink::External(_) => None,
    };
    let mut state = StageState::start(graph, node, parent);
    let base_config = state.image.config.clone();
    let mut steps = Vec::new();
    let base = match &node.base {
        BaseLink::Scratch => Base::Scratch,
        BaseLink::External(External::Image(request)) => Base::Image(request.clone()),
        BaseLink::External(External::Directory(name)) => {
            steps.push(copy_of_directory(name, &mut state, node));
            Base::Scratch
        }
        BaseLink::Stage(base) => {
            let position = done.positions.get(*base).copied().flatten();
            Base::Stage(position.expect("a base is an earlier stage, and reached with this one"))
        }
    };
    let reader = StageReader::new(graph, index, &done.positions);
    let mut unsupported = None;
    for (place, instruction) in graph.instructions(index).into_iter().enumerate() {
        let origin = match place < node.triggers.len() {
            true => Origin::Trigger,
            false => Origin::Instruction,
        };
        let (step, not_built) = reader.read(&mut state, instruction, origin, node.stage.span)?;
        unsupported = unsupported.or(not_built);
        steps.push(step);
    }
    if done.unsupported.is_none() {
        done.unsupported = unsupported;
    }
    let planned = PlannedStage {
        index,
        name: node.stage.name.as_ref().map(|name| name.value.clone()),
        span: node.stage.span,
        text: node.stage.text.clone(),
        base,
        platform: state.platform.clone(),
        base_config,
        steps,
        image: state.image.clone(),
    };
    Ok((planned, state))
}

/// Refuses bases that cannot be built on, and notes those that are not what was asked for.
fn check_platform(graph: &Graph<'_>, node: &Node<'_>) -> Result<Option<PlanWarning>, PlanError> {
    let BaseLink::External(External::Image(request)) = &node.base else { return Ok(None) };
    let Some(config) = graph.config(request) else { return Ok(None) };
    let image = node.base_name.clone();
    if config.os == "windows" {
        return Err(PlanErrorKind::WindowsBase { image }.at(node.stage.base.span));
    }
    if config.os.is_empty() || config.architecture.is_empty() {
        return Ok(None);
    }
    let found = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    if request.platform.accepts(&found) {
        return Ok(None);
    }
    let asked = request.platform.clone();
    Ok(Some(PlanWarning::PlatformMismatch { span: node.stage.span, image, asked, found }))
}

/// Gives the resulting image what the command line says of it.
fn finish_target(graph: &Graph<'_>, stage: &mut PlannedStage) {
    let labels = graph.inputs.labels.iter().cloned();
    stage.image.config.labels.extend(labels);
    let image = &mut stage.image;
    let asked = &graph.platform.normal;
    if !graph.platform.is_implicit {
        let is_other = image.os != asked.os || image.architecture != asked.architecture;
        image.os.clone_from(&asked.os);
        image.architecture.clone_from(&asked.architecture);
        if is_other || asked.variant.is_some() {
            image.variant.clone_from(&asked.variant);
        }
        if is_other || asked.os_version.is_some() {
            image.os_version.clone_from(&asked.os_version);
        }
    }
    let normal = Platform::new(&image.os, &image.architecture, image.variant.as_deref());
    image.os = normal.os;
    image.architecture = normal.architecture;
    image.variant = normal.variant;
}

fn unused_build_args(graph: &Graph<'_>) -> Option<PlanWarning> {
    let stage_args = graph.reached.iter().flat_map(|index| graph.instructions(*index));
    let stage_args = stage_args.filter_map(|instruction| match &instruction.kind {
        Kind::Arg(arg) => Some(arg),
        _ => None,
    });
    let global_args = graph.dockerfile.global_args.iter().map(|arg| &arg.value);
    let names = |arg: &Arg| -> Vec<String> {
        arg.definitions.iter().map(|definition| definition.name.value.clone()).collect()
    };
    let declared: BTreeSet<String> = global_args.chain(stage_args).flat_map(names).collect();
    let given = graph.inputs.build_args.keys();
    let names: Vec<String> =
        given.filter(|name| !declared.contains(*name) && !is_predefined(name)).cloned().collect();
    (!names.is_empty()).then_some(PlanWarning::UnusedBuildArgs { names })
}
