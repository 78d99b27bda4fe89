//! Which stages there are, what each starts from and copies from, and which are needed.
//!
//! The idea to hold in mind: a trigger (`ONBUILD`) of a base can name further stages and images, and
//! what triggers a base has is known only when its config is. So a graph can be incomplete: then it
//! says which images have to be resolved, and is made again.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{PlanError, PlanErrorKind};
use super::inputs::{NamedContext, PlanInputs, StageSelection, TargetPlatform};
use super::mount;
use super::scope::{Expander, global_variables};
use super::step::{ImageName, ImageRequest};
use super::variables::Variables;
use crate::dockerfile::instruction::{Dockerfile, Instruction, Kind, Stage};
use crate::dockerfile::{Word, parse_trigger};
use crate::image::{ImageConfig, Platform, Reference};

/// The only base that is nothing.
const SCRATCH: &str = "scratch";

/// A Dockerfile's stages and how they hang together.
pub(super) struct Graph<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) inputs: &'a PlanInputs<'a>,
    pub(super) platform: TargetPlatform,
    /// What `FROM` expands with, and an `ARG` without value takes its value from.
    pub(super) globals: Variables,
    /// One for each stage of the Dockerfile.
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) target: usize,
    /// The stages to build.
    pub(super) reached: BTreeSet<usize>,
    /// Images whose configs are not known.
    pub(super) missing: BTreeSet<ImageRequest>,
}

pub(super) struct Node<'a> {
    pub(super) stage: &'a Stage,
    pub(super) base: BaseLink,
    /// The base as written, expanded.
    pub(super) base_name: String,
    /// A named context of the stage's own name stands in for it: nothing of it is done.
    pub(super) is_replaced: bool,
    pub(super) triggers: Vec<Instruction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BaseLink {
    Scratch,
    Stage(usize),
    External(External),
}

/// Something that is not built here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum External {
    Image(ImageRequest),
    /// The directory of a named context, by the name it was given under.
    Directory(String),
}

/// What a `--from` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    Stage(usize),
    External(External),
}

impl<'a> Graph<'a> {
    pub(super) fn new(
        dockerfile: &'a Dockerfile,
        inputs: &'a PlanInputs<'a>,
    ) -> Result<Self, PlanError> {
        let target = find_target(dockerfile, inputs)?;
        let platform = TargetPlatform::new(inputs.platform, inputs.build_platform)
            .map_err(PlanErrorKind::Platform)?;
        if platform.normal.os != "linux" {
            return Err(PlanErrorKind::UnsupportedPlatform { platform: platform.normal }.into());
        }
        let target_name = inputs.target.filter(|name| name.parse::<usize>().is_err());
        let own_name = || dockerfile.stages.get(target)?.name.as_ref().map(|name| &*name.value);
        let target_name = target_name.or_else(own_name).unwrap_or("default");
        let automatic = platform.arguments(inputs.build_platform, target_name, inputs.build_args);
        let globals = global_variables(dockerfile, automatic, inputs.build_args)?;
        let mut graph = Graph {
            dockerfile,
            inputs,
            platform,
            globals,
            nodes: Vec::new(),
            target,
            reached: BTreeSet::new(),
            missing: BTreeSet::new(),
        };
        for stage in &dockerfile.stages {
            let node = graph.node(stage)?;
            graph.nodes.push(node);
        }
        graph.refuse_cycles()?;
        let first = match inputs.selection {
            StageSelection::Needed => target,
            StageSelection::UpToTarget => 0,
        };
        for index in first..=target {
            graph.reach(index)?;
        }
        Ok(graph)
    }

    /// Returns how messages call a stage: its name, or its number.
    pub(super) fn display_name(&self, index: usize) -> String {
        match self.name(index) {
            Some(name) => format!("`{name}`"),
            None => index.to_string(),
        }
    }

    fn name(&self, index: usize) -> Option<&'a str> {
        self.dockerfile.stages.get(index)?.name.as_ref().map(|name| name.value.as_str())
    }

    /// Returns what is known of an image.
    pub(super) fn config(&self, request: &ImageRequest) -> Option<&'a ImageConfig> {
        self.inputs.images.get(request)
    }

    /// Returns all that a reached stage does: triggers first.
    pub(super) fn instructions(&self, index: usize) -> Vec<&Instruction> {
        match self.nodes.get(index).filter(|node| !node.is_replaced) {
            Some(node) => node.triggers.iter().chain(&node.stage.instructions).collect(),
            None => Vec::new(),
        }
    }

    /// Returns the platform that images for a stage are chosen for.
    fn platform_of(&self, stage: &Stage) -> Result<Platform, PlanError> {
        let Some(word) = &stage.platform else { return Ok(self.platform.normal.clone()) };
        let text = Expander::new(self.dockerfile).word(word, &self.globals)?;
        let typed = word.value.clone();
        if text.is_empty() {
            return Err(PlanErrorKind::EmptyPlatform { word: typed }.at(word.span));
        }
        text.parse()
            .map_err(|source| PlanErrorKind::StagePlatform { word: typed, source }.at(word.span))
    }

    fn node(&self, stage: &'a Stage) -> Result<Node<'a>, PlanError> {
        let base_name = Expander::new(self.dockerfile).word(&stage.base, &self.globals)?;
        if base_name.is_empty() {
            let word = stage.base.value.clone();
            return Err(PlanErrorKind::EmptyBase { word }.at(stage.base.span));
        }
        let platform = self.platform_of(stage)?;
        let replacement = match &stage.name {
            Some(name) => self.named_context(&name.value, &platform),
            None => None,
        };
        let is_replaced = replacement.is_some();
        // The latest of the earlier stages with that name, exactly: names are lower case.
        let earlier = |index: &usize| self.name(*index) == Some(base_name.as_str());
        let base = match (replacement, (0..self.nodes.len()).rev().find(earlier)) {
            (Some(external), _) => BaseLink::External(external),
            (None, Some(index)) => BaseLink::Stage(index),
            (None, None) if base_name == SCRATCH => BaseLink::Scratch,
            (None, None) => {
                let external = self.external(&base_name, &platform);
                BaseLink::External(external.map_err(|kind| kind.at(stage.base.span))?)
            }
        };
        Ok(Node { stage, base, base_name, is_replaced, triggers: Vec::new() })
    }

    /// Reads a name that is no stage's.
    fn external(&self, name: &str, platform: &Platform) -> Result<External, PlanErrorKind> {
        if let Some(external) = self.named_context(name, platform) {
            return Ok(external);
        }
        let reference: Reference = name
            .parse()
            .map_err(|source| PlanErrorKind::Reference { name: name.to_owned(), source })?;
        Ok(External::Image(ImageRequest {
            image: ImageName::Reference(reference.whole()),
            platform: platform.clone(),
        }))
    }

    /// Finds the named context that stands in for `name`; `debian` is also the one of
    /// `docker.io/library/debian:latest`.
    fn named_context(&self, name: &str, platform: &Platform) -> Option<External> {
        if [SCRATCH, "context"].iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
            return None;
        }
        let wanted = context_key(name);
        let (given, context) =
            self.inputs.named_contexts.iter().find(|(given, _)| context_key(given) == wanted)?;
        let image = match context {
            NamedContext::Directory => return Some(External::Directory(given.clone())),
            NamedContext::Layout => ImageName::Layout(given.clone()),
            NamedContext::Image(reference) => ImageName::Reference(reference.whole()),
        };
        Some(External::Image(ImageRequest { image, platform: platform.clone() }))
    }

    /// Reads a `--from`. Stages are found whatever their place; whether one may be copied from is
    /// for the caller to say.
    pub(super) fn from(&self, word: &Word) -> Result<From, PlanError> {
        let name = word.value.as_str();
        let expanded = Expander::new(self.dockerfile).word(word, &Variables::default())?;
        if expanded != name {
            return Err(PlanErrorKind::FromVariable { word: name.to_owned() }.at(word.span));
        }
        if let Ok(number) = name.parse::<i64>() {
            let count = self.dockerfile.stages.len();
            let index = usize::try_from(number).ok().filter(|index| *index < count);
            let index = index.ok_or_else(|| {
                PlanErrorKind::FromIndex { index: name.to_owned(), count }.at(word.span)
            })?;
            return Ok(From::Stage(index));
        }
        if let Some(index) = find_stage(self.dockerfile, name) {
            return Ok(From::Stage(index));
        }
        if name == SCRATCH {
            return Err(PlanErrorKind::CopyFromScratch.at(word.span));
        }
        self.external(name, &self.platform.normal)
            .map(From::External)
            .map_err(|kind| kind.at(word.span))
    }

    /// Marks a stage and all that it needs, reads the triggers of its base, and notes images whose
    /// configs are not known.
    fn reach(&mut self, index: usize) -> Result<(), PlanError> {
        let mut pending = vec![index];
        while let Some(index) = pending.pop() {
            if !self.reached.insert(index) {
                continue;
            }
            if let Some(base) = self.prepare(index)? {
                pending.push(base);
            }
            let mut needed = Vec::new();
            for instruction in self.instructions(index) {
                for word in source_words(instruction) {
                    needed.push(self.from(&word)?);
                }
            }
            for from in needed {
                match from {
                    From::Stage(source) => pending.push(source),
                    From::External(External::Image(request)) => self.need(request),
                    From::External(External::Directory(_)) => {}
                }
            }
        }
        Ok(())
    }

    fn need(&mut self, request: ImageRequest) {
        if self.config(&request).is_none() {
            self.missing.insert(request);
        }
    }

    /// Reads the triggers of a reached stage; returns the stage that it starts from.
    fn prepare(&mut self, index: usize) -> Result<Option<usize>, PlanError> {
        let Some(node) = self.nodes.get(index) else { return Ok(None) };
        let (stage, is_replaced) = (node.stage, node.is_replaced);
        let (texts, base) = match &node.base {
            BaseLink::Scratch | BaseLink::External(External::Directory(_)) => (Vec::new(), None),
            BaseLink::Stage(base) => (self.declared_triggers(*base), Some(*base)),
            BaseLink::External(External::Image(request)) => match self.config(request) {
                Some(config) => (config.config.on_build.clone(), None),
                None => {
                    self.missing.insert(request.clone());
                    (Vec::new(), None)
                }
            },
        };
        let mut triggers = Vec::new();
        for text in texts.iter().filter(|_| !is_replaced) {
            let instruction = parse_trigger(text).map_err(|error| {
                let trigger = text.clone();
                PlanErrorKind::TriggerSyntax { trigger, source: error.kind }.at(stage.span)
            })?;
            triggers.push(instruction);
        }
        if let Some(node) = self.nodes.get_mut(index) {
            node.triggers = triggers;
        }
        Ok(base)
    }

    fn declared_triggers(&self, index: usize) -> Vec<String> {
        let Some(node) = self.nodes.get(index).filter(|node| !node.is_replaced) else {
            return Vec::new();
        };
        let expressions =
            node.stage.instructions.iter().filter_map(|instruction| match &instruction.kind {
                Kind::Onbuild(onbuild) => Some(onbuild.expression.clone()),
                _ => None,
            });
        expressions.collect()
    }

    /// Refuses copies in a circle, in stages that are needed and in others.
    fn refuse_cycles(&self) -> Result<(), PlanError> {
        let mut copies: BTreeMap<usize, Vec<(usize, Word)>> = BTreeMap::new();
        for (index, stage) in self.dockerfile.stages.iter().enumerate() {
            for word in stage.instructions.iter().flat_map(source_words) {
                // A name that is no stage's is looked at when the stage is needed.
                let is_stage = word.value.parse::<i64>().is_ok()
                    || find_stage(self.dockerfile, &word.value).is_some()
                    || word.value.contains(['$', '"', '\'', '\\']);
                if is_stage && let From::Stage(source) = self.from(&word)? {
                    copies.entry(index).or_default().push((source, word));
                }
            }
        }
        // What is left when every stage is taken out whose sources are out already copies in a
        // circle, or from one that does.
        while let Some(done) = copies.iter().find_map(|(index, sources)| {
            let is_done = sources.iter().all(|(source, _)| !copies.contains_key(source));
            is_done.then_some(*index)
        }) {
            copies.remove(&done);
        }
        let Some((first, _)) = copies.first_key_value() else { return Ok(()) };
        let mut path = Vec::new();
        let mut index = *first;
        while let Some(sources) = copies.get(&index) {
            let Some((source, word)) = sources.iter().find(|(to, _)| copies.contains_key(to))
            else {
                break;
            };
            path.push(index);
            if path.contains(source) {
                let stage = self.display_name(*source);
                return Err(PlanErrorKind::Cycle { stage }.at(word.span));
            }
            index = *source;
        }
        Ok(())
    }
}

/// Returns what an instruction names as where it takes files from.
pub(super) fn source_words(instruction: &Instruction) -> Vec<Word> {
    match &instruction.kind {
        Kind::Copy(copy) => copy.from.iter().cloned().collect(),
        Kind::Run(run) => run.mounts.iter().filter_map(mount::source_word).collect(),
        _ => Vec::new(),
    }
}

/// Returns the last stage of that name, in any case.
fn find_stage(dockerfile: &Dockerfile, name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    let is_named = |stage: &Stage| stage.name.as_ref().is_some_and(|found| found.value == name);
    dockerfile.stages.iter().rposition(is_named)
}

fn find_target(dockerfile: &Dockerfile, inputs: &PlanInputs<'_>) -> Result<usize, PlanErrorKind> {
    let last = dockerfile.stages.len().checked_sub(1).ok_or(PlanErrorKind::NoStages)?;
    let Some(target) = inputs.target else { return Ok(last) };
    // No stage can be named by a number alone.
    let by_number = || target.parse::<usize>().ok().filter(|index| *index <= last);
    find_stage(dockerfile, target).or_else(by_number).ok_or_else(|| {
        let names = dockerfile.stages.iter().filter_map(|stage| stage.name.as_ref());
        PlanErrorKind::UnknownTarget {
            target: target.to_owned(),
            known: names.map(|name| name.value.clone()).collect(),
        }
    })
}

/// Returns what names of contexts are compared by.
fn context_key(name: &str) -> String {
    let name = name.to_lowercase();
    name.parse::<Reference>().map_or(name, |reference| reference.whole())
}
