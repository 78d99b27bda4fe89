//! What each step of a plan is made of, as keys.
//!
//! In a key: the keys of the steps before it, and so the base's files, and all that the step itself
//! depends on, as it will be in the image. Not in it: times, owners of a context's files, the
//! machine. Steps that only change the config are in no key: a command sees of the config what its
//! environment, user and directory say, and an entry holds files alone.

use snapshot::RootfsPath;

use crate::build::bases::Bases;
use crate::build::known::KnownContexts;
use crate::build::options::{CompressionChoice, Timestamps, VarRun};
use crate::build::session::Session;
use crate::cache::{Key, KeyWriter};
use crate::context::BuildContext;
use crate::execute::{ExecuteError, Input, InputContent, Source, inputs};
use crate::image::{Image, Platform};
use crate::plan::{
    Archives, Base, CopySource, CopyStep, FileMode, ImageRequest, Plan, PlannedStage, RunStep,
    StepKind, WorkdirStep,
};

/// The keys of a plan.
pub(super) struct Keys {
    stages: Vec<StageKeys>,
    platform: Platform,
}

struct StageKeys {
    base_stage: Option<usize>,
    base: Option<Key>,
    /// By step; `None` for steps that touch no files, and from the first one on that cannot be read.
    steps: Vec<Option<Key>>,
    /// After the last step.
    last: Option<Key>,
}

impl Keys {
    pub(super) fn of(session: &Session<'_>, bases: &Bases<'_>, plan: &Plan) -> Self {
        let mut keys = Self { stages: Vec::new(), platform: Platform::of_this_machine() };
        let known = KnownContexts::open(session);
        let reader = Reader { session, bases, known: &known };
        for stage in &plan.stages {
            let stage = reader.stage(stage, &keys);
            keys.stages.push(stage);
        }
        known.keep();
        if let Some(target) = plan.target_stage() {
            keys.platform = target.platform.clone();
        }
        keys
    }

    pub(super) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// Returns the stage that a stage starts from.
    pub(super) fn base_stage(&self, position: usize) -> Option<usize> {
        self.stages.get(position)?.base_stage
    }

    /// Returns the key of what a stage starts from.
    pub(super) fn base(&self, position: usize) -> Option<&Key> {
        self.stages.get(position)?.base.as_ref()
    }

    /// Returns the key of a step that touches files.
    pub(super) fn step(&self, position: usize, number: usize) -> Option<&Key> {
        self.stages.get(position)?.steps.get(number)?.as_ref()
    }

    /// Returns the platform of the result.
    pub(super) fn platform(&self) -> Platform {
        self.platform.clone()
    }

    fn last(&self, position: usize) -> Option<Key> {
        self.stages.get(position)?.last
    }
}

struct Reader<'r> {
    session: &'r Session<'r>,
    bases: &'r Bases<'r>,
    known: &'r KnownContexts<'r>,
}

impl Reader<'_> {
    fn stage(&self, stage: &PlannedStage, known: &Keys) -> StageKeys {
        let (base_stage, base) = match &stage.base {
            Base::Stage(base) => (Some(*base), known.last(*base)),
            Base::Scratch => (None, Some(self.base(stage, None))),
            Base::Image(request) => {
                (None, Some(self.base(stage, Some(&self.bases.image(request)))))
            }
        };
        let mut last = base;
        let mut steps = Vec::with_capacity(stage.steps.len());
        for step in &stage.steps {
            let is_made = step.makes_layer();
            let key = last.filter(|_| is_made).and_then(|parent| match &step.kind {
                StepKind::Run(run) => Some(run_key(&parent, run)),
                StepKind::Workdir(workdir) => Some(workdir_key(&parent, workdir)),
                StepKind::Copy(copy) => match self.copy_key(&parent, copy, known) {
                    Ok(key) => key,
                    Err(error) => {
                        tracing::debug!(%error, step = step.text, "it has no key");
                        None
                    }
                },
                StepKind::Metadata => None,
            });
            if is_made {
                last = key;
            }
            steps.push(key);
        }
        StageKeys { base_stage, base, steps, last }
    }

    /// Returns the key of a base's files, and of all that decides how steps become layers.
    fn base(&self, stage: &PlannedStage, image: Option<&Image>) -> Key {
        let options = self.session.options;
        let mut writer = KeyWriter::new("base");
        writer.text("platform", &stage.platform.to_string());
        let ignored = &options.snapshots.ignored_paths;
        writer.list("ignored paths", ignored.len());
        ignored.iter().for_each(|path| writer.text("ignored", path));
        writer.flag("without /var/run", options.snapshots.var_run == VarRun::Ignored);
        writer.flag("without times", options.layers.timestamps == Timestamps::Zeroed);
        let (name, level) = match options.layers.compression {
            CompressionChoice::Gzip { level } => ("gzip", level),
            CompressionChoice::Zstd { level } => ("zstd", level),
        };
        writer.text("compression", name);
        writer.list("levels", usize::from(level.is_some()));
        level.iter().for_each(|level| writer.number("level", u64::from(*level)));
        layers(&mut writer, image);
        writer.finish()
    }

    /// Returns the key of a copy; `None` where its source has none.
    fn copy_key(
        &self,
        parent: &Key,
        copy: &CopyStep,
        known: &Keys,
    ) -> Result<Option<Key>, ExecuteError> {
        let CopyStep { from, sources, inline, destination, owner, mode, archives } = copy;
        let mut writer = KeyWriter::new("copy");
        writer.key("parent", parent);
        writer.flag("archives are unpacked", *archives == Archives::Unpacked);
        writer.bytes("destination", destination.path.as_bytes());
        writer.flag("destination is a directory", destination.is_directory);
        writer.optional("owner", owner.as_deref());
        match mode {
            None => writer.optional("mode", None),
            Some(FileMode::Absolute(mode)) => writer.number("mode", u64::from(*mode)),
            Some(mode @ FileMode::Symbolic(_)) => writer.text("mode", &mode.to_string()),
        }
        writer.list("sources", sources.len());
        sources.iter().for_each(|path| writer.bytes("source", path.as_bytes()));
        writer.list("inline files", inline.len());
        for file in inline {
            writer.text("name", &file.name);
            writer.bytes("content", &file.content);
        }
        match from {
            CopySource::Context => self.files(&mut writer, copy, &self.session.context)?,
            CopySource::NamedContext(name) => match self.session.named_directory(name) {
                Ok(directory) => self.files(&mut writer, copy, directory)?,
                // The step will say what is wrong with it.
                Err(_) => return Ok(None),
            },
            // What the stage is made of decides what is in it: no file of it has to be there.
            CopySource::Stage(source) => match known.last(*source) {
                Some(last) => writer.key("stage", &last),
                None => return Ok(None),
            },
            CopySource::Image(request) => self.image(&mut writer, request),
        }
        Ok(Some(writer.finish()))
    }

    fn image(&self, writer: &mut KeyWriter, request: &ImageRequest) {
        writer.text("image", &request.platform.to_string());
        layers(writer, Some(&self.bases.image(request)));
    }

    fn files(
        &self,
        writer: &mut KeyWriter,
        copy: &CopyStep,
        context: &BuildContext,
    ) -> Result<(), ExecuteError> {
        let keeps = |path: &RootfsPath| context.contains(path);
        let known = self.known.of(context);
        let source = Source::context(context.root(), &keeps).with_known(known);
        writer.text("files", "context");
        inputs(copy, &source, &mut |input| input_fields(writer, &input))
    }
}

fn layers(writer: &mut KeyWriter, image: Option<&Image>) {
    let layers = image.map(Image::layers).unwrap_or_default();
    writer.list("layers", layers.len());
    layers.iter().for_each(|layer| writer.digest("diff id", &layer.diff_id));
}

fn run_key(parent: &Key, run: &RunStep) -> Key {
    let RunStep { argv, environment, user, working_directory, script } = run;
    let mut writer = KeyWriter::new("run");
    writer.key("parent", parent);
    writer.list("words", argv.len());
    argv.iter().for_each(|word| writer.text("word", word));
    writer.list("variables", environment.len());
    for (name, value) in environment {
        writer.text("name", name);
        writer.text("value", value);
    }
    writer.text("user", user);
    writer.bytes("directory", working_directory.as_bytes());
    writer.list("scripts", usize::from(script.is_some()));
    if let Some(script) = script {
        writer.bytes("path", script.path.as_bytes());
        writer.bytes("content", &script.content);
    }
    writer.finish()
}

fn workdir_key(parent: &Key, workdir: &WorkdirStep) -> Key {
    let WorkdirStep { path, user } = workdir;
    let mut writer = KeyWriter::new("workdir");
    writer.key("parent", parent);
    writer.bytes("path", path.as_bytes());
    writer.text("user", user);
    writer.finish()
}

fn input_fields(writer: &mut KeyWriter, input: &Input) {
    let Input { source, path, kind, mode, xattrs, content } = input;
    writer.number("source", *source as u64);
    writer.bytes("path", path.as_bytes());
    writer.text("kind", &kind.to_string());
    writer.list("modes", usize::from(mode.is_some()));
    mode.iter().for_each(|mode| writer.number("mode", u64::from(*mode)));
    writer.list("attributes", xattrs.len());
    for (name, value) in xattrs {
        writer.bytes("name", name);
        writer.bytes("value", value);
    }
    match content {
        InputContent::Bytes(digest) => writer.digest("bytes", digest),
        InputContent::Target(target) => writer.bytes("target", target),
        InputContent::SameAs(first) => writer.bytes("same as", first.as_bytes()),
        InputContent::Device(major, minor) => {
            writer.number("major", u64::from(*major));
            writer.number("minor", u64::from(*minor));
        }
        InputContent::None => writer.optional("nothing", None),
    }
}
