//! Strings the phases of a build together: context, Dockerfile, plan, bases, steps, layers, push.
//!
//! Owns [`BuildOptions`], the one value that says what was asked for. Must not know `cli`: options
//! come in as values, whoever made them. The order of the phases is the point of this module:
//! whatever reads the machine (resolver, certificates, credentials, sandbox) comes before anything
//! is written, and nothing is reported before it is true.

mod bases;
mod caching;
mod causes;
mod commands;
mod delta;
mod ending;
mod error;
mod exposure;
mod fetches;
mod foreign;
mod headers;
mod ignored;
mod in_dockerfile;
mod islands;
mod kept;
mod known;
mod layers;
mod leftovers;
mod mirror;
mod mounts;
mod needs;
mod network;
pub mod options;
mod outlook;
mod output;
mod overlays;
mod permission;
mod pulls;
mod reachable;
mod record;
mod roots;
mod secrets;
mod session;
mod sources;
mod stages;
mod stay;
mod steps;
mod tracking;
mod trees;
mod trial;
mod unpacking;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Instant;

use snapshot::Digest;
use tokio::runtime;

pub use error::BuildError;
pub use mounts::MountsError;
pub use network::{connect_for, fetch, registry};
pub use options::BuildOptions;
pub use outlook::{
    ChosenSandbox, ChosenTracker, FormTrial, Outlook, TrackerTrial, TreesOutcome, TreesTrial,
    outlook,
};
pub use reachable::examine_registries;
pub use secrets::SecretError;

use crate::context::Means;
use crate::dockerfile;
use crate::export;
use crate::image::{Platform, PlatformText};
use crate::interrupt::Interrupt;
use crate::plan::{self, NamedContext, Plan, PlanInputs, PlanWarning};
use crate::report::event::{Event, EventSink, Phase};
use crate::sandbox::hide_process;
use crate::store::Store;
use crate::uploads::Uploads;
pub(crate) use ending::listen;
pub(crate) use session::{unparsed, unplanned};

use bases::Bases;
use caching::{Cached, Caching, Early, Hits, Purpose};
use commands::Commands;
use fetches::Fetches;
use kept::Kept;
use options::{NamedContextSource, PermissionCheck, Push};
use permission::Permission;
use record::Recorder;
use session::{DockerfileText, Session};
use stages::Stages;

/// What a build has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The image manifest's digest.
    pub digest: Digest,
}

/// Builds, writes and pushes an image.
///
/// # Errors
/// [`BuildError`], after which nothing is left in the work directory and no tag was moved but those
/// of destinations that were pushed before the failing one; [`BuildError::Interrupted`] soon after
/// `interrupt` was raised, which SIGTERM and SIGINT do.
pub fn build(
    options: &BuildOptions,
    events: &dyn EventSink,
    interrupt: &Interrupt,
) -> Result<Built, BuildError> {
    let recorder = Recorder::new(events);
    let (session, dockerfile) = prepare(options, &recorder, interrupt)?;
    let digest = make(&session, &dockerfile);
    session.kept.tell(&recorder);
    // Whatever became of the build, no registry keeps half a layer of it.
    session.uploads.close();
    session.permission.close(&session.runtime, &session.registry, session.interrupt);
    // What failed because everything was to end is not worth a word.
    let digest = digest.map_err(|error| interrupt.check().err().map_or(error, BuildError::from))?;
    let traffic = session.http.traffic();
    timed(&recorder, Phase::Cleanup, || session.close())?;
    if let Some(path) = &options.output.benchmark_file {
        export::write_text(path, &format!("{:#}\n", recorder.json(traffic)))?;
    }
    Ok(Built { digest })
}

fn make(
    session: &Session<'_>,
    dockerfile: &dockerfile::instruction::Dockerfile,
) -> Result<Digest, BuildError> {
    let bases = Bases::new(session);
    let early = Early::ask(session);
    // That nothing may be pushed is the first thing to know.
    let planned = make_plan(session, &bases, dockerfile, Purpose::Build);
    let plan = planned.or_else(|error| session.permitted().and(Err(error)))?;
    let Some(caching) = Caching::open(session, &bases, &plan, Purpose::Build)? else {
        session.permitted()?;
        return run(session, &bases, &plan, None);
    };
    let hits = timed(session.events, Phase::Cache, || caching.look_up(&bases, &plan, early));
    session.permitted()?;
    let digest = make_cached(session, &bases, &plan, &caching, &hits);
    timed(session.events, Phase::Cache, || caching.finish(digest.is_ok()));
    digest
}

/// Builds with what the cache has, and without it where that turns out to be no good.
fn make_cached(
    session: &Session<'_>,
    bases: &Bases<'_>,
    plan: &Plan,
    caching: &Caching<'_>,
    hits: &Hits,
) -> Result<Digest, BuildError> {
    if !hits.is_empty() {
        caching.resume(hits);
        let cached = Some(Cached { caching, hits: Some(hits) });
        match run(session, bases, hits.plan(), cached) {
            Err(error) if error.cached_layer().is_some() => {
                caching.give_up_hits(&error);
                session.store.remove_roots()?;
            }
            outcome => return outcome,
        }
    }
    run(session, bases, plan, Some(Cached { caching, hits: None }))
}

fn run<'a>(
    session: &'a Session<'a>,
    bases: &'a Bases<'a>,
    plan: &Plan,
    cached: Option<Cached<'a>>,
) -> Result<Digest, BuildError> {
    loop {
        match run_once(session, bases, plan, cached) {
            // The registry has what the shared directory has lost.
            Err(error) if bases.distrust(&error) => session.store.remove_roots()?,
            outcome => return outcome,
        }
    }
}

fn run_once<'a>(
    session: &'a Session<'a>,
    bases: &'a Bases<'a>,
    plan: &Plan,
    cached: Option<Cached<'a>>,
) -> Result<Digest, BuildError> {
    let image = Stages::new(session, bases, plan, cached).and_then(|stages| stages.run(plan));
    let keep = || session.kept.keeper(bases.pulled(), session.interrupt);
    let early = keep();
    let delivered = thread::scope(|scope| {
        scope.spawn(early);
        Ok(output::deliver(session, bases, &image?)?.digest)
    });
    // And what was downloaded only to be sent on.
    keep()();
    if session.interrupt.check().is_ok() {
        session.kept.keep_within_limit();
    }
    delivered
}

/// Returns what a build would do, as text, and of each step what the layer cache has; resolves bases,
/// asks the cache and touches nothing else.
///
/// # Errors
/// [`BuildError`] as [`build`] would give before its first step.
pub fn show_plan(
    options: &BuildOptions,
    events: &dyn EventSink,
    interrupt: &Interrupt,
) -> Result<String, BuildError> {
    let (session, dockerfile) = prepare(options, events, interrupt)?;
    let bases = Bases::new(&session);
    let plan = make_plan(&session, &bases, &dockerfile, Purpose::Show)?;
    let caching = Caching::open(&session, &bases, &plan, Purpose::Show)?;
    let hits = caching.map(|caching| caching.look_up(&bases, &plan, None));
    session.permission.close(&session.runtime, &session.registry, session.interrupt);
    Ok(plan::render_with(&plan, &|position, number| hits.as_ref()?.note(position, number)))
}

/// Runs a phase and tells how long it took, whatever its outcome.
fn timed<T>(events: &dyn EventSink, phase: Phase, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = work();
    events.send(Event::PhaseTimed { phase, elapsed: start.elapsed() });
    outcome
}

/// Reads everything that a build depends on: machine, registries, context, Dockerfile.
fn prepare<'a>(
    options: &'a BuildOptions,
    events: &'a dyn EventSink,
    interrupt: &'a Interrupt,
) -> Result<(Session<'a>, dockerfile::instruction::Dockerfile), BuildError> {
    // Probing forks, so it comes before the first thread.
    let network = network::open(options)?;
    let commands = Commands::prepare(options, network.host_files, events, interrupt)?;
    // Credentials are in this process' memory, and RUN may belong to the same user.
    hide_process()?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(BuildError::Runtime)?;
    ending::listen(&runtime, interrupt)?;
    let registry = network::reach(options, &network.http, &network.registry, &runtime)?;
    let destinations = match options.output.push {
        Push::Yes => distinct_repositories(options),
        Push::No => Vec::new(),
    };
    let permission = match options.registry.permission_check {
        PermissionCheck::Checked => Permission::ask(runtime.handle(), &registry, &destinations),
        PermissionCheck::Skipped => Permission::default(),
    };
    let uploads = Uploads::new(runtime.handle().clone(), registry.clone(), &destinations);
    ending::give_up(&runtime, interrupt, &registry, &uploads);
    let read = || {
        if options.context.source.needs_room() {
            permission.wait(&runtime, interrupt)?;
        }
        let store = Store::open(&options.execution.work_directory)?;
        let means = Means { http: &network.http, runtime: runtime.handle(), events, interrupt };
        let sources = timed(events, Phase::Context, || sources::read(options, &store, &means))
            // What failed because everything was to end is not worth a word.
            .map_err(|error| interrupt.check().err().map_or(error, BuildError::from))?;
        let parsed = dockerfile::parse(&sources.dockerfile.text)
            .map_err(|error| session::unparsed(&sources.dockerfile.name, error))?;
        Ok((store, sources, parsed, secrets::read(options)?))
    };
    let (store, sources, parsed, secrets) = read().or_else(|error: BuildError| {
        let permitted = permission.wait(&runtime, interrupt);
        permission.close(&runtime, &registry, interrupt);
        permitted.and(Err(error))
    })?;
    let kept = Kept::open(&options.shared);
    let file = sources.dockerfile.name;
    let session = Session {
        options,
        secrets,
        events,
        store,
        kept,
        commands,
        interrupt,
        runtime,
        registry,
        permission,
        uploads,
        http: network.http,
        context: sources.context,
        directories: sources.directories,
        fetches: Fetches::default(),
        dockerfile: DockerfileText { file, source: parsed.source.clone() },
        created: session::creation_time(options),
    };
    Ok((session, parsed))
}

fn distinct_repositories(options: &BuildOptions) -> Vec<&crate::image::Reference> {
    let mut distinct: Vec<&crate::image::Reference> = Vec::new();
    for destination in &options.output.destinations {
        let reference = &destination.reference;
        let same = |other: &&crate::image::Reference| {
            other.registry() == reference.registry() && other.repository() == reference.repository()
        };
        if !distinct.iter().any(same) {
            distinct.push(reference);
        }
    }
    distinct
}

/// Plans, resolving what the plan asks for until nothing is missing.
fn make_plan(
    session: &Session<'_>,
    bases: &Bases<'_>,
    dockerfile: &dockerfile::instruction::Dockerfile,
    purpose: Purpose,
) -> Result<Plan, BuildError> {
    let options = session.options;
    // Of an image that may be cached or unpacked already, nothing is known to be needed.
    let is_needed =
        purpose == Purpose::Build && options.cache.is_none() && !session.kept.store().has_trees();
    // A later `--build-arg` of the same name wins, and so does a later label.
    let build_args: BTreeMap<String, String> =
        options.build_args.iter().map(|arg| (arg.name.clone(), arg.value.clone())).collect();
    let labels: Vec<(String, String)> =
        options.labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect();
    let named_contexts: BTreeMap<String, NamedContext> = options
        .context
        .named
        .iter()
        .map(|named| (named.name.clone(), planned_context(&named.source)))
        .collect();
    let build_platform = Platform::of_this_machine();
    let mut images = BTreeMap::new();
    let plan = loop {
        let inputs = PlanInputs {
            build_args: &build_args,
            target: options.target.as_deref(),
            platform: options.platform.as_ref().map(PlatformText::as_str),
            build_platform: &build_platform,
            labels: &labels,
            named_contexts: &named_contexts,
            images: &images,
            selection: options.stages,
        };
        let place = |error| session.dockerfile.unplanned(error);
        let missing = plan::references(dockerfile, &inputs).map_err(place)?;
        if missing.is_empty() {
            break plan::plan(dockerfile, &inputs).map_err(place)?;
        }
        let wanted = match is_needed {
            true => plan::unpacked(dockerfile, &inputs).map_err(place)?,
            false => BTreeSet::new(),
        };
        images.extend(bases.resolve(&missing, &wanted)?);
    };
    for warning in &dockerfile.warnings {
        let (file, place) = (&session.dockerfile.file, warning.span);
        let text = format!("`{file}`, {place}: {}", warning.value);
        session.events.send(Event::Warning { text });
    }
    for warning in &plan.warnings {
        session.events.send(Event::Warning { text: warning_text(warning) });
    }
    Ok(plan)
}

fn planned_context(source: &NamedContextSource) -> NamedContext {
    match source {
        NamedContextSource::Directory(_) => NamedContext::Directory,
        NamedContextSource::OciLayout { .. } => NamedContext::Layout,
        NamedContextSource::Image(reference) => NamedContext::Image(reference.clone()),
    }
}

fn warning_text(warning: &PlanWarning) -> String {
    match warning {
        PlanWarning::UnusedBuildArgs { names } => {
            format!("no `ARG` declares what `--build-arg` gave: {}", names.join(", "))
        }
        PlanWarning::PlatformMismatch { image, asked, found, .. } => {
            format!("`{image}` is for `{found}`, not for `{asked}`, which was asked for")
        }
    }
}
