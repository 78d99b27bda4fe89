//! A plan as text, for people.

use std::fmt::Write as _;

use super::mount::{MountAccess, RunMount};
use super::repository::GitDirectory;
use super::step::{
    Archives, Base, CopyItem, CopySource, CopyStep, Footing, ImageName, ImageRequest, Origin, Plan,
    PlanWarning, PlannedStage, RunNetwork, Step, StepKind,
};
use crate::dockerfile::instruction::Sharing;

/// Writes a plan as text: stages with their steps and what these do to files, then the resulting
/// config, then warnings. Equal plans give equal text.
///
/// Values of build arguments are in it where the image will hold them too.
pub fn render(plan: &Plan) -> String {
    render_with(plan, &|_, _| None)
}

/// Writes a plan as [`render`] does, with what `note` says of a stage's step, by their positions,
/// after what it does.
pub fn render_with<'n>(plan: &Plan, note: &dyn Fn(usize, usize) -> Option<&'n str>) -> String {
    let mut out = String::new();
    for (position, stage) in plan.stages.iter().enumerate() {
        render_stage(plan, position, stage, note, &mut out);
    }
    if let Some(stage) = plan.target_stage() {
        let image = &stage.image;
        let platform = [Some(&image.os), Some(&image.architecture), image.variant.as_ref()];
        let platform: Vec<&str> = platform.into_iter().flatten().map(String::as_str).collect();
        line(&mut out, 0, &format!("image {}", platform.join("/")));
        if !image.author.is_empty() {
            line(&mut out, 1, &format!("author {}", image.author));
        }
        let config = serde_json::to_string_pretty(&image.config).unwrap_or_default();
        for text in config.lines() {
            line(&mut out, 1, text);
        }
    }
    for warning in &plan.warnings {
        line(&mut out, 0, &format!("warning: {warning}"));
    }
    out
}

fn line(out: &mut String, depth: usize, text: &str) {
    let width = depth * 2;
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{:width$}{text}", "");
}

fn render_stage<'n>(
    plan: &Plan,
    position: usize,
    stage: &PlannedStage,
    note: &dyn Fn(usize, usize) -> Option<&'n str>,
    out: &mut String,
) {
    let base = match &stage.base {
        Base::Scratch => "nothing".to_owned(),
        Base::Image(ImageRequest { image: ImageName::Reference(reference), .. }) => {
            reference.clone()
        }
        Base::Image(ImageRequest { image: ImageName::Layout(name), .. }) => {
            format!("the layout `{name}`")
        }
        Base::Stage(base) => stage_name(plan, *base),
    };
    let result = if position == plan.target { " (the result)" } else { "" };
    let name = stage_name(plan, position);
    let heading = format!("{name}{result} for {} from {base}", stage.platform);
    line(out, 0, &heading);
    let lines = stage.steps.iter().map(|step| step.span.start.line);
    let width = lines.max().unwrap_or_default().to_string().len();
    for (position_in_stage, step) in stage.steps.iter().enumerate() {
        let mark = match step.origin {
            Origin::Instruction | Origin::From => "",
            Origin::Trigger => "ONBUILD ",
        };
        let number = step.span.start.line;
        line(out, 1, &format!("{number:width$}  {mark}{}", step.text));
        let notes = note(position, position_in_stage).map(str::to_owned);
        for effect in effects(plan, step).into_iter().chain(notes) {
            line(out, 1, &format!("{:width$}  -> {effect}", ""));
        }
    }
}

/// Says what a step does to files.
fn effects(plan: &Plan, step: &Step) -> Vec<String> {
    match &step.kind {
        StepKind::Run(run) => {
            let user = if run.user.is_empty() { "root" } else { &run.user };
            let script = run.script.as_ref().map(|script| format!("with script {}", script.path));
            let place = format!("runs as {user} in {}", run.working_directory);
            let network = match run.network {
                RunNetwork::Shared => None,
                RunNetwork::None => Some("without network".to_owned()),
            };
            let mounts = run.mounts.iter().map(|mount| mount_effect(plan, mount));
            std::iter::once(place).chain(script).chain(network).chain(mounts).collect()
        }
        StepKind::Copy(copy) => copy_effects(plan, copy),
        StepKind::Workdir(workdir) if workdir.path.is_root() => Vec::new(),
        StepKind::Workdir(workdir) => {
            let user = if workdir.user.is_empty() { "root" } else { &workdir.user };
            vec![format!("makes {} for {user}", workdir.path)]
        }
        StepKind::Metadata => Vec::new(),
    }
}

fn source_name(plan: &Plan, source: &CopySource) -> String {
    match source {
        CopySource::Context => "the context".to_owned(),
        CopySource::NamedContext(name) => format!("context `{name}`"),
        CopySource::Stage(position) => stage_name(plan, *position),
        CopySource::Image(request) => image(request),
    }
}

/// Says what a command finds mounted.
fn mount_effect(plan: &Plan, mount: &RunMount) -> String {
    let access = |access: MountAccess| match access {
        MountAccess::ReadOnly => " read-only",
        MountAccess::Writable => "",
    };
    match mount {
        RunMount::Bind(bind) => {
            let from = source_name(plan, &bind.from);
            let writes = match bind.access {
                MountAccess::ReadOnly => " read-only",
                MountAccess::Writable => ", what is written to it is lost",
            };
            format!("mounts {} of {from} on {}{writes}", bind.source, bind.target)
        }
        RunMount::Cache(cache) => {
            let sharing = match cache.sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            let from = cache.from.as_ref().map(|from| source_name(plan, from));
            let from = from.map(|from| format!(", at first from {from}")).unwrap_or_default();
            let (id, target, access) = (&cache.id, &cache.target, access(cache.access));
            format!("mounts the cache `{id}` ({sharing}{from}) on {target}{access}")
        }
        RunMount::Tmpfs(tmpfs) => format!("mounts memory on {}", tmpfs.target),
        RunMount::Secret(secret) => {
            let file = secret.target.as_ref().map(|target| format!("in {target}"));
            let variable = secret.variable.as_ref().map(|name| format!("in ${name}"));
            let places: Vec<String> = file.into_iter().chain(variable).collect();
            let needed = if secret.is_required { "" } else { ", if there is one" };
            format!("gives the secret `{}` {}{needed}", secret.id, places.join(" and "))
        }
    }
}

fn copy_effects(plan: &Plan, copy: &CopyStep) -> Vec<String> {
    let from = source_name(plan, &copy.from);
    let sources = copy.sources.iter().map(|source| match source {
        CopyItem::Path(path) => format!("copies {path} from {from}"),
        CopyItem::WithParents { directory, pattern } => {
            format!("copies {pattern} below {directory} from {from} with its parents")
        }
        CopyItem::File(file) => {
            let checksum = file.checksum.map(|digest| format!(", which is {digest}"));
            let unpacked = match file.archives {
                Archives::Unpacked => ", unpacked if it is an archive",
                Archives::Copied => "",
            };
            let (url, checksum) = (file.shown(), checksum.unwrap_or_default());
            let name = file.name.to_string();
            let name = name.trim_start_matches('/');
            format!("fetches {url} as {name}{checksum}{unpacked}")
        }
        CopyItem::Repository(repository) => {
            let reference = repository.reference.as_deref().unwrap_or("the default branch");
            let checksum = repository.checksum.as_ref();
            let checksum = checksum.map(|id| format!(", which is {id}")).unwrap_or_default();
            let kept = match repository.git_directory {
                GitDirectory::Kept => " with its .git",
                GitDirectory::LeftOut => "",
            };
            let (url, directory) = (repository.shown(), &repository.directory);
            format!("fetches {directory} of {url} at {reference}{checksum}{kept}")
        }
    });
    let files = copy.inline.iter();
    let files = files.map(|file| format!("writes {} ({} bytes)", file.name, file.content.len()));
    let slash = match copy.destination.is_directory && !copy.destination.path.is_root() {
        true => "/",
        false => "",
    };
    let mut target = format!("to {}{slash}", copy.destination.path);
    if let Some(owner) = &copy.owner {
        target.push_str(&format!(", owned by {owner}"));
    }
    if let Some(mode) = &copy.mode {
        target.push_str(&format!(", mode {mode}"));
    }
    let has_paths = copy.sources.iter().any(|source| matches!(source, CopyItem::Path(_)));
    if copy.archives == Archives::Unpacked && has_paths {
        target.push_str(", archives unpacked");
    }
    if copy.footing == Footing::Nothing {
        target.push_str(", over whatever is there");
    }
    for pattern in &copy.exclude {
        target.push_str(&format!(", without {pattern}"));
    }
    sources.chain(files).chain([target]).collect()
}

fn stage_name(plan: &Plan, position: usize) -> String {
    match plan.stages.get(position) {
        Some(PlannedStage { name: Some(name), index, .. }) => format!("stage {index} `{name}`"),
        Some(PlannedStage { index, .. }) => format!("stage {index}"),
        None => "no stage".to_owned(),
    }
}

fn image(request: &ImageRequest) -> String {
    match &request.image {
        ImageName::Reference(reference) => format!("{reference} for {}", request.platform),
        ImageName::Layout(name) => format!("the layout `{name}` for {}", request.platform),
    }
}

impl std::fmt::Display for PlanWarning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnusedBuildArgs { names } => {
                write!(out, "no ARG declares the build arguments {}", names.join(", "))
            }
            Self::PlatformMismatch { span, image, asked, found } => {
                write!(out, "{span}: `{image}` is for {found}, not for {asked}")
            }
        }
    }
}
